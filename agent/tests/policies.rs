//! Every policy that the documentation prints allows what the agent does, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mayfly_core::contract::{Action, TagKey};
use serde_json::Value;

/// SSM does this in the role's name where the parameter has a key of its own; the agent does not call it.
const BY_SSM: &str = "kms:Decrypt";

/// The condition on the tags that may be set.
const TAG_KEYS: &str = "/Condition/ForAllValues:StringEquals/aws:TagKeys";

/// Each policy with where it is printed.
fn printed() -> Vec<(PathBuf, Value)> {
    // The directory when the test runs: a build cache may hold the program of another checkout.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let top = Path::new(&package).parent().unwrap();
    let mut policies = Vec::new();
    for directory in [top.to_owned(), top.join("docs"), top.join("cloud-init")] {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "md") {
                policies.extend(of_text(&fs::read_to_string(&path).unwrap()).map(|policy| (path.clone(), policy)));
            }
        }
    }
    policies
}

/// The fenced blocks of JSON that have statements in them. One that cannot be read is an error: people paste it.
fn of_text(text: &str) -> impl Iterator<Item = Value> {
    let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let blocks = blocks.filter(|block| block.contains("\"Effect\""));
    blocks.map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error} in the policy\n{block}")))
}

/// A string, or a list of them.
fn texts(value: &Value) -> BTreeSet<String> {
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn statements(policy: &Value) -> &Vec<Value> {
    policy["Statement"].as_array().expect("a policy has a list of statements")
}

/// What the statements allow.
fn allowed(policy: &Value) -> BTreeSet<String> {
    let allowing = statements(policy).iter().filter(|statement| statement["Effect"] == "Allow");
    allowing.flat_map(|statement| texts(&statement["Action"])).collect()
}

fn difference(policy: &Value) -> Vec<String> {
    let mut calls: BTreeSet<String> = Action::ALL.iter().map(|action| action.name().to_owned()).collect();
    calls.insert(BY_SSM.to_owned());
    let mut found = compared("the action", &calls, &allowed(policy));
    let tagging = statements(policy).iter().filter(|statement| texts(&statement["Action"]).contains("ec2:CreateTags"));
    let keys: BTreeSet<String> = TagKey::ALL.iter().map(|key| key.name().to_owned()).collect();
    for statement in tagging {
        found.extend(compared("the tag", &keys, &statement.pointer(TAG_KEYS).map(texts).unwrap_or_default()));
    }
    found
}

fn compared(what: &str, used: &BTreeSet<String>, allowed: &BTreeSet<String>) -> Vec<String> {
    let missing = used.difference(allowed).map(|name| format!("{what} {name} is used and not allowed"));
    missing.chain(allowed.difference(used).map(|name| format!("{what} {name} is allowed and not used"))).collect()
}

#[test]
fn every_printed_policy_allows_what_the_agent_does_and_no_more() {
    let policies = printed();
    assert!(!policies.is_empty(), "no policy is printed any more, or none is found: the test is wrong");
    for (path, policy) in policies {
        let wrong = difference(&policy);
        assert!(wrong.is_empty(), "whoever uses the policy of {} is let down:\n{wrong:#?}", path.display());
    }
}

#[test]
fn the_role_that_the_tutorial_makes_is_the_one_of_the_documentation() {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let text = fs::read_to_string(Path::new(&package).join("../ami/examples/role.json")).unwrap();
    let role: Value = serde_json::from_str(&text).unwrap();
    let same = printed().into_iter().any(|(path, policy)| path.ends_with("docs/security.md") && policy == role);
    assert!(same, "ami/examples/role.json and docs/security.md give instances different rights");
}

#[test]
fn a_policy_that_is_wrong_is_seen() {
    let (_, good) = printed().remove(0);
    let mut without = good.clone();
    let statements = without["Statement"].as_array_mut().unwrap();
    let tagging = statements.iter_mut().find(|statement| statement["Action"] == "ec2:CreateTags").unwrap();
    tagging.pointer_mut(TAG_KEYS).unwrap().as_array_mut().unwrap().pop();
    assert_eq!(difference(&without).len(), 1, "a tag that is not allowed is not seen");
    let mut with = good;
    let statements = with["Statement"].as_array_mut().unwrap();
    statements.push(serde_json::json!({"Effect": "Allow", "Action": "ssm:GetParametersByPath", "Resource": "*"}));
    assert_eq!(difference(&with), ["the action ssm:GetParametersByPath is allowed and not used"]);
}
