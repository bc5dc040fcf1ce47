//! Parameter Store. What it refuses of a value stands with the proxy's rules.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Outcome, error};
use crate::proxy::{AwsError, Call};

/// A parameter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The value in the clear.
    pub value: String,
    /// `String`, `StringList` or `SecureString`.
    pub kind: String,
    /// `Standard` or `Advanced`.
    pub tier: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it ceases to be, if a policy says so.
    pub expires: Option<SystemTime>,
    /// How often it was put.
    pub version: u64,
    policies: Option<String>,
    modified: SystemTime,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    parameters: BTreeMap<String, Parameter>,
}

fn missing(name: &str) -> AwsError {
    error("ParameterNotFound", format!("Parameter {name} not found."))
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The time of an expiration policy.
fn expiry(policies: Option<&str>) -> Option<SystemTime> {
    let policies: Value = serde_json::from_str(policies?).ok()?;
    let expiration = policies.as_array()?.iter().find(|policy| policy["Type"] == "Expiration")?;
    humantime::parse_rfc3339(expiration["Attributes"]["Timestamp"].as_str()?).ok()
}

impl Store {
    pub(super) fn readable(&mut self) -> BTreeMap<String, Parameter> {
        self.expire();
        self.parameters.clone()
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Parameter> {
        self.expire();
        self.parameters.remove(name)
    }

    fn expire(&mut self) {
        let now = SystemTime::now();
        self.parameters.retain(|_, parameter| parameter.expires.is_none_or(|expires| now < expires));
    }

    pub(super) fn answer(&mut self, call: &Call, body: &[u8]) -> Outcome {
        self.expire();
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let answer = match call.action.as_str() {
            "PutParameter" => self.put(&asked)?,
            "GetParameter" => self.get(&asked)?,
            "DeleteParameter" => {
                let name = asked["Name"].as_str().unwrap_or_default();
                self.parameters.remove(name).ok_or_else(|| missing(name))?;
                json!({})
            }
            "DeleteParameters" => {
                let names = asked["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let (deleted, invalid): (Vec<&str>, Vec<&str>) =
                    names.partition(|name| self.parameters.remove(*name).is_some());
                json!({ "DeletedParameters": deleted, "InvalidParameters": invalid })
            }
            "GetParametersByPath" => self.by_path(&asked)?,
            "DescribeParameters" => self.describe(&asked)?,
            other => return Err(error("UnknownOperationException", format!("the double does not know {other}"))),
        };
        Ok(answer.to_string())
    }

    fn put(&mut self, asked: &Value) -> Result<Value, AwsError> {
        let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        let (name, value) = (text("Name"), text("Value"));
        let overwrite = asked["Overwrite"].as_bool().unwrap_or(false);
        let tags = asked["Tags"].as_array().into_iter().flatten();
        let tags: BTreeMap<String, String> =
            tags.filter_map(|tag| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str()?.to_owned()))).collect();
        let invalid = |reason: &str| Err(AwsError::Validation(reason.to_owned()));
        let before = self.parameters.get(&name);
        let kind = match (text("Type"), before) {
            (kind, _) if ["String", "StringList", "SecureString"].contains(&kind.as_str()) => kind,
            (kind, Some(before)) if kind.is_empty() => before.kind.clone(),
            _ => return invalid("A parameter type is required when you create a parameter."),
        };
        if name.is_empty() || value.is_empty() {
            return invalid("Member must have length greater than or equal to 1.");
        }
        if overwrite && !tags.is_empty() {
            return invalid("Invalid request: tags and overwrite can't be used together.");
        }
        if before.is_some() && !overwrite {
            let message = "The parameter already exists. To overwrite this value, set the overwrite option in the \
                           request to true.";
            return Err(error("ParameterAlreadyExists", message));
        }
        let tier = match text("Tier").as_str() {
            "Advanced" => "Advanced",
            "Intelligent-Tiering" if value.chars().count() > 4096 || asked["Policies"].is_string() => "Advanced",
            _ => "Standard",
        };
        let version = before.map_or(1, |before| before.version + 1);
        let policies = asked["Policies"].as_str().map(str::to_owned);
        let parameter = Parameter {
            value,
            kind,
            tier: tier.to_owned(),
            tags: before.map_or(tags, |before| before.tags.clone()),
            expires: expiry(policies.as_deref()),
            version,
            policies,
            modified: SystemTime::now(),
        };
        self.parameters.insert(name, parameter);
        Ok(json!({ "Version": version, "Tier": tier }))
    }

    fn get(&self, asked: &Value) -> Result<Value, AwsError> {
        let name = asked["Name"].as_str().unwrap_or_default();
        let parameter = self.parameters.get(name).ok_or_else(|| missing(name))?;
        Ok(json!({ "Parameter": parameter.shown(name, decrypted(asked)) }))
    }

    fn by_path(&self, asked: &Value) -> Result<Value, AwsError> {
        let path = asked["Path"].as_str().unwrap_or_default().trim_end_matches('/');
        let recursive = asked["Recursive"].as_bool().unwrap_or(false);
        let below = |name: &str| {
            let rest = name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| recursive || !rest.contains('/'))
        };
        let found = self.parameters.iter().filter(|(name, _)| below(name));
        let shown = |(name, parameter): (&String, &Parameter)| parameter.shown(name, decrypted(asked));
        page(found.map(shown).collect(), asked, 10)
    }

    fn describe(&self, asked: &Value) -> Result<Value, AwsError> {
        let mut found: Vec<(&String, &Parameter)> = self.parameters.iter().collect();
        for filter in asked["ParameterFilters"].as_array().into_iter().flatten() {
            let (key, option) = (filter["Key"].as_str(), filter["Option"].as_str());
            let values: Vec<&str> =
                filter["Values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            found.retain(|(name, parameter)| match (key, option) {
                (Some("Name"), Some("BeginsWith")) => values.iter().any(|value| name.starts_with(value)),
                (Some("Name"), None | Some("Equals")) => values.contains(&name.as_str()),
                (Some("Path"), _) => values.iter().any(|path| name.starts_with(&format!("{path}/"))),
                (Some("Tier"), _) => values.contains(&parameter.tier.as_str()),
                (Some(key), _) => {
                    let tag = key.strip_prefix("tag:").and_then(|key| parameter.tags.get(key));
                    tag.is_some_and(|tag| values.is_empty() || values.contains(&tag.as_str()))
                }
                (None, _) => false,
            });
        }
        let shown = |(name, parameter): (&String, &Parameter)| {
            let mut shown = json!({
                "Name": name, "Type": parameter.kind, "Version": parameter.version, "Tier": parameter.tier,
                "LastModifiedDate": seconds(parameter.modified), "DataType": "text",
            });
            if let Some(text) = &parameter.policies {
                shown["Policies"] =
                    json!([{ "PolicyText": text, "PolicyType": "Expiration", "PolicyStatus": "Pending" }]);
            }
            shown
        };
        page(found.into_iter().map(shown).collect(), asked, 50)
    }
}

