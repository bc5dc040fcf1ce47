//! `mayfly unit`, as systemd calls it around the runner's unit: with the environment of that unit, not of the agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mayfly_e2e::run::mayfly_binary;
use serde_json::{Value, json};
use tempfile::TempDir;

const REGISTRATION: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

/// The paths of one start.
struct Place {
    top: TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::Builder::new().prefix("mayfly-unit-").tempdir().unwrap();
        for name in ["runtime", "state", "elsewhere/state", "elsewhere/runner", "runner/bin"] {
            fs::create_dir_all(top.path().join(name)).unwrap();
        }
        let listener = top.path().join("runner/bin/Runner.Listener");
        fs::write(&listener, "").unwrap();
        fs::set_permissions(listener, fs::Permissions::from_mode(0o755)).unwrap();
        Self { top }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// What the agent leaves for the privileged start.
    fn order(&self) {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let files: serde_json::Map<String, Value> =
            REGISTRATION.iter().map(|name| ((*name).to_owned(), json!("e30="))).collect();
        let order = json!({
            "instance": "i-0123456789abcdef0", "boot": "a-boot", "state_directory": self.path("state"),
            "directory": self.path("runner"), "user": user, "operators": null, "setup_info": "[]", "label": null,
            "files": files,
        });
        let path = self.path("runtime/start-request.json");
        fs::write(&path, order.to_string()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn unit(&self, moment: &str, environment: &[(&str, &Path)]) -> Output {
        let mut command = Command::new(mayfly_binary());
        command.args(["unit", moment]).current_dir(self.path("runner")).env_clear().stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", self.path("runtime")).envs(environment.iter().copied());
        command.output().unwrap()
    }

    fn prepare(&self) {
        self.order();
        let output = self.unit("prepare", &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(self.path("runner/.credentials").exists(), "the test is wrong: no registration was put in place");
    }

    fn assert_cleared(&self) {
        for name in [".service", ".setup_info"].iter().chain(&REGISTRATION) {
            let left = self.path("runner").join(name).exists();
            assert!(!left, "{name} is left: whoever looks at the held machine can act as the runner");
        }
    }
}

#[test]
fn the_stop_clears_away_where_the_start_was_whatever_its_environment_says() {
    let place = Place::new();
    place.prepare();
    let (state, runner) = (place.path("elsewhere/state"), place.path("elsewhere/runner"));
    fs::write(runner.join(".credentials"), "of another runner").unwrap();
    let foreign = [
        ("MAYFLY_STATE_DIRECTORY", state.as_path()),
        ("MAYFLY_RUNNER_DIRECTORY", runner.as_path()),
        ("EXIT_CODE", Path::new("exited")),
        ("EXIT_STATUS", Path::new("102")),
    ];
    assert!(place.unit("stopped", &foreign).status.success());
    place.assert_cleared();
    let exit = fs::read_to_string(place.path("state/runner.exit")).unwrap_or_default();
    assert!(exit.contains("102"), "how the listener ended is lost: {exit:?}");
    assert!(runner.join(".credentials").exists(), "what belongs to another runner was removed");
    assert_eq!(fs::read_dir(state).unwrap().count(), 0, "something was written where no start was");
}

/// Somebody broke the configuration while the job ran.
#[test]
fn the_stop_clears_away_although_the_configuration_is_broken_by_now() {
    let place = Place::new();
    place.prepare();
    let output = place.unit("stopped", &[("MAYFLY_LIMITS_IDLE", Path::new("tomorrow"))]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.assert_cleared();
}

/// What says where to remove files, with full privileges, is believed only if it is the agent's alone.
#[test]
fn a_note_that_others_could_have_written_is_not_believed() {
    let place = Place::new();
    place.prepare();
    let note = place.path("runtime/start.json");
    fs::set_permissions(&note, fs::Permissions::from_mode(0o666)).unwrap();
    let (state, runner) = (place.path("elsewhere/state"), place.path("elsewhere/runner"));
    let configured = [("MAYFLY_STATE_DIRECTORY", state.as_path()), ("MAYFLY_RUNNER_DIRECTORY", runner.as_path())];
    assert!(place.unit("stopped", &configured).status.success());
    assert!(place.path("runner/.credentials").exists(), "a note that anybody could write had files removed");
}
