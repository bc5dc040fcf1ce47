//! A dashboard of CloudWatch: a widget a metric.

use mayfly_core::metrics::emf::{CLASS, NAMESPACE};
use mayfly_core::metrics::{ALL, Figure, Kind, Unit};
use serde_json::{Value, json};

/// Whoever uses it replaces both.
const REGION: &str = "eu-central-1";
const CLASS_OF_EXAMPLE: &str = "linux-x64";

fn statistic(figure: &Figure) -> &'static str {
    match (figure.kind, figure.unit) {
        (Kind::Counter, _) => "Sum",
        // One line a run: so many runs.
        _ if figure.name == "mayfly_run_outcome_info" => "Sum",
        _ if figure.name.contains("_free_") || figure.name.contains("_available_") => "Minimum",
        (_, Unit::Seconds) => "p90",
        _ => "Maximum",
    }
}

fn widget(number: usize, figure: &Figure) -> Value {
    let statistic = statistic(figure);
    let metrics = if figure.labels.is_empty() {
        json!([[NAMESPACE, figure.name, CLASS, CLASS_OF_EXAMPLE]])
    } else {
        let dimensions = figure.labels.join(",");
        let search = format!(
            "SEARCH('{{{NAMESPACE},{CLASS},{dimensions}}} MetricName=\"{}\" {CLASS}=\"{CLASS_OF_EXAMPLE}\"', '{statistic}', 300)",
            figure.name
        );
        json!([[{ "expression": search }]])
    };
    json!({
        "type": "metric",
        "x": number % 3 * 8,
        "y": number / 3 * 6,
        "width": 8,
        "height": 6,
        "properties": {
            "title": figure.name,
            "region": REGION,
            "view": "timeSeries",
            "stat": statistic,
            "period": 300,
            "metrics": metrics,
        },
    })
}

/// The body of `PutDashboard`.
pub(crate) fn dashboard() -> String {
    let figures = ALL.iter().filter(|figure| figure.cloudwatch);
    let widgets: Vec<Value> = figures.enumerate().map(|(number, figure)| widget(number, figure)).collect();
    format!("{:#}\n", json!({ "widgets": widgets }))
}
