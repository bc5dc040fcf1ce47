//! The way to the instance's credentials: is it blocked for jobs, and only for them?

use super::checks::{Probed, SHORT, as_job, run};
use super::properties::show;
use super::{Finding, Machine, containers};
use crate::systemd::AGENT;
use mayfly_core::config::{Level, Platform};

/// How a shell tells whether sudo works; neither sudo nor systemd-run ends with these.
const SUDO_WORKS: i32 = 40;
const SUDO_REFUSES: i32 = 41;

/// The slice that the rules let through, and with nothing but the agent in it.
const LET_THROUGH: &str = "system.slice/system-mayfly.slice";

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let not = |why: &str, advice: &str| vec![Finding::not_tried("isolation", why, advice)];
    if machine.config.platform == Platform::Local {
        return not("platform is \"local\": there is no instance role to keep from jobs", "");
    }
    if !machine.root {
        return not("only root can try what a job's user can do", "Run it as root: sudo mayfly doctor");
    }
    if !machine.systemd {
        return not(
            "systemd does not run here, whose cgroups the rules are made of",
            "Run it on the booted machine. With supervisor \"process\" nothing keeps jobs from the instance role.",
        );
    }
    if machine.building {
        return not(
            "an image is being built: the rules are loaded where a machine boots from it",
            "Boot the image and run mayfly doctor there. (The agent checks it too, before it fetches a JIT configuration.)",
        );
    }
    let mut findings = vec![table().await, identity(machine)];
    let program = machine.program.to_string_lossy().into_owned();
    let job = Probed::of(as_job(machine, &[&program, "probe"], SHORT).await);
    let can_try = !matches!(job, Probed::Failed(_));
    findings.push(probed(machine, "isolation.job", "a job's process", job));
    if can_try {
        findings.extend(sudo(machine, &program).await);
    }
    findings.extend(containers::check(machine).await);
    findings
}

/// Judges a probe. That nothing answered proves something only where there is a metadata service at all.
pub(super) fn probed(machine: &Machine, name: &'static str, who: &str, probed: Probed) -> Finding {
    judge(machine.instance(), name, who, probed)
}

fn judge(instance: Option<&str>, name: &'static str, who: &str, probed: Probed) -> Finding {
    match (probed, instance) {
        (Probed::Reached(how), _) => Finding::broken(
            name,
            format!("{who} gets to the instance role: {how}"),
            "See isolation.rules. No JIT configuration is fetched on this machine until that is mended (isolation-broken).",
        ),
        (Probed::Shut, Some(id)) => {
            Finding::holds(name, format!("{who} gets no answer of the metadata service, which the agent got {id} from"))
        }
        (Probed::Shut, None) => Finding::not_tried(
            name,
            format!("{who} gets no answer; nor is there a running agent that got one, so this proves nothing"),
            "Try it on an instance while its agent runs.",
        ),
        (Probed::Failed(why), _) => Finding::not_tried(name, format!("{who} could not be tried: {why}"), ""),
    }
}

/// The agent's own way in. Nobody can join its cgroup to try; its word has to do.
fn identity(machine: &Machine) -> Finding {
    const NAME: &str = "isolation.agent";
    match (&machine.status, machine.instance()) {
        (_, Some(id)) => Finding::holds(NAME, format!("the agent has its own way in: it knows that it is {id}")),
        (Some(_), None) => Finding::broken(
            NAME,
            "the agent runs and does not know which instance it is",
            "See isolation.rules; is the metadata service enabled in the launch template?",
        ),
        (None, None) => {
            Finding::not_tried(NAME, "no agent answers here that would know", "systemctl status mayfly-agent")
        }
    }
}

async fn table() -> Finding {
    const NAME: &str = "isolation.rules";
    let agent = match show(AGENT, &["ControlGroup"]).await {
        Ok(agent) => agent.get("ControlGroup").cloned().unwrap_or_default(),
        Err(why) => return Finding::not_tried(NAME, why, ""),
    };
    match run(&["nft", "list", "table", "inet", "mayfly"], SHORT).await {
        Err(why) => Finding::not_tried(NAME, why, "Install nftables: without it the agent's unit does not start."),
        Ok(ran) if !ran.succeeded() => Finding::broken(
            NAME,
            format!("the table inet mayfly is not loaded ({})", ran.last_words()),
            "systemctl restart mayfly-isolation-load loads it. A firewall that starts later and flushes all rules takes it away: \
             order it before that unit.",
        ),
        Ok(ran) => judge_table(&ran.out, agent.trim_start_matches('/')),
    }
}

/// Judges the rules as nft lists them. It prints a cgroup's path only if the id in the rule is that of the cgroup which
/// has this path now; of a rule that is bound to a cgroup of yesterday it prints the number.
fn judge_table(listing: &str, agent: &str) -> Finding {
    const NAME: &str = "isolation.rules";
    let reload = "systemctl restart mayfly-isolation-load loads them anew; a job that runs goes on.";
    let chain = |name: &str| {
        let start = listing.find(&format!("chain {name} {{"))?;
        Some(listing[start..].split('}').next().unwrap_or_default())
    };
    for (name, hook) in [("output", "hook output"), ("forward", "hook forward")] {
        let rules = chain(name).unwrap_or_default();
        let closed = ["169.254.169.254", "fd00:ec2::254"].iter().all(|address| rules.contains(address));
        if !rules.contains(hook) || !closed {
            let advice = format!("Somebody changed the table. {reload}");
            return Finding::broken(NAME, format!("the chain {name} does not close both addresses"), advice);
        }
    }
    let accepts = chain("imds").unwrap_or_default();
    if !accepts.contains(&format!("\"{LET_THROUGH}\" accept")) {
        let what = "the rules let another cgroup through than the one the agent's slice has now: the agent is blocked";
        return Finding::broken(NAME, what, reload);
    }
    if !agent.is_empty() && !agent.strip_prefix(LET_THROUGH).is_some_and(|below| below.starts_with('/')) {
        let what = format!("the agent's cgroup is {agent}, and the rules let {LET_THROUGH} through");
        return Finding::broken(NAME, what, "Remove Slice= from the drop-ins of mayfly-agent.service.");
    }
    let more: Vec<&str> =
        chain("more").unwrap_or_default().lines().filter(|line| line.contains("accept")).map(str::trim).collect();
    let also = if more.is_empty() { String::new() } else { format!("; also let through: {}", more.join("; ")) };
    Finding::holds(NAME, format!("loaded, and bound to the present cgroup of the agent's slice{also}"))
}

