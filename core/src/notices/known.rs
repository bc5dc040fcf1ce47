//! What EC2 and the Auto Scaling group announce during a run: who tells it, and what is news.
//!
//! Pure: what the sources tell in, events out. "No notice" (404) and "no answer" are different things, and the
//! latter changes nothing.

use std::time::{Duration, SystemTime};

use super::bodies::{
    AnnouncedTime, MaintenanceEvent, NoticeError, SpotAction, TargetState, read_maintenance, read_rebalance,
    read_spot_action, read_target_state,
};
use crate::lifecycle::{Event, Notice, Target, Time};

/// A notice is gone when this many polls in a row did not find it: one strange answer does not call back a warning.
const GONE_AFTER: u32 = 2;

/// EC2 promises two minutes. Of a notice without a readable time it is not known how many seconds of them have passed.
const UNREADABLE_LEAD: Duration = Duration::from_secs(90);

/// What a source told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// This stands there.
    Present(String),
    /// Nothing, and the source said so.
    Absent,
    /// The source did not say. Never to be taken for [`Reading::Absent`].
    Unknown,
}

/// A source of announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Spot interruptions.
    Spot,
    /// The state the Auto Scaling group wants.
    Target,
    /// Rebalance recommendations.
    Rebalance,
    /// Scheduled maintenance.
    Maintenance,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spot, Self::Target, Self::Rebalance, Self::Maintenance];

    /// What it announces, for people.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Spot => "a spot interruption",
            Self::Target => "a termination by the Auto Scaling group",
            Self::Rebalance => "a rebalance recommendation",
            Self::Maintenance => "scheduled maintenance",
        }
    }
}

/// A notice that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    /// As it was announced: another text is another notice.
    text: String,
    notice: Notice,
    /// How many polls in a row did not find it.
    missed: u32,
}

/// What is known of every source.
#[derive(Debug, Default)]
pub struct Known {
    standing: [Option<Standing>; Source::ALL.len()],
    target: Option<TargetState>,
}

impl Known {
    /// Takes in what a source told just now, and says what is news. `boot_time` puts an announced moment on
    /// the boot clock.
    pub fn observe(
        &mut self,
        source: Source,
        told: &Reading,
        now: Time,
        boot_time: impl Fn(SystemTime) -> Time,
    ) -> Vec<Event> {
        let body = match told {
            Reading::Present(body) => Some(body.as_str()),
            Reading::Absent => None,
            Reading::Unknown => return Vec::new(),
        };
        let mut events = Vec::new();
        if source == Source::Target {
            let target = body.map(read_target_state);
            if self.target != target {
                events.extend(target.as_ref().filter(|state| !state.is_termination()).map(|state| {
                    match wanted(state) {
                        Target::Warm => Event::Warmed,
                        _ => Event::InService,
                    }
                }));
            }
            self.target = target;
        }
        let announced = body.and_then(|body| read(source, body, now, boot_time));
        let Some(place) = self.standing.get_mut(source as usize) else { return events };
        match (place.as_mut(), announced) {
            (None, None) => {}
            (Some(standing), None) => {
                standing.missed += 1;
                if standing.missed >= GONE_AFTER {
                    events.push(Event::Withdrawn(standing.notice));
                    *place = None;
                    events.extend(self.all_others(source));
                }
            }
            (Some(standing), Some((text, _))) if standing.text == text => standing.missed = 0,
            (before, Some((text, notice))) => {
                let changed = before.is_some();
                *place = Some(Standing { text, notice, missed: 0 });
                events.push(Event::Notice(notice));
                if changed {
                    events.extend(self.all_others(source));
                }
            }
        }
        events
    }

    /// When one notice goes or is put off, another may be the next to come true.
    fn all_others(&self, source: Source) -> Vec<Event> {
        let others = self.standing.iter().enumerate().filter(|(index, _)| *index != source as usize);
        others.filter_map(|(_, place)| place.as_ref().map(|standing| Event::Notice(standing.notice))).collect()
    }
}

