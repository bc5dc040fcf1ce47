//! Prometheus's text format.

use std::fmt::Write as _;

use super::{ALL, Registry};

/// What the format calls itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures that are known, each with what it says.
#[must_use]
pub fn of(registry: &Registry) -> String {
    let mut text = String::new();
    for figure in ALL {
        let mut series = registry.series(figure).peekable();
        if series.peek().is_some() {
            let _ = writeln!(text, "# HELP {} {}", figure.name, figure.help.replace('\\', "\\\\"));
            let _ = writeln!(text, "# TYPE {} {}", figure.name, figure.kind.name());
        }
        for (labels, value) in series {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{}{labels} {value}", figure.name);
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::{LIFETIME_REMAINING, NOTICES, STATE, STATE_TIME};
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let mut registry = Registry::default();
        registry.set_of(&STATE, &["a \"b\"\\\n"], 1.0);
        registry.set(&STATE_TIME, 0.25);
        registry.set(&LIFETIME_REMAINING, 27_000.0);
        registry.set_of(&NOTICES, &["rebalance"], 1.0);
        registry.set_of(&NOTICES, &["spot-interruption"], 2.0);
        let text = of(&registry);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let expected = [
            "# TYPE mayfly_state gauge",
            r#"mayfly_state{state="a \"b\"\\\n"} 1"#,
            "# TYPE mayfly_state_seconds gauge",
            "mayfly_state_seconds 0.25",
            "# TYPE mayfly_lifetime_remaining_seconds gauge",
            "mayfly_lifetime_remaining_seconds 27000",
            "# TYPE mayfly_notices_total counter",
            "mayfly_notices_total{notice=\"rebalance\"} 1",
            "mayfly_notices_total{notice=\"spot-interruption\"} 2",
        ];
        assert_eq!(samples, expected);
        assert!(text.starts_with("# HELP mayfly_state 1 for the state that the run is in.\n"), "{text}");
    }
}
