//! CloudWatch's embedded metric format: log events from which CloudWatch Logs takes metrics by itself. A machine dies between two
//! scrapes of Prometheus; these lines are shipped before it does.
//!
//! One line has every figure without labels, and what else there is as plain properties for Logs Insights. A figure of
//! [`Figure::cloudwatch`] with labels needs them as dimensions, and a line has one value of each: so it has a line for each of their
//! values. CloudWatch adds up what it is told: a counter is told as what came on top since the lines before, and a figure with labels
//! only when it has changed, so that a run's one outcome counts once. The specification allows 100 metrics and 30 dimensions to a directive; [`MOST_METRICS`] is kept by the list of figures.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ALL, Figure, Kind, Registry, Unit};

/// The namespace of the metrics.
pub const NAMESPACE: &str = "Mayfly";

/// So many metrics a directive may have.
pub const MOST_METRICS: usize = 100;

/// The dimension that all metrics have, where the machine has a class.
pub const CLASS: &str = "class";

/// A dimension's value may not be longer, in characters.
const LONGEST_VALUE: usize = 1024;

/// Which machine the lines are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The instance: a property of every line, and no dimension.
    pub instance: &'a str,
    /// `class`; empty for none.
    pub class: &'a str,
}

/// The figures as log events, each a JSON document on one line, after those of `before`. `now`: milliseconds since 1970.
#[must_use]
pub fn lines(registry: &Registry, before: &Registry, origin: Origin<'_>, now: u64) -> Vec<String> {
    let mut main = Line::default();
    let mut by_labels: BTreeMap<Vec<(&str, &str)>, Line<'_>> = BTreeMap::new();
    for figure in ALL {
        if figure.labels.is_empty() {
            for (labels, value) in registry.series(figure) {
                main.add(figure, told(figure, value, before.value(figure, &labels)));
            }
        } else if figure.cloudwatch {
            for (labels, value) in registry.series(figure) {
                let known = before.value(figure, &labels);
                if known != Some(value) {
                    by_labels.entry(labels).or_default().add(figure, told(figure, value, known));
                }
            }
        } else {
            let series: Vec<Value> = registry.series(figure).map(|(labels, value)| property(&labels, value)).collect();
            if !series.is_empty() {
                main.properties.insert(figure.name.to_owned(), Value::Array(series));
            }
        }
    }
    let labelled = by_labels.into_iter().map(|(labels, line)| line.document(&labels, origin, now));
    std::iter::once(main.document(&[], origin, now)).chain(labelled).map(|document| document.to_string()).collect()
}

/// A counter that is lower than before began anew.
fn told(figure: &Figure, value: f64, before: Option<f64>) -> f64 {
    match (figure.kind, before) {
        (Kind::Counter, Some(before)) if before <= value => value - before,
        _ => value,
    }
}

fn property(labels: &[(&str, &str)], value: f64) -> Value {
    let named = labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    Value::Object(named.chain([("value".to_owned(), number(value))]).collect())
}

#[derive(Default)]
struct Line<'a> {
    metrics: Vec<&'a Figure>,
    properties: Map<String, Value>,
}

impl<'a> Line<'a> {
    fn add(&mut self, figure: &'a Figure, value: f64) {
        if figure.cloudwatch && self.metrics.len() < MOST_METRICS {
            self.metrics.push(figure);
        }
        self.properties.insert(figure.name.to_owned(), number(value));
    }

    fn document(mut self, labels: &[(&str, &str)], origin: Origin<'_>, now: u64) -> Value {
        let class = (!origin.class.is_empty()).then_some((CLASS, origin.class));
        let mut dimensions = Vec::new();
        for (name, value) in class.into_iter().chain(labels.iter().copied().filter(|(_, value)| !value.is_empty())) {
            dimensions.push(name);
            self.properties.insert(name.to_owned(), value.chars().take(LONGEST_VALUE).collect::<String>().into());
        }
        let metric = |figure: &Figure| json!({ "Name": figure.name, "Unit": unit(figure.unit) });
        let metrics: Vec<Value> = self.metrics.iter().map(|figure| metric(figure)).collect();
        let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics });
        self.properties.insert("instance_id".to_owned(), origin.instance.into());
        self.properties.insert("_aws".to_owned(), json!({ "Timestamp": now, "CloudWatchMetrics": [directive] }));
        Value::Object(self.properties)
    }
}

/// Whole numbers without a point, as they are counted.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number in the range")]
    let whole = value as i64;
    #[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "whether it is a whole number")]
    if value.abs() < 9e15 && whole as f64 == value { Value::from(whole) } else { Value::from(value) }
}

