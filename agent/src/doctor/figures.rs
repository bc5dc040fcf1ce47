//! What the running agent has counted: it can ask where this process is blocked.

use std::path::Path;

use crate::control::{Request, ask};
use mayfly_core::metrics::Figure;

/// The agent's figures, a line of text each.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<String>);

impl Figures {
    /// Of the agent at this socket, if there is one.
    pub(super) fn of_agent(socket: &Path) -> Option<Self> {
        let text: String = ask(socket, &Request::Metrics).ok()?;
        Some(Self(text.lines().map(str::to_owned).collect()))
    }

    /// The series of a figure: its labels as they are written, and the value.
    pub(super) fn series(&self, figure: &Figure) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(figure.name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
        })
    }

    /// The value of a figure without labels.
    pub(super) fn value(&self, figure: &Figure) -> Option<f64> {
        self.series(figure).map(|(_, value)| value).next()
    }
}

/// The value of a label, as it is written.
pub(super) fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mayfly_core::metrics::{AWS_ERRORS, Registry, SHUTDOWN_STOPS, STATE, STATE_TIME, text};

    use super::*;

    #[test]
    fn what_the_agent_serves_is_read_back() {
        let mut registry = Registry::default();
        registry.set_of(&STATE, &["Idle"], 1.0);
        registry.set(&SHUTDOWN_STOPS, 1.0);
        registry.set_of(&AWS_ERRORS, &["ec2:CreateTags", "denied"], 3.0);
        let figures = Figures(text::of(&registry).lines().map(str::to_owned).collect());
        assert_eq!(figures.value(&SHUTDOWN_STOPS), Some(1.0));
        assert_eq!(figures.value(&STATE_TIME), None, "a figure is taken for another whose name begins like it");
        let (labels, errors) = figures.series(&AWS_ERRORS).next().unwrap();
        assert_eq!(
            (label(labels, "operation"), label(labels, "error"), errors),
            (Some("ec2:CreateTags"), Some("denied"), 3.0)
        );
    }
}
