//! Each invariant catches a fault that is planted for it: a wrapper around the real `step` that misbehaves.

use std::time::Duration;

use mayfly_core::lifecycle::*;

use crate::alphabet::{self, Alphabet};
use crate::promises::Invariant;
use crate::world::{NOW, policy, seconds};
use crate::{EC2, check};

type Fault = fn(&State, &Event, &mut State, &mut Vec<Effect>);

fn is_caught(by: Invariant, alphabet: Alphabet, fault: Fault) {
    let faulty = move |policy: &Policy, state: &State, event: &Event, now: Time| {
        let (mut next, mut effects) = step(policy, state, event, now);
        fault(state, event, &mut next, &mut effects);
        // The alarm is a matter of its own: it follows the faulty state, as the real one follows the real state.
        if let Some(armed) = effects.iter_mut().find(|effect| matches!(effect, Effect::Arm { .. }))
            && let Some((timer, at)) = next.next_timer()
        {
            *armed = Effect::Arm { timer, at };
        }
        (next, effects)
    };
    let verdict = check(Box::new(faulty), policy(EC2), alphabet);
    match verdict.broken {
        Some((invariant, story)) => assert_eq!(invariant, by.says(), "another invariant caught it:\n{story}"),
        None => panic!("the planted fault was not caught: {}", verdict.figures),
    }
}

