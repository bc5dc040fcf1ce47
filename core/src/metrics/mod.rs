//! The figures of a run: what there is ([`ALL`]), their values at one moment ([`Registry`]), and the two forms in which others
//! read them: [`text`] for Prometheus, [`emf`] for CloudWatch.
//!
//! Everything that shows a figure (the table of `docs/metrics.md`, alert rules, dashboards) is made from this list or compared with
//! it. Labels have few values: no name of a job, no id of a run; what a job could choose is no label.

pub mod emf;
mod table;
pub mod text;

use std::collections::BTreeMap;

pub use table::*;

/// How a figure moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only goes up, from zero with each agent process.
    Counter,
}

impl Kind {
    /// As Prometheus writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Seconds since 1970.
    Timestamp,
    /// Bytes.
    Bytes,
    /// A part of one.
    Ratio,
    /// How many.
    Count,
    /// Yes or no.
    Flag,
}

impl Unit {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Timestamp => "seconds since 1970",
            Self::Bytes => "bytes",
            Self::Ratio => "0 to 1",
            Self::Count => "count",
            Self::Flag => "0 or 1",
        }
    }
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// `mayfly_<what>_<unit>`
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Whether it is a metric of CloudWatch, where every series costs money; else it is only in the log line.
    pub cloudwatch: bool,
    /// What it says.
    pub help: &'static str,
}

/// The values of a figure, by those of its labels.
type Series = BTreeMap<Vec<String>, f64>;

/// The values of all figures at one moment. What is not known is not there: absent is no zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry(BTreeMap<&'static str, Series>);

impl Registry {
    /// Sets a figure without labels; one that is not known stays absent.
    pub fn set(&mut self, figure: &Figure, value: impl Into<Option<f64>>) {
        self.set_of(figure, &[], value);
    }

    /// Sets a figure for these values of its labels. A label that lacks its value, or has one too many, is a mistake in the
    /// caller that [`text`] and [`emf`] cannot show, so the pairs are cut to the shorter.
    pub fn set_of(&mut self, figure: &Figure, labels: &[&str], value: impl Into<Option<f64>>) {
        debug_assert_eq!(labels.len(), figure.labels.len(), "{} has other labels", figure.name);
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            let labels = labels.iter().map(ToString::to_string).collect();
            self.0.entry(figure.name).or_default().insert(labels, value);
        }
    }

    /// What became of the log lines of one stream, as counted since this agent process began.
    pub fn lines(&mut self, stream: &str, read: u64, confirmed: u64, lost: u64) {
        for (figure, lines) in [(&LINES_READ, read), (&LINES_CONFIRMED, confirmed), (&LINES_LOST, lost)] {
            self.set_of(figure, &[stream], count(lines));
        }
    }

    /// The value of a figure for these labels, if it is known.
    #[must_use]
    pub fn value(&self, figure: &Figure, labels: &[(&str, &str)]) -> Option<f64> {
        let values: Vec<String> = labels.iter().map(|(_, value)| (*value).to_owned()).collect();
        self.0.get(figure.name)?.get(&values).copied()
    }

    /// The series of a figure: its labels by name, and the value.
    pub fn series(&self, figure: &Figure) -> impl Iterator<Item = (Vec<(&'static str, &str)>, f64)> {
        let names = figure.labels;
        self.0.get(figure.name).into_iter().flatten().map(move |(values, value)| {
            (names.iter().copied().zip(values.iter().map(String::as_str)).collect(), *value)
        })
    }
}

/// A number of things as a value: exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
pub const fn count(things: u64) -> f64 {
    things as f64
}

/// Yes or no as a value.
#[must_use]
pub fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_says_what_it_is_measured_in() {
        for (number, figure) in ALL.iter().enumerate() {
            let Figure { name, unit, kind, help, labels, .. } = figure;
            let words = name.strip_prefix("mayfly_").unwrap_or_default();
            assert!(
                !words.is_empty() && words.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9')),
                "{name}"
            );
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}: only counters end so");
            let stem = name.trim_end_matches("_total");
            let suffix = match unit {
                Unit::Seconds => "_seconds",
                Unit::Timestamp => "_timestamp_seconds",
                Unit::Bytes => "_bytes",
                Unit::Ratio => "_ratio",
                Unit::Count | Unit::Flag => "",
            };
            assert!(stem.ends_with(suffix), "{name} is in {}", unit.name());
            assert_eq!(
                suffix.is_empty(),
                !["_seconds", "_bytes", "_ratio"].iter().any(|unit| stem.ends_with(unit)),
                "{name}"
            );
            assert!(help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
            assert!(
                labels.len() <= 6 && ALL[number + 1..].iter().all(|other| other.name != *name),
                "{name} is there twice"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_absent_and_never_zero() {
        let mut registry = Registry::default();
        registry.set(&LIFETIME_REMAINING, None);
        registry.set(&IDLE, f64::NAN);
        assert_eq!(registry, Registry::default());
        registry.lines("runner", 7, 5, 2);
        let of = |figure| registry.series(figure).collect::<Vec<_>>();
        assert_eq!(of(&LINES_LOST), [(vec![("stream", "runner")], 2.0)]);
        assert_eq!(of(&LINES_CONFIRMED), [(vec![("stream", "runner")], 5.0)]);
    }
}
