//! What can go wrong with a request. (What can go wrong with the socket is [`crate::Stance`].)

use std::str::FromStr;
use std::time::Duration;

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Never answers; the connection stays open.
    Hang,
    /// Answers, but late.
    Delay(Duration),
    /// Answers with this status and a message, as a daemon in trouble does.
    Status(u16),
    /// Answers with something that no Docker daemon would say.
    Garbage,
    /// Closes the connection without an answer.
    Drop,
    /// Sends half of the announced body, then closes.
    HalfBody,
}

/// Reads `hang`, `delay:250` (milliseconds), `500`, `garbage`, `drop` or `half`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such fault: {text}");
        if let Some(millis) = text.strip_prefix("delay:") {
            return Ok(Self::Delay(Duration::from_millis(millis.parse().map_err(|_| unknown())?)));
        }
        Ok(match text {
            "hang" => Self::Hang,
            "garbage" => Self::Garbage,
            "drop" => Self::Drop,
            "half" => Self::HalfBody,
            status => Self::Status(status.parse().map_err(|_| unknown())?),
        })
    }
}

/// The faults in force, oldest first: the first that fits is the one.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(String, Option<u32>, Fault)>);

impl Faults {
    pub(crate) fn add(&mut self, prefix: &str, times: Option<u32>, fault: Fault) {
        self.0.push((prefix.to_owned(), times, fault));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn befalls(&mut self, path: &str) -> Option<Fault> {
        let (_, left, fault) =
            self.0.iter_mut().find(|(prefix, left, _)| *left != Some(0) && path.starts_with(prefix.as_str()))?;
        if let Some(left) = left {
            *left -= 1;
        }
        Some(*fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_spent_and_the_next_one_follows() {
        let mut faults = Faults::default();
        faults.add("/_ping", Some(1), "500".parse().unwrap());
        faults.add("/", None, "delay:5".parse().unwrap());
        let seen = ["/_ping", "/_ping", "/info"].map(|path| faults.befalls(path).unwrap());
        let late = Fault::Delay(Duration::from_millis(5));
        assert_eq!(seen, [Fault::Status(500), late, late]);
    }
}
