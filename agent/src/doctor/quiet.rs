//! Whether what would disturb a job is off: upgrades, timers of the distribution, restarts of services.

use std::path::Path;

use super::Finding;
use super::checks::{Ran, SHORT, run};
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
    let mut found = Vec::new();
    for unwanted in UNWANTED {
        found.push(match run(&["systemctl", "is-enabled", unwanted.unit], SHORT).await {
            Ok(ran) => unit(unwanted, &ran),
            Err(why) => Found::Unknown(why.to_string()),
        });
    }
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

/// What `systemctl is-enabled` says. Older versions say of a unit that is not there only that a file is missing.
fn unit(Unwanted { unit, why }: &Unwanted, ran: &Ran) -> Found {
    match ran.out.trim() {
        // A mask of this boot only would be gone in the next.
        "masked" | "disabled" | "not-found" => Found::Off,
        "" if ran.err.contains("No such file") => Found::Off,
        "" => Found::Unknown(format!("{unit}: {}", ran.last_words())),
        state => Found::On { what: format!("{unit} is {state}: it {why}"), command: format!("systemctl mask {unit}") },
    }
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
        let apt = &UNWANTED[0];
        let verdict = |code, out, err| judge(vec![unit(apt, &said(code, out, err))]).verdict;
        for off in ["masked\n", "disabled\n", "not-found\n"] {
            assert_eq!(verdict(1, off, ""), Verdict::Holds, "{off}");
        }
        let missing = "Failed to get unit file state for apt-daily.timer: No such file or directory";
        assert_eq!(verdict(1, "", missing), Verdict::Holds, "what is not installed is called on");
        for on in ["enabled\n", "static\n", "masked-runtime\n", "enabled-runtime\n"] {
            assert_eq!(verdict(0, on, ""), Verdict::Warning, "{on} passes");
        }
        assert_eq!(verdict(1, "", "Failed to connect to bus"), Verdict::NotTried, "silence is taken for off");
        let found = judge(vec![unit(apt, &said(0, "enabled", "")), mode("")]);
        for part in ["apt-daily.timer is enabled", "lock", "needrestart's mode is \"\""] {
            assert!(found.what.contains(part), "{part:?} is missing: {found:?}");
        }
        assert!(found.advice.contains("systemctl mask apt-daily.timer"), "{found:?}");
        assert_eq!(judge(vec![mode("l")]).verdict, Verdict::Holds);
    }
}
