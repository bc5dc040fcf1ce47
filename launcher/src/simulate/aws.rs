//! EC2 and SSM, made up: client tokens, capacity, quotas, lists that lag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mayfly_core::launcher::budget::Budget;
use mayfly_core::launcher::event::{InstanceState, InstanceView};
use mayfly_core::launcher::{JobId, Moment, Problem, ProblemKind};

/// One instance, with what lists show of it over time.
#[derive(Debug)]
pub(super) struct Machine {
    class: String,
    labels: String,
    repository: String,
    jobs: Vec<JobId>,
    pub(super) launched_at: Moment,
    pub(super) ended_at: Option<Moment>,
    phases: Vec<(Moment, &'static str)>,
    pub(super) spot: bool,
    /// How often a parameter was written for it.
    pub(super) puts: u32,
}

/// The account.
#[derive(Debug)]
pub(super) struct Aws {
    pub(super) machines: BTreeMap<String, Machine>,
    /// Instances that are not ended, and those that ended a short while ago: what lists show.
    shown: BTreeSet<String>,
    tokens: BTreeMap<String, Vec<String>>,
    pub(super) parameters: BTreeSet<String>,
    fleets: Budget,
    puts: Budget,
    /// Spot capacity is missing until then.
    pub(super) no_spot_until: Moment,
    pub(super) live: u32,
    pub(super) most_live: u32,
}

/// What is asked for.
pub(super) struct Launch<'a> {
    pub(super) token: &'a str,
    pub(super) class: &'a str,
    pub(super) labels: &'a str,
    pub(super) repository: &'a str,
    pub(super) jobs: &'a [JobId],
    pub(super) spot: bool,
}

impl Aws {
    pub(super) fn new(accounts: u32) -> Self {
        Self {
            machines: BTreeMap::new(),
            shown: BTreeSet::new(),
            tokens: BTreeMap::new(),
            parameters: BTreeSet::new(),
            fleets: Budget::new(5 * accounts, 120 * accounts),
            puts: Budget::new(3 * accounts, 180 * accounts),
            no_spot_until: Moment(0),
            live: 0,
            most_live: 0,
        }
    }

    /// Launches; the same token gives the same instances. New ones are told apart, since they boot.
    pub(super) fn launch(&mut self, now: Moment, asked: &Launch<'_>) -> Result<(Vec<String>, Vec<String>), Problem> {
        if let Some(made) = self.tokens.get(asked.token) {
            return Ok((made.clone(), Vec::new()));
        }
        if !self.fleets.take(now) {
            return Err(Problem::new(ProblemKind::Throttled, "RequestLimitExceeded"));
        }
        if asked.spot && now < self.no_spot_until {
            return Err(Problem::new(ProblemKind::Capacity, "InsufficientInstanceCapacity"));
        }
        let mut made = Vec::new();
        for job in asked.jobs {
            let id = format!("i-{:017x}", self.machines.len() + 1);
            let machine = Machine {
                class: asked.class.to_owned(),
                labels: asked.labels.to_owned(),
                repository: asked.repository.to_owned(),
                jobs: if asked.jobs.len() == 1 { vec![*job] } else { asked.jobs.to_vec() },
                launched_at: now,
                ended_at: None,
                phases: Vec::new(),
                spot: asked.spot,
                puts: 0,
            };
            self.machines.insert(id.clone(), machine);
            self.shown.insert(id.clone());
            made.push(id);
            self.live += 1;
        }
        self.most_live = self.most_live.max(self.live);
        self.tokens.insert(asked.token.to_owned(), made.clone());
        Ok((made.clone(), made))
    }

    pub(super) fn put(&mut self, now: Moment, instance: &str) -> Result<(), Problem> {
        if !self.puts.take(now) {
            return Err(Problem::new(ProblemKind::Throttled, "ThrottlingException"));
        }
        if !self.parameters.insert(instance.to_owned()) {
            return Err(Problem::new(ProblemKind::Taken, "ParameterAlreadyExists"));
        }
        if let Some(machine) = self.machines.get_mut(instance) {
            machine.puts += 1;
        }
        Ok(())
    }

    pub(super) fn tag(&mut self, now: Moment, instance: &str, phase: &'static str) {
        if let Some(machine) = self.machines.get_mut(instance) {
            machine.phases.push((now, phase));
        }
    }

    /// Ends an instance; whether it was there.
    pub(super) fn end(&mut self, now: Moment, instance: &str) -> bool {
        let Some(machine) = self.machines.get_mut(instance).filter(|machine| machine.ended_at.is_none()) else {
            return false;
        };
        machine.ended_at = Some(now);
        self.live -= 1;
        true
    }

    /// The list as it was so long ago.
    pub(super) fn list(&mut self, now: Moment, lag: Duration) -> Vec<InstanceView> {
        let as_of = Moment(now.0.saturating_sub(u64::try_from(lag.as_millis()).unwrap_or(0)));
        let gone = |machine: &Machine| machine.ended_at.is_some_and(|at| now.since(at) > Duration::from_secs(3600));
        let machines = &self.machines;
        self.shown.retain(|id| machines.get(id).is_some_and(|machine| !gone(machine)));
        let view = |id: &String| {
            let machine = machines.get(id)?;
            (machine.launched_at <= as_of).then(|| InstanceView {
                id: id.clone(),
                class: machine.class.clone(),
                labels: machine.labels.clone(),
                repository: machine.repository.clone(),
                jobs: machine.jobs.clone(),
                launched_at: machine.launched_at,
                state: match machine.ended_at {
                    Some(at) if at <= as_of => InstanceState::Terminated,
                    _ => InstanceState::Running,
                },
                phase: machine.phases.iter().rfind(|(at, _)| *at <= as_of).map(|(_, phase)| (*phase).to_owned()),
                outcome: None,
            })
        };
        self.shown.iter().filter_map(view).collect()
    }
}
