//! What must hold at every transition.

use mayfly_core::lifecycle::*;

use crate::promises::Invariant;
use crate::world::{Asked, World, seconds};

/// A step and its surroundings.
pub(crate) struct Transition<'a> {
    /// Before it.
    pub(crate) world: &'a World,
    pub(crate) from: &'a State,
    pub(crate) event: &'a Event,
    pub(crate) to: &'a State,
    pub(crate) effects: &'a [Effect],
    pub(crate) policy: &'a Policy,
    pub(crate) now: Time,
}

/// The first invariant that a transition breaks.
pub(crate) fn broken(transition: &Transition<'_>) -> Option<Invariant> {
    // A planted test of each is in `planted.rs`; AlarmIsNextDeadline is the world's to see.
    Invariant::ALL.iter().copied().find(|invariant| !transition.keeps(*invariant))
}

impl Transition<'_> {
    fn keeps(&self, invariant: Invariant) -> bool {
        match invariant {
            Invariant::OneStart => self.one_start(),
            Invariant::HasDeadline => self.has_deadline(),
            Invariant::AlarmIsNextDeadline => true,
            Invariant::TimerMovesOn => self.timer_moves_on(),
            Invariant::LifetimeBounds => self.lifetime_bounds(),
            Invariant::EndGoesOn => self.end_goes_on(),
            Invariant::NoWorkAfterStop => {
                let is_work =
                    |effect: &Effect| matches!(effect, Effect::StartRunner | Effect::FetchJitConfig | Effect::Identify);
                let shuts_down = self.from.shutdown && !matches!(self.event, Event::Begin(_));
                !(is_stopping(self.from) || shuts_down) || !self.wants(is_work)
            }
            Invariant::StopIsObeyed => self.stop_is_obeyed(),
            Invariant::OutcomeStands => match (self.from.phase.end(), self.to.phase.end()) {
                (Some(before), Some(after)) => before == after,
                _ => true,
            },
            Invariant::JobIsSafe => self.job_is_safe(),
            Invariant::AssignedIsNotIdle => {
                let idle = matches!(self.to.phase, Phase::Draining { reason: Outcome::IdleTimeout, .. });
                !idle
                    || is_stopping(self.from)
                    || !self.from.phase.runner().is_some_and(|runner| runner.evidence.assigned())
            }
            Invariant::ExitEndsRun => match (self.event, self.from.phase.runner()) {
                (Event::Exited(_), Some(runner)) => {
                    runner.evidence.worker == Worker::Alive || self.to.phase.end().is_some()
                }
                _ => true,
            },
            Invariant::FlushedFirst => self.flushed_first(),
            Invariant::RebootEndsRun => {
                *self.event != Event::Begin(Begin::SecondBoot { marked: true }) || self.to.phase.end().is_some()
            }
            Invariant::IdentityIsEnough => {
                !matches!(self.event, Event::Identified(_))
                    || !matches!(self.to.phase, Phase::Booting { .. })
                    || self.wants(|effect| *effect == Effect::Leave)
            }
            Invariant::AskedBeforeKilled => {
                let exited = self.from.phase.runner().is_some_and(|runner| runner.exit.is_some());
                !self.wants(|effect| *effect == Effect::Kill)
                    || exited
                    || matches!(self.from.phase, Phase::Draining { .. } | Phase::Finishing { .. })
            }
            Invariant::StepsInterruptedOnce => {
                let asks = |effect: &Effect| matches!(effect, Effect::Interrupt { .. });
                let begins = !matches!(self.from.phase, Phase::Draining { .. })
                    && matches!(self.to.phase, Phase::Draining { killed: false, .. });
                !self.wants(|effect| *effect == Effect::InterruptSteps) || (begins && self.wants(asks))
            }
            Invariant::ReportBeforeKill => self.report_before_kill(),
            Invariant::DeadlineRenewed => {
                let pooled = self.from.phase == Phase::Warm;
                let (entered, stays) =
                    (!pooled && self.to.phase == Phase::Warm, *self.event == Event::Passed(Timer::Renewal));
                let left = pooled && matches!(self.to.phase, Phase::WaitingForJitConfig { .. });
                let due = entered || left || (pooled && stays && self.from.renewal.is_some_and(|at| at <= self.now));
                let pool = pooled || self.to.phase == Phase::Warm;
                let set = self.to.phase != Phase::Warm || self.to.renewal.is_some();
                let renewed = self.wants(|effect| *effect == Effect::RenewDeadline);
                set && if due { renewed } else { pool || !renewed }
            }
            Invariant::PoolIsStopped => self.pool_is_stopped(),
            Invariant::LeavesWithNothing => {
                let nothing = self.to.phase.runner().is_none() && self.to.phase.end().is_none() && self.to.shutdown;
                nothing || !self.wants(|effect| *effect == Effect::Leave)
            }
            Invariant::TargetCounts => self.target_counts(),
            Invariant::JobHasItsTime => self.job_has_its_time(),
            Invariant::LostJobIsTold => self.lost_job_is_told(),
            Invariant::LockCounts => {
                let at_work =
                    matches!(self.from.phase, Phase::Assigned { .. } | Phase::Busy { .. } | Phase::Finishing { .. });
                let lost =
                    self.from.phase.runner().is_some_and(|runner| {
                        !runner.evidence.job_over() && runner.lock.is_some_and(|at| at <= self.now)
                    });
                let polled = *self.event == Event::Polled && self.from.poll.is_some();
                !(at_work && lost && polled) || is_stopping(self.to)
            }
            Invariant::PolledFirst => {
                let by_limit = matches!(self.event, Event::Passed(_) | Event::Polled);
                let was_at_work = self.from.phase.runner().is_some() && !is_stopping(self.from);
                !(by_limit && was_at_work && is_stopping(self.to)) || self.world.looked
            }
        }
    }

    /// Before anything was started, a shutdown is an end only where somebody has said that this is no warm pool.
    fn pool_is_stopped(&self) -> bool {
        let shuts_down = self.from.shutdown || *self.event == Event::Stop(Stop::Shutdown);
        let before = self.from.phase.runner().is_none() && self.from.phase.end().is_none();
        if !shuts_down || !before || self.to.phase.end().is_none() || self.policy.ending == Ending::Process {
            return true;
        }
        match self.event {
            // An end of its own.
            Event::Stop(Stop::Drain | Stop::DrainNow) | Event::Notice(_) | Event::Passed(Timer::Lifetime) => true,
            Event::Begin(_) | Event::Resumed | Event::NotFit { .. } => true,
            Event::Identified(identity) => {
                let told = matches!(identity.target, Target::Absent | Target::InService);
                identity.notice.is_some() || (told && self.from.phase != Phase::Warm)
            }
            Event::Stop(Stop::Shutdown) => self.from.in_group && self.from.phase != Phase::Warm,
            _ => false,
        }
    }

    fn target_counts(&self) -> bool {
        let warm = self.to.phase == Phase::Warm;
        let waits = matches!(self.from.phase, Phase::Booting { .. } | Phase::WaitingForJitConfig { .. });
        match self.event {
            Event::Warmed => warm || !waits,
            Event::InService => self.to.in_group || warm,
            Event::Identified(Identity { target: Target::Absent | Target::Unknown, notice: None, .. }) => {
                warm || self.from.phase != Phase::Warm
            }
            _ => true,
        }
    }

    fn job_has_its_time(&self) -> bool {
        let Phase::Assigned { deadline, runner } = &self.to.phase else { return true };
        let named = self.from.phase.runner().is_some_and(|runner| runner.evidence.job_name.is_some());
        let newer = match self.event {
            Event::Observed(Observation::JobMessage) => true,
            Event::Observed(Observation::Running { .. }) => !named,
            _ => false,
        };
        let whole = !newer || *deadline >= self.now + self.policy.limits.assigned;
        // A message alone may be a ghost, and the runner waits for a job as before.
        match self.from.phase {
            Phase::Idle { deadline: idle, .. } if runner.evidence.job_name.is_none() => whole && *deadline >= idle,
            _ => whole,
        }
    }

    fn lost_job_is_told(&self) -> bool {
        let (Phase::Draining { reason, runner, .. }, Some(end)) = (&self.from.phase, self.to.phase.end()) else {
            return true;
        };
        let mut evidence = runner.evidence.clone();
        let mut exit = runner.exit;
        match self.event {
            Event::Observed(observation) => evidence.absorb(observation),
            Event::Exited(code) => exit = Some(*code),
            Event::Begin(_) | Event::NotStarted { .. } => return true,
            _ => {}
        }
        let came = evidence.assigned() || matches!(exit, Some(Exit::Code(100..=105)));
        let told = end.outcome == Outcome::IdleRaced && end.stopped_for == Some(*reason);
        let made_it = evidence.result().is_some_and(|result| result.outcome() == Outcome::JobSucceeded);
        !(self.world.stopped_idle && came) || told || made_it
    }

    /// A worker that is killed by a deadline lost its steps before it.
    fn report_before_kill(&self) -> bool {
        let due = matches!((self.event, &self.from.phase), (Event::Passed(Timer::Phase), Phase::Draining { .. }));
        let run = self.from.phase.runner();
        let at_work = run.is_some_and(|runner| runner.evidence.assigned() && !runner.evidence.job_over());
        // No time at all is nobody's to divide.
        let in_time = |steps: StepsLeft| steps.killed || Some(steps.until) >= self.from.phase.deadline();
        let steps_killed = run.is_some_and(|runner| runner.steps.is_some_and(in_time));
        let in_a_stop = matches!(self.from.phase, Phase::Draining { killed: false, .. });
        let kills = |effect: &Effect| *effect == Effect::Kill;
        (!self.wants(|effect| *effect == Effect::KillSteps) || in_a_stop)
            && (!(due && at_work && self.wants(kills)) || steps_killed)
    }

    fn wants(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(wanted)
    }

    /// Asked for once by an agent process, and by none that knows of a start. (Of two that do not know of each other,
    /// the marker lets one start: that is the supervisor process's and the unit's promise.)
    fn one_start(&self) -> bool {
        let starts = self.effects.iter().filter(|effect| **effect == Effect::StartRunner).count();
        starts == 0 || (starts == 1 && self.world.asked != Asked::Now && !self.world.told)
    }

    fn has_deadline(&self) -> bool {
        let Policy { limits, stop_at, kill_at, .. } = self.policy;
        let limit = match self.to.phase {
            Phase::Warm | Phase::Ended { .. } => return true,
            Phase::Held { .. } => return self.to.phase.deadline().is_some(), // as asked; the lifetime bounds it
            Phase::Booting { .. } => limits.booting,
            Phase::WaitingForJitConfig { .. } => limits.jit_wait,
            Phase::Starting { .. } => limits.listening,
            // A failed update goes on with what was left before.
            Phase::Idle { .. } => limits.idle.max(limits.listening),
            // A message alone may be a ghost: then what was left before counts, too.
            Phase::Assigned { .. } => limits.assigned.max(limits.idle).max(limits.listening),
            Phase::Busy { .. } => limits.job,
            Phase::Finishing { .. } => limits.finishing.max(limits.orphaned),
            Phase::Updating { .. } => limits.updating,
            // Told late, the runner still gets two seconds to pass it on.
            Phase::Draining { .. } => limits.draining.max(KILL_GRACE).max(seconds(2)).max(*stop_at - *kill_at),
            Phase::Closing { .. } => limits.closing,
            Phase::Terminating { .. } => limits.terminating,
        };
        self.to.phase.deadline().is_some_and(|deadline| deadline <= self.now + limit)
    }

    /// With [`Invariant::LifetimeBounds`] and [`Invariant::EndGoesOn`], this is why every run ends: see `main.rs`.
    fn timer_moves_on(&self) -> bool {
        let Event::Passed(timer) = self.event else { return true };
        let due = |state: &State| state.timers().any(|(running, at)| running == *timer && at <= self.now);
        let leaves = self.wants(|effect| *effect == Effect::Leave);
        !due(self.from) || !due(self.to) || position(&self.to.phase) > position(&self.from.phase) || leaves
    }

    fn lifetime_bounds(&self) -> bool {
        let still = self.to.lifetime == Lifetime::Paused;
        if still && self.to.phase != Phase::Warm {
            return false; // time stands still only in the warm pool
        }
        if self.to.lifetime == Lifetime::Passed && !is_stopping(self.to) {
            return false;
        }
        if matches!(self.to.phase, Phase::Held { .. }) && !matches!(self.to.lifetime, Lifetime::Until(_)) {
            return false; // nothing would end a machine that is held again and again
        }
        let learning = matches!(self.from.phase, Phase::Booting { .. } | Phase::Warm);
        let renewed = learning || matches!(self.event, Event::Begin(Begin::SecondBoot { .. }));
        match (self.from.lifetime, self.to.lifetime) {
            (Lifetime::Until(before), Lifetime::Until(after)) => after <= before || renewed,
            (Lifetime::Passed, Lifetime::Until(_) | Lifetime::Paused) => renewed,
            _ => true,
        }
    }

    fn end_goes_on(&self) -> bool {
        let (from, to) = (&self.from.phase, &self.to.phase);
        if !is_stopping(self.from) {
            return true;
        }
        match self.event {
            // A machine that is still there, or there again, is ended once more.
            Event::Begin(_) if from.end().is_some() => to.end().is_some(),
            // A person may keep a held machine for longer, as long as its lifetime.
            Event::Hold(_) if matches!((from, to), (Phase::Held { .. }, Phase::Held { .. })) => true,
            _ => position(to) > position(from) || (position(to) == position(from) && to.deadline() <= from.deadline()),
        }
    }

    fn stop_is_obeyed(&self) -> bool {
        let run = self.from.phase.runner();
        let has_job = run.is_some_and(|runner| runner.evidence.assigned());
        let obeyed = match self.event {
            Event::Stop(Stop::Shutdown | Stop::DrainNow) | Event::Resumed => true,
            Event::Stop(Stop::Drain)
            | Event::Notice(Notice::Spot { .. } | Notice::SpotHibernate | Notice::GroupTerminates) => !has_job,
            _ => false,
        };
        let in_the_pool = self.from.phase == Phase::Warm && *self.event == Event::Resumed;
        // What the group wants is asked first; `PoolIsStopped` and the deadline have the rest.
        let asked = *self.event == Event::Stop(Stop::Shutdown) && run.is_none() && self.to.shutdown;
        !obeyed || in_the_pool || asked || is_stopping(self.to)
    }

    fn job_is_safe(&self) -> bool {
        let run = self.from.phase.runner();
        let worker_alive = run.is_some_and(|runner| runner.evidence.worker == Worker::Alive)
            && *self.event != Event::Observed(Observation::WorkerGone);
        let stops = |effect: &Effect| {
            matches!(
                effect,
                Effect::Interrupt { .. }
                    | Effect::InterruptSteps
                    | Effect::KillSteps
                    | Effect::Kill
                    | Effect::Close { .. }
            )
        };
        if !worker_alive || !self.wants(stops) {
            return true;
        }
        let told_before = matches!(self.from.phase, Phase::Draining { .. });
        let reason = match &self.to.phase {
            Phase::Draining { reason, .. } => Some(*reason),
            phase => phase.end().map(|end| end.outcome),
        };
        let lock_lost = run.is_some_and(|runner| runner.lock.is_some_and(|at| at <= self.now));
        // The list.
        let listed = (reason == Some(Outcome::JobAbandoned) && lock_lost)
            || matches!(
                reason,
                Some(
                    Outcome::JobTimeout
                        | Outcome::Lifetime
                        | Outcome::SpotInterruption
                        | Outcome::ScheduledEvent
                        | Outcome::AsgTermination
                        | Outcome::ExternalShutdown
                        | Outcome::OperatorDrain
                        | Outcome::SecondBoot
                        | Outcome::Resumed
                )
            );
        let cause = matches!(
            self.event,
            Event::Passed(_)
                | Event::Polled
                | Event::Stop(Stop::Shutdown | Stop::DrainNow)
                | Event::Notice(Notice::Spot { .. } | Notice::SpotHibernate | Notice::Scheduled { .. })
                | Event::Resumed
                | Event::Begin(Begin::SecondBoot { .. })
        );
        // A worker without its listener can lose only what it has left to report.
        let orphan = run.is_some_and(|runner| runner.exit.is_some());
        told_before || (cause && (listed || orphan))
    }

    fn flushed_first(&self) -> bool {
        let closing = matches!(self.from.phase, Phase::Closing { .. });
        let closed = match self.event {
            Event::Closed => closing,
            Event::Passed(Timer::Phase) => closing && self.from.phase.deadline() <= Some(self.now),
            _ => false,
        };
        let after =
            |phase: &Phase| matches!(phase, Phase::Held { .. } | Phase::Terminating { .. } | Phase::Ended { .. });
        let ends = self.wants(|effect| matches!(effect, Effect::Terminate(_)));
        (!after(&self.to.phase) && !ends) || closed || after(&self.from.phase)
    }
}

/// The run is on its way out, and nothing turns it around.
fn is_stopping(state: &State) -> bool {
    position(&state.phase) > (0, 0)
}

/// How far on its way out a run is. There are 16 positions.
const fn position(phase: &Phase) -> (u8, u8) {
    match phase {
        Phase::Booting { .. }
        | Phase::Warm
        | Phase::WaitingForJitConfig { .. }
        | Phase::Starting { .. }
        | Phase::Idle { .. }
        | Phase::Assigned { .. }
        | Phase::Busy { .. }
        | Phase::Finishing { .. }
        | Phase::Updating { .. } => (0, 0),
        Phase::Draining { killed, .. } => (1, *killed as u8),
        Phase::Closing { .. } => (2, 0),
        Phase::Held { .. } => (3, 0),
        Phase::Terminating { method, accepted, .. } => {
            let method = match method {
                TerminationMethod::AutoScaling { decrement: true } => 0,
                TerminationMethod::AutoScaling { decrement: false } => 2,
                TerminationMethod::LifecycleAction => 4,
                TerminationMethod::Ec2 => 6,
                TerminationMethod::PowerOff => 8,
            };
            (4, method + *accepted as u8)
        }
        Phase::Ended { .. } => (5, 0),
    }
}
