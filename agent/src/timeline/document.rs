//! Finds a record in what a person has: the file, a console's output, a log's events.

use mayfly_core::record::Record;
use serde_json::Value;
use thiserror::Error;

/// What the agent writes before the record on the machine's console.
const ON_CONSOLE: &str = "mayfly-record: ";

/// There is no record in a text.
#[derive(Debug, Error)]
pub enum NoRecord {
    /// Nothing in it looks like one.
    #[error("there is no record in it: neither a record.json, nor a line of a console or of a log that has one")]
    None,
    /// It looks like one.
    #[error("it is no record: {0}")]
    Unreadable(serde_json::Error),
}

/// The last record in a text.
///
/// # Errors
/// There is none.
pub fn read(text: &str) -> Result<Record, NoRecord> {
    let whole = serde_json::from_str::<Value>(text).ok();
    let document = match whole {
        // What `aws logs get-log-events` prints.
        Some(Value::Object(keys)) if keys.contains_key("events") => {
            let events = keys.get("events").and_then(Value::as_array);
            let messages = events.into_iter().flatten().filter_map(|event| event.get("message")?.as_str());
            messages.rev().find_map(in_line)
        }
        Some(document) => Some(document).filter(Value::is_object),
        None => text.lines().rev().find_map(in_line),
    };
    let document = document.ok_or(NoRecord::None)?;
    serde_json::from_value(document).map_err(NoRecord::Unreadable)
}

fn in_line(line: &str) -> Option<Value> {
    let start = line.find(ON_CONSOLE).map_or_else(|| line.find('{'), |at| Some(at + ON_CONSOLE.len()))?;
    // What follows it on the line is none of it: others write to the same console.
    let mut values = serde_json::Deserializer::from_str(line.get(start..)?).into_iter::<Value>();
    values.next()?.ok().filter(|value| value.get("phases").is_some_and(Value::is_array))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_is_found_in_its_file_on_a_console_and_among_the_events_of_a_log() {
        let record = r#"{"version":"0.1.0","instance":"i-1","boot":"b","started_at":"t","ended_at":null,"phases":[]}"#;
        let console =
            format!("[  0.0] boot\r\nmayfly: job-failed: x\r\nmayfly-record: {record}\r\n[ 99.0] {{bye}}\r\n");
        let events = serde_json::json!({ "events": [{ "message": record }, { "message": "{\"phases\":1}" }, {}] });
        for text in [record, &console, &events.to_string(), &format!("other\n{record}\n")] {
            assert_eq!(read(text).unwrap().instance, "i-1", "{text}");
        }
        for text in ["", "[]", "7", "{\"events\":[]}", "no record", "mayfly-record: {"] {
            assert!(matches!(read(text), Err(NoRecord::None)), "{text}");
        }
        assert!(matches!(read("{}"), Err(NoRecord::Unreadable(_))));
    }
}
