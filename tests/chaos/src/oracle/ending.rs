//! One start, one end, in time, and nothing left.

use std::time::Duration;

use super::{BLUR, Verdict};
use crate::limits;
use crate::plan::{Between, Disk, Machine, Plan, What};
use crate::witness::{End, Exit, Witness};
use crate::world::TERMINATIONS;

const SIGTERM: i32 = 15;

/// How long a process may take to begin on a loaded machine.
const YOUNG: Duration = Duration::from_millis(1000);

pub(super) fn judge(plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    let starts = witness.recording.starts().len();
    verdict.unless(starts <= 1, "one JIT configuration starts one listener", || format!("{starts} were started"));
    verdict.unless(witness.end != End::Hung, "every run ends in time", || {
        format!(
            "not ended after {:?}; bound {:?}; states {:?}",
            witness.took,
            limits::bound(plan),
            last_states(witness)
        )
    });
    verdict.unless(witness.end != End::Clung, "the agent goes with its machine", || {
        format!("it was still there after SIGTERM; states {:?}", last_states(witness))
    });
    // SIGTERM may come before the process can catch it, which it cannot while it stands still.
    let frozen = witness.done.iter().map(|(_, what)| match what {
        What::FreezeAgent { time } => *time,
        _ => Duration::ZERO,
    });
    let young = YOUNG + frozen.max().unwrap_or_default();
    let too_young = |exit: &Exit| exit.signal == Some(SIGTERM) && exit.ran < young;
    let well = witness.exits.iter().all(|exit| exit.code == Some(0) || too_young(exit));
    verdict.unless(well, "the agent ends by itself with 0", || format!("it ended with {:?}", witness.exits));
    accepted(plan, witness, verdict);
    twice(witness, verdict);
    before_end(plan, witness, verdict);
    if witness.end == End::Gone {
        let forgiven = kept_by_double(witness);
        verdict.unless(witness.left.is_empty() || forgiven, "no process of the runner outlives the run", || {
            format!("{:#?}", witness.left)
        });
        verdict.unless(
            witness.operators_left == 0,
            "an operator's command does not wait for an agent that is gone",
            || format!("{} still did", witness.operators_left),
        );
        // Files of a start that never happened are known to the journal alone.
        let forgotten = lost_journal(witness) && witness.recording.starts().is_empty();
        verdict.unless(
            witness.files_left.is_empty() || forgotten || forgiven,
            "no file of the JIT configuration outlives the run",
            || format!("{:?}", witness.files_left),
        );
    }
    verdict.unless(witness.secrets.is_empty(), "no secret is shown", || format!("{:#?}", witness.secrets));
}

/// The systemd of these runs is a double that signals the listener and stops no unit.
fn kept_by_double(witness: &Witness) -> bool {
    witness.did(|what| matches!(what, What::KillAgent { between: Between::SilentBus, .. }))
}

fn lost_journal(witness: &Witness) -> bool {
    witness.did(|what| matches!(what, What::KillAgent { between: Between::LineLost | Between::Garbage, .. }))
}

fn last_states(witness: &Witness) -> Vec<String> {
    let from = witness.states.len().saturating_sub(4);
    witness.states[from..].iter().map(|(at, state)| format!("{state} at {at:?}")).collect()
}

/// An agent that ends by itself has ended its machine, unless nobody let it.
fn accepted(plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    let accepted = witness.terminations.iter().any(|termination| termination.accepted);
    let nobody_let_it = plan.machine == Machine::StaysOn
        && witness.did(|what| match what {
            What::Aws { action, .. } => TERMINATIONS.contains(action),
            // No identity or no credentials, and no call without them.
            What::AwsSilent(_) | What::Imds { .. } | What::ImdsSilent(_) | What::ImdsRefuses(_) => true,
            What::ImdsForgetsTokens => true,
            _ => false,
        });
    verdict.unless(accepted || nobody_let_it || witness.end != End::Gone, "the machine is ended", || {
        format!("the agent ended, and nothing ended the machine: {:?}", witness.terminations)
    });
}

/// While an accepted end may still come, no other is asked for. An agent process that never got the answer may ask again:
/// a later one, one that stood still, or one whose attempt took too long.
fn twice(witness: &Witness, verdict: &mut Verdict) {
    let accepted: Vec<_> = witness.terminations.iter().filter(|termination| termination.accepted).collect();
    let again = accepted.windows(2).find(|pair| {
        let (first, second) = (pair[0], pair[1]);
        let restarted = witness.agents.iter().any(|began| (first.at..=second.at).contains(began));
        let stood_still = witness.done.iter().any(|(at, what)| match what {
            What::FreezeAgent { time } => *at <= second.at && first.at <= *at + *time + limits::TERMINATING,
            _ => false,
        });
        let gap = second.at.saturating_sub(first.at);
        // The method's time may be over while its answer is on the way.
        let tried = witness.states.iter().rfind(|(at, state)| state == "Terminating" && *at <= second.at);
        let method = tried.map_or(gap, |(at, _)| second.at.saturating_sub(*at));
        // And an attempt's, which may have reached a busy double only when the agent had given it up.
        let waited =
            method + BLUR >= limits::TERMINATING || (first.how == second.how && gap.max(method) >= limits::ATTEMPT);
        !(restarted || stood_still || waited)
    });
    verdict.unless(again.is_none(), "an accepted end is not asked for again", || format!("{again:?}"));
}

fn before_end(plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    let Some(tidiness) = &witness.before_end else { return };
    let gave_up = witness.entered("Closing").is_some_and(|at| tidiness.at.saturating_sub(at) + BLUR >= limits::CLOSING);
    // A disk that takes no record, and journals that were spoilt, are not this promise's.
    if gave_up || plan.disk != Disk::Plain || lost_journal(witness) {
        return;
    }
    let recorded = tidiness.record["outcome"].is_string();
    verdict.unless(recorded, "the record is written before the machine is ended", || format!("{tidiness:?}"));
    let problem = mayfly_e2e::schema::problem(&witness.record);
    verdict.unless(problem.is_none(), "the record is one by its schema", || format!("{problem:?}"));
    verdict.unless(
        tidiness.files.is_empty() && tidiness.processes.is_empty() || kept_by_double(witness),
        "the runner is cleared away before the machine is ended",
        || format!("{tidiness:?}"),
    );
}
