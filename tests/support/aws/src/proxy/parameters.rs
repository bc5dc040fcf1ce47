//! What Parameter Store refuses and no emulator does.

use std::collections::HashSet;

use serde_json::Value;

use super::call::Call;
use super::error::AwsError;

/// The most characters of a value, by tier.
const STANDARD: usize = 4096;
const ADVANCED: usize = 8192;

/// The names that are there as far as calls have shown, and how many there may be.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    names: HashSet<String>,
    pub(crate) limit: Option<usize>,
}

fn validation(reason: impl Into<String>) -> Option<AwsError> {
    Some(AwsError::Validation(reason.into()))
}

impl Parameters {
    /// Why a call is refused, if it is.
    pub(crate) fn refusal(&self, call: &Call, body: &[u8]) -> Option<AwsError> {
        if call.action != "PutParameter" {
            return None;
        }
        let asked: Value = serde_json::from_slice(body).ok()?;
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let (name, value) = (text("Name"), text("Value"));
        let advanced = match text("Tier") {
            "" | "Standard" => false,
            "Advanced" => true,
            "Intelligent-Tiering" => value.chars().count() > STANDARD || asked["Policies"].is_string(),
            other => {
                return validation(format!("Value '{other}' at 'tier' failed to satisfy constraint"));
            }
        };
        let length = value.chars().count();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte)) {
            return validation(format!(
                "Parameter name: {name} contains characters other than letters, numbers and .-_ between slashes."
            ));
        }
        if value.contains("{{") {
            return validation("Parameter value can't nest another parameter. Do not use \"{{}}\" in the value.");
        }
        if !advanced && length > STANDARD {
            return validation(format!(
                "Standard tier parameters support a maximum parameter value of {STANDARD} characters. To create a \
                 larger parameter value, upgrade the parameter to use the advanced-parameter tier."
            ));
        }
        if length > ADVANCED {
            return validation(format!(
                "Advanced tier parameters support a maximum parameter value of {ADVANCED} characters."
            ));
        }
        if !advanced && asked["Policies"].as_str().is_some_and(|policies| !policies.is_empty() && policies != "[]") {
            return validation("Parameter policies are only supported in the advanced-parameter tier.");
        }
        let full = self.limit.is_some_and(|limit| self.names.len() >= limit);
        (full && !self.names.contains(name)).then(|| AwsError::Code {
            status: 400,
            code: "ParameterLimitExceeded".to_owned(),
            message: "You have exceeded the number of parameters for this AWS account. Delete one or more parameters \
                      and try again."
                .to_owned(),
        })
    }

    /// Takes note of a call that was carried out with success.
    pub(crate) fn note(&mut self, call: &Call, body: &[u8]) {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = asked["Name"].as_str().unwrap_or_default();
        match call.action.as_str() {
            "PutParameter" => {
                self.names.insert(name.to_owned());
            }
            "DeleteParameter" => {
                self.names.remove(name);
            }
            "DeleteParameters" => {
                let names = asked["Names"].as_array().into_iter().flatten();
                names.filter_map(Value::as_str).for_each(|name| {
                    self.names.remove(name);
                });
            }
            _ => {}
        }
    }
}
