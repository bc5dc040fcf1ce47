//! A dashboard of Grafana: a panel a figure, with a query that fits its kind.

use mayfly_core::metrics::{ALL, Figure, Kind, Unit};
use serde_json::{Value, json};

/// Which machines: all of them, unless somebody picks a class.
const WHICH: &str = "* on (instance) group_left (class, instance_id) max by (instance, class, instance_id) (mayfly_info{class=~\"$class\"})";

fn query(figure: &Figure) -> String {
    let name = figure.name;
    let by = match figure.labels {
        [] => String::new(),
        labels => format!(" by ({})", labels.join(", ")),
    };
    match (figure.kind, figure.unit) {
        _ if name == "mayfly_info" => {
            "count by (version, class, instance_type, zone, runner_version) (mayfly_info{class=~\"$class\"})".to_owned()
        }
        (Kind::Counter, _) => format!("sum{by} (increase({name}[$__rate_interval]) {WHICH})"),
        (_, Unit::Flag) => format!("sum{by} ({name} {WHICH})"),
        (_, Unit::Timestamp) => format!("max (time() - {name} {WHICH})"),
        (_, Unit::Bytes) if name.ends_with("_free_bytes") || name.ends_with("_available_bytes") => {
            format!("min{by} ({name} {WHICH})")
        }
        (_, Unit::Seconds) if name.ends_with("_remaining_seconds") => format!("min{by} ({name} {WHICH})"),
        _ => format!("max{by} ({name} {WHICH})"),
    }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds | Unit::Timestamp => "s",
        Unit::Bytes => "bytes",
        Unit::Ratio => "percentunit",
        Unit::Count | Unit::Flag => "short",
    }
}

fn panel(number: usize, figure: &Figure) -> Value {
    let legend = figure.labels.iter().map(|label| format!("{{{{{label}}}}}")).collect::<Vec<_>>().join(" ");
    json!({
        "id": number + 1,
        "type": "timeseries",
        "title": figure.name,
        "description": figure.help,
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "gridPos": { "h": 7, "w": 8, "x": number % 3 * 8, "y": number / 3 * 7 },
        "fieldConfig": { "defaults": { "unit": unit(figure.unit), "min": 0 }, "overrides": [] },
        "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
        "targets": [{ "refId": "A", "expr": query(figure), "legendFormat": legend }],
    })
}

/// The whole of it, as it is imported.
pub(crate) fn dashboard() -> String {
    let panels: Vec<Value> = ALL.iter().enumerate().map(|(number, figure)| panel(number, figure)).collect();
    let variable = |name: &str, kind: &str, query: &str| json!({ "name": name, "type": kind, "query": query });
    let mut class = variable("class", "query", "label_values(mayfly_info, class)");
    class["datasource"] = json!({ "type": "prometheus", "uid": "${datasource}" });
    class["includeAll"] = json!(true);
    class["multi"] = json!(true);
    class["allValue"] = json!(".*");
    class["current"] = json!({ "text": "All", "value": "$__all" });
    class["refresh"] = json!(2);
    let dashboard = json!({
        "uid": "mayfly",
        "title": "Mayfly",
        "tags": ["mayfly", "github-actions"],
        "schemaVersion": 38,
        "version": 1,
        "editable": true,
        "timezone": "browser",
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": [variable("datasource", "datasource", "prometheus"), class] },
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}
