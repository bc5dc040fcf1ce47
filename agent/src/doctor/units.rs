//! systemd's units, as they are in force: a drop-in of an operator or of cloud-init may have changed any line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checks::{SHORT, run};
use super::properties::{Properties, show, value};
use super::{Finding, Machine};
use crate::systemd::{AGENT, AGENT_SLICE, DEADLINE, FAILSAFE, JOBS, PROBE, RUNNER, TARGET};
use mayfly_core::config::Supervisor;

/// A shutdown that hangs is forced after this at the latest; systemd's own default is 30 minutes.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(300);

/// How a property must be.
enum Must {
    Be(&'static str),
    Hold(&'static [&'static str]),
    NotBe(&'static str),
}

/// What is promised by each unit's lines, and what is lost without.
const RULES: &[(&str, &str, Must, &str)] = &[
    (AGENT, "Restart", Must::Be("always"), "an agent that crashes does not come back to its job"),
    (AGENT, "FailureAction", Must::Be("none"), "it fires at the first crash, although the agent restarts"),
    (AGENT, "OnFailure", Must::Be(""), "newer systemd fires it at every restart of the agent"),
    (AGENT, "NoNewPrivileges", Must::Be("yes"), "the agent can gain privileges"),
    (
        AGENT,
        "CapabilityBoundingSet",
        Must::Be("cap_kill"),
        "the agent has capabilities that it does not need, or cannot stop a job's steps",
    ),
    (AGENT, "MemorySwapMax", Must::Be("0"), "the JIT configuration can reach the disk"),
    (AGENT, "LimitCORE", Must::Be("1"), "the JIT configuration can get into a core dump"),
    (AGENT, "RuntimeDirectoryPreserve", Must::Be("yes"), "a restart of the agent takes the job's hooks away"),
    (AGENT, "Slice", Must::Be(AGENT_SLICE), "the rules that block jobs block the agent too"),
    (RUNNER, "Restart", Must::Be("no"), "a runner could start twice"),
    (RUNNER, "KillMode", Must::Be("mixed"), "a stop kills the worker before it can report"),
    (RUNNER, "OOMPolicy", Must::Be("continue"), "one process out of memory ends the whole job"),
    (RUNNER, "RemainAfterExit", Must::Be("yes"), "how the runner ended is forgotten"),
    (RUNNER, "Slice", Must::Be(JOBS), "jobs have no limits"),
    (PROBE, "Slice", Must::Be(JOBS), "the probe is tried elsewhere than jobs run, and proves nothing"),
    (JOBS, "IPAddressDeny", Must::Hold(&["169.254.169.254", "fd00:ec2::254"]), "the second layer is not there"),
    (JOBS, "MemoryMax", Must::NotBe("infinity"), "a job can take all memory, and the machine cannot say why it ends"),
    (JOBS, "TasksMax", Must::NotBe("infinity"), "a fork bomb takes the machine"),
];

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    if machine.config.runner.supervisor == Supervisor::Process {
        let what = "runner.supervisor is \"process\": no unit supervises the runner, and no timer ends the machine";
        let advice = "Right on a machine without systemd; on an instance remove runner.supervisor.";
        return vec![Finding::warning("units", what, advice)];
    }
    if !machine.systemd {
        let advice =
            "Run it on the booted machine. Where there never is a systemd, set runner.supervisor = \"process\".";
        return vec![Finding::not_tried("units", "systemd does not run here", advice)];
    }
    let mut findings = Vec::new();
    if machine.building && !machine.image {
        findings.push(Finding::warning(
            "units.building",
            "/run/mayfly/building is there: this boot builds an image, and no unit of Mayfly starts in it",
            "Nothing, if that is so. The next boot has no such file; run mayfly doctor there for the checks.",
        ));
    }
    findings.push(enabled().await);
    if findings.last().is_some_and(|finding| finding.what.contains("not-found")) {
        return findings;
    }
    findings.push(lines_in_force().await);
    findings.push(agreement(machine).await);
    findings.push(agent(machine).await);
    findings.push(deadline(machine).await);
    findings.push(failsafe(machine).await);
    findings.push(shutdown().await);
    findings.extend(storage().await);
    findings
}

