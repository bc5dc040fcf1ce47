//! The policy that docs/security.md prints, held against what the agent asked of AWS.

use std::collections::BTreeSet;

use mayfly_fake_aws::proxy::AwsRequest;
use serde_json::Value;

const PRINTED: &str = include_str!("../../../docs/security.md");

fn policy() -> Value {
    let block = PRINTED.split("```json\n").skip(1).find(|block| block.contains("ssm:GetParameter")).unwrap();
    serde_json::from_str(block.split("\n```").next().unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The statement that allows this action.
fn statement(action: &str) -> Option<Value> {
    let policy = policy();
    policy["Statement"]
        .as_array()?
        .iter()
        .find(|one| texts(&one["Action"]).iter().any(|known| known == action))
        .cloned()
}

/// What a role with the printed policy would have been denied.
#[must_use]
pub fn denied(requests: &[AwsRequest]) -> BTreeSet<String> {
    let mut denied = BTreeSet::new();
    for request in requests.iter().filter(|request| !request.call.service.is_empty()) {
        let action = format!("{}:{}", request.call.service, request.call.action);
        let Some(statement) = statement(&action) else {
            denied.insert(action);
            continue;
        };
        if action == "ec2:CreateTags" {
            let allowed = texts(&statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]);
            let keys =
                request.form().into_iter().filter(|(name, _)| name.starts_with("Tag.") && name.ends_with(".Key"));
            denied.extend(keys.map(|(_, key)| key).filter(|key| !allowed.contains(key)));
        }
    }
    denied
}

/// Whether the printed policy allows to read this parameter.
#[must_use]
pub fn may_read(parameter: &str) -> bool {
    let resource = texts(&statement("ssm:GetParameter").unwrap_or_default()["Resource"]);
    resource.iter().any(|pattern| matches(pattern, &format!("arn:aws:ssm:REGION:ACCOUNT:parameter{parameter}")))
}

/// As IAM does: a star is any number of characters, slashes too.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}
