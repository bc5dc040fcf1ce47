//! What is made from the list of figures and checked in: the table of the documentation, two dashboards; and what only names
//! figures: the alert rules. `MAYFLY_WRITE=1` writes what is made anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

mod cloudwatch;
mod grafana;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mayfly_core::metrics::{ALL, Figure};

fn path(name: &str) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a file with what it should be, or writes it.
fn compare(name: &str, made: &str) {
    if std::env::var_os("MAYFLY_WRITE").is_some() {
        std::fs::write(path(name), made).unwrap();
    }
    assert!(read(name) == made, "{name} is not what the code says: MAYFLY_WRITE=1 writes it anew");
}

fn row(figure: &Figure) -> String {
    let labels: Vec<String> = figure.labels.iter().map(|label| format!("`{label}`")).collect();
    let cloudwatch = if figure.cloudwatch { "yes" } else { "" };
    let (kind, unit) = (figure.kind.name(), figure.unit.name());
    format!("| `{}` | {kind} | {unit} | {} | {cloudwatch} | {} |\n", figure.name, labels.join(", "), figure.help)
}

#[test]
fn the_table_of_the_documentation_is_the_list() {
    const BEGIN: &str = "written by core/tests/figures with MAYFLY_WRITE=1 -->\n";
    const END: &str = "<!-- end of figures -->";
    let text = read("docs/metrics.md");
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let rows: String = ALL.iter().map(row).collect();
    let head = "| figure | kind | in | labels | CloudWatch | what it says |\n|---|---|---|---|---|---|\n";
    compare("docs/metrics.md", &format!("{before}{BEGIN}{head}{rows}{END}{after}"));
}

#[test]
fn the_schema_of_the_configuration_is_published() {
    // For editors and pipelines that check drop-ins without the program: what "mayfly config schema" prints.
    let schema = serde_json::to_string_pretty(&mayfly_core::config::schema()).unwrap();
    compare("docs/config.schema.json", &format!("{schema}\n"));
}

#[test]
fn the_dashboards_are_made_from_the_list() {
    compare("monitoring/grafana.json", &grafana::dashboard());
    compare("monitoring/cloudwatch.json", &cloudwatch::dashboard());
}

/// The names of figures in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("mayfly_")).collect()
}

#[test]
fn rules_and_documents_name_no_figure_that_is_not_there() {
    let known: BTreeSet<&str> = ALL.iter().map(|figure| figure.name).collect();
    for name in ["monitoring/mayfly.rules.yml", "docs/metrics.md", "docs/operations.md", "README.md"] {
        let text = read(name);
        // Names of the package's files.
        let others = |word: &&str| ["mayfly_", "mayfly_0"].contains(word);
        let named = named(&text).into_iter().filter(|word| !others(word));
        let unknown: Vec<&str> = named.filter(|word| !known.contains(word)).collect();
        assert!(unknown.is_empty(), "an alert that never fires: {name} names {unknown:?}");
    }
}

#[test]
fn a_figure_can_be_seen_on_the_dashboard_of_whoever_collects_it() {
    let (grafana, cloudwatch) = (grafana::dashboard(), cloudwatch::dashboard());
    for figure in ALL {
        assert!(named(&grafana).contains(figure.name), "{} is on no panel of Grafana", figure.name);
        let paid = figure.cloudwatch;
        assert_eq!(
            named(&cloudwatch).contains(figure.name),
            paid,
            "{} costs money and nobody looks, or the reverse",
            figure.name
        );
    }
}

/// An alert without a person's next step only wakes people.
#[test]
fn each_alert_says_how_bad_it_is_and_what_to_do() {
    let rules = read("monitoring/mayfly.rules.yml");
    let tests = read("monitoring/mayfly.tests.yml");
    let alerts: Vec<&str> = rules.split("      - alert: ").skip(1).collect();
    assert!(alerts.len() >= 8, "{} alerts", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["        for: ", "          severity: ", "          summary: ", "          action: "] {
            assert!(alert.contains(part), "{name} has no {}", part.trim());
        }
        let of_alert: Vec<&str> = tests.split("alertname: ").filter(|part| part.lines().next() == Some(name)).collect();
        let fires = of_alert.iter().filter(|part| part.contains("exp_annotations")).count();
        assert!(fires > 0, "nothing shows {name} firing");
        assert!(of_alert.len() > fires, "nothing shows {name} not firing");
    }
}