async fn enabled() -> Finding {
    const NAME: &str = "units.enabled";
    match run(&["systemctl", "is-enabled", TARGET], SHORT).await {
        Err(why) => Finding::not_tried(NAME, why, ""),
        Ok(ran) if ran.out.trim() == "enabled" => Finding::holds(NAME, format!("{TARGET} starts at boot")),
        Ok(ran) => {
            let state = Some(ran.out.trim()).filter(|state| !state.is_empty()).unwrap_or("not-found").to_owned();
            let advice = "Run /usr/lib/mayfly/provision where the image is made; it enables it (systemctl enable mayfly.target).";
            Finding::broken(NAME, format!("{TARGET} is {state}: the next boot is a machine without an agent"), advice)
        }
    }
}

async fn lines_in_force() -> Finding {
    const NAME: &str = "units.lines";
    let mut all = BTreeMap::new();
    for unit in [AGENT, RUNNER, PROBE, JOBS] {
        let mut names: Vec<&str> = RULES.iter().filter(|rule| rule.0 == unit).map(|rule| rule.1).collect();
        names.extend(["LoadState", "DropInPaths"]);
        match show(unit, &names).await {
            Ok(properties) => all.insert(unit, properties),
            Err(why) => return Finding::not_tried(NAME, why, ""),
        };
    }
    weakened(&all)
}

/// Compares the lines in force with what is promised.
fn weakened(units: &BTreeMap<&str, Properties>) -> Finding {
    const NAME: &str = "units.lines";
    let mut wrong = Vec::new();
    for (unit, properties) in units {
        let state = value(properties, "LoadState");
        if state != "loaded" {
            wrong.push(format!("{unit} is {state}"));
            continue;
        }
        for (_, name, must, lost) in RULES.iter().filter(|rule| rule.0 == *unit) {
            let Some(found) = properties.get(*name) else { continue }; // unknown to this systemd
            let kept = match must {
                Must::Be(wanted) => found == wanted,
                Must::Hold(parts) => parts.iter().all(|part| found.contains(part)),
                Must::NotBe(unwanted) => found != unwanted,
            };
            if !kept {
                wrong.push(format!("{unit}: {name}={found}: {lost}"));
            }
        }
    }
    let drop_ins: Vec<&str> = units.values().flat_map(|of| value(of, "DropInPaths").split_whitespace()).collect();
    let from = if drop_ins.is_empty() { String::new() } else { format!("; drop-ins: {}", drop_ins.join(", ")) };
    if wrong.is_empty() {
        return Finding::holds(NAME, format!("the units keep what they promise{from}"));
    }
    let advice =
        format!("Compare with /usr/lib/systemd/system: systemctl cat UNIT shows which file has the line{from}.");
    Finding::broken(NAME, wrong.join("\n"), advice)
}

/// The units have their own copy of two values of the configuration.
async fn agreement(machine: &Machine) -> Finding {
    const NAME: &str = "units.agreement";
    let runner = show(RUNNER, &["User", "WorkingDirectory", "ExecStart"]).await;
    let probe = show(PROBE, &["User"]).await;
    match (runner, probe) {
        (Ok(runner), Ok(probe)) => disagreement(
            &machine.config.runner.user,
            &machine.config.runner.directory.to_string_lossy(),
            &runner,
            &probe,
        ),
        (Err(why), _) | (_, Err(why)) => Finding::not_tried(NAME, why, ""),
    }
}

fn disagreement(user: &str, directory: &str, runner: &Properties, probe: &Properties) -> Finding {
    const NAME: &str = "units.agreement";
    let mut wrong = Vec::new();
    for (unit, properties) in [(RUNNER, runner), (PROBE, probe)] {
        if value(properties, "User") != user {
            wrong.push(format!("{unit} has User={}, and runner.user is {user:?}", value(properties, "User")));
        }
    }
    let working = value(runner, "WorkingDirectory");
    let directory = directory.trim_end_matches('/');
    if working.trim_end_matches('/') != directory {
        wrong.push(format!("{RUNNER} has WorkingDirectory={working}, and runner.directory is {directory:?}"));
    }
    let listener = format!("path={directory}/bin/Runner.Listener ");
    if !value(runner, "ExecStart").contains(&listener) {
        wrong.push(format!("{RUNNER} does not start {directory}/bin/Runner.Listener"));
    }
    if wrong.is_empty() {
        return Finding::holds(NAME, "user and directory of the runner are the same in units and configuration");
    }
    let advice =
        format!("systemctl edit {RUNNER} and {PROBE}: User=, WorkingDirectory= and ExecStart= as in agent.toml.");
    Finding::broken(NAME, wrong.join("\n"), advice)
}

