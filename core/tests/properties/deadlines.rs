//! The arithmetic of moments: nothing wraps, nothing panics, and what must come first comes first.

use std::time::Duration;

use mayfly_core::config::load;
use mayfly_core::lifecycle::*;
use proptest::prelude::*;

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_millis),
        (0..100_000_u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
    ]
}

/// The shipped defaults, so that a new limit needs no new test.
fn policy() -> Policy {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, "").unwrap();
    load(&file, [], &[]).unwrap().policy()
}

/// A run with a job at work.
fn busy(policy: &Policy, now: Time) -> State {
    let identity = Identity { target: Target::Absent, launched: None, notice: None };
    let events = [
        Event::Begin(Begin::Fresh),
        Event::Identified(identity),
        Event::JitConfigReady,
        Event::Started,
        Event::Observed(Observation::Listening),
        Event::Observed(Observation::WorkerSeen),
    ];
    events.iter().fold(State::new(policy, now), |state, event| step(policy, &state, event, now).0)
}

proptest! {
    #[test]
    fn moments_saturate_and_keep_their_order(at in any::<u64>(), by in any_duration(), more in any_duration()) {
        let at = Time(at);
        prop_assert!(at.before(by) <= at && at <= at + by);
        prop_assert!(at + by <= at + by.saturating_add(more), "a longer wait ends earlier");
        prop_assert!((at + by).since(at) <= by, "more time has passed than was added");
        prop_assert_eq!(at.since(at + by), Duration::ZERO, "time has run backwards");
    }

    #[test]
    fn an_interruption_stops_before_it_kills_and_kills_before_it_comes(
        at in any::<u64>(), now in 0..u64::from(u32::MAX), stop_at in any_duration(), kill_at in any_duration(),
        is_spot in any::<bool>(),
    ) {
        prop_assume!(kill_at < stop_at); // anything else is refused as a configuration
        let policy = Policy { stop_at, kill_at, ..policy() };
        let notice = if is_spot { Notice::Spot { at: Time(at) } } else { Notice::Scheduled { at: Time(at) } };
        let (state, _) = step(&policy, &busy(&policy, Time(now)), &Event::Notice(notice), Time(now));
        if let Some(Interruption { stop, kill, .. }) = state.phase.runner().and_then(|run| run.interruption) {
            prop_assert!(stop <= kill, "killed at {kill}, and asked to stop only at {stop}");
            prop_assert!(kill <= Time(at), "the kill at {kill} comes after the machine is gone at {}", Time(at));
        }
    }

    #[test]
    fn any_limits_make_a_run_that_ends_by_its_timers(
        limits in prop::collection::vec(any_duration(), 5), now in any::<u64>(),
    ) {
        let mut policy = policy();
        policy.limits.booting = limits[0];
        policy.limits.idle = limits[1];
        policy.limits.job = limits[2];
        policy.limits.draining = limits[3];
        policy.limits.lifetime = limits[4];
        let mut now = Time(now);
        let mut state = busy(&policy, now);
        for _ in 0..14 {
            let Some((timer, at)) = state.next_timer() else { break };
            now = now.max(at);
            state = step(&policy, &state, &Event::Passed(timer), now).0;
        }
        prop_assert!(matches!(state.phase, Phase::Ended { .. }), "the timers lead to {} only", state.phase.name());
    }
}
