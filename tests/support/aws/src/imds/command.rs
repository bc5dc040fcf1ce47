//! Commands as JSON, for scripts that drive the double from outside.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Credentials, ImdsDouble};
use crate::when::limit_of;

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected a text, found {value}"))
}

/// Seconds, or `null` for "until cleared".
fn period(value: &Value) -> Option<Duration> {
    value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

impl ImdsDouble {
    /// Carries out a command: an object whose only key names it. See the
    /// binary `fake-imds` for the list.
    pub fn command(&self, command: &Value) -> Result<Value, String> {
        let (name, argument) = command
            .as_object()
            .filter(|object| object.len() == 1)
            .and_then(|object| object.iter().next())
            .ok_or("expected an object with one key")?;
        let failed = |error: std::io::Error| error.to_string();
        let mut result = json!({});
        match name.as_str() {
            "set" => self.set(text(&argument[0])?, text(&argument[1])?.to_owned()),
            "remove" => self.remove(text(argument)?),
            "tag" => self.set_tag(text(&argument[0])?, text(&argument[1])?).map_err(failed)?,
            "spot_action" => self.spot_action_at(text(&argument[0])?, text(&argument[1])?),
            "rebalance" => self.rebalance_at(text(argument)?),
            "scheduled_events" => self.scheduled_events(argument),
            "target_lifecycle_state" => self.target_lifecycle_state(text(argument)?),
            "credentials" => {
                let expiration = humantime::parse_rfc3339(text(&argument[1])?).map_err(|error| error.to_string())?;
                let credentials = Credentials { expiration, ..Credentials::default() };
                self.set_credentials(text(&argument[0])?, &credentials);
            }
            "fault" => {
                let prefix = argument["path"].as_str().unwrap_or("/");
                let fault = text(&argument["fault"])?.parse()?;
                let id = self.fault(prefix, limit_of(argument), fault);
                result = json!({ "id": id.0 });
            }
            "refuse" => self.refuse(period(argument)).map_err(failed)?,
            "black_hole" => self.black_hole(period(argument)).map_err(failed)?,
            "clear" => self.clear_all().map_err(failed)?,
            "invalidate_tokens" => self.invalidate_tokens(),
            "keep_alive" => self.keep_alive(argument.as_bool().unwrap_or(true)),
            "clock_skew" => self.clock_skew(argument.as_i64().unwrap_or(0)),
            "requests" => result = self.requests_json(),
            unknown => return Err(format!("no such command: {unknown}")),
        }
        Ok(result)
    }

    fn requests_json(&self) -> Value {
        let requests: Vec<Value> = self
            .requests()
            .into_iter()
            .map(|request| {
                json!({
                    "at_ms": request.at.as_secs_f64() * 1000.0,
                    "method": request.method,
                    "path": request.path,
                    "connection": request.connection,
                    "with_token": request.with_token,
                    "status": request.status,
                })
            })
            .collect();
        let counts = self.connections();
        json!({ "requests": requests, "connections": counts.opened, "open": counts.open })
    }
}
