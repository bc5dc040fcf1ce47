//! A run of Mayfly on the machine: how it begins, what state it is in, how it ended.

use std::time::Duration;

use mayfly_fake_runner::{Scenario, scenarios};
use serde_json::Value;

use crate::{Ended, Machine, seconds};

/// What the steps of [`job`] print.
pub(crate) const STEP_LOG: &str = "/tmp/step-log";

/// A job that runs these shell commands, as the job's user, in the runner's unit.
#[must_use]
pub fn job(steps: &[&str]) -> Scenario {
    let logged = |step: &&str| format!("exec >>{STEP_LOG} 2>&1\n{step}");
    Scenario { steps: steps.iter().map(logged).collect(), ..Scenario::default() }
}

/// A job that runs until [`Machine::let_go`].
#[must_use]
pub fn job_until_let_go() -> Scenario {
    job(&["until [ -e /tmp/go ]; do sleep 0.2; done"])
}

/// A named scenario of the runner's double.
#[must_use]
pub fn named(name: &str) -> Scenario {
    scenarios::named(name).unwrap_or_else(|| panic!("no scenario {name}"))
}

impl Machine {
    /// The launcher's part, and then what the boot of an image does: starts Mayfly.
    #[track_caller]
    pub fn live(&mut self, scenario: &Scenario) {
        self.play(scenario);
        self.launch();
        self.start_mayfly();
    }

    /// The launcher's part for a machine that is still booting, and starts Mayfly by itself then.
    #[track_caller]
    pub fn live_at_boot(&mut self, scenario: &Scenario) {
        self.play(scenario);
        self.launch();
    }

    /// Starts Mayfly as the boot of an image does.
    #[track_caller]
    pub fn start_mayfly(&mut self) {
        self.guest("systemctl start mayfly.target");
    }

    /// Waits until the agent says that it is in this state.
    #[track_caller]
    pub fn until_state(&mut self, state: &str) {
        let script = format!("mayfly status --json | grep -q '\"state\": \"{state}\"'");
        self.until(&format!("the agent is in the state {state}"), seconds(90), &script);
    }

    /// Ends the job of [`job_until_let_go`].
    #[track_caller]
    pub fn let_go(&mut self) {
        self.guest("touch /tmp/go");
    }

    /// Waits until the instance is terminated in EC2. The machine itself is still up then: EC2's power button is pressed by
    /// [`Machine::wait_for_power_off`].
    #[track_caller]
    pub fn until_terminated(&mut self, limit: Duration) {
        self.until_cloud("the instance is terminated", limit, |clouds| {
            clouds.state().is_ok_and(|state| matches!(state.as_str(), "shutting-down" | "terminated"))
        });
    }

    /// The record as it is now.
    #[track_caller]
    pub fn record(&mut self) -> Value {
        let record = serde_json::from_str(&self.get("/var/lib/mayfly/record.json")).unwrap();
        mayfly_e2e::schema::validate(&record);
        record
    }

    /// How many listeners were ever started.
    #[track_caller]
    pub fn starts(&mut self) -> usize {
        self.recording().starts().len()
    }

    /// The instance terminates itself with this outcome, one listener was ever started, nothing of the runner runs, and the
    /// machine obeys EC2's power button.
    #[track_caller]
    pub fn ends(&mut self, outcome: &str, limit: Duration) -> Value {
        self.until_terminated(limit);
        let record = self.record();
        assert_eq!(record["outcome"], outcome, "the launcher is told another story: {record:#}");
        let starts = self.starts();
        assert!(starts <= 1, "{starts} listeners were started: one JIT configuration, {starts} jobs");
        let left = self.try_guest("pgrep -a 'Runner[.](Listener|Worker)'").stdout;
        assert_eq!(left, "", "the runner outlives its run");
        let ended = self.wait_for_power_off(seconds(120));
        assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut down in order");
        record
    }

    /// The machine powers itself off, with this on its console.
    #[track_caller]
    pub fn powers_itself_off(&mut self, said: &str, limit: Duration) -> Ended {
        let ended = self.wait_for_power_off(limit);
        assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut itself down");
        assert!(!ended.by_ec2, "it needed EC2 to end it");
        let console = self.console();
        assert!(console.contains(said), "the console does not tell why ({said:?}):\n{}", tail(&console));
        ended
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