/// What is told before anything was started: what the group wants, and a notice that stands already, the spot notice first.
/// Read as it is later, by [`Known::observe`].
pub fn at_start(
    spot: &Reading,
    target: &Reading,
    now: Time,
    boot_time: impl Fn(SystemTime) -> Time,
) -> (Target, Option<Notice>) {
    let standing = |source, told: &Reading| match told {
        Reading::Present(body) => read(source, body, now, &boot_time).map(|(_, notice)| notice),
        Reading::Absent | Reading::Unknown => None,
    };
    let notice = standing(Source::Spot, spot).or_else(|| standing(Source::Target, target));
    let target = match target {
        Reading::Present(body) => wanted(&read_target_state(body)),
        Reading::Absent => Target::Absent,
        Reading::Unknown => Target::Unknown,
    };
    (target, notice)
}

/// Where the group wants the instance: one that it ends is not in the pool any more.
fn wanted(state: &TargetState) -> Target {
    match state {
        state if state.is_termination() => Target::InService,
        TargetState::Warmed(_) => Target::Warm,
        _ => Target::InService,
    }
}

/// What a body announces, and the text by which it is known again.
fn read(source: Source, body: &str, now: Time, boot_time: impl Fn(SystemTime) -> Time) -> Option<(String, Notice)> {
    match source {
        Source::Spot => Some((body.to_owned(), spot_notice(body, now, boot_time))),
        Source::Target => read_target_state(body).is_termination().then(|| (body.to_owned(), Notice::GroupTerminates)),
        // What it says is when it was made; one that cannot be read is one nevertheless.
        Source::Rebalance => {
            let text = read_rebalance(body).map_or_else(|error| error.text, |notice| notice.time.text);
            Some((text, Notice::Rebalance))
        }
        Source::Maintenance => maintenance_notice(body, boot_time),
    }
}

/// A spot notice, readable or not: something was announced.
fn spot_notice(body: &str, now: Time, boot_time: impl Fn(SystemTime) -> Time) -> Notice {
    let soon = || now + UNREADABLE_LEAD;
    match read_spot_action(body) {
        Ok(notice) if notice.action == SpotAction::Hibernate => Notice::SpotHibernate,
        Ok(notice) => Notice::Spot { at: notice.time.at.map_or_else(soon, boot_time) },
        Err(NoticeError { .. }) => Notice::Spot { at: soon() },
    }
}

