//! What the metadata service announces, as it is and as it should never be.

use std::time::{Duration, SystemTime};

use super::common::start;
use mayfly::platform::imds::Poll;
use mayfly_core::notices::{
    EventState, MAINTENANCE, REBALANCE, SPOT_ACTION, SpotAction, TARGET_STATE, TargetState, WarmState,
    read_maintenance, read_rebalance, read_spot_action, read_target_state,
};
use mayfly_fake_aws::imds::{Instance, event_date};
use proptest::prelude::*;
use serde_json::json;

fn at(text: &str) -> Option<SystemTime> {
    Some(humantime::parse_rfc3339(text).unwrap())
}

#[tokio::test]
async fn what_the_double_announces_is_read() {
    let (imds, client) = start(Instance { auto_scaling_group: Some("runners".to_owned()), ..Instance::default() });
    let present = async |path| match client.poll(path).await {
        Poll::Present(text) => text,
        other => panic!("{other:?} at {path}"),
    };
    assert_eq!(read_maintenance(&present(MAINTENANCE).await).unwrap().events, []);
    assert_eq!(read_target_state(&present(TARGET_STATE).await), TargetState::InService);
    let soon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    imds.spot_action("stop", soon);
    imds.rebalance(soon);
    imds.scheduled_events(&json!([{ "Code": "system-reboot", "State": "active", "NotBefore": event_date(soon) }]));
    imds.target_lifecycle_state("Terminated");
    let spot = read_spot_action(&present(SPOT_ACTION).await).unwrap();
    assert_eq!((spot.action, spot.time.at), (SpotAction::Stop, Some(soon)));
    assert_eq!(read_rebalance(&present(REBALANCE).await).unwrap().time.at, Some(soon));
    assert_eq!(read_maintenance(&present(MAINTENANCE).await).unwrap().events[0].not_before.at, Some(soon));
    assert!(read_target_state(&present(TARGET_STATE).await).is_termination());
}