async fn agent(machine: &Machine) -> Finding {
    const NAME: &str = "units.agent";
    let names = ["ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts"];
    let state = match show(AGENT, &names).await {
        Ok(state) => state,
        Err(why) => return Finding::not_tried(NAME, why, ""),
    };
    let (active, restarts) = (value(&state, "ActiveState"), value(&state, "NRestarts"));
    let log = format!("journalctl --unit {AGENT}");
    match active {
        "active" | "reloading" if !["", "0"].contains(&restarts) => {
            Finding::warning(NAME, format!("the agent runs, after {restarts} restarts"), log)
        }
        "active" | "reloading" => match &machine.status {
            Some(status) => Finding::holds(NAME, format!("it answers: {}, instance {}", status.state, status.instance)),
            None if !machine.root => Finding::holds(NAME, "the agent runs (only root may ask what it does)"),
            None => Finding::warning(NAME, "the agent's unit is active, and the agent does not answer", log),
        },
        _ if machine.building => Finding::not_tried(NAME, "an image is being built", ""),
        "failed" if value(&state, "ExecMainStatus") == "78" => {
            Finding::broken(NAME, "the agent refused its configuration (exit code 78)", "mayfly config check")
        }
        "failed" => Finding::broken(NAME, format!("the agent failed for good: {}", value(&state, "Result")), log),
        _ => {
            Finding::warning(NAME, format!("the agent is {active}"), "systemctl start mayfly.target, or the next boot.")
        }
    }
}

async fn deadline(machine: &Machine) -> Finding {
    const NAME: &str = "units.deadline";
    match show(DEADLINE, &["ActiveState", "LoadState", "TimersMonotonic"]).await {
        Err(why) => Finding::not_tried(NAME, why, ""),
        Ok(timer) => judge_deadline(&timer, machine.building, machine.config.limits.lifetime, needed(machine)),
    }
}

/// How long a run needs that uses its limits up.
fn needed(machine: &Machine) -> Duration {
    let limits = &machine.config.limits;
    limits.listening + limits.idle + limits.job
}

/// In a build it is not active yet, and what it will do can be compared all the same.
fn judge_deadline(timer: &Properties, building: bool, lifetime: Duration, needed: Duration) -> Finding {
    const NAME: &str = "units.deadline";
    if value(timer, "ActiveState") != "active" && !building {
        let advice = format!("systemctl start {TARGET}; systemctl status {DEADLINE} says why it is off.");
        return Finding::broken(
            NAME,
            format!("{DEADLINE} is not active: nothing but the agent ends the machine"),
            advice,
        );
    }
    let Some(interval) = interval(value(timer, "TimersMonotonic")) else {
        let advice = format!("systemctl edit {DEADLINE}: [Timer] OnActiveSec= and OnActiveSec=7h30min");
        return Finding::broken(NAME, format!("{DEADLINE} has no OnActiveSec="), advice);
    };
    let span = |span: Duration| humantime::format_duration(span).to_string();
    let what = format!("{DEADLINE} ends the machine {} after its start", span(interval));
    if interval < needed {
        let what = format!("{what}, sooner than listening, idle and job together ({})", span(needed));
        return Finding::warning(NAME, what, "Lower limits.job to what there is time for, or raise OnActiveSec=.");
    }
    if interval < lifetime {
        let advice = "The timer counts. Set limits.lifetime to the same.";
        return Finding::warning(NAME, format!("{what}; limits.lifetime is {}", span(lifetime)), advice);
    }
    Finding::holds(NAME, what)
}

