//! What the metadata service announces: spot interruptions, rebalance recommendations, maintenance, target states.
//!
//! Pure readers of the bodies that the agent's client brings. A body that cannot be read is an error and
//! not "no notice": there was something to read.

use std::time::SystemTime;

use serde_json::{Map, Value};
use thiserror::Error;

/// Where a spot interruption is announced: 404 until then.
pub const SPOT_ACTION: &str = "meta-data/spot/instance-action";

/// Where a rebalance is recommended: 404 until then.
pub const REBALANCE: &str = "meta-data/events/recommendations/rebalance";

/// Where maintenance is announced: an empty array while there is none.
pub const MAINTENANCE: &str = "meta-data/events/maintenance/scheduled";

/// Where the Auto Scaling group says what it wants the instance to be: 404 outside of one, and at first.
pub const TARGET_STATE: &str = "meta-data/autoscaling/target-lifecycle-state";

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A notice that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the {notice} notice is not {expected}: {text:?}")]
pub struct NoticeError {
    /// Which kind of notice.
    pub notice: &'static str,
    /// What it should be.
    pub expected: &'static str,
    /// The beginning of what it is.
    pub text: String,
}

impl NoticeError {
    fn new(notice: &'static str, expected: &'static str, text: &str) -> Self {
        Self { notice, expected, text: text.chars().take(120).collect() }
    }
}

/// A time as announced. What cannot be read is kept as text, so that a notice is never lost for its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedTime {
    /// As it came; empty if it was missing.
    pub text: String,
    /// What it means: RFC 3339 in UTC, or `21 Jan 2019 09:00:43 GMT`.
    pub at: Option<SystemTime>,
}

impl AnnouncedTime {
    fn of(object: &Map<String, Value>, key: &str) -> Self {
        let text = text_of(object, key);
        Self { at: humantime::parse_rfc3339(&text).ok().or_else(|| event_date(&text)), text }
    }
}

/// What will happen to a spot instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpotAction {
    /// It ends, about two minutes after the notice.
    Terminate,
    /// It is stopped, about two minutes after the notice.
    Stop,
    /// It is hibernated, beginning at once.
    Hibernate,
    /// Something that AWS has added since.
    Other(String),
}

/// A spot interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpotNotice {
    /// What will happen.
    pub action: SpotAction,
    /// When, approximately.
    pub time: AnnouncedTime,
}

/// A recommendation to move away: the risk of an interruption has risen. It need not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebalanceNotice {
    /// When it was made.
    pub time: AnnouncedTime,
}

/// How far a maintenance event has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It is still to come, or under way.
    Active,
    /// It is over.
    Completed,
    /// It will not happen.
    Canceled,
    /// Something else; empty if nothing was said.
    Other(String),
}

/// A scheduled maintenance event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceEvent {
    /// `instance-reboot`, `system-reboot`, `system-maintenance`, `instance-retirement` or `instance-stop`.
    pub code: String,
    /// How far it has come.
    pub state: EventState,
    /// Its name, such as `instance-event-0d59937288b749b32`.
    pub id: String,
    /// AWS's explanation.
    pub description: String,
    /// It happens no sooner than this.
    pub not_before: AnnouncedTime,
    /// It is over by then, if that is known.
    pub not_after: AnnouncedTime,
}

impl MaintenanceEvent {
    /// Whether it may still happen. A state that is not known counts as that.
    pub fn is_pending(&self) -> bool {
        !matches!(self.state, EventState::Completed | EventState::Canceled)
    }
}

/// All maintenance that is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// The events.
    pub events: Vec<MaintenanceEvent>,
    /// How many entries of the list are no events at all.
    pub unreadable: usize,
}

/// Where in a warm pool the group wants an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmState {
    /// Hibernated.
    Hibernated,
    /// Running, but not in service.
    Running,
    /// Stopped.
    Stopped,
    /// Gone.
    Terminated,
    /// Something that AWS has added since.
    Other(String),
}

/// What the Auto Scaling group wants the instance to be: a target, not what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// At work.
    InService,
    /// Gone.
    Terminated,
    /// Out of the group.
    Detached,
    /// In the group, but not at work.
    Standby,
    /// In the warm pool (`Warmed:...`).
    Warmed(WarmState),
    /// Something that AWS has added since.
    Other(String),
}