fn decrypted(asked: &Value) -> bool {
    asked["WithDecryption"].as_bool().unwrap_or(false)
}

impl Parameter {
    fn shown(&self, name: &str, decrypted: bool) -> Value {
        let secret = self.kind == "SecureString" && !decrypted;
        let value = if secret { "kms:alias/aws/ssm:ciphertext" } else { &*self.value };
        json!({
            "Name": name, "Type": self.kind, "Value": value, "Version": self.version, "DataType": "text",
            "LastModifiedDate": seconds(self.modified),
            "ARN": format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{}", name.trim_start_matches('/')),
        })
    }
}

/// One page of a list; its token is the place where the next one begins.
fn page(all: Vec<Value>, asked: &Value, most: usize) -> Result<Value, AwsError> {
    let size = asked["MaxResults"].as_u64().map_or(most, |size| usize::try_from(size).unwrap_or(usize::MAX));
    if !(1..=most).contains(&size) {
        let reason = format!("Value '{size}' at 'maxResults' must be between 1 and {most}");
        return Err(AwsError::Validation(reason));
    }
    let first = match asked["NextToken"].as_str() {
        None => 0,
        Some(token) => token.parse().map_err(|_| error("InvalidNextToken", "The specified token isn't valid."))?,
    };
    let more = all.len() > first + size;
    let shown: Vec<Value> = all.into_iter().skip(first).take(size).collect();
    let mut answer = json!({ "Parameters": shown });
    if more {
        answer["NextToken"] = json!((first + size).to_string());
    }
    Ok(answer)
}
