//! Stops, and what is told of the job that they met.

use crate::lifecycle::testing::{after, policy};
use crate::lifecycle::{
    ConsoleError, Effect, Event, Exit, JobResult, Notice, Observation, Outcome, Phase, Policy, Stop, Time, Timer, step,
};

const STOPPED: Event = Event::Stop(Stop::RunnerUnit);

fn at_work() -> Vec<Event> {
    let observations =
        [Observation::Listening, Observation::Running { job: "build".to_owned() }, Observation::WorkerSeen];
    [Event::JitConfigReady, Event::Started].into_iter().chain(observations.map(Event::Observed)).collect()
}

fn completed(result: JobResult) -> Event {
    Event::Observed(Observation::Completed { job: "build".to_owned(), result })
}

fn ends(events: &[Event]) -> Option<Outcome> {
    after(&policy(), events).phase.end().map(|end| end.outcome)
}

#[test]
fn a_unit_that_somebody_else_stopped_is_not_told_as_a_cancelled_job() {
    let gone = Event::Observed(Observation::WorkerGone);
    for (result, code) in [(JobResult::Canceled, 103), (JobResult::Failed, 102)] {
        let end = [gone.clone(), completed(result), Event::Exited(Exit::Code(code))];
        let told = ends(&[at_work(), vec![STOPPED], end.to_vec()].concat());
        assert_eq!(told, Some(Outcome::RunnerStopped), "nobody runs the job again: {result:?}");
    }
    let killed = [gone, Event::Exited(Exit::Signal(9))];
    assert_eq!(ends(&[at_work(), vec![STOPPED], killed.to_vec()].concat()), Some(Outcome::RunnerStopped));
}

#[test]
fn a_job_that_was_over_before_its_unit_was_stopped_keeps_its_result() {
    let over = [
        Event::Observed(Observation::WorkerGone),
        completed(JobResult::Failed),
        STOPPED,
        Event::Exited(Exit::Code(102)),
    ];
    assert_eq!(ends(&[at_work(), over.to_vec()].concat()), Some(Outcome::JobFailed));
}

#[test]
fn a_stop_of_the_unit_is_not_signalled_a_second_time_and_hides_no_other_reason() {
    let policy = policy();
    let (_, effects) = step(&policy, &after(&policy, &at_work()), &STOPPED, Time(2));
    let signals = |effect: &Effect| matches!(effect, Effect::Interrupt { .. } | Effect::Kill);
    assert!(!effects.iter().any(signals), "a second signal makes the runner give up at once: {effects:?}");
    let drained = [at_work(), vec![Event::Stop(Stop::DrainNow), STOPPED, Event::Exited(Exit::Signal(9))]].concat();
    let gone = vec![Event::Observed(Observation::WorkerGone)];
    assert_eq!(ends(&[drained, gone].concat()), Some(Outcome::OperatorDrain));
}

#[test]
fn a_job_that_comes_to_a_runner_stopped_without_one_is_told_as_lost_whatever_the_reason() {
    let policy = Policy { docker_required: true, ..policy() };
    let down = || Event::DockerDown { detail: String::new() };
    let removed = Event::Observed(Observation::ConsoleError(ConsoleError::RegistrationRemoved));
    let passed = || vec![Event::Passed(Timer::Phase), Event::Polled];
    let stops = [
        (Outcome::OperatorDrain, vec![Event::Stop(Stop::Drain)]),
        (Outcome::OperatorDrain, vec![Event::Stop(Stop::DrainNow)]),
        (Outcome::ExternalShutdown, vec![Event::Stop(Stop::Shutdown)]),
        (Outcome::Rebalance, vec![Event::Notice(Notice::Rebalance)]),
        (Outcome::SpotInterruption, vec![Event::Notice(Notice::SpotHibernate)]),
        (Outcome::AsgTermination, vec![Event::Notice(Notice::GroupTerminates)]),
        (Outcome::DockerUnavailable, vec![down(), down()]),
        (Outcome::Resumed, vec![Event::Resumed]),
        (Outcome::IdleTimeout, passed()),
        (Outcome::RegistrationRemoved, [vec![removed], passed()].concat()),
    ];
    for (reason, stop) in stops {
        let mut state =
            after(&policy, &[Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)]);
        let job = [
            Event::Observed(Observation::JobMessage),
            Event::Observed(Observation::WorkerSeen),
            Event::Observed(Observation::WorkerGone),
        ];
        let late = Time(70_000); // late enough for the limit
        for event in stop.iter().chain(&job).chain(&[Event::Exited(Exit::Code(103))]) {
            state = step(&policy, &state, event, late).0;
        }
        let end = state.phase.end().map(|end| (end.outcome, end.stopped_for));
        assert_eq!(end, Some((Outcome::IdleRaced, Some(reason))), "nobody runs this job again");
    }
}

#[test]
fn a_job_that_was_there_before_the_stop_keeps_the_reason_of_the_stop() {
    let policy = policy();
    let job = [
        Event::Observed(Observation::Listening),
        Event::Observed(Observation::JobMessage),
        Event::Observed(Observation::WorkerSeen),
    ];
    let stop = [Event::Stop(Stop::DrainNow), Event::Observed(Observation::WorkerGone), Event::Exited(Exit::Code(103))];
    let state = after(&policy, &[&[Event::JitConfigReady, Event::Started], &job[..], &stop[..]].concat());
    let end = state.phase.end().map(|end| (end.outcome, end.stopped_for));
    assert_eq!(end, Some((Outcome::OperatorDrain, None)));
}

#[test]
fn a_machine_that_ec2_takes_is_not_held_for_a_job_that_was_lost_to_it() {
    let policy = Policy { hold_on_failure: std::time::Duration::from_secs(600), ..policy() };
    let events = [
        Event::JitConfigReady,
        Event::Observed(Observation::Listening),
        Event::Notice(Notice::SpotHibernate),
        Event::Observed(Observation::JobMessage),
        Event::Exited(Exit::Code(0)),
        Event::Closed,
    ];
    let state = after(&policy, &events);
    assert!(matches!(state.phase, Phase::Terminating { .. }), "{state:?}");
}
