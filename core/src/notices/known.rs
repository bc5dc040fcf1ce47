//! What EC2 and the Auto Scaling group announce during a run: where it is looked for, and what is news.
//!
//! Pure: answers of the metadata service in, events out. "No notice" (404) and "no answer" are different things, and the
//! latter changes nothing.

use std::time::{Duration, SystemTime};

use super::bodies::{
    AnnouncedTime, MAINTENANCE, MaintenanceEvent, NoticeError, REBALANCE, SPOT_ACTION, SpotAction, TARGET_STATE,
    TargetState, read_maintenance, read_rebalance, read_spot_action, read_target_state,
};
use crate::lifecycle::{Event, Notice, Time};

/// A notice is gone when this many polls in a row did not find it: one strange answer does not call back a warning.
const GONE_AFTER: u32 = 2;

/// EC2 promises two minutes. Of a notice without a readable time it is not known how many seconds of them have passed.
const UNREADABLE_LEAD: Duration = Duration::from_secs(90);

/// What a poll of a source found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// This stands there.
    Present(&'a str),
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

    /// Its path in the metadata service.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Spot => SPOT_ACTION,
            Self::Target => TARGET_STATE,
            Self::Rebalance => REBALANCE,
            Self::Maintenance => MAINTENANCE,
        }
    }

    /// How often it is looked at; the spot notice as often as the configuration says.
    #[must_use]
    pub const fn period(self, spot: Duration) -> Duration {
        match self {
            Self::Spot => spot,
            Self::Target | Self::Rebalance => Duration::from_secs(5),
            Self::Maintenance => Duration::from_secs(60),
        }
    }

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
    standing: [Option<Standing>; 4],
    target: Option<TargetState>,
}

impl Known {
    /// Takes in what a poll of a source found just now, and says what is news. `boot_time` puts an announced moment on
    /// the boot clock.
    pub fn observe(
        &mut self,
        source: Source,
        found: Reading<'_>,
        now: Time,
        boot_time: impl Fn(SystemTime) -> Time,
    ) -> Vec<Event> {
        let body = match found {
            Reading::Present(body) => Some(body),
            Reading::Absent => None,
            Reading::Unknown => return Vec::new(),
        };
        let mut events = Vec::new();
        if source == Source::Target {
            let target = body.map(read_target_state);
            if self.target != target {
                let wanted = |state: &TargetState| if is_warm(state) { Event::Warmed } else { Event::InService };
                events.extend(target.as_ref().filter(|state| !state.is_termination()).map(wanted));
            }
            self.target = target;
        }
        let told = body.and_then(|body| read(source, body, now, boot_time));
        let Some(place) = self.standing.get_mut(source as usize) else { return events };
        match (place.as_mut(), told) {
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

fn is_warm(state: &TargetState) -> bool {
    matches!(state, TargetState::Warmed(_))
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
pub fn spot_notice(body: &str, now: Time, boot_time: impl Fn(SystemTime) -> Time) -> Notice {
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

    fn present(body: &str) -> Reading<'_> {
        Reading::Present(body)
    }

    fn spot(time: &str) -> (String, Notice) {
        let at = boot_time(humantime::parse_rfc3339(time).unwrap());
        (format!(r#"{{"action":"terminate","time":"{time}"}}"#), Notice::Spot { at })
    }

    #[test]
    fn a_notice_is_told_once_again_when_it_changes_and_withdrawn_after_two_polls() {
        let mut known = Known::default();
        let mut see = |found: Reading<'_>| known.observe(Source::Spot, found, NOW, boot_time);
        let (first, told) = spot("2026-01-01T00:02:00Z");
        let (later, told_later) = spot("2026-01-01T00:03:00Z");
        let (first, later, unknown) = (present(&first), present(&later), Reading::Unknown);
        assert_eq!(see(Reading::Absent), []);
        assert_eq!(see(first), [Event::Notice(told)]);
        assert_eq!(see(first), [], "the same notice is told again and again");
        assert_eq!(see(later), [Event::Notice(told_later)]);
        for found in [unknown, Reading::Absent, unknown, later, Reading::Absent, unknown] {
            assert_eq!(see(found), [], "one poll in vain, or none, calls a warning back");
        }
        assert_eq!(see(Reading::Absent), [Event::Withdrawn(told_later)]);
        assert_eq!(see(later), [Event::Notice(told_later)]);
    }

    #[test]
    fn what_stands_is_told_again_when_another_notice_goes() {
        let mut known = Known::default();
        let (found, told) = spot("2026-01-01T00:02:00Z");
        let event = r#"[{"EventId":"e","State":"active","NotBefore":"1 Jan 2026 00:10:00 GMT"}]"#;
        known.observe(Source::Spot, present(&found), NOW, boot_time);
        let scheduled = known.observe(Source::Maintenance, present(event), NOW, boot_time);
        known.observe(Source::Spot, Reading::Absent, NOW, boot_time);
        let events = known.observe(Source::Spot, Reading::Absent, NOW, boot_time);
        assert_eq!(events, [vec![Event::Withdrawn(told)], scheduled].concat(), "the maintenance is forgotten");
    }

    #[test]
    fn the_group_wants_the_instance_or_wants_it_gone() {
        let mut known = Known::default();
        let mut see = |state: &str| known.observe(Source::Target, present(state), NOW, boot_time);
        assert_eq!(see("Warmed:Stopped"), [Event::Warmed]);
        assert_eq!(see("Warmed:Stopped"), []);
        assert_eq!(see("InService"), [Event::InService]);
        assert_eq!(see("InService"), []);
        assert_eq!(see("Terminated"), [Event::Notice(Notice::GroupTerminates)]);
        let mut known = Known::default();
        let events = known.observe(Source::Target, present("Warmed:Terminated"), NOW, boot_time);
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
        let events = known.observe(Source::Maintenance, present(&list.to_string()), NOW, boot_time);
        let at = boot_time(humantime::parse_rfc3339("2026-01-05T00:00:00Z").unwrap());
        assert_eq!(events, [Event::Notice(Notice::Scheduled { at })]);
        assert_eq!(known.observe(Source::Maintenance, present("[]"), NOW, boot_time), []);
        assert!(matches!(known.observe(Source::Maintenance, present("[]"), NOW, boot_time)[..], [Event::Withdrawn(_)]));
    }

    #[test]
    fn a_spot_notice_that_cannot_be_read_is_one() {
        for body in ["", "<html>", r#"{"action":"terminate","time":"soon"}"#] {
            let Notice::Spot { at } = spot_notice(body, NOW, boot_time) else { panic!("{body:?}") };
            assert_eq!(at, NOW + UNREADABLE_LEAD, "{body:?}");
        }
    }
}
