//! The record as one line: for the console, and as the last event of a log.

use serde_json::Value;

use super::Record;

/// No line is longer, in bytes. (CloudWatch Logs takes 256 KiB in an event, and a console keeps its last 64 KiB.)
const LONGEST: usize = 60 * 1024;

/// The record as one line of JSON, never longer than 60 KiB. One that would be is told without the machine over time, and if
/// that is not enough, with shortened texts and lists; the file has all of it.
#[must_use]
pub fn line(record: &Record) -> String {
    let Ok(mut value) = serde_json::to_value(record) else { return String::new() };
    let mut text = value.to_string();
    if text.len() > LONGEST
        && let Value::Object(keys) = &mut value
    {
        keys.remove("series");
        text = value.to_string();
    }
    let mut most = 512;
    while text.len() > LONGEST && most > 0 {
        shorten(&mut value, most);
        text = value.to_string();
        most /= 2;
    }
    text
}

fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(most) {
                text.truncate(end);
            }
        }
        Value::Array(list) => {
            list.truncate(most);
            list.iter_mut().for_each(|one| shorten(one, most));
        }
        Value::Object(keys) => keys.values_mut().for_each(|one| shorten(one, most)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{PhaseTime, Series};
    use super::*;
    use crate::lifecycle::{End, Outcome, Time};

    #[test]
    fn a_record_is_one_line_that_is_read_back_however_much_it_has_to_tell() {
        let mut record = Record { instance: "i-1".to_owned(), ..Record::default() };
        assert_eq!(serde_json::from_str::<Record>(&line(&record)).unwrap(), record);
        record.series = Some(Series { cpu_percent: vec![Some(u64::MAX); 5_000], ..Series::default() });
        assert_eq!(serde_json::from_str::<Record>(&line(&record)).unwrap().series, None);
        record.end = Some(End::without_runner(Outcome::JitConfigTimeout, "\u{1}\n".repeat(100_000)));
        let phase = PhaseTime { phase: "Idle".to_owned(), at: Time(u64::MAX), ..PhaseTime::default() };
        record.phases = vec![phase; 10_000];
        let told = line(&record);
        assert!(told.len() <= LONGEST && !told.contains('\n'), "{} bytes", told.len());
        let read: Record = serde_json::from_str(&told).unwrap();
        assert_eq!(read.end.unwrap().outcome, Outcome::JitConfigTimeout);
    }
}
