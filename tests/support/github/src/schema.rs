//! GitHub's OpenAPI description, cut to the operations that are answered here, as a judge of requests and answers.
//!
//! The crate `boon` does it: it is in the workspace already, and compiles any part of a document by its JSON pointer.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

const OPENAPI: &str = "https://mayfly.test/openapi.json";
const ACTIONS: [&str; 4] = ["queued", "waiting", "in_progress", "completed"];
const WEBHOOK: &str = "https://mayfly.test/workflow_job.json";

/// Who broke the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client, by a request.
    Request,
    /// The double itself, by an answer or a webhook.
    Answer,
}

/// A breach of GitHub's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Whose it is.
    pub side: Side,
    /// Such as `GET /repos/{owner}/{repo}`.
    pub operation: String,
    /// What is wrong.
    pub problem: String,
}

#[derive(Debug, Default)]
struct Operation {
    body: Option<(bool, SchemaIndex)>,
    query: HashMap<String, SchemaIndex>,
    answers: HashMap<u16, Option<SchemaIndex>>,
}

pub(crate) struct Judge {
    schemas: Schemas,
    operations: HashMap<String, Operation>,
    error: SchemaIndex,
    webhooks: HashMap<&'static str, SchemaIndex>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Judge").finish_non_exhaustive()
    }
}

static JUDGE: OnceLock<Result<Judge, String>> = OnceLock::new();

/// The judge of this process; the error is one of the crate's own files.
pub(crate) fn judge() -> Result<&'static Judge, String> {
    JUDGE.get_or_init(Judge::new).as_ref().map_err(Clone::clone)
}

