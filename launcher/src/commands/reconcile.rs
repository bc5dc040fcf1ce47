//! `mayfly-launcher reconcile`

use std::process::ExitCode;
use std::time::Duration;

use mayfly_core::launcher::JobStatus;

use super::{connect, print};
use crate::config::Config;
use crate::serve::Engine;

pub(super) async fn run(config: Config, within: Duration) -> ExitCode {
    let (github, providers) = match connect(&config).await {
        Ok(both) => both,
        Err(code) => return code,
    };
    let mut engine = Engine::new(config, github, providers);
    engine.pass(within.min(Duration::from_secs(3600))).await;
    let world = engine.world();
    let waiting = world.jobs.values().filter(|job| job.status == JobStatus::Queued).count();
    let mended = &world.mended;
    print(&format!(
        "{} instances, {waiting} jobs wait; ended: {} without a sign, {} past their lifetime; removed: {} runner records, {} parameters",
        world.instances.values().filter(|instance| !instance.is_gone()).count(),
        mended.silent,
        mended.overdue,
        mended.runners,
        mended.parameters,
    ));
    if world.listed_at.is_some() { ExitCode::SUCCESS } else { ExitCode::from(69) }
}
