//! What the readers of foreign text promise for any bytes at all. The fuzzer looks for bytes that break a promise, and
//! `core/tests/properties` tries the corpus and random bytes with every build.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "each target uses its own promise, by a panic")]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_core::config::{Config, Origin, keys, load};
use mayfly_core::lifecycle::{JobResult, Observation};
use mayfly_core::notices;
use mayfly_core::runner::jit::{JitConfig, JitError};
use mayfly_core::runner::{console, perf};

/// The bytes as the whole blob, as its JSON, and as its `.runner` file.
pub(crate) fn jit_blob(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        blob_is_safe(text);
    }
    blob_is_safe(&STANDARD.encode(data));
    let files = serde_json::json!({
        ".runner": STANDARD.encode(data),
        ".credentials": STANDARD.encode("{}"),
        ".credentials_rsaparams": STANDARD.encode("{}"),
    });
    blob_is_safe(&STANDARD.encode(files.to_string()));
}

fn blob_is_safe(encoded: &str) {
    let config = match JitConfig::decode(encoded) {
        Ok(config) => config,
        Err(error) => return refusal_tells_names_only(&error),
    };
    let names: Vec<&str> = config.names().collect();
    for name in &names {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(name.starts_with('.') && name.chars().all(plain), "{name:?} could leave the runner's directory");
        assert!(![".", "..", ".env", ".path", ".service", ".setup_info"].contains(name), "{name:?} was accepted");
    }
    for needed in [".runner", ".credentials", ".credentials_rsaparams"] {
        assert!(names.contains(&needed), "a blob without {needed} was accepted");
    }
    for (name, content) in config.files().filter(|(name, _)| *name == ".runner") {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let settings: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(content).unwrap();
        let denies = |value: &serde_json::Value| {
            *value == false || value.as_str().is_some_and(|text| text.trim().eq_ignore_ascii_case("false"))
        };
        let denied = settings.iter().any(|(key, value)| key.eq_ignore_ascii_case("ephemeral") && denies(value));
        assert!(!denied, "{name} says that the runner is for more than one job, and was accepted");
    }
    assert!(config.label().is_some_and(|label| label.len() == 6));
    let (shown, expected) = (format!("{config:?}"), format!("JitConfig {{ files: {names:?}, .. }}"));
    assert_eq!(shown, expected, "something else than names is shown");
}

fn refusal_tells_names_only(error: &JitError) {
    let name = match error {
        JitError::FileNotBase64(name) | JitError::UnsafeName(name) | JitError::Forbidden(name) => name.as_str(),
        JitError::Empty
        | JitError::TooLong(_)
        | JitError::NotBase64
        | JitError::NotJson
        | JitError::Missing(_)
        | JitError::SettingsNotJson
        | JitError::NotEphemeral => "",
    };
    assert!(name.chars().count() <= 80, "the refusal is as long as the blob: {} characters", name.len());
}

/// The bytes as the body of each answer.
pub(crate) fn imds_bodies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(notice) = notices::read_spot_action(text) {
        assert!(notice.action != notices::SpotAction::Other(String::new()), "a notice without an action was read");
        assert!(notice.time.at.is_none() || !notice.time.text.is_empty(), "a time came from nowhere");
    }
    for error in [notices::read_spot_action(text).err(), notices::read_rebalance(text).err()].into_iter().flatten() {
        assert!(error.text.chars().count() <= 120, "the error is as long as the body");
    }
    if let Ok(maintenance) = notices::read_maintenance(text) {
        let entries: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert_eq!(maintenance.events.len() + maintenance.unreadable, entries.len(), "an event was lost");
    }
    let leaves = notices::read_target_state(text).is_termination();
    assert_eq!(leaves, ["Terminated", "Warmed:Terminated"].contains(&text.trim()), "{text:?} was misread");
}

/// The bytes as what the listener prints, and as the name of its job.
pub(crate) fn console_line(data: &[u8]) {
    const STAMP: &str = "2026-11-21 08:00:00Z: ";
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n') {
        let stamped = matches!(
            console::observation(line),
            Some(
                Observation::Listening
                    | Observation::Reconnected
                    | Observation::Running { .. }
                    | Observation::Completed { .. }
            )
        );
        let at_its_place = line.get(19..22) == Some("Z: ") && line.starts_with(|c: char| c.is_ascii_digit());
        assert!(!stamped || at_its_place, "{line:?} was believed without a time stamp at its start");
        let name = &line[..line.floor_char_boundary(console::LONGEST_NAME)];
        let running = Observation::Running { job: name.to_owned() };
        assert_eq!(
            console::observation(&format!("{STAMP}Running job: {line}")),
            Some(running),
            "a name was more than a name"
        );
        let completed = Observation::Completed { job: name.to_owned(), result: JobResult::Failed };
        let printed = format!("{STAMP}Job {line} completed with result: Failed");
        assert_eq!(console::observation(&printed), Some(completed), "a name changed the result");
    }
}

/// The bytes as lines of the listener's perf log.
pub(crate) fn perf_log(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n') {
        let request = ["MessageReceived_RunnerJobRequest:", "MessageReceived_PipelineAgentJobRequest:"];
        let expected = request.iter().any(|request| line.starts_with(request)).then_some(Observation::JobMessage);
        assert_eq!(perf::observation(line), expected, "{line:?}");
    }
}

/// The bytes as the configuration file.
pub(crate) fn configuration(data: &[u8]) {
    let file = scratch();
    std::fs::write(&file, data).unwrap();
    let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
    match load(&file, [], &[]) {
        Ok(config) => {
            std::fs::write(&file, written(&config)).unwrap();
            let again = load(&file, [], &[]).unwrap_or_else(|problems| panic!("what is shown is refused: {problems}"));
            assert_eq!(again.texts, config.texts, "what is shown is not what was read");
            assert_eq!(format!("{:?}", again.policy()), format!("{:?}", config.policy()), "it means something else");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused for no reason");
            for problem in &problems.0 {
                let Origin::File(_, line) = problem.origin else { continue };
                assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem}");
            }
        }
    }
}

/// The configuration as `mayfly config show` prints it, but for the origins.
fn written(config: &Config) -> String {
    let (mut file, mut section) = (String::new(), "");
    for key in keys::KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            file.push_str(&format!("[{of}]\n"));
            section = of;
        }
        let text = &config.texts[key.name];
        let value = if key.kind == keys::ValueKind::Boolean {
            text.clone()
        } else {
            toml::Value::from(text.as_str()).to_string()
        };
        file.push_str(&format!("{name} = {value}\n"));
    }
    file
}

/// A file of this thread's own, in memory where there is such a place.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_alphanumeric(), "");
    directory.join(format!("mayfly-fuzz-{}-{thread}.toml", std::process::id()))
}
