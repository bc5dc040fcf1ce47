//! `mayfly doctor --image`: whether what was just built may become an image.
//!
//! A build refuses what a machine is only warned of: nobody reads the warnings of an image, and every machine of it has them. What
//! cannot be tried in a build is a fixed list; anything else that was not tried refuses the image, too.

use serde::Serialize;

use super::{Finding, Machine, Verdict};

/// What cannot be tried while an image is built, and why.
const NOT_IN_A_BUILD: [(&str, &str); 8] = [
    ("machine.poweroff", "the firmware is that of the machine that builds"),
    ("machine.disk", "the launch template sizes the volume"),
    ("docker.room", "the launch template sizes the volume"),
    ("machine.clock", "a build's network may have no time server"),
    ("units.agent", "no unit of Mayfly starts in a build"),
    ("units.failsafe", "no unit of Mayfly starts in a build"),
    ("isolation", "the rules are loaded when the agent starts"),
    ("cloud", "role, metadata options and shutdown behaviour are those of the machine that builds"),
];

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The finding's name.
    pub name: &'static str,
    /// Its verdict.
    pub verdict: Verdict,
    /// What was seen, or why it was not tried.
    pub what: String,
}

/// Whether a finding refuses the image.
pub(super) fn refusal(finding: &Finding) -> Option<Refusal> {
    let refused = match finding.verdict {
        Verdict::Holds | Verdict::NotPromised => false,
        Verdict::Broken | Verdict::Warning => true,
        Verdict::NotTried => NOT_IN_A_BUILD.iter().all(|(name, _)| *name != finding.name),
    };
    refused.then(|| Refusal { name: finding.name, verdict: finding.verdict, what: finding.what.clone() })
}

/// A finding that means nothing in a build, for what was seen is the building machine's.
pub(super) fn not_in_a_build(finding: Finding) -> Finding {
    match NOT_IN_A_BUILD.iter().find(|(name, _)| *name == finding.name) {
        Some((_, why)) if finding.verdict == Verdict::Warning => {
            Finding::not_tried(finding.name, format!("{} ({why})", finding.what), "")
        }
        _ => finding,
    }
}

/// Whether this is a build at all: elsewhere what is excused there would be excused for nothing.
pub(super) fn check(machine: &Machine) -> Finding {
    const NAME: &str = "image.build";
    let lacks: Vec<&str> = [
        (machine.root, "it needs root"),
        (machine.systemd, "systemd does not run here, which knows the units"),
        (machine.building, "there is no /run/mayfly/building, which provision makes"),
        (machine.status.is_none(), "an agent answers: this machine is at work"),
    ]
    .into_iter()
    .filter_map(|(is, lacks)| (!is).then_some(lacks))
    .collect();
    if lacks.is_empty() {
        return Finding::holds(NAME, "this boot builds an image, and nothing of Mayfly starts in it");
    }
    let advice = "Run it as root at the end of an image build, on the machine that becomes the image. Elsewhere leave --image out.";
    Finding::broken(NAME, lacks.join("\n"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_refuses_warnings_and_whatever_was_not_tried_for_no_known_reason() {
        let refused = |finding: Finding| refusal(&finding).is_some();
        assert!(!refused(Finding::holds("runner.program", "x")));
        assert!(refused(Finding::broken("runner.program", "x", "")));
        assert!(refused(Finding::warning("runner.program", "its version is not known", "")), "it gets no jobs one day");
        assert!(
            refused(Finding::not_tried("runner.protected", "find: exit code 1", "")),
            "nobody looked, and it passes"
        );
        for (name, _) in NOT_IN_A_BUILD {
            assert!(!refused(Finding::not_tried(name, "x", "")), "no image can be built: {name}");
            assert!(refused(Finding::warning(name, "x", "")), "a warning passes as not tried: {name}");
        }
        let little = not_in_a_build(Finding::warning("machine.disk", "3 GB free", ""));
        assert!(little.verdict == Verdict::NotTried && little.what.contains("3 GB"), "{little:?}");
        let none = not_in_a_build(Finding::broken("machine.disk", "no room", ""));
        assert_eq!(none.verdict, Verdict::Broken, "a full disk is excused");
        let other = not_in_a_build(Finding::warning("machine.swap", "swap", ""));
        assert_eq!(other.verdict, Verdict::Warning, "what is no matter of the build is excused");
    }
}
