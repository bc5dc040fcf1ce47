//! What is asked before anything is started: who this is, and whether a notice stands already.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Notices;
use crate::base::clock;
use mayfly_core::lifecycle::{Event, Identity, Target};
use mayfly_core::notices::{Reading, SPOT_ACTION, TARGET_STATE, at_start};

/// How long looking for a notice at start may take: it delays every start, and mostly there is none.
const NOTICE_BUDGET: Duration = Duration::from_secs(2);

/// How long a shutdown waits for what the group wants: a new instance is told a moment later.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is asked for meanwhile.
const SHUTDOWN_INTERVAL: Duration = Duration::from_millis(300);

impl Notices {
    /// Answers [`mayfly_core::lifecycle::Effect::Identify`]: who this is, and whether a notice is waiting already.
    pub async fn identify(&self) -> Event {
        self.note_asked(Target::Unknown);
        if let Some(error) = self.ec2.unidentified() {
            return Event::NotIdentified { detail: error.to_string() };
        }
        let (spot, target) = tokio::join!(
            self.told(SPOT_ACTION, "whether there is a spot notice"),
            self.told(TARGET_STATE, "the target lifecycle state")
        );
        let (target, notice) = at_start(&spot, &target, clock::now(), |moment| self.ec2.boot_time(moment));
        self.note_asked(target);
        Event::Identified(Identity { target, launched: self.ec2.launched(), notice })
    }

    /// The same for a shutdown, which ends the run of an instance or is its warm pool's: "nothing is told" is believed only
    /// after a while.
    pub async fn identify_at_shutdown(&self) -> Event {
        let deadline = Instant::now() + self.ec2.scaled(SHUTDOWN_TIMEOUT);
        loop {
            let event = self.identify().await;
            let told = !matches!(&event, Event::Identified(identity)
                if identity.notice.is_none() && matches!(identity.target, Target::Absent | Target::Unknown));
            if told || Instant::now() >= deadline {
                return event;
            }
            tokio::time::sleep(self.ec2.scaled(SHUTDOWN_INTERVAL)).await;
        }
    }

    /// What stands at a path of the metadata service: "nothing is told" and "nobody answers" are two answers.
    async fn told(&self, path: &str, what: &str) -> Reading {
        match self.ec2.metadata().get_text(path, NOTICE_BUDGET).await {
            Ok(Some(body)) => Reading::Present(body),
            Ok(None) => Reading::Absent,
            Err(error) => {
                warn!("{what} is not known: {error}");
                Reading::Unknown
            }
        }
    }
}