fn pointer(parts: &[&str]) -> String {
    let escaped =
        parts.iter().map(|part| part.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D"));
    let path: Vec<String> = escaped.collect();
    format!("{OPENAPI}#/{}", path.join("/"))
}

impl Judge {
    fn new() -> Result<Self, String> {
        let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let document = read(include_str!("../openapi/openapi.json"))?;
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        let mut add = |name: &str, value: Value| compiler.add_resource(name, value).map_err(|error| error.to_string());
        add(OPENAPI, document.clone())?;
        add(WEBHOOK, read(include_str!("../openapi/workflow_job.schema.json"))?)?;
        let mut compile =
            |place: &str| compiler.compile(place, &mut schemas).map_err(|error| format!("{place}: {error:#}"));
        let mut operations = HashMap::new();
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, described) in methods.as_object().into_iter().flatten() {
                let at = |rest: &[&str]| pointer(&[&["paths", path, method], rest].concat());
                let mut operation = Operation::default();
                if let Some(body) = described.get("body") {
                    operation.body = Some((body["required"] == true, compile(&at(&["body", "schema"]))?));
                }
                for name in described["query"].as_object().into_iter().flatten().map(|(name, _)| name) {
                    operation.query.insert(name.clone(), compile(&at(&["query", name]))?);
                }
                for (status, schema) in described["responses"].as_object().into_iter().flatten() {
                    let index = if schema.is_null() { None } else { Some(compile(&at(&["responses", status]))?) };
                    operation.answers.insert(status.parse().unwrap_or_default(), index);
                }
                operations.insert(format!("{} {path}", method.to_uppercase()), operation);
            }
        }
        let error = compile(&pointer(&["components", "schemas", "basic-error"]))?;
        let mut webhooks = HashMap::new();
        for action in ACTIONS {
            webhooks.insert(action, compile(&format!("{WEBHOOK}#/definitions/workflow_job${action}"))?);
        }
        Ok(Self { schemas, operations, error, webhooks })
    }

    fn check(&self, value: &Value, index: SchemaIndex) -> Result<(), String> {
        self.schemas.validate(value, index).map_err(|error| format!("{error:#}"))
    }

    /// What is wrong with a request: its query, or its body.
    pub(crate) fn request(
        &self,
        operation: &str,
        query: &[(String, String)],
        body: Option<&Value>,
    ) -> Result<(), String> {
        let described = self.operations.get(operation).ok_or("it is not described")?;
        for (name, text) in query {
            let index = described.query.get(name).ok_or_else(|| format!("no such query parameter: {name}"))?;
            // A number in an address is one only by its schema.
            let number = text.parse::<u64>().ok().map(Value::from);
            let read = number.into_iter().chain(text.parse::<bool>().ok().map(Value::from)).chain([json!(text)]);
            if !read.into_iter().any(|value| self.check(&value, *index).is_ok()) {
                return Err(format!("the query parameter {name} may not be {text}"));
            }
        }
        match (&described.body, body) {
            (Some((_, index)), Some(body)) => self.check(body, *index),
            (Some((true, _)), None) => Err("a body is required".to_owned()),
            (None, Some(body)) if *body != json!({}) => Err("no body is expected".to_owned()),
            _ => Ok(()),
        }
    }

    /// What is wrong with an answer.
    pub(crate) fn answer(&self, operation: &str, status: u16, body: Option<&Value>) -> Result<(), String> {
        let described = self.operations.get(operation).and_then(|operation| operation.answers.get(&status));
        match (described, body) {
            (Some(Some(index)), Some(body)) => self.check(body, *index),
            (Some(None), None) => Ok(()),
            // What any operation may say.
            (None, Some(body)) if status >= 400 => self.check(body, self.error),
            _ => Err(format!("an answer with {status} is not described")),
        }
    }

    /// What is wrong with a payload of `workflow_job`.
    pub(crate) fn webhook(&self, payload: &Value) -> Result<(), String> {
        let action = payload["action"].as_str().unwrap_or_default();
        let index = self.webhooks.get(action).ok_or_else(|| format!("no such action: {action}"))?;
        self.check(payload, *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNERS: &str = "GET /orgs/{org}/actions/runners";
    const MINT: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

    #[test]
    fn what_is_not_described_is_found() {
        let judge = judge().unwrap();
        let runner = json!({ "id": 1, "name": "r", "os": "linux", "status": "online", "busy": false, "labels": [] });
        let list = |runner: Value| json!({ "total_count": 1, "runners": [runner] });
        assert_eq!(judge.answer(RUNNERS, 200, Some(&list(runner.clone()))), Ok(()));
        let mut wrong = runner;
        wrong["busy"] = "no".into();
        assert!(judge.answer(RUNNERS, 200, Some(&list(wrong))).is_err(), "a member of another type");
        assert!(judge.answer(RUNNERS, 200, None).is_err(), "no body");
        assert!(judge.answer(RUNNERS, 202, Some(&json!({}))).is_err(), "a status that it does not have");
        assert_eq!(judge.answer(RUNNERS, 503, Some(&json!({ "message": "m" }))), Ok(()), "any may be out of order");
        assert!(judge.answer("GET /nothing", 200, Some(&json!({}))).is_err());
    }

    #[test]
    fn requests_are_judged_by_query_and_body() {
        let judge = judge().unwrap();
        let query = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(judge.request(RUNNERS, &query("per_page", "100"), None), Ok(()));
        assert!(judge.request(RUNNERS, &query("per_page", "many"), None).is_err());
        assert!(judge.request(RUNNERS, &query("size", "3"), None).is_err(), "no such parameter");
        let body = json!({ "name": "r", "runner_group_id": 1, "labels": ["a"] });
        assert_eq!(judge.request(MINT, &[], Some(&body)), Ok(()));
        assert!(judge.request(MINT, &[], None).is_err(), "it needs a body");
        assert!(judge.request(MINT, &[], Some(&json!({ "name": "r", "labels": [] }))).is_err());
    }

    #[test]
    fn webhooks_have_no_members_that_github_does_not_send() {
        let judge = judge().unwrap();
        let example = include_str!("../fixtures/workflow_job.7.queued.json");
        let mut payload: Value = serde_json::from_str(example).unwrap();
        payload["more"] = json!(1);
        assert!(judge.webhook(&payload).is_err());
        payload["action"] = json!("unknown");
        assert!(judge.webhook(&payload).is_err());
    }
}
