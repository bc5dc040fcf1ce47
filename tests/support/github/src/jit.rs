//! JIT configurations that the agent and the runner's double accept.

use mayfly_fake_runner::JitConfig;
use serde_json::{Value, json};

use crate::world::model::Runner;

/// What is in the configuration beside the runner itself.
pub(crate) struct Written<'a> {
    /// Where the runner reports to: this double.
    pub(crate) service: &'a str,
    pub(crate) work_folder: &'a str,
}

/// The blob for a runner, at least `size` characters long where its content is shorter.
pub(crate) fn encode(runner: &Runner, written: &Written<'_>, size: usize) -> String {
    let set = |config: JitConfig, key: &str, value: Value| config.setting(key, Some(value));
    let mut config = JitConfig::new(runner.id);
    for (key, value) in [
        ("AgentId", json!(runner.id.to_string())),
        ("AgentName", json!(runner.name)),
        ("PoolId", json!(runner.group_id.to_string())),
        ("ServerUrl", json!(written.service)),
        ("WorkFolder", json!(written.work_folder)),
    ] {
        config = set(config, key, value);
    }
    // Left out for the size that was seen in the field; nobody here reads them.
    config = config.setting("ServerUrlV2", None).setting("UseRunnerAdminFlow", None);
    // Every byte is encoded twice, in steps: the first that is long enough.
    let short = size.saturating_sub(config.encode().len());
    let padded = (short.saturating_sub(40) * 9 / 16..=short).map(|bytes| config.clone().padding(bytes).encode());
    if short == 0 { config.encode() } else { padded.into_iter().find(|blob| blob.len() >= size).unwrap_or_default() }
}
