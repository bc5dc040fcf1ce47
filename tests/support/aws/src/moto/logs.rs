//! What has arrived at CloudWatch Logs.

use std::io;

use serde_json::{Value, json};

use super::{Moto, failed};

impl Moto {
    fn logs(&self, action: &str, body: &Value) -> io::Result<Value> {
        let target = format!("Logs_20140328.{action}");
        let answer = self.json_call("logs", &target, body)?;
        match answer.status {
            200 if answer.body.is_empty() => Ok(Value::Null),
            200 => Ok(serde_json::from_str(&answer.body)?),
            status => Err(failed(format!("moto answered {status}: {}", answer.body))),
        }
    }

    /// Makes a log group, as the operators' templates do.
    pub fn create_log_group(&self, group: &str) -> io::Result<()> {
        let body = json!({ "logGroupName": group });
        self.logs("CreateLogGroup", &body).map(drop)
    }

    /// The names of a group's streams.
    pub fn log_streams(&self, group: &str) -> io::Result<Vec<String>> {
        let found = self.logs("DescribeLogStreams", &json!({ "logGroupName": group }))?;
        let streams = found["logStreams"].as_array().into_iter().flatten();
        let names = streams.filter_map(|stream| stream["logStreamName"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Every message of a stream, oldest first.
    pub fn log_messages(&self, group: &str, stream: &str) -> io::Result<Vec<String>> {
        let mut body = json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true });
        let mut messages = Vec::new();
        loop {
            let page = self.logs("GetLogEvents", &body)?;
            let events = page["events"].as_array().into_iter().flatten();
            let before = messages.len();
            messages.extend(events.filter_map(|event| event["message"].as_str()).map(str::to_owned));
            // The token never ends; a page without events does.
            if messages.len() == before {
                return Ok(messages);
            }
            body["nextToken"] = page["nextForwardToken"].clone();
        }
    }
}
