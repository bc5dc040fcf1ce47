//! Whether what would disturb a job is off: upgrades, timers of the distribution, restarts of services.

use std::path::Path;

use super::Finding;
use super::checks::{LONG, Ran, SHORT, run};
use mayfly_core::machine_quiet::{NEEDRESTART_MODE, SNAP_HOLD, UNWANTED, Unwanted};

const NAME: &str = "machine.quiet";

const SNAP: &str = "/usr/bin/snap";
const NEEDRESTART: &str = "/usr/sbin/needrestart";

/// Prints needrestart's mode of restarting, as it reads its configuration itself.
const MODE: &str = r#"our %nrconf; our $LOGPREF = ""; $nrconf{verbosity} = 0; my $file = "/etc/needrestart/needrestart.conf";
    open(my $in, "<", $file) or die "$file: $!\n"; { local $/; eval <$in>; } die "$file: $@\n" if $@; print $nrconf{restart} // "";"#;

/// Whether something is off.
enum Found {
    Off,
    /// It is on: what it is, why it must not be, and the command that turns it off.
    On {
        what: String,
        command: String,
    },
    Unknown(String),
}

pub(super) async fn check() -> Finding {
    let mut command = vec!["systemctl", "list-unit-files", "--no-legend", "--no-pager"];
    command.extend(UNWANTED.iter().map(|unwanted| unwanted.unit));
    let mut found = match run(&command, LONG).await {
        Ok(ran) => units(&ran),
        Err(why) => vec![Found::Unknown(why.to_string())],
    };
    let (hold, forever) = SNAP_HOLD;
    if Path::new(SNAP).exists() {
        found.push(match run(&["snap", "get", "system", hold], SHORT).await {
            Ok(ran) if ran.out.trim() == forever => Found::Off,
            Ok(_) => Found::On {
                what: "snapd refreshes snaps, and restarts what runs from them".to_owned(),
                command: format!("snap set system {hold}={forever}"),
            },
            Err(why) => Found::Unknown(why.to_string()),
        });
    }
    if Path::new(NEEDRESTART).exists() {
        found.push(match run(&["perl", "-e", MODE], SHORT).await {
            Ok(ran) if ran.succeeded() => mode(&ran.out),
            Ok(ran) => Found::Unknown(format!("needrestart: {}", ran.last_words())),
            Err(why) => Found::Unknown(why.to_string()),
        });
    }
    judge(found)
}

/// What systemd has of the units: a line for each that is installed. With none, some versions say nothing and fail.
fn units(ran: &Ran) -> Vec<Found> {
    if !ran.succeeded() && !ran.err.trim().is_empty() {
        return vec![Found::Unknown(format!("systemctl list-unit-files: {}", ran.last_words()))];
    }
    let state = |unit: &str| {
        ran.out
            .lines()
            .map(str::split_whitespace)
            .find_map(|mut words| (words.next() == Some(unit)).then(|| words.next().unwrap_or_default()))
    };
    UNWANTED
        .iter()
        .map(|Unwanted { unit, why }| match state(unit) {
            // A mask of this boot only would be gone in the next.
            None | Some("masked" | "disabled") => Found::Off,
            Some(state) => {
                Found::On { what: format!("{unit} is {state}: it {why}"), command: format!("systemctl mask {unit}") }
            }
        })
        .collect()
}

/// Where nothing is set, whether anything is restarted depends on the distribution.
fn mode(mode: &str) -> Found {
    if mode.trim() == NEEDRESTART_MODE {
        return Found::Off;
    }
    Found::On {
        what: format!("needrestart's mode is {:?}: a job's apt-get restarts services that the job uses", mode.trim()),
        command: format!(
            "echo \"\\$nrconf{{restart}} = '{NEEDRESTART_MODE}';\" >/etc/needrestart/conf.d/mayfly-quiet.conf"
        ),
    }
}

fn judge(found: Vec<Found>) -> Finding {
    let (mut on, mut commands, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for one in found {
        match one {
            Found::Off => {}
            Found::On { what, command } => {
                on.push(what);
                commands.push(command);
            }
            Found::Unknown(why) => unknown.push(why),
        }
    }
    if !on.is_empty() {
        let advice = format!("The image's provision turns it off. By hand:\n{}", commands.join("\n"));
        return Finding::warning(NAME, on.join("\n"), advice);
    }
    if !unknown.is_empty() {
        return Finding::not_tried(NAME, unknown.join("\n"), "");
    }
    let units: Vec<&str> = UNWANTED.iter().map(|unwanted| unwanted.unit).collect();
    Finding::holds(NAME, format!("off, or not installed: {}; refreshes of snaps, needrestart", units.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn said(code: i32, out: &str, err: &str) -> Ran {
        Ran { code: Some(code), out: out.to_owned(), err: err.to_owned() }
    }

    #[test]
    fn what_is_on_is_named_with_the_reason_and_what_nobody_knows_does_not_hold() {
        let verdict = |code, out, err| judge(units(&said(code, out, err))).verdict;
        for off in ["apt-daily.timer masked enabled\n", "apt-daily.timer disabled enabled\n", ""] {
            assert_eq!(verdict(0, off, ""), Verdict::Holds, "what is off is called on: {off}");
        }
        assert_eq!(verdict(1, "", ""), Verdict::Holds, "what is not installed is called on");
        for on in ["enabled", "static", "masked-runtime", "enabled-runtime"] {
            let listed = format!("apt-daily.timer {on} enabled\n");
            assert_eq!(judge(units(&said(0, &listed, ""))).verdict, Verdict::Warning, "{on} passes");
        }
        assert_eq!(verdict(1, "", "Failed to connect to bus"), Verdict::NotTried, "silence is taken for off");
        let mut found = units(&said(0, "apt-daily.timer enabled enabled\n", ""));
        found.push(mode(""));
        let found = judge(found);
        for part in ["apt-daily.timer is enabled", "lock", "needrestart's mode is \"\""] {
            assert!(found.what.contains(part), "{part:?} is missing: {found:?}");
        }
        assert!(found.advice.contains("systemctl mask apt-daily.timer"), "{found:?}");
        assert_eq!(judge(vec![mode("l")]).verdict, Verdict::Holds);
    }
}