/// The shortest `OnActiveUSec=` of `TimersMonotonic`: `{ OnActiveUSec=7h 30min ; next_elapse=7h 30min 12.5s }`.
fn interval(timers: &str) -> Option<Duration> {
    let rules = timers.split("OnActiveUSec=").skip(1);
    rules.filter_map(|rest| span_of(rest.split(';').next().unwrap_or_default())).min()
}

/// A time span as systemd prints it; `None` for `infinity`.
fn span_of(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

async fn failsafe(machine: &Machine) -> Finding {
    const NAME: &str = "units.failsafe";
    let timer = show(FAILSAFE, &["ActiveState"]).await;
    let last = show("mayfly-failsafe.service", &["Result", "ExecMainStatus", "LoadState"]).await;
    match (timer, last) {
        (Err(why), _) | (_, Err(why)) => Finding::not_tried(NAME, why, ""),
        _ if machine.building => Finding::not_tried(NAME, "an image is being built", ""),
        (Ok(timer), _) if value(&timer, "ActiveState") != "active" => Finding::broken(
            NAME,
            format!("{FAILSAFE} is not active: a machine whose agent fails stays until its lifetime ends"),
            format!("systemctl start {TARGET}; systemctl status {FAILSAFE} says why it is off."),
        ),
        (_, Ok(last)) if value(&last, "LoadState") != "loaded" || value(&last, "Result") != "success" => {
            let (load, result) = (value(&last, "LoadState"), value(&last, "Result"));
            let advice = "journalctl --unit mayfly-failsafe.service";
            Finding::broken(NAME, format!("its last check failed: {load}, {result}"), advice)
        }
        _ => Finding::holds(NAME, "it looks at the agent every 30 s, and its last check worked"),
    }
}

async fn shutdown() -> Finding {
    const NAME: &str = "units.shutdown";
    match show("poweroff.target", &["JobTimeoutUSec", "JobTimeoutAction"]).await {
        Err(why) => Finding::not_tried(NAME, why, ""),
        Ok(target) => judge_shutdown(value(&target, "JobTimeoutUSec"), value(&target, "JobTimeoutAction")),
    }
}

/// Only where the unit is there, and not while an image is built: it does nothing then.
async fn storage() -> Option<Finding> {
    const NAME: &str = "units.storage";
    let unit = show("mayfly-storage.service", &["LoadState", "ActiveState", "Result"]).await.ok()?;
    match (value(&unit, "LoadState"), value(&unit, "Result")) {
        ("loaded", "success") if value(&unit, "ActiveState") == "active" => {
            Some(Finding::holds(NAME, "the instance's own disks are the job's, if it has any"))
        }
        ("loaded", "success") => None,
        ("loaded", result) => Some(Finding::warning(
            NAME,
            format!("the instance's own disks could not be used ({result}): the job has the root disk"),
            "journalctl --unit mayfly-storage.service",
        )),
        _ => None,
    }
}

fn judge_shutdown(limit: &str, action: &str) -> Finding {
    const NAME: &str = "units.shutdown";
    if span_of(limit).is_some_and(|limit| limit <= LONGEST_SHUTDOWN) && action == "poweroff-force" {
        return Finding::holds(NAME, format!("a shutdown that hangs is forced after {limit}"));
    }
    let what = format!(
        "poweroff.target has JobTimeoutSec={limit} and JobTimeoutAction={action}: a shutdown can hang that long"
    );
    let advice = "Run /usr/lib/mayfly/provision: it links the drop-in /usr/lib/mayfly/machine/system/poweroff.target.d/mayfly.conf.";
    Finding::broken(NAME, what, advice)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::properties::properties;
    use super::*;

    fn of(lines: &str) -> Properties {
        properties(lines)
    }

    #[test]
    fn a_drop_in_that_weakens_a_unit_is_found_and_named() {
        let good = "LoadState=loaded\nRestart=no\nKillMode=mixed\nOOMPolicy=continue\nRemainAfterExit=yes\n\
            Slice=mayfly-jobs.slice\nDropInPaths=/etc/systemd/system/mayfly-runner.service.d/x.conf\n";
        assert_eq!(weakened(&BTreeMap::from([(RUNNER, of(good))])).verdict, Verdict::Holds);
        let found = weakened(&BTreeMap::from([(RUNNER, of(&good.replace("Restart=no", "Restart=always")))]));
        assert_eq!(found.verdict, Verdict::Broken, "{found:?}");
        assert!(found.what.contains("could start twice") && found.advice.contains("d/x.conf"), "{found:?}");
        let masked = weakened(&BTreeMap::from([(RUNNER, of("LoadState=masked\n"))]));
        assert!(masked.verdict == Verdict::Broken && masked.what.contains("masked"), "{masked:?}");
    }

    #[test]
    fn a_slice_without_limits_or_without_the_second_layer_is_found() {
        let good = "LoadState=loaded\nIPAddressDeny=169.254.169.254/32 fd00:ec2::254/128\nMemoryMax=1887436800\nTasksMax=3800\n";
        assert_eq!(weakened(&BTreeMap::from([(JOBS, of(good))])).verdict, Verdict::Holds);
        for (line, bad) in [
            ("MemoryMax=1887436800", "MemoryMax=infinity"),
            (" fd00:ec2::254/128", ""),
            ("TasksMax=3800", "TasksMax=infinity"),
        ] {
            let found = weakened(&BTreeMap::from([(JOBS, of(&good.replace(line, bad)))]));
            assert_eq!(found.verdict, Verdict::Broken, "{bad:?} passes");
        }
    }

    #[test]
    fn units_that_know_another_user_or_directory_are_found() {
        let runner = "User=runner\nWorkingDirectory=/opt/actions-runner\nExecStart={ path=/opt/actions-runner/bin/Runner.Listener ; \
            argv[]=/opt/actions-runner/bin/Runner.Listener run ; }\n";
        let verdict = |user, directory, probe| disagreement(user, directory, &of(runner), &of(probe)).verdict;
        assert_eq!(verdict("runner", "/opt/actions-runner/", "User=runner\n"), Verdict::Holds);
        assert_eq!(verdict("ci", "/opt/actions-runner", "User=runner\n"), Verdict::Broken);
        assert_eq!(verdict("runner", "/srv/runner", "User=runner\n"), Verdict::Broken);
        assert_eq!(
            verdict("runner", "/opt/actions-runner", "User=root\n"),
            Verdict::Broken,
            "the probe proves nothing"
        );
    }

    #[test]
    fn the_deadline_is_compared_with_the_limits() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let timer = |span| {
            of(&format!("ActiveState=active\nTimersMonotonic={{ OnActiveUSec={span} ; next_elapse=1h 2min }}\n"))
        };
        let verdict =
            |span, lifetime, needed| judge_deadline(&timer(span), false, hours(lifetime), hours(needed)).verdict;
        assert_eq!(verdict("7h 30min", 7, 6), Verdict::Holds);
        assert_eq!(verdict("7h", 8, 6), Verdict::Warning);
        assert_eq!(verdict("1h", 8, 6), Verdict::Warning);
        let judged = |text: &str, building| judge_deadline(&of(text), building, hours(7), hours(6)).verdict;
        assert_eq!(judged("ActiveState=inactive\n", false), Verdict::Broken);
        assert_eq!(judged("ActiveState=active\n", false), Verdict::Broken);
        let span = "TimersMonotonic={ OnActiveUSec=7h 30min ; next_elapse=infinity }\n";
        assert_eq!(judged(&format!("ActiveState=inactive\n{span}"), true), Verdict::Holds, "no image can be built");
        assert_eq!(judged("ActiveState=inactive\n", true), Verdict::Broken, "an image without a deadline passes");
        assert_eq!(interval("{ OnActiveUSec=7h 30min ; x }{ OnActiveUSec=2h ; x }"), Some(hours(2)));
    }

    #[test]
    fn a_shutdown_that_may_hang_for_half_an_hour_is_broken() {
        assert_eq!(judge_shutdown("2min", "poweroff-force").verdict, Verdict::Holds);
        assert_eq!(judge_shutdown("30min", "poweroff-force").verdict, Verdict::Broken);
        assert_eq!(judge_shutdown("infinity", "none").verdict, Verdict::Broken);
        assert_eq!(judge_shutdown("2min", "none").verdict, Verdict::Broken);
    }
}
