//! What can go wrong with a request to the metadata service.

use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::rules::{Befalls, Fate, Rules};
use crate::when::{Limit, RuleId};

/// A fault of one request. (Faults of the whole port are methods of the double.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status instead.
    Status(u16),
    /// Never answers; the connection stays open.
    Hang,
    /// Answers, but late.
    Delay(Duration),
    /// Cuts the connection with a TCP reset.
    Reset,
    /// Sends half of the announced body, then closes.
    HalfBody,
}

/// Reads `503`, `hang`, `delay:250` (milliseconds), `reset` or `half`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such fault: {text}");
        match text.split_once(':') {
            Some(("delay", millis)) => {
                let millis = millis.parse().map_err(|_| unknown())?;
                return Ok(Self::Delay(Duration::from_millis(millis)));
            }
            Some(_) => return Err(unknown()),
            None => {}
        }
        Ok(match text {
            "hang" => Self::Hang,
            "reset" => Self::Reset,
            "half" => Self::HalfBody,
            status => Self::Status(status.parse().map_err(|_| unknown())?),
        })
    }
}

impl Befalls for Fault {
    fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            _ => None,
        }
    }
}

/// The faults in force, by the beginning of the path.
#[derive(Debug, Default)]
pub(crate) struct Faults(Rules<String, Fault>);

impl Faults {
    pub(crate) fn add(&mut self, prefix: &str, limit: Limit, fault: Fault) -> RuleId {
        let prefix = format!("/{}", prefix.trim_start_matches('/'));
        self.0.add(prefix, limit, fault, Instant::now())
    }

    pub(crate) fn clear(&mut self, id: Option<RuleId>) {
        self.0.clear(id);
    }

    pub(crate) fn hits(&self, id: RuleId) -> u64 {
        self.0.hits(id)
    }

    pub(crate) fn fate(&mut self, path: &str) -> Fate<Fault> {
        self.0.fate(Instant::now(), |prefix| path.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_and_the_first_other_fault_wins() {
        let mut faults = Faults::default();
        faults.add("/latest/", Limit::default(), "delay:5".parse().unwrap());
        faults.add("latest/api", Limit::times(1), "503".parse().unwrap());
        faults.add("/latest", Limit::default(), Fault::Hang);
        let fate = faults.fate("/latest/api/token");
        assert_eq!(fate.fault, Some(Fault::Status(503)));
        assert_eq!(fate.delay, Duration::from_millis(5));
        let fate = faults.fate("/latest/api/token");
        assert_eq!(fate.fault, Some(Fault::Hang));
    }
}