/// The first maintenance that is still to come. What cannot be read hides nothing, and announces nothing by itself.
fn maintenance_notice(body: &str, boot_time: impl Fn(SystemTime) -> Time) -> Option<(String, Notice)> {
    let pending = read_maintenance(body).ok()?.events.into_iter().filter(MaintenanceEvent::is_pending);
    let dated = pending.filter_map(|MaintenanceEvent { id, not_before: AnnouncedTime { at, text }, .. }| {
        at.map(|at| (at, format!("{id} {text}")))
    });
    let (at, text) = dated.min()?;
    Some((text, Notice::Scheduled { at: boot_time(at) }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::UNIX_EPOCH;

    use super::*;

    const NOW: Time = Time(1000);

    fn boot_time(moment: SystemTime) -> Time {
        Time(u64::try_from(moment.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
    }

    fn present(body: &str) -> Reading {
        Reading::Present(body.to_owned())
    }

    fn spot(time: &str) -> (String, Notice) {
        let at = boot_time(humantime::parse_rfc3339(time).unwrap());
        (format!(r#"{{"action":"terminate","time":"{time}"}}"#), Notice::Spot { at })
    }

    #[test]
    fn a_notice_is_told_once_again_when_it_changes_and_withdrawn_after_two_polls() {
        let mut known = Known::default();
        let mut see = |told: &Reading| known.observe(Source::Spot, told, NOW, boot_time);
        let (first, told) = spot("2026-01-01T00:02:00Z");
        let (later, told_later) = spot("2026-01-01T00:03:00Z");
        let (first, later, unknown) = (&present(&first), &present(&later), &Reading::Unknown);
        assert_eq!(see(&Reading::Absent), []);
        assert_eq!(see(first), [Event::Notice(told)]);
        assert_eq!(see(first), [], "the same notice is told again and again");
        assert_eq!(see(later), [Event::Notice(told_later)]);
        for found in [unknown, &Reading::Absent, unknown, later, &Reading::Absent, unknown] {
            assert_eq!(see(found), [], "one poll in vain, or none, calls a warning back");
        }
        assert_eq!(see(&Reading::Absent), [Event::Withdrawn(told_later)]);
        assert_eq!(see(later), [Event::Notice(told_later)]);
    }

    #[test]
    fn what_stands_is_told_again_when_another_notice_goes() {
        let mut known = Known::default();
        let (found, told) = spot("2026-01-01T00:02:00Z");
        let event = r#"[{"EventId":"e","State":"active","NotBefore":"1 Jan 2026 00:10:00 GMT"}]"#;
        known.observe(Source::Spot, &present(&found), NOW, boot_time);
        let scheduled = known.observe(Source::Maintenance, &present(event), NOW, boot_time);
        known.observe(Source::Spot, &Reading::Absent, NOW, boot_time);
        let events = known.observe(Source::Spot, &Reading::Absent, NOW, boot_time);
        assert_eq!(events, [vec![Event::Withdrawn(told)], scheduled].concat(), "the maintenance is forgotten");
    }

    #[test]
    fn the_group_wants_the_instance_or_wants_it_gone() {
        let mut known = Known::default();
        let mut see = |state: &str| known.observe(Source::Target, &present(state), NOW, boot_time);
        assert_eq!(see("Warmed:Stopped"), [Event::Warmed]);
        assert_eq!(see("Warmed:Stopped"), []);
        assert_eq!(see("InService"), [Event::InService]);
        assert_eq!(see("InService"), []);
        assert_eq!(see("Terminated"), [Event::Notice(Notice::GroupTerminates)]);
        let mut known = Known::default();
        let events = known.observe(Source::Target, &present("Warmed:Terminated"), NOW, boot_time);
        assert_eq!(events, [Event::Notice(Notice::GroupTerminates)]);
    }

    #[test]
    fn the_first_maintenance_to_come_counts_and_what_is_over_does_not() {
        let event = |id: &str, state: &str, day: u32| {
            let not_before = format!("{day} Jan 2026 00:00:00 GMT");
            serde_json::json!({ "EventId": id, "State": state, "NotBefore": not_before })
        };
        let list = serde_json::json!([event("a", "active", 9), event("b", "completed", 3), event("c", "active", 5), 7]);
        let mut known = Known::default();
        let events = known.observe(Source::Maintenance, &present(&list.to_string()), NOW, boot_time);
        let at = boot_time(humantime::parse_rfc3339("2026-01-05T00:00:00Z").unwrap());
        assert_eq!(events, [Event::Notice(Notice::Scheduled { at })]);
        assert_eq!(known.observe(Source::Maintenance, &present("[]"), NOW, boot_time), []);
        assert!(matches!(
            known.observe(Source::Maintenance, &present("[]"), NOW, boot_time)[..],
            [Event::Withdrawn(_)]
        ));
    }

    #[test]
    fn a_spot_notice_that_cannot_be_read_is_one() {
        for body in ["", "<html>", r#"{"action":"terminate","time":"soon"}"#] {
            let Notice::Spot { at } = spot_notice(body, NOW, boot_time) else { panic!("{body:?}") };
            assert_eq!(at, NOW + UNREADABLE_LEAD, "{body:?}");
        }
    }

    #[test]
    fn what_is_told_at_start_is_read_as_it_is_later() {
        let (spot_body, spot_told) = spot("2026-01-01T00:02:00Z");
        let spots = [Reading::Unknown, Reading::Absent, present(&spot_body), present("<html>")];
        let states = ["Warmed:Stopped", "InService", "Standby", "Terminated", "Warmed:Terminated", "NotInvented"];
        for told in spots.iter().chain(&states.map(present)) {
            for (source, (target, notice)) in [
                (Source::Spot, at_start(told, &Reading::Absent, NOW, boot_time)),
                (Source::Target, at_start(&Reading::Absent, told, NOW, boot_time)),
            ] {
                let later = Known::default().observe(source, told, NOW, boot_time);
                let notices = later
                    .iter()
                    .filter_map(|event| if let Event::Notice(notice) = event { Some(notice) } else { None });
                assert_eq!(notice.iter().collect::<Vec<_>>(), notices.collect::<Vec<_>>(), "{source:?} {told:?}");
                assert_eq!(target == Target::Warm, later.contains(&Event::Warmed), "{source:?} {told:?}");
            }
        }
        let both = at_start(&present(&spot_body), &present("Terminated"), NOW, boot_time);
        assert_eq!(both, (Target::InService, Some(spot_told)), "what comes at a time of its own goes first");
        let wants = |told: Reading| at_start(&Reading::Absent, &told, NOW, boot_time).0;
        assert_eq!((wants(Reading::Absent), wants(Reading::Unknown)), (Target::Absent, Target::Unknown));
    }
}
