//! GitHub's runner and the user it runs as.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{Group, User};

use super::checks::{LONG, SHORT, run};
use super::{Finding, Machine, age};
use crate::runner::installed::Installed;
use mayfly_core::config::Level;

/// What the runner would read at its start, and why it must not be in an image.
const STRAY: [(&str, &str); 4] = [
    (".env", "its lines override the environment that the unit sets"),
    (".path", "it is a PATH of the machine that the image was made of"),
    (".service", "it makes the runner tell jobs that the operating system shuts down"),
    (".setup_info", "it is shown in the log of every job"),
];

/// A registration: with it the image is a runner already, the same one on every machine.
const REGISTRATION: [&str; 2] = [".runner", ".credentials"];

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let directory = &machine.config.runner.directory;
    let mut findings = vec![program(directory)];
    findings.extend(age::check(&Installed::read(directory), machine.image));
    findings.extend(user(machine));
    if directory.is_dir() {
        findings.push(stray(directory, has_a_run(machine)));
        findings.extend(protected(machine).await);
    }
    findings
}

/// Whether the files of a registration belong there: an agent is at work, or a runner was started in this run.
fn has_a_run(machine: &Machine) -> bool {
    machine.status.is_some() || machine.config.state_directory.join("runner.started").exists()
}

fn program(directory: &Path) -> Finding {
    const NAME: &str = "runner.program";
    let listener = directory.join("bin/Runner.Listener");
    let advice = "Unpack GitHub's runner there, or set runner.directory.";
    match fs::metadata(&listener) {
        Err(error) => Finding::broken(NAME, format!("{}: {error}", listener.display()), advice),
        Ok(about) if !about.is_file() || about.permissions().mode() & 0o111 == 0 => {
            Finding::broken(NAME, format!("{} is no program that can be run", listener.display()), advice)
        }
        Ok(_) => match Installed::read(directory).version {
            Some(version) => Finding::holds(NAME, format!("{}, version {version}", listener.display())),
            None => Finding::warning(
                NAME,
                format!("{} is there; its version is not known", listener.display()),
                "bin/Runner.Listener.deps.json should name it. GitHub refuses runners that are too old.",
            ),
        },
    }
}

fn stray(directory: &Path, has_a_run: bool) -> Finding {
    const NAME: &str = "runner.stray";
    let mut found = BTreeMap::new();
    let names: Vec<String> = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(error) => {
            return Finding::not_tried(NAME, format!("{}: {error}", directory.display()), "Run it as root.");
        }
    };
    for name in &names {
        let known = STRAY.iter().find(|(stray, _)| stray == name).map(|(_, why)| *why);
        // The agent itself writes these two.
        let known = known.filter(|_| !(has_a_run && [".service", ".setup_info"].contains(&name.as_str())));
        if let Some(why) = known {
            found.insert(name, why);
        } else if !has_a_run && REGISTRATION.iter().any(|prefix| name.starts_with(prefix)) {
            found.insert(name, "a registration: every machine of this image would be the same runner");
        }
    }
    if found.is_empty() {
        return Finding::holds(NAME, format!("nothing in {} that an image must not have", directory.display()));
    }
    let lines: Vec<String> =
        found.iter().map(|(name, why)| format!("{}: {why}", directory.join(name).display())).collect();
    Finding::broken(NAME, lines.join("\n"), "Remove them from the image; /usr/lib/mayfly/provision does.")
}

fn user(machine: &Machine) -> Vec<Finding> {
    const NAME: &str = "runner.user";
    let name = &machine.config.runner.user;
    if name.is_empty() {
        let advice = "Set runner.user, so that a job cannot reach the agent's state.";
        return vec![Finding::warning(NAME, "runner.user is empty: jobs run as whoever runs the agent", advice)];
    }
    let Some(user) = User::from_name(name).ok().flatten() else {
        let advice = "Make it (the package's sysusers.d does: systemd-sysusers mayfly.conf), or set runner.user.";
        return vec![Finding::broken(NAME, format!("there is no user {name:?}"), advice)];
    };
    if user.uid.is_root() {
        let advice = "Set runner.user to a user of its own.";
        return vec![Finding::broken(NAME, format!("{name} is root: no rule binds a job"), advice)];
    }
    let mut findings = vec![match fs::metadata(&user.dir) {
        Ok(home) if home.uid() == user.uid.as_raw() => {
            Finding::holds(NAME, format!("{name} ({}), home {}", user.uid, user.dir.display()))
        }
        _ => Finding::warning(
            NAME,
            format!("{name}'s home {} is not there or not its own: tools that cache there fail", user.dir.display()),
            format!("install -d -o {name} -g {name} -m 0750 {}", user.dir.display()),
        ),
    }];
    findings.extend(groups(machine, name));
    findings
}

