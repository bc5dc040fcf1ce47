//! The permissions of the instance role, each tried without doing anything.

use super::cloud::{TIMEOUT, unanswered};
use super::{Finding, Machine};
use crate::platform::aws::{Aws, CallError, group, instance, parameter};
use crate::platform::imds::InstanceId;
use mayfly_core::config::template::{self, Part};

/// The finding about the group.
const SCALE_IN: &str = "cloud.scale-in";

pub(super) async fn check(machine: &Machine, aws: &Aws, id: &InstanceId) -> Vec<Finding> {
    vec![
        dry_run("cloud.terminate", "may end itself", instance::may_terminate(aws, id, TIMEOUT).await),
        dry_run("cloud.tag", "may tag itself", instance::may_tag(aws, id, TIMEOUT).await),
        read_parameter(machine, aws, id).await,
        scale_in(aws, id).await,
        Finding::not_tried(
            "cloud.others",
            "deleting the parameter and ending the machine through its group cannot be tried without doing it",
            "Compare the instance role with the policy in docs/security.md; cloud.denied tells what the agent was denied.",
        ),
    ]
}

fn dry_run(name: &'static str, may: &str, tried: Result<(), CallError>) -> Finding {
    match tried {
        Ok(()) => Finding::holds(name, format!("this instance {may} (asked as a dry run)")),
        Err(error) => unanswered(name, &error, "Try again, or compare with the policy in docs/security.md.".to_owned()),
    }
}

/// That there is none is the normal answer: the agent deletes it once its runner has started.
async fn read_parameter(machine: &Machine, aws: &Aws, id: &InstanceId) -> Finding {
    const NAME: &str = "cloud.parameter";
    let text = &machine.config.jit.parameter;
    let Some(name) = filled(text, &machine.config.class, id) else {
        return Finding::not_tried(
            NAME,
            format!("{text} has an instance tag in its name, which only the agent is told"),
            "See in the agent's log whether the JIT configuration was fetched.",
        );
    };
    match parameter::is_there(aws, &name, TIMEOUT).await {
        Ok(true) => Finding::holds(NAME, format!("{name} is there and can be read")),
        Ok(false) => Finding::holds(NAME, format!("{name} may be read, and is not there (now)")),
        Err(error) => unanswered(NAME, &error, format!("See whether {name} is what the launcher writes.")),
    }
}

/// The parameter's name, where configuration and id are all that is in it.
fn filled(text: &str, class: &str, id: &InstanceId) -> Option<String> {
    let mut name = String::new();
    for part in template::parse(text).ok()? {
        match part {
            Part::Text(text) => name.push_str(&text),
            Part::InstanceId => name.push_str(id.as_str()),
            Part::Class if !class.contains('{') => name.push_str(class),
            Part::Class | Part::Tag(_) => return None,
        }
    }
    Some(name)
}

async fn scale_in(aws: &Aws, id: &InstanceId) -> Finding {
    let advice =
        "In a group NewInstancesProtectedFromScaleIn must be true: aws autoscaling describe-auto-scaling-groups";
    match group::protection(aws, id, TIMEOUT).await {
        Ok(found) => judge_scale_in(found),
        Err(error) => unanswered(SCALE_IN, &error, advice.to_owned()),
    }
}

/// `found`: the group, and whether it leaves the instance alone.
fn judge_scale_in(found: Option<(String, bool)>) -> Finding {
    match found {
        None => Finding::holds(SCALE_IN, "the instance is in no Auto Scaling group"),
        Some((group, true)) => Finding::holds(SCALE_IN, format!("{group} does not choose it for a scale-in")),
        Some((group, false)) => Finding::broken(
            SCALE_IN,
            format!("{group} may choose it for a scale-in, in the middle of a job"),
            "Set NewInstancesProtectedFromScaleIn to true for the group; the agent ends the instance itself.",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_group_that_may_take_a_machine_under_its_job_is_broken() {
        let verdict = |found: Option<(&str, bool)>| {
            judge_scale_in(found.map(|(group, protected)| (group.to_owned(), protected))).verdict
        };
        assert_eq!(verdict(Some(("runners", false))), Verdict::Broken);
        assert_eq!([verdict(Some(("runners", true))), verdict(None)], [Verdict::Holds; 2]);
    }

    #[test]
    fn a_name_is_tried_only_where_all_of_it_is_known() {
        let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        let name = |text, class| filled(text, class, &id);
        let expected = "/m/linux/i-0123456789abcdef0";
        assert_eq!(name("/m/{class}/{instance_id}", "linux").as_deref(), Some(expected));
        assert_eq!(name("/m/{class}/{instance_id}", "{tag:class}"), None);
        assert_eq!(name("/m/{tag:mayfly:ticket}", "linux"), None);
    }
}
