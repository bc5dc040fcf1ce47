//! One instance and its past.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Instant, SystemTime};

use super::{Options, Pool, State};
use crate::proxy::error::escape;

/// An instance as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Such as `i-00000000000000001`.
    pub id: String,
    /// Its type, its zone, and how it was bought.
    pub pool: Pool,
    /// `pending`, `running`, `shutting-down` or `terminated`.
    pub state: &'static str,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The client token of its launch.
    pub client_token: Option<String>,
}

/// What is kept of an instance.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) pool: Pool,
    pub(super) subnet: Option<String>,
    pub(super) image: Option<String>,
    pub(super) reservation: u64,
    pub(super) client_token: Option<String>,
    pub(super) launched: Instant,
    pub(super) launch_time: SystemTime,
    pub(super) ended: Option<Instant>,
    /// Each change of the tags, oldest first.
    pub(super) tags: Vec<(Instant, BTreeMap<String, String>)>,
}

/// The code that EC2 gives each state.
fn code(state: &str) -> u8 {
    match state {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        _ => 48,
    }
}

impl Held {
    /// Its state at a time; `None` before its launch and once it is listed no more.
    pub(super) fn state(&self, at: Instant, options: &Options) -> Option<&'static str> {
        let since = |from: Instant| at.checked_duration_since(from);
        let alive = since(self.launched)?;
        let Some(over) = self.ended.and_then(since) else {
            return Some(if alive < options.boot { "pending" } else { "running" });
        };
        if over < options.shutdown {
            return Some("shutting-down");
        }
        (over < options.shutdown + options.listed).then_some("terminated")
    }

    pub(super) fn tags(&self, at: Instant) -> Option<&BTreeMap<String, String>> {
        self.tags.iter().rev().find(|(since, _)| *since <= at).map(|(_, tags)| tags)
    }

    pub(super) fn seen(&self, now: Instant, options: &Options) -> Instance {
        Instance {
            id: self.id.clone(),
            pool: self.pool.clone(),
            state: self.state(now, options).unwrap_or("terminated"),
            tags: self.tags(now).cloned().unwrap_or_default(),
            client_token: self.client_token.clone(),
        }
    }

    /// Its item in a list.
    pub(super) fn item(&self, state: &str, at: Instant) -> String {
        let Self { id, pool, .. } = self;
        let launched = humantime::format_rfc3339_millis(self.launch_time);
        let mut xml = format!(
            "<item><instanceId>{id}</instanceId>{}{}{}<instanceType>{}</instanceType>\
             <launchTime>{launched}</launchTime><placement><availabilityZone>{}</availabilityZone></placement>",
            optional("imageId", self.image.as_ref()),
            state_of("instanceState", state),
            optional("clientToken", self.client_token.as_ref()),
            escape(&pool.instance_type),
            escape(&pool.zone),
        );
        xml.push_str(&optional("subnetId", self.subnet.as_ref()));
        if pool.spot {
            xml.push_str("<instanceLifecycle>spot</instanceLifecycle>");
        }
        xml.push_str("<tagSet>");
        for (key, value) in self.tags(at).into_iter().flatten() {
            let _ = write!(xml, "<item><key>{}</key><value>{}</value></item>", escape(key), escape(value));
        }
        xml.push_str("</tagSet></item>");
        xml
    }
}

fn optional(name: &str, text: Option<&String>) -> String {
    text.map_or_else(String::new, |text| format!("<{name}>{}</{name}>", escape(text)))
}

pub(super) fn state_of(element: &str, state: &str) -> String {
    format!("<{element}><code>{}</code><name>{state}</name></{element}>", code(state))
}

impl State {
    /// How many more of a pool can be launched.
    pub(super) fn room(&self, pool: &Pool) -> u32 {
        let alive = self.alive.get(pool).copied().unwrap_or(0);
        self.capacity.get(pool).map_or(u32::MAX, |capacity| capacity.saturating_sub(alive))
    }

    /// Launches one instance like the given one, and returns its id.
    pub(super) fn launch(&mut self, like: &Held) -> String {
        let place = self.instances.len();
        let id = format!("i-{:017x}", place + 1);
        *self.alive.entry(like.pool.clone()).or_default() += 1;
        self.places.insert(id.clone(), place);
        self.instances.push(Held { id: id.clone(), ..like.clone() });
        id
    }

    /// Ends an instance; false if it does not live.
    pub(super) fn end(&mut self, id: &str, now: Instant) -> bool {
        let place = self.places.get(id).copied();
        let Some(held) = place.and_then(|place| self.instances.get_mut(place)).filter(|held| held.ended.is_none())
        else {
            return false;
        };
        held.ended = Some(now);
        if let Some(alive) = self.alive.get_mut(&held.pool) {
            *alive -= 1;
        }
        true
    }

    pub(super) fn held(&self, id: &str) -> Option<&Held> {
        self.places.get(id).and_then(|place| self.instances.get(*place))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_instance_has_its_states_one_after_the_other() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let seconds = Duration::from_secs;
        let options = Options { boot: seconds(10), shutdown: seconds(5), listed: seconds(60), ..Options::default() };
        let held = Held {
            id: "i-1".to_owned(),
            pool: Pool::spot("m7i.large", "eu-central-1a"),
            subnet: None,
            image: None,
            reservation: 1,
            client_token: None,
            launched: at(5),
            launch_time: SystemTime::UNIX_EPOCH,
            ended: Some(at(100)),
            tags: vec![(at(5), BTreeMap::new())],
        };
        let states = [0, 5, 14, 15, 99, 100, 104, 105, 164, 165].map(|second| held.state(at(second), &options));
        let [p, r, s, t] = ["pending", "running", "shutting-down", "terminated"].map(Some);
        assert_eq!(states, [None, p, p, r, r, s, s, t, t, None]);
    }
}
