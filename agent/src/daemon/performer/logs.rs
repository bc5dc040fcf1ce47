//! The run's hold on shipping.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::daemon::settings::Platform;
use crate::log;
use crate::platform::ec2::Ec2;
use crate::shipping::{Destination, Shipping, ShippingSettings, SinkSettings};
use mayfly_core::record::StreamCounts;
use mayfly_core::runner::jit::JitConfig;

/// How long a tag that names the log group may come later than the instance.
const TAG_PATIENCE: Duration = Duration::from_secs(60);

/// So long the start of the run has the metadata service for itself; the first lines wait about as long.
const ASIDE: Duration = Duration::from_secs(2);

/// How often it is asked again where logs go.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module. Where no logs are shipped, it does nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    shipping: Option<Arc<Shipping>>,
    /// The run ends: nothing that comes late is waited for.
    hurry: Arc<Notify>,
    /// What became of every line, once that was asked for.
    last: Arc<OnceLock<Vec<StreamCounts>>>,
}

impl Logs {
    pub(super) fn begin(settings: Option<ShippingSettings>, platform: &Platform) -> Self {
        let Some(settings) = settings else { return Self::default() };
        let group = match &settings.sink {
            SinkSettings::CloudWatch(group) => Some(group.clone()),
            SinkSettings::Directory(_) => None,
        };
        let logs = Self { shipping: Some(Arc::new(Shipping::begin(&settings))), ..Self::default() };
        if let (Some(group), Platform::Ec2 { ec2, .. }) = (group, platform) {
            tokio::spawn(logs.clone().find(Arc::clone(ec2), group));
        }
        logs
    }

    /// Finds out where the group is, however long that takes: an instance may learn late who it is.
    async fn find(self, ec2: Arc<Ec2>, group: String) {
        let Some(shipping) = &self.shipping else { return };
        tokio::select! {
            () = tokio::time::sleep(ec2.scaled(ASIDE)) => {}
            () = self.hurry.notified() => self.hurry.notify_one(),
        }
        let aws = loop {
            match ec2.aws_of_another_thread().await {
                Ok(aws) => break aws,
                Err(_) => tokio::time::sleep(ec2.scaled(PAUSE)).await,
            }
        };
        let name = tokio::select! {
            name = ec2.log_group(&group, TAG_PATIENCE) => name,
            () = self.hurry.notified() => ec2.log_group(&group, Duration::ZERO).await,
        };
        info!("logs go to the group {name}");
        shipping.to(Destination { group: name, aws });
    }

    /// From now on no line with a part of it is shipped.
    pub(super) fn protect(&self, config: &JitConfig) {
        if let Some(shipping) = &self.shipping {
            shipping.protect(config.material());
        }
    }

    /// Up to where the runner's console was shipped.
    pub(super) fn console(&self) -> Option<Arc<AtomicU64>> {
        self.shipping.as_ref().map(|shipping| shipping.console())
    }

    /// What became of the lines: of every line, once they were flushed.
    pub(super) fn counts(&self) -> Vec<StreamCounts> {
        let so_far = || self.shipping.as_ref().map(|shipping| shipping.counts()).unwrap_or_default();
        self.last.get().cloned().unwrap_or_else(so_far)
    }

    /// Ships what is there, until then, and says what became of every line.
    pub(super) async fn flush(&self, until: Instant) {
        let Some(shipping) = &self.shipping else { return };
        self.hurry.notify_one();
        let counts = shipping.flush(until).await;
        for stream in &counts {
            let why: Vec<_> =
                stream.why.iter().map(|(reason, lines)| format!("{lines}: {}", reason.meaning())).collect();
            if stream.lost > 0 {
                warn!(
                    "{} of {} log lines of the stream {} are lost ({})",
                    stream.lost,
                    stream.read,
                    stream.stream,
                    why.join("; ")
                );
            }
        }
        let _ = self.last.set(counts);
    }

    /// Ships one line more, after [`Self::flush`], if there is a chance that it arrives before then.
    pub(super) async fn tell_last(&self, line: &str, until: Instant) {
        let Some(shipping) = &self.shipping else { return };
        log::record(line);
        if self.counts().iter().all(|stream| stream.lost == 0 || stream.confirmed > 0) {
            shipping.flush(until).await;
        }
    }
}
