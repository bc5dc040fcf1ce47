//! What can go wrong with a request to the metadata service.

use std::str::FromStr;
use std::time::Duration;

use crate::when::{Limit, Live, RuleId};

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

/// The faults in force, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<(RuleId, String, Fault, Live)>,
    made: u64,
}

/// What befalls one request: every delay, and the first other fault.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) delay: Duration,
    pub(crate) fault: Option<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, prefix: &str, limit: Limit, fault: Fault) -> RuleId {
        self.made += 1;
        let id = RuleId(self.made);
        let prefix = format!("/{}", prefix.trim_start_matches('/'));
        self.rules.push((id, prefix, fault, Live::new(limit)));
        id
    }

    pub(crate) fn clear(&mut self, id: Option<RuleId>) {
        self.rules.retain(|rule| id.is_some_and(|id| rule.0 != id));
    }

    pub(crate) fn hits(&self, id: RuleId) -> u64 {
        let rule = self.rules.iter().find(|rule| rule.0 == id);
        rule.map_or(0, |rule| rule.3.hits)
    }

    pub(crate) fn fate(&mut self, path: &str) -> Fate {
        let mut fate = Fate::default();
        for (_, prefix, fault, live) in &mut self.rules {
            let decided = fate.fault.is_some() && !matches!(fault, Fault::Delay(_));
            if decided || !path.starts_with(prefix.as_str()) || !live.hit() {
                continue;
            }
            match fault {
                Fault::Delay(delay) => fate.delay += *delay,
                fault => fate.fault = Some(*fault),
            }
        }
        fate
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
