//! What stands behind the rules: an emulator, or a double in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request;

use super::call::Call;
use super::error::Rendered;
use super::upstream::Upstream;
use super::whole::Whole;

/// Answers a call; a list is answered as of so long ago.
pub(crate) type Double = Arc<dyn Fn(&Call, &[u8], Duration) -> Rendered + Send + Sync>;

/// The service itself.
#[derive(Clone)]
pub(crate) enum Service {
    Emulator(Arc<Upstream>),
    Double(Double),
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Emulator(_) => "Emulator",
            Self::Double(_) => "Double",
        })
    }
}

impl Service {
    /// Carries a call out. Only a double of this process knows its own past.
    pub(crate) async fn answer(&self, head: &request::Parts, call: &Call, body: Bytes, age: Duration) -> Arc<Whole> {
        match self {
            Self::Emulator(upstream) => Arc::new(upstream.pass(head, body).await),
            Self::Double(double) => Whole::of(double(call, &body, age)),
        }
    }

    /// Whether it can itself answer this call as of some time ago.
    pub(crate) fn knows_past_of(&self, call: &Call) -> bool {
        matches!(self, Self::Double(_)) && call.action == "DescribeInstances"
    }
}
