//! What reaches the loop that owns the state.

use mayfly_core::lifecycle::Event;

/// Something for the loop.
#[derive(Debug)]
pub enum Seen {
    /// For the lifecycle.
    Event(Event),
    /// A console line, for the log and for people.
    Line {
        /// The line.
        line: String,
        /// Where it ends in the console's file.
        end: u64,
    },
    /// The agent process is to end, and the runner to go on.
    Detach,
}
