//! Every log line is in the sink, or is counted as lost for a reason.

use serde_json::Value;

use super::{BLUR, Verdict};
use crate::limits;
use crate::plan::{Disk, Plan, What};
use crate::witness::Witness;

pub(super) fn judge(plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    // At the moment that counts: when the machine's end was asked for first.
    let Some(asked) = &witness.before_end else { return };
    let streams: Vec<Counts> = asked.record["logs"].as_array().into_iter().flatten().map(Counts::of).collect();
    // Where the time of closing was over, nobody waited for an answer.
    let gave_up = witness.entered("Closing").is_none_or(|from| asked.at.saturating_sub(from) + BLUR >= limits::CLOSING);
    // A state directory that takes nothing holds neither the lines nor how far they are shipped, and no lines are confirmed
    // while the agent stands still.
    let hindered = plan.disk != Disk::Plain || witness.did(|what| matches!(what, What::FreezeAgent { .. }));
    for stream in streams.iter().filter(|_| !gave_up) {
        let in_sink = asked.lines_in_sink.get(&stream.name).copied().unwrap_or(0);
        verdict.unless(stream.read == stream.confirmed + stream.lost, "every line is confirmed or counted", || {
            format!("{stream:?}")
        });
        verdict.unless(stream.confirmed <= in_sink, "what is confirmed is in the sink", || {
            format!("{stream:?}, in the sink {in_sink}")
        });
        verdict.unless(stream.lost == 0 || hindered, "no line is lost", || format!("{stream:?}"));
    }
}

#[derive(Debug)]
struct Counts {
    name: String,
    read: u64,
    confirmed: u64,
    lost: u64,
    #[allow(dead_code, reason = "it is shown")]
    why: Value,
}

impl Counts {
    fn of(stream: &Value) -> Self {
        let number = |key: &str| stream[key].as_u64().unwrap_or(0);
        Self {
            name: stream["stream"].as_str().unwrap_or_default().to_owned(),
            read: number("read"),
            confirmed: number("confirmed"),
            lost: number("lost"),
            why: stream["why"].clone(),
        }
    }
}