impl TargetState {
    /// Whether the group wants the instance gone, from service or from the warm pool.
    pub fn is_termination(&self) -> bool {
        matches!(self, Self::Terminated | Self::Warmed(WarmState::Terminated))
    }
}

/// Reads the body of [`SPOT_ACTION`].
///
/// # Errors
/// It is not a JSON object with an `action`. An unreadable time is not an error.
pub fn read_spot_action(body: &str) -> Result<SpotNotice, NoticeError> {
    let error = || NoticeError::new("spot interruption", "a JSON object with an action", body);
    let Ok(Value::Object(object)) = serde_json::from_str(body) else { return Err(error()) };
    let action = match text_of(&object, "action") {
        action if action.is_empty() => return Err(error()),
        action if action.eq_ignore_ascii_case("terminate") => SpotAction::Terminate,
        action if action.eq_ignore_ascii_case("stop") => SpotAction::Stop,
        action if action.eq_ignore_ascii_case("hibernate") => SpotAction::Hibernate,
        action => SpotAction::Other(action),
    };
    Ok(SpotNotice { action, time: AnnouncedTime::of(&object, "time") })
}

/// Reads the body of [`REBALANCE`].
///
/// # Errors
/// It is not a JSON object. An unreadable time is not an error.
pub fn read_rebalance(body: &str) -> Result<RebalanceNotice, NoticeError> {
    let Ok(Value::Object(object)) = serde_json::from_str(body) else {
        return Err(NoticeError::new("rebalance", "a JSON object", body));
    };
    Ok(RebalanceNotice { time: AnnouncedTime::of(&object, "noticeTime") })
}

/// Reads the body of [`MAINTENANCE`]. One bad date or one strange entry does not hide the others.
///
/// # Errors
/// It is not a JSON array.
pub fn read_maintenance(body: &str) -> Result<Maintenance, NoticeError> {
    let Ok(Value::Array(entries)) = serde_json::from_str(body) else {
        return Err(NoticeError::new("maintenance", "a JSON array", body));
    };
    let mut maintenance = Maintenance::default();
    for entry in &entries {
        match entry.as_object() {
            Some(object) => maintenance.events.push(event_of(object)),
            None => maintenance.unreadable += 1,
        }
    }
    Ok(maintenance)
}

fn event_of(object: &Map<String, Value>) -> MaintenanceEvent {
    let state = match text_of(object, "State") {
        state if state.eq_ignore_ascii_case("active") => EventState::Active,
        state if state.eq_ignore_ascii_case("completed") => EventState::Completed,
        state if state.eq_ignore_ascii_case("canceled") => EventState::Canceled,
        state => EventState::Other(state),
    };
    MaintenanceEvent {
        code: text_of(object, "Code"),
        state,
        id: text_of(object, "EventId"),
        description: text_of(object, "Description"),
        not_before: AnnouncedTime::of(object, "NotBefore"),
        not_after: AnnouncedTime::of(object, "NotAfter"),
    }
}

/// Reads the body of [`TARGET_STATE`]. Every text is some state.
pub fn read_target_state(body: &str) -> TargetState {
    let text = body.trim();
    match text.strip_prefix("Warmed:") {
        Some(warm) => TargetState::Warmed(match warm {
            "Hibernated" => WarmState::Hibernated,
            "Running" => WarmState::Running,
            "Stopped" => WarmState::Stopped,
            "Terminated" => WarmState::Terminated,
            other => WarmState::Other(other.to_owned()),
        }),
        None => match text {
            "InService" => TargetState::InService,
            "Terminated" => TargetState::Terminated,
            "Detached" => TargetState::Detached,
            "Standby" => TargetState::Standby,
            other => TargetState::Other(other.to_owned()),
        },
    }
}

fn text_of(object: &Map<String, Value>, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
}

/// `21 Jan 2019 09:00:43 GMT`, the day with one digit or two.
pub(super) fn event_date(text: &str) -> Option<SystemTime> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [day, month, year, time, "GMT" | "UTC"] = parts[..] else { return None };
    let day: u8 = day.parse().ok()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:02}T{time}Z")).ok()
}