fn groups(machine: &Machine, user: &str) -> Vec<Finding> {
    let member = |group: &str| {
        let group = Group::from_name(group).ok().flatten()?;
        Some(group.mem.iter().any(|name| name == user))
    };
    let mut findings = Vec::new();
    match member("docker") {
        Some(true) => findings.push(Finding::holds("runner.docker", format!("{user} is in the group docker"))),
        Some(false) => findings.push(Finding::warning(
            "runner.docker",
            format!("{user} is not in the group docker: container jobs and service containers fail"),
            format!("usermod --append --groups docker {user}"),
        )),
        None => {}
    }
    let privileged: Vec<&str> =
        ["sudo", "wheel", "admin", "disk", "lxd"].into_iter().filter(|group| member(group) == Some(true)).collect();
    if machine.level() == Level::Restricted && !privileged.is_empty() {
        findings.push(Finding::broken(
            "runner.groups",
            format!("{user} is in {}: the level restricted promises that it cannot become root", privileged.join(", ")),
            format!("gpasswd --delete {user} <group>, for each; /usr/lib/mayfly/provision --level restricted does"),
        ));
    }
    findings
}

/// Whether a job could change the runner's programs in place, tried as the job's user.
async fn protected(machine: &Machine) -> Vec<Finding> {
    const NAME: &str = "runner.protected";
    let root = &machine.config.runner.directory;
    let programs: Vec<_> =
        ["bin", "externals"].iter().map(|name| root.join(name)).filter(|path| path.is_dir()).collect();
    let Some(user) = machine.user.as_ref().filter(|user| !user.uid.is_root()) else { return Vec::new() };
    if !machine.root {
        return vec![Finding::not_tried(NAME, format!("only root can try as {}", user.name), "Run it as root.")];
    }
    let paths: Vec<String> = programs.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut findings = Vec::new();
    let mut find = vec!["runuser", "-u", &user.name, "--", "find"];
    find.extend(paths.iter().map(String::as_str));
    // Links are always "writable"; what they point to is found by itself or is the system's.
    find.extend(["!", "-type", "l", "-writable", "-print", "-quit"]);
    findings.push(match run(&find, LONG).await {
        Err(why) => Finding::not_tried(NAME, why, ""),
        Ok(ran) if !ran.out.trim().is_empty() => Finding::broken(
            NAME,
            format!("{} can write {}", user.name, ran.out.trim()),
            "chown -R root:root and chmod -R go-w bin and externals; /usr/lib/mayfly/provision does.",
        ),
        Ok(ran) if ran.succeeded() => Finding::holds(NAME, format!("{} cannot write bin or externals", user.name)),
        Ok(ran) => Finding::not_tried(NAME, format!("find: {}", ran.last_words()), ""),
    });
    // The listener writes its registration, _diag and _work there.
    let own = run(&["runuser", "-u", &user.name, "--", "test", "-w", &root.to_string_lossy()], SHORT).await;
    if own.is_ok_and(|ran| ran.code == Some(1)) {
        findings.push(Finding::broken(
            "runner.directory",
            format!("{} cannot write {}: the runner cannot make _diag and _work there", user.name, root.display()),
            format!("chown {} {}", user.name, root.display()),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Verdict;
    use super::*;

    #[test]
    fn files_of_another_machine_are_found_and_those_of_an_ongoing_run_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(directory.path().join(name), "").unwrap();
        put("run.sh");
        assert_eq!(stray(directory.path(), false).verdict, Verdict::Holds);
        for name in [".runner", ".credentials_rsaparams", ".setup_info"] {
            put(name);
        }
        let found = stray(directory.path(), false);
        assert!(found.verdict == Verdict::Broken && found.what.lines().count() == 3, "{found:?}");
        assert_eq!(stray(directory.path(), true).verdict, Verdict::Holds, "an ongoing run is called broken");
        put(".env");
        assert_eq!(stray(directory.path(), true).verdict, Verdict::Broken, "an .env is overlooked while a job runs");
    }

    #[test]
    fn a_runner_that_cannot_be_started_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(program(directory.path()).verdict, Verdict::Broken);
        fs::create_dir(directory.path().join("bin")).unwrap();
        let listener = directory.path().join("bin/Runner.Listener");
        fs::write(&listener, "").unwrap();
        assert_eq!(program(directory.path()).verdict, Verdict::Broken, "a listener that cannot be executed passes");
        fs::set_permissions(&listener, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program(directory.path()).verdict, Verdict::Warning, "a version that is not known is not told");
    }
}
