//! What shipping says itself, in the agent's log, and nothing that happens on its thread besides: at a fine level every
//! request of the SDK would make lines, which would be shipped with a request, which would make lines.

use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::{DefaultGuard, NoSubscriber};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Voice(Dispatch);

impl Voice {
    /// The voice of the process.
    pub(super) fn new() -> Self {
        Self(dispatcher::get_default(Clone::clone))
    }

    /// Silences everything else on this thread, for as long as the guard lives.
    pub(super) fn silence_thread() -> DefaultGuard {
        tracing::subscriber::set_default(NoSubscriber::default())
    }

    /// Says what `say` logs. Once for each change of the state of things: what is said is shipped, too.
    pub(super) fn say(&self, say: impl FnOnce()) {
        dispatcher::with_default(&self.0, say);
    }
}