/// As CloudWatch names it.
#[must_use]
pub const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "Seconds",
        Unit::Bytes => "Bytes",
        Unit::Count | Unit::Flag => "Count",
        Unit::Ratio | Unit::Timestamp => "None",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{
        CPU_PRESSURE, DISK_FREE, IDLE, INFO, JOB_OOM, LINES_LOST, LOCK_RENEWED, OUTCOME, PHASE, STARTUP,
    };
    use super::*;

    const ORIGIN: Origin<'_> = Origin { instance: "i-0123456789abcdef0", class: "linux-x64" };

    fn documents(registry: &Registry, origin: Origin<'_>) -> Vec<Value> {
        let lines = lines(registry, &Registry::default(), origin, 1_700_000_000_123);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the specification says of a document, whatever is in it.
    fn assert_valid(document: &Value) {
        let about = &document["_aws"];
        assert!(about["Timestamp"].is_u64(), "{about}");
        for directive in about["CloudWatchMetrics"].as_array().unwrap() {
            assert!(directive["Namespace"].as_str().is_some_and(|name| !name.is_empty()), "{directive}");
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(metrics.len() <= 100, "CloudWatch drops the whole line: {} metrics", metrics.len());
            for metric in metrics {
                let target = &document[metric["Name"].as_str().unwrap()];
                assert!(target.is_number(), "a metric without its value: {metric}");
            }
            for set in directive["Dimensions"].as_array().unwrap() {
                assert!(set.as_array().unwrap().len() <= 30);
                for name in set.as_array().unwrap() {
                    let value = document[name.as_str().unwrap()].as_str().unwrap();
                    assert!(!value.is_empty() && value.chars().count() <= 1024, "a dimension without a value: {name}");
                }
            }
        }
    }

    #[test]
    fn a_figure_is_a_metric_by_class_and_one_with_labels_has_them_as_dimensions() {
        let mut registry = Registry::default();
        registry.set(&IDLE, 12.5);
        registry.set(&LOCK_RENEWED, 1_700_000_000.0);
        registry.set_of(&PHASE, &["Idle"], 12.0);
        registry.set_of(&OUTCOME, &["job-succeeded"], 1.0);
        registry.set_of(&STARTUP, &["identity"], 0.5);
        registry.set_of(&STARTUP, &["runner"], 2.0);
        let documents = documents(&registry, ORIGIN);
        documents.iter().for_each(assert_valid);
        let [main, outcome, identity, runner] = &documents[..] else { unreachable!("{documents:#?}") };
        assert_eq!(main["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        let directive = &main["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["class"]]));
        assert_eq!(directive["Metrics"], json!([{ "Name": "mayfly_idle_seconds", "Unit": "Seconds" }]));
        assert_eq!((&main["class"], &main["mayfly_idle_seconds"]), (&json!("linux-x64"), &json!(12.5)));
        assert_eq!(main["mayfly_lock_renewed_timestamp_seconds"], 1_700_000_000, "it is in the line, and no metric");
        assert_eq!(main["mayfly_phase_seconds"], json!([{ "phase": "Idle", "value": 12 }]));
        let directive = &outcome["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["class", "outcome"]]));
        assert_eq!((&outcome["outcome"], &outcome["mayfly_run_outcome_info"]), (&json!("job-succeeded"), &json!(1)));
        assert_eq!((&identity["step"], &identity["mayfly_startup_seconds"]), (&json!("identity"), &json!(0.5)));
        assert_eq!((&runner["step"], &runner["mayfly_startup_seconds"]), (&json!("runner"), &json!(2)));
        assert!(documents.iter().all(|document| document["instance_id"] == ORIGIN.instance), "{documents:#?}");
    }

    #[test]
    fn what_cloudwatch_adds_up_is_told_once() {
        let mut before = Registry::default();
        before.set(&JOB_OOM, 2.0);
        before.set_of(&LINES_LOST, &["runner"], 5.0);
        before.set_of(&LINES_LOST, &["worker"], 5.0);
        before.set_of(&OUTCOME, &["job-failed"], 1.0);
        let mut registry = before.clone();
        registry.set(&JOB_OOM, 3.0);
        registry.set_of(&LINES_LOST, &["worker"], 7.0);
        let lines = lines(&registry, &before, ORIGIN, 1);
        let documents: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [main, worker] = &documents[..] else { unreachable!("a run of one outcome counts twice: {documents:#?}") };
        assert_eq!(main["mayfly_job_oom_kills_total"], 1);
        assert_eq!((&worker["stream"], &worker["mayfly_log_lines_lost_total"]), (&json!("worker"), &json!(2)));
    }

    #[test]
    fn a_machine_without_a_class_and_labels_without_a_value_make_no_empty_dimension() {
        let mut registry = Registry::default();
        registry.set(&CPU_PRESSURE, 0.5);
        registry.set_of(&INFO, &["0.1.0", "", "", "", "", ""], 1.0);
        registry.set_of(&DISK_FREE, &[""], 7.0);
        let documents = documents(&registry, Origin::default());
        documents.iter().for_each(assert_valid);
        assert_eq!(documents[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[]]));
    }

    #[test]
    fn all_figures_at_once_stay_within_what_cloudwatch_takes() {
        let mut registry = Registry::default();
        for figure in ALL {
            let long = "x".repeat(3000);
            let labels: Vec<&str> = figure.labels.iter().map(|_| long.as_str()).collect();
            registry.set_of(figure, &labels, 1e300);
        }
        let lines = lines(&registry, &Registry::default(), ORIGIN, u64::MAX);
        assert!(lines.iter().all(|line| line.len() < 256 * 1024 && !line.contains('\n')), "an event that is refused");
        documents(&registry, ORIGIN).iter().for_each(assert_valid);
        let metrics = ALL.iter().filter(|figure| figure.cloudwatch && figure.labels.is_empty()).count();
        assert!(metrics <= MOST_METRICS, "{metrics} figures without labels are left out of CloudWatch");
        let dimension = |figure: &&Figure| figure.cloudwatch && figure.labels.contains(&CLASS);
        assert!(!ALL.iter().any(|figure| dimension(&figure)), "a dimension twice");
        assert!(ALL.iter().any(|figure| figure.kind == Kind::Counter));
    }
}
