//! What systemd knows of a unit, as `systemctl show` prints it.

use std::collections::BTreeMap;

use thiserror::Error;

use super::checks::{NotRun, SHORT, run};

/// A unit's properties by name.
pub(super) type Properties = BTreeMap<String, String>;

/// Why systemd did not tell a unit's properties.
#[derive(Debug, Error)]
pub(super) enum NotShown {
    #[error(transparent)]
    NotRun(#[from] NotRun),
    #[error("systemctl show {unit}: {said}")]
    Refused { unit: String, said: String },
}

/// Asks systemd for properties of a unit.
///
/// # Errors
/// It did not answer.
pub(super) async fn show(unit: &str, names: &[&str]) -> Result<Properties, NotShown> {
    let wanted = format!("--property={}", names.join(","));
    let ran = run(&["systemctl", "show", "--all", unit, &wanted], SHORT).await?;
    if !ran.succeeded() {
        return Err(NotShown::Refused { unit: unit.to_owned(), said: ran.last_words() });
    }
    Ok(properties(&ran.out))
}

/// Reads what `systemctl show` printed.
pub(super) fn properties(text: &str) -> Properties {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A property's value; empty if it is not there.
pub(super) fn value<'a>(of: &'a Properties, name: &str) -> &'a str {
    of.get(name).map_or("", String::as_str)
}
