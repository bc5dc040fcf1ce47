//! `mayfly doctor`: *checks* each promise on this machine, and says in plain words what holds and what does not.
//!
//! | file | checks |
//! |---|---|
//! | `config` | the configuration |
//! | `age` | what the image says of itself, and the runner's age |
//! | `image` | whether a build may become an image (`--image`) |
//! | `quiet` | what must not start by itself beside a job |
//! | `machine` | firmware, power-off, swap, disks, clock |
//! | `units` | systemd's units, as they are in force |
//! | `runner` | GitHub's runner and the job's user |
//! | `docker` | the Docker daemon |
//! | `isolation` | the way to the instance's credentials: the rules, the job's user, sudo |
//! | `containers` | the same from containers and builds |
//! | `cloud` | what the cloud knows of this instance, and what the agent saw of it |
//! | `permissions` | the instance role, without doing anything |
//! | `promises` | nothing: what the level does not promise |
//!
//! A try that proves nothing is never told as one that holds. Every try has a deadline, and leaves nothing behind.

mod age;
mod checks;
mod cloud;
mod config;
mod containers;
mod docker;
mod figures;
mod image;
mod isolation;
mod machine;
mod permissions;
mod promises;
mod properties;
mod quiet;
mod report;
mod runner;
mod units;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use image::Refusal;
pub use report::{Report, Section};

use figures::Figures;

use crate::base::paths::control_socket;
use crate::base::users::User;
use crate::control::status::Status;
use crate::control::{Request, ask};
use mayfly_core::config::{Config, Level, Problems, load};

/// Exit code of `mayfly probe --fail` when nothing answered. Not 0, and none that a shell or Docker gives a meaning.
pub const SHUT: u8 = 3;

/// What a try showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The promise holds here.
    Holds,
    /// It does not.
    Broken,
    /// It does, or nobody promised it; but somebody should look.
    Warning,
    /// Nobody knows: it could not be tried, and the finding says why.
    NotTried,
    /// Nobody says so.
    NotPromised,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name for machines: `isolation.sudo`.
    pub name: &'static str,
    /// What the try showed.
    pub verdict: Verdict,
    /// What was seen; for something that was not tried, why.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

impl Finding {
    fn of(name: &'static str, verdict: Verdict, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict, what: what.into(), advice: advice.into() }
    }

    fn holds(name: &'static str, what: impl Into<String>) -> Self {
        Self::of(name, Verdict::Holds, what, "")
    }

    fn broken(name: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(name, Verdict::Broken, what, advice)
    }

    fn warning(name: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(name, Verdict::Warning, what, advice)
    }

    fn not_tried(name: &'static str, why: impl Display, advice: impl Into<String>) -> Self {
        Self::of(name, Verdict::NotTried, why.to_string(), advice)
    }
}

/// The machine that is looked at, as far as every check wants to know it.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    problems: Option<Problems>,
    root: bool,
    systemd: bool,
    building: bool,
    /// Whether it is to become an image.
    image: bool,
    user: Option<User>,
    status: Option<Status>,
    figures: Option<Figures>,
    program: PathBuf,
}

impl Machine {
    /// Discovers the machine, which is to become an image or is one at work. With a configuration that is not valid the rest is
    /// checked against the defaults.
    #[must_use]
    pub fn discover(config: Result<Config, Problems>, image: bool) -> Self {
        let (config, problems) = match config {
            Ok(config) => (config, None),
            // Reads nothing but the built-in defaults.
            Err(problems) => (load(Path::new("/dev/null"), [], &[]).unwrap_or_default(), Some(problems)),
        };
        Self {
            root: nix::unistd::geteuid().is_root(),
            systemd: Path::new("/run/systemd/system").is_dir(),
            building: Path::new("/run/mayfly/building").exists(),
            image,
            user: User::named(&config.runner.user).ok(),
            status: ask(&control_socket(&config.state_directory), &Request::Status).ok(),
            figures: Figures::of_agent(&control_socket(&config.state_directory)),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/mayfly")),
            config,
            problems,
        }
    }

    fn level(&self) -> Level {
        self.config.isolation
    }

    /// The id the running agent got from the metadata service: the proof that there is one.
    fn instance(&self) -> Option<&str> {
        self.status.as_ref().map(|status| status.instance.as_str()).filter(|id| id.starts_with("i-"))
    }
}

/// Makes every check, and hands over each section once it is done.
pub async fn examine(machine: &Machine, mut found: impl FnMut(Section)) {
    let mut section = |title, findings| found(Section { title, findings });
    if machine.image {
        section("Image build", vec![image::check(machine)]);
    }
    section("Configuration", config::check(machine));
    section("Machine", machine::check(machine).await);
    section("Units", units::check(machine).await);
    section("Runner", runner::check(machine).await);
    section("Docker", docker::check(machine).await);
    section("Isolation", isolation::check(machine).await);
    section("Cloud", cloud::check(machine).await);
    section("What this level does not promise", promises::of(machine.level()));
}