/// Restricted: sudo does not work at all. Compatible: it does, and its child is still in the job's cgroup.
async fn sudo(machine: &Machine, program: &str) -> Vec<Finding> {
    const NAME: &str = "isolation.sudo";
    let script = format!("sudo -n true && exit {SUDO_WORKS}; exit {SUDO_REFUSES}");
    let ran = match as_job(machine, &["/bin/sh", "-c", &script], SHORT).await {
        Ok(ran) => ran,
        Err(why) => return vec![Finding::not_tried(NAME, why, "")],
    };
    match (ran.code, machine.level()) {
        (Some(SUDO_WORKS), Level::Restricted) => vec![Finding::broken(
            NAME,
            "sudo works for jobs, and the level is restricted",
            "/usr/lib/mayfly/provision --level restricted where the image is made; sudo -l -U USER names the rule.",
        )],
        (Some(SUDO_REFUSES), Level::Restricted) => vec![Finding::holds(NAME, "jobs have no sudo")],
        (Some(SUDO_REFUSES), Level::Compatible) => vec![Finding::warning(
            NAME,
            format!(
                "jobs have no sudo without a password, as they would on GitHub's own machines ({})",
                ran.last_words()
            ),
            "/usr/lib/mayfly/provision --level compatible gives it; or set isolation.level to \"restricted\".",
        )],
        (Some(SUDO_WORKS), Level::Compatible) => {
            let reached = Probed::of(as_job(machine, &["sudo", "-n", program, "probe"], SHORT).await);
            vec![
                Finding::holds(NAME, "jobs have sudo without a password, as on GitHub's own machines"),
                probed(machine, "isolation.sudo-probe", "a job's process with sudo", reached),
            ]
        }
        _ => vec![Finding::not_tried(NAME, format!("sudo could not be tried: {}", ran.last_words()), "")],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const AGENT_CGROUP: &str = "system.slice/system-mayfly.slice/mayfly-agent.service";

    const LISTING: &str = r#"table inet mayfly {
	chain more {
	}

	chain refuse {
		meta l4proto tcp reject with tcp reset
		reject
	}

	chain imds {
		socket cgroupv2 level 2 "system.slice/system-mayfly.slice" accept
		jump more
		goto refuse
	}

	chain output {
		type filter hook output priority filter + 10; policy accept;
		ip daddr 169.254.169.254 goto imds
		ip6 daddr fd00:ec2::254 goto imds
	}

	chain forward {
		type filter hook forward priority filter + 10; policy accept;
		ip daddr 169.254.169.254 goto refuse
		ip6 daddr fd00:ec2::254 goto refuse
	}
}
"#;

    #[test]
    fn rules_that_are_not_what_was_loaded_are_found() {
        assert_eq!(judge_table(LISTING, AGENT_CGROUP).verdict, Verdict::Holds);
        assert_eq!(judge_table(LISTING, "").verdict, Verdict::Holds, "an agent that is not running has no cgroup");
        let cases = [
            ("\"system.slice/system-mayfly.slice\"", "4711", "a rule bound to a cgroup that is gone passes"),
            ("ip6 daddr fd00:ec2::254 goto imds", "", "IPv6 is open, and it passes"),
            ("ip daddr 169.254.169.254 goto refuse", "", "containers get through, and it passes"),
            ("hook forward", "hook input", "a chain at another hook passes"),
        ];
        for (line, bad, consequence) in cases {
            assert_eq!(
                judge_table(&LISTING.replace(line, bad), AGENT_CGROUP).verdict,
                Verdict::Broken,
                "{consequence}"
            );
        }
        assert_eq!(judge_table("", AGENT_CGROUP).verdict, Verdict::Broken);
        for elsewhere in
            ["system.slice/mayfly-agent.service", "system.slice/system-mayfly.slice.d/mayfly-agent.service"]
        {
            assert_eq!(judge_table(LISTING, elsewhere).verdict, Verdict::Broken, "an agent in {elsewhere} is blocked");
        }
    }

    #[test]
    fn whoever_else_is_let_through_is_named() {
        let rule = "chain more {\n\t\tsocket cgroupv2 level 2 \"system.slice/amazon-ssm-agent.service\" accept";
        let found = judge_table(&LISTING.replace("chain more {", rule), AGENT_CGROUP);
        assert!(found.verdict == Verdict::Holds && found.what.contains("amazon-ssm-agent"), "{found:?}");
    }

    #[test]
    fn silence_where_no_metadata_service_was_ever_seen_proves_nothing() {
        let verdict = |instance, probed| judge(instance, "x", "a job", probed).verdict;
        assert_eq!(verdict(Some("i-1"), Probed::Shut), Verdict::Holds);
        assert_eq!(verdict(None, Probed::Shut), Verdict::NotTried);
        assert_eq!(verdict(None, Probed::Reached("200".to_owned())), Verdict::Broken);
        assert_eq!(verdict(Some("i-1"), Probed::Failed("x".to_owned())), Verdict::NotTried);
    }
}