macro_rules! planted {
    ($($test:ident $invariant:ident in $alphabet:ident: $fault:expr;)*) => {
        $(#[test] fn $test() { is_caught(Invariant::$invariant, alphabet::$alphabet(), $fault); })*

        #[test]
        fn every_invariant_is_tried() {
            let tried = [$(Invariant::$invariant),*];
            for invariant in Invariant::ALL {
                assert!(tried.contains(invariant), "nothing shows that this would be seen: {}", invariant.says());
            }
        }
    };
}

planted! {
    a_second_start_is_caught OneStart in runner: |from, event, _, effects| {
        if from.phase.name() == "Idle" && *event == Event::Begin(Begin::Again(Found::Marker)) {
            effects.push(Effect::StartRunner);
        }
    };
    a_start_repeated_by_the_same_agent_is_caught OneStart in runner: |from, event, _, effects| {
        if from.phase.name() == "Starting" && *event == Event::JitConfigReady {
            effects.push(Effect::StartRunner);
        }
    };
    an_endless_deadline_is_caught HasDeadline in runner: |_, _, next, _| {
        if let Phase::Idle { deadline, .. } = &mut next.phase {
            *deadline = *deadline + Duration::from_secs(3600);
        }
    };
    a_forgotten_alarm_is_caught AlarmIsNextDeadline in runner: |_, event, _, effects| {
        if *event == Event::Observed(Observation::Listening) {
            effects.retain(|effect| !matches!(effect, Effect::Arm { .. }));
        }
    };
    a_deadline_without_consequence_is_caught TimerMovesOn in runner: |from, event, next, effects| {
        if matches!((from.phase.name(), event), ("Closing", Event::Passed(Timer::Phase))) {
            *next = from.clone();
            effects.clear();
        }
    };
    a_lifetime_that_begins_anew_is_caught LifetimeBounds in runner: |_, event, next, _| {
        if let (Event::Observed(Observation::JobMessage), Lifetime::Until(at)) = (event, &mut next.lifetime) {
            *at = *at + Duration::from_secs(1);
        }
    };
    a_drain_that_is_put_off_is_caught EndGoesOn in outside: |from, event, next, _| {
        if let (Phase::Draining { .. }, Event::Stop(Stop::DrainNow), Phase::Draining { deadline, killed: false, .. }) =
            (&from.phase, event, &mut next.phase)
        {
            *deadline = *deadline + Duration::from_secs(1);
        }
    };
    work_after_the_stop_is_caught NoWorkAfterStop in runner: |from, event, _, effects| {
        if matches!((from.phase.name(), event), ("Closing", Event::JitConfigReady)) {
            effects.push(Effect::FetchJitConfig);
        }
    };
    a_drain_that_is_ignored_is_caught StopIsObeyed in outside: |from, event, next, effects| {
        if matches!((from.phase.name(), event), ("Idle", Event::Stop(Stop::Drain))) {
            *next = from.clone();
            effects.clear();
        }
    };
    a_changed_outcome_is_caught OutcomeStands in outside: |_, event, next, _| {
        if let (Event::Notice(Notice::GroupTerminates), Phase::Closing { end, .. }) = (event, &mut next.phase) {
            end.outcome = Outcome::AsgTermination;
        }
    };
    a_job_stopped_for_a_recommendation_is_caught JobIsSafe in runner: |from, event, _, effects| {
        if *event == Event::Notice(Notice::Rebalance) && matches!(from.phase, Phase::Busy { .. }) {
            effects.push(Effect::Interrupt { machine_goes: true });
        }
    };
    a_job_taken_for_idleness_is_caught AssignedIsNotIdle in runner: |from, event, next, _| {
        if let (Phase::Assigned { .. }, Event::Passed(Timer::Phase), Phase::Draining { reason, .. }) =
            (&from.phase, event, &mut next.phase)
        {
            *reason = Outcome::IdleTimeout;
        }
    };
    a_lost_exit_is_caught ExitEndsRun in runner: |from, event, next, effects| {
        if *event == Event::Exited(Exit::Code(102)) {
            *next = from.clone();
            effects.clear();
        }
    };
    a_skipped_flush_is_caught FlushedFirst in runner: |from, event, next, effects| {
        if let (Phase::Idle { .. }, Event::Exited(_), Phase::Closing { end, .. }) = (&from.phase, event, &next.phase) {
            next.phase = Phase::Ended { end: end.clone() };
            effects.clear();
        }
    };
    a_run_that_survives_a_reboot_is_caught RebootEndsRun in beginning: |from, event, next, effects| {
        if *event == Event::Begin(Begin::SecondBoot { marked: true }) {
            *next = from.clone();
            effects.retain(|effect| matches!(effect, Effect::Arm { .. }));
        }
    };
    an_identity_without_consequence_is_caught IdentityIsEnough in beginning: |from, event, next, effects| {
        if let (Phase::Booting { .. }, Event::Identified(Identity { notice: Some(_), .. })) = (&from.phase, event) {
            *next = from.clone();
            effects.clear();
        }
    };
    a_second_interrupt_of_the_steps_is_caught StepsInterruptedOnce in runner: |from, event, _, effects| {
        if from.phase.name() == "Draining" && *event == Event::Begin(Begin::Again(Found::Marker)) {
            effects.push(Effect::InterruptSteps);
        }
    };
    steps_that_outlast_their_workers_report_are_caught ReportBeforeKill in runner: |_, _, next, _| {
        if let Phase::Draining { runner, .. } = &mut next.phase {
            runner.steps = None;
        }
    };
    a_job_with_what_the_pool_left_of_its_time_is_caught DeadlineRenewed in beginning: |_, event, _, effects| {
        if *event == Event::InService {
            effects.retain(|effect| *effect != Effect::RenewDeadline);
        }
    };
    a_pool_that_ends_itself_is_caught PoolIsStopped in beginning: |from, event, next, effects| {
        if from.phase == Phase::Warm && *event == Event::Stop(Stop::Shutdown) {
            let end = End::without_runner(Outcome::ExternalShutdown, "");
            next.phase = Phase::Closing { deadline: NOW + seconds(1), end: end.clone() };
            next.lifetime = Lifetime::Until(NOW + seconds(3));
            *effects = vec![Effect::Arm { timer: Timer::Phase, at: NOW }, Effect::Close { end, until: NOW + seconds(1) }];
        }
    };
    an_answer_that_is_missing_read_as_an_end_is_caught PoolIsStopped in beginning: |from, event, next, effects| {
        if let (Phase::Booting { .. }, true, Event::NotIdentified { .. }) = (&from.phase, from.shutdown, event) {
            let end = End::without_runner(Outcome::ImdsUnavailable, "");
            next.phase = Phase::Closing { deadline: NOW + seconds(1), end: end.clone() };
            *effects = vec![Effect::Arm { timer: Timer::Phase, at: NOW }, Effect::Close { end, until: NOW + seconds(1) }];
        }
    };
    a_process_that_leaves_an_end_behind_is_caught LeavesWithNothing in beginning: |from, event, _, effects| {
        if matches!((from.phase.name(), event), ("Closing", Event::Stop(Stop::Shutdown))) {
            effects.push(Effect::Leave);
        }
    };
    a_pool_that_is_told_late_and_not_believed_is_caught TargetCounts in beginning: |from, event, next, effects| {
        if matches!((from.phase.name(), event), ("WaitingForJitConfig", Event::Warmed)) {
            *next = from.clone();
            effects.clear();
        }
    };
    a_group_that_is_told_late_and_forgotten_is_caught TargetCounts in beginning: |from, event, next, _| {
        if *event == Event::InService && from.phase.runner().is_some() {
            next.in_group = from.in_group;
        }
    };
    a_ghost_that_takes_a_jobs_time_is_caught JobHasItsTime in runner: |from, event, next, _| {
        if matches!((from.phase.name(), event), ("Assigned", Event::Observed(Observation::JobMessage))) {
            next.phase = from.phase.clone();
        }
    };
    a_job_lost_to_a_stop_that_hides_it_is_caught LostJobIsTold in runner: |_, _, next, _| {
        if let Phase::Closing { end, .. } = &mut next.phase
            && end.stopped_for == Some(Outcome::OperatorDrain)
        {
            (end.outcome, end.stopped_for) = (Outcome::OperatorDrain, None);
        }
    };
    a_lost_lock_without_consequence_is_caught LockCounts in troubles: |from, event, next, _| {
        if *event == Event::Polled && matches!(next.phase, Phase::Draining { reason: Outcome::JobAbandoned, .. }) {
            next.phase = from.phase.clone();
        }
    };
    a_limit_without_a_look_is_caught PolledFirst in runner: |from, event, _, effects| {
        if matches!((from.phase.name(), event), ("Busy", Event::Passed(Timer::Phase))) {
            effects.retain(|effect| *effect != Effect::Poll);
        }
    };
    a_kill_without_a_word_is_caught AskedBeforeKilled in outside: |from, event, _, effects| {
        if matches!((from.phase.name(), event), ("Idle", Event::Stop(Stop::DrainNow))) {
            effects.push(Effect::Kill);
        }
    };
}
