//! Which jobs come, when, and how long they take: made up, or a platform's own.

use std::io::BufRead;
use std::time::Duration;

use mayfly_core::launcher::Moment;

use crate::clock;

/// The most jobs that are read.
const MOST: usize = 2_000_000;

/// A job that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it is queued, from the start of the simulation.
    pub at: Moment,
    /// How long it runs.
    pub takes: Duration,
    /// `owner/name`
    pub repository: String,
}

/// Jobs at a steady mean rate, in bursts as matrices make them (1 to 20 at once), of some minutes each.
#[must_use]
pub fn made_up(jobs: usize, per_second: f64, repositories: usize, rng: &mut fastrand::Rng) -> Vec<Arrival> {
    let mut arrivals = Vec::with_capacity(jobs);
    let mut at = 0.0;
    while arrivals.len() < jobs {
        let burst = if rng.u8(..4) == 0 { rng.usize(2..=20) } else { 1 };
        // Exponential gaps: arrivals that know nothing of each other.
        #[allow(clippy::cast_precision_loss, reason = "a burst of at most 20")]
        let gap = -(1.0 - rng.f64()).ln() * burst as f64 / per_second;
        at += gap;
        let repository = format!("acme/repository-{}", rng.usize(..repositories.max(1)));
        for _ in 0..burst.min(jobs - arrivals.len()) {
            // A median of some two minutes, and a long tail.
            let takes = 30.0 + 90.0 * (-(1.0 - rng.f64()).ln()).powf(1.3);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive number of milliseconds"
            )]
            let moment = Moment((at * 1000.0) as u64);
            let takes = Duration::from_secs_f64(takes.min(6.0 * 3600.0));
            arrivals.push(Arrival { at: moment, takes, repository: repository.clone() });
        }
    }
    arrivals
}

/// A history of GitHub's API as CSV: the columns `created_at`, `started_at`, `completed_at` and, if there is one, `repository`.
///
/// # Errors
/// What is wrong with it, with the line.
pub fn from_csv(input: impl BufRead) -> Result<Vec<Arrival>, String> {
    let mut lines = input.lines().enumerate();
    let header = match lines.next() {
        Some((_, line)) => line.map_err(|error| format!("line 1: {error}"))?,
        None => return Err("it is empty: the first line names the columns".to_owned()),
    };
    let names: Vec<&str> = header.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    let place = |name: &str| names.iter().position(|column| *column == name);
    let missing = |name: &str| format!("line 1: there is no column {name}; there are: {}", names.join(", "));
    let created = place("created_at").ok_or_else(|| missing("created_at"))?;
    let started = place("started_at").ok_or_else(|| missing("started_at"))?;
    let completed = place("completed_at").ok_or_else(|| missing("completed_at"))?;
    let repository = place("repository");
    let mut found = Vec::new();
    for (number, line) in lines {
        let line = line.map_err(|error| format!("line {}: {error}", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let moment = |column: usize, name: &str| {
            let cell = cells.get(column).copied().unwrap_or_default();
            clock::parse(cell).ok_or_else(|| {
                format!("line {}: {name}: {cell:?} is not a time such as 2026-11-30T12:00:00Z", number + 1)
            })
        };
        let begun = moment(started, "started_at")?;
        let arrival = Arrival {
            at: moment(created, "created_at")?,
            takes: moment(completed, "completed_at")?.since(begun),
            repository: repository.and_then(|column| cells.get(column)).copied().unwrap_or("acme/all").to_owned(),
        };
        found.push(arrival);
        if found.len() > MOST {
            return Err(format!("it has more than {MOST} jobs"));
        }
    }
    found.sort_by_key(|arrival| arrival.at);
    let first = found.first().map_or(Moment(0), |arrival| arrival.at);
    for arrival in &mut found {
        arrival.at = Moment(arrival.at.0 - first.0);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_and_what_is_wrong_with_it_is_told_with_its_line() {
        let good = "id,created_at,started_at,completed_at\n1,2026-11-30T12:00:10Z,2026-11-30T12:00:40Z,2026-11-30T12:01:40Z\n\
                    2,2026-11-30T12:00:00Z,2026-11-30T12:00:20Z,2026-11-30T12:00:30Z\n";
        let read = from_csv(good.as_bytes()).unwrap_or_default();
        assert_eq!(
            read.iter().map(|arrival| (arrival.at.0, arrival.takes.as_secs())).collect::<Vec<_>>(),
            [(0, 10), (10_000, 60)]
        );
        let bad = "created_at,started_at,completed_at\n2026-11-30T12:00:00Z,soon,2026-11-30T12:00:30Z\n";
        assert!(from_csv(bad.as_bytes()).is_err_and(|why| why.starts_with("line 2: started_at")));
        assert!(from_csv("a,b\n".as_bytes()).is_err_and(|why| why.contains("no column created_at")));
    }
}