#[test]
fn spot_actions() {
    for (action, expected) in [
        ("terminate", SpotAction::Terminate),
        ("stop", SpotAction::Stop),
        ("hibernate", SpotAction::Hibernate),
        ("sublimate", SpotAction::Other("sublimate".to_owned())),
    ] {
        let notice =
            read_spot_action(&json!({ "action": action, "time": "2025-03-31T16:34:24Z" }).to_string()).unwrap();
        assert_eq!((notice.action, notice.time.at), (expected, at("2025-03-31T16:34:24Z")));
    }
    // Without a readable time it is a notice still.
    for (body, text) in
        [(r#"{"action":"terminate","time":"soon"}"#, "soon"), (r#"{"action":"terminate","time":1}"#, "")]
    {
        let notice = read_spot_action(body).unwrap();
        assert_eq!((notice.action, notice.time.at, notice.time.text.as_str()), (SpotAction::Terminate, None, text));
    }
    for body in ["", "terminate", "{}", "[]", r#"{"action":""}"#, r#"{"action":"#] {
        let error = read_spot_action(body).unwrap_err().to_string();
        assert!(error.contains("spot interruption") && error.contains(&format!("{body:?}")), "{error}");
    }
}

#[test]
fn rebalance_recommendations() {
    let notice = read_rebalance(r#"{"noticeTime":"2020-10-16T19:18:24Z"}"#).unwrap();
    assert_eq!(notice.time.at, at("2020-10-16T19:18:24Z"));
    assert_eq!(read_rebalance("{}").unwrap().time.at, None);
    assert!(read_rebalance("2020-10-16T19:18:24Z").is_err());
}

#[test]
fn one_bad_date_or_entry_does_not_hide_the_other_events() {
    let event = |id: &str, state: &str, date: &str| json!({ "Code": "instance-stop", "State": state, "EventId": id, "NotBefore": date, "Description": "d" });
    let list = json!([
        event("a", "active", "21 Jan 2019 09:00:43 GMT"),
        event("b", "active", "31 Feb 2019 09:00:43 GMT"),
        "not an event",
        event("c", "canceled", "1 Dec 2026 23:59:59 GMT"),
        event("d", "completed", "2019-01-21T09:00:43Z"),
        {},
    ]);
    let maintenance = read_maintenance(&list.to_string()).unwrap();
    assert_eq!((maintenance.events.len(), maintenance.unreadable), (5, 1));
    let events: Vec<_> = maintenance.events.iter().map(|e| (e.id.as_str(), e.not_before.at, e.is_pending())).collect();
    let first = at("2019-01-21T09:00:43Z");
    let third = at("2026-12-01T23:59:59Z");
    assert_eq!(
        events,
        [("a", first, true), ("b", None, true), ("c", third, false), ("d", first, false), ("", None, true)]
    );
    assert_eq!(maintenance.events[0].state, EventState::Active);
    assert_eq!(maintenance.events[1].not_before.text, "31 Feb 2019 09:00:43 GMT");
    assert_eq!(maintenance.events[4].state, EventState::Other(String::new()));
    assert!(read_maintenance("{}").is_err() && read_maintenance("").is_err());
}

#[test]
fn dates_of_events() {
    let read =
        |date: &str| read_maintenance(&json!([{ "NotBefore": date }]).to_string()).unwrap().events[0].not_before.at;
    for (date, expected) in [
        ("1 Jan 2026 00:00:00 GMT", "2026-01-01T00:00:00Z"),
        ("01 Jan 2026 00:00:00 GMT", "2026-01-01T00:00:00Z"),
        ("29 Feb 2028 12:00:00 GMT", "2028-02-29T12:00:00Z"),
        ("31 Dec 2026 23:59:59 UTC", "2026-12-31T23:59:59Z"),
    ] {
        assert_eq!(read(date), at(expected), "{date}");
    }
    for date in [
        "",
        "soon",
        "0 Jan 2026 00:00:00 GMT",
        "32 Jan 2026 00:00:00 GMT",
        "29 Feb 2026 00:00:00 GMT",
        "1 Foo 2026 00:00:00 GMT",
        "1 Jan 2026 24:00:00 GMT",
        "1 Jan 2026 00:00:00 CET",
        "1 Jan 26 00:00:00 GMT",
        "1 Jan 2026 00:00:00",
        "1 Jan 2026 00:00:00 GMT x",
        "999 Jan 2026 00:00:00 GMT",
    ] {
        assert_eq!(read(date), None, "{date}");
    }
}

#[test]
fn target_states() {
    for (text, expected, termination) in [
        ("InService", TargetState::InService, false),
        ("Terminated\n", TargetState::Terminated, true),
        ("Detached", TargetState::Detached, false),
        ("Standby", TargetState::Standby, false),
        ("Warmed:Hibernated", TargetState::Warmed(WarmState::Hibernated), false),
        ("Warmed:Running", TargetState::Warmed(WarmState::Running), false),
        ("Warmed:Stopped", TargetState::Warmed(WarmState::Stopped), false),
        ("Warmed:Terminated", TargetState::Warmed(WarmState::Terminated), true),
        ("Warmed:Up", TargetState::Warmed(WarmState::Other("Up".to_owned())), false),
        ("Retired", TargetState::Other("Retired".to_owned()), false),
    ] {
        let state = read_target_state(text);
        assert_eq!(state.is_termination(), termination, "{text}");
        assert_eq!(state, expected);
    }
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(text in ".{0,200}") {
        let _ = (read_spot_action(&text), read_rebalance(&text), read_maintenance(&text), read_target_state(&text));
    }

    #[test]
    fn any_fields_are_read(action in ".{0,20}", time in "(.{0,30}|[0-9]{1,3} [JFD][aeu][nbc] [0-9]{3,5} [0-9:é]{8} GMT)") {
        let body = json!({ "action": action, "time": time, "noticeTime": time, "NotBefore": time, "State": action });
        if let Ok(notice) = read_spot_action(&body.to_string()) {
            prop_assert_eq!(notice.time.text, time.trim());
        }
        prop_assert!(read_rebalance(&body.to_string()).is_ok());
        prop_assert_eq!(read_maintenance(&json!([body, 1]).to_string()).unwrap().unreadable, 1);
    }
}
