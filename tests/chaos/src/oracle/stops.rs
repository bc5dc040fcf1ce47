//! A job that runs is stopped only for a reason on the list.

use mayfly_fake_runner::recording::{Event, Who};

use super::{BLUR, Verdict};
use crate::limits;
use crate::plan::{Between, Plan, What};
use crate::witness::Witness;

pub(super) fn judge(_plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    let at = |is: &dyn Fn(&Event) -> bool| {
        witness.recording.records.iter().find(|record| is(&record.event)).map(|record| witness.since(record.at_ms))
    };
    let Some(working) = at(&|event| matches!(event, Event::WorkerStart { .. })) else { return };
    let done = at(&|event| matches!(event, Event::WorkerExit { .. } | Event::Exit { who: Who::Worker, .. }));
    let signalled = at(&|event| matches!(event, Event::Signal { who: Who::Listener, .. }));
    let Some(signalled) = signalled else { return };
    // What was decided before there was a worker stops no job; the signal needs its time.
    let decided = witness.entered("Draining").map_or(signalled, |decided| decided.min(signalled));
    if decided < working || done.is_some_and(|done| done <= signalled) {
        return;
    }
    let listed = witness.did(|what| {
        matches!(
            what,
            What::TermAgent
                | What::Spot { .. }
                | What::Scheduled { .. }
                | What::GroupTerminates
                | What::Drain { .. }
                // What was seen of the job is gone with these.
                | What::KillAgent { between: Between::LineLost | Between::Garbage | Between::Reboot, .. }
        )
    });
    let ran = signalled.saturating_sub(working);
    let too_long = ran + BLUR >= limits::JOB || signalled + BLUR >= limits::LIFETIME;
    // A listener that stood still took its job late, and a worker that was killed leaves one that waits.
    let wedged =
        witness.did(|what| matches!(what, What::FreezeListener { .. } | What::KillWorker | What::FreezeAgent { .. }));
    verdict.unless(listed || too_long || wedged, "a running job is stopped only for a listed reason", || {
        format!("it was signalled {ran:?} after its worker's start, outcome {:?}", witness.outcome())
    });
}
