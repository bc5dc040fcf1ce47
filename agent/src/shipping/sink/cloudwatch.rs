//! CloudWatch Logs: streams `<instance-id>/<stream>` in one group. Confirmed is what the service has accepted.

use tokio::sync::{OnceCell, Semaphore, watch};

use super::{Destination, Dropped, SinkError, dropped};
use crate::platform::aws::{CallError, Class, logs};
use crate::shipping::batch::LogEvent;
use mayfly_core::record::LossReason;

/// So many requests at a time: each is up to 1 MiB, and in memory twice while it is sent.
const AT_ONCE: usize = 2;

/// See the module.
#[derive(Debug)]
pub(in crate::shipping) struct CloudWatch {
    instance: String,
    destination: watch::Receiver<Option<Destination>>,
    ready: OnceCell<Destination>,
    requests: Semaphore,
}

impl CloudWatch {
    pub(super) fn new(instance: &str, destination: watch::Receiver<Option<Destination>>) -> Self {
        let ready = OnceCell::new();
        Self { instance: instance.to_owned(), destination, ready, requests: Semaphore::new(AT_ONCE) }
    }

    pub(super) async fn put(&self, stream: &str, events: &[LogEvent]) -> Result<Dropped, SinkError> {
        let Destination { group, aws } = self.ready.get_or_try_init(|| self.get_ready()).await?;
        let stream = format!("{}/{stream}", self.instance);
        let _turn = self.requests.acquire().await;
        // The service takes no empty message.
        let texts = || events.iter().map(|event| (event.at, if event.text.is_empty() { " " } else { &*event.text }));
        let accepted = match logs::put(aws, group, &stream, texts()).await {
            Err(error) if error.class == Class::NotFound => {
                logs::create(aws, group, &stream).await?;
                logs::put(aws, group, &stream, texts()).await?
            }
            other => other?,
        };
        Ok(dropped(events, accepted.old_end, accepted.new_start))
    }

    async fn get_ready(&self) -> Result<Destination, SinkError> {
        let mut destination = self.destination.clone();
        let found = destination.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        let unknown = || SinkError { reason: LossReason::Unreachable, detail: "the log group is not known".to_owned() };
        found.ok_or_else(unknown)
    }
}

impl From<CallError> for SinkError {
    fn from(error: CallError) -> Self {
        let reason = match error.class {
            Class::Denied | Class::Credentials => LossReason::Denied,
            Class::Throttled => LossReason::Throttled,
            Class::Invalid => LossReason::Refused,
            Class::NotFound | Class::Transient | Class::Other => LossReason::Unreachable,
        };
        Self { reason, detail: error.to_string() }
    }
}
