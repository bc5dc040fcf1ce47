//! What the core's own tests share.

use std::time::Duration;

use super::{Begin, Ending, Event, Identity, Limits, Policy, State, Target, Time, step};

/// A minute for everything, and an hour for the run.
pub(super) fn policy() -> Policy {
    let minute = Duration::from_secs(60);
    Policy {
        limits: Limits {
            booting: minute,
            jit_wait: minute,
            listening: minute,
            idle: minute,
            assigned: minute,
            job: minute,
            finishing: minute,
            orphaned: minute,
            lock: minute,
            updating: minute,
            draining: minute,
            closing: minute,
            terminating: minute,
            lifetime: minute * 60,
        },
        stop_at: minute,
        kill_at: minute,
        drain_on_rebalance: true,
        docker_required: false,
        hold_on_failure: Duration::ZERO,
        launch_hook: false,
        termination_hook: false,
        ending: Ending::Instance { decrement: true },
    }
}

/// The state of an instance that knows who it is, after these events, all at one moment.
pub(super) fn after(policy: &Policy, events: &[Event]) -> State {
    let identity = Identity { target: Target::Absent, launched: None, notice: None };
    let begin = [Event::Begin(Begin::Fresh), Event::Identified(identity)];
    let mut state = State::new(policy, Time(1));
    for event in begin.iter().chain(events) {
        state = step(policy, &state, event, Time(1)).0;
    }
    state
}
