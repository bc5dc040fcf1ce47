//! Commands as JSON, for scripts that drive the proxy from outside.

use std::time::Duration;

use serde_json::{Value, json};

use super::{AwsProxy, AwsRequest, Match};
use crate::when::limit_of;

impl AwsProxy {
    /// Installs a fault described as an object with `fault` (as [`super::Fault`]
    /// reads it) and optionally `action`, `service`, `containing`, `after`,
    /// `times` and `seconds`. Returns its number.
    pub fn fault_command(&self, command: &Value) -> Result<Value, String> {
        let text = |key: &str| command[key].as_str().map(str::to_owned);
        let fault = text("fault").ok_or("a fault needs the key \"fault\"")?;
        let matching = Match { action: text("action"), service: text("service"), containing: text("containing") };
        let id = self.fault(matching, limit_of(command), fault.parse()?);
        Ok(json!({ "id": id.0 }))
    }

    /// Sets the latency of every call in milliseconds.
    pub fn latency_command(&self, millis: &str) -> Result<(), String> {
        let millis = millis.parse().map_err(|_| format!("no number of milliseconds: {millis}"))?;
        self.latency(Duration::from_millis(millis));
        Ok(())
    }

    /// The record as JSON.
    pub fn requests_json(&self) -> Value {
        self.requests().iter().map(summary).collect()
    }
}

fn summary(request: &AwsRequest) -> Value {
    json!({
        "at_ms": request.at.as_secs_f64() * 1000.0,
        "service": request.call.service,
        "region": request.call.region,
        "action": request.call.action,
        "body": String::from_utf8_lossy(&request.body),
        "host": request.host,
        "proxy_form": request.proxy_form,
        "connection": request.connection,
        "key_matched": request.key_matched,
        "status": request.status,
        "fault": request.fault.as_ref().map(|fault| format!("{fault:?}")),
    })
}
