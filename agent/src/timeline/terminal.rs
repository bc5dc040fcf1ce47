//! A run in a terminal, or in a file: a waterfall of blocks.

use mayfly_core::lifecycle::Outcome;
use mayfly_core::timeline::{Chart, Figure, Kind, Timeline, span};

/// Where it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Characters to a line.
    pub width: usize,
    /// Whether it may be coloured.
    pub colour: bool,
}

/// The columns of names and times.
const NAME: usize = 20;
const TIME: usize = 13;
/// Bars are never narrower, and never wider than is good for the eye.
const BAR: std::ops::RangeInclusive<usize> = 16..=100;
/// Heights of a figure's columns.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole picture.
#[must_use]
pub fn text(timeline: &Timeline, screen: Screen) -> String {
    let mut lines = vec![String::new(), format!("  {}", heading(timeline, screen))];
    lines.extend(timeline.story.iter().map(|sentence| format!("    {sentence}")));
    for (title, chart) in [("start-up", &timeline.startup), ("the run", &timeline.run)] {
        if !chart.rows.is_empty() {
            lines.push(String::new());
            let total = screen.paint("2", &span(chart.total_ms()));
            lines.push(format!("  {}  {total}", screen.paint("1", title)));
            lines.extend(waterfall(chart, screen));
        }
    }
    if !timeline.figures.is_empty() {
        lines.push(String::new());
        lines.extend(timeline.figures.iter().map(|figure| sparkline(timeline, figure, screen)));
    }
    for (title, all) in [("remarks", &timeline.remarks), ("logs", &timeline.logs)] {
        if !all.is_empty() {
            lines.push(String::new());
            lines.push(format!("  {}", screen.paint("1", title)));
            lines.extend(all.iter().map(|line| format!("    {line}")));
        }
    }
    if !timeline.facts.is_empty() {
        lines.push(String::new());
        let fact =
            |(name, value): &(&str, String)| format!("  {} {value}", screen.paint("2", &format!("{name:<NAME$}")));
        lines.extend(timeline.facts.iter().map(fact));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn heading(timeline: &Timeline, screen: Screen) -> String {
    let (mark, code, colour) = match timeline.outcome {
        None => ("▶", "running", "1;36"),
        Some(Outcome::JobSucceeded) => ("✔", Outcome::JobSucceeded.code(), "1;32"),
        Some(outcome) if outcome.is_failure() || outcome == Outcome::JobFailed => ("✘", outcome.code(), "1;31"),
        Some(outcome) => ("■", outcome.code(), "1;33"),
    };
    format!("{}  {}", screen.paint(colour, &format!("{mark} {code}")), timeline.title)
}

fn waterfall(chart: &Chart, screen: Screen) -> Vec<String> {
    let width = screen.bar();
    let row = |row: &mayfly_core::timeline::Row| {
        let name: String = row.name.chars().take(NAME).collect();
        let (time, bar) = match (chart.bar(row), row.duration_ms) {
            (Some((from, to)), Some(took)) => {
                let (from, to) = (column(from, width).min(width - 1), column(to, width));
                let blocks = "█".repeat(to.saturating_sub(from).max(1));
                (span(took), format!("{}{}", " ".repeat(from), screen.paint(colour(row.kind), &blocks)))
            }
            _ => ("not known".to_owned(), screen.paint("2", &row.note)),
        };
        format!("  {name:<NAME$} {time:>TIME$}  {bar}")
    };
    chart.rows.iter().map(row).collect()
}

/// On the axis of the run, as its bars are.
fn sparkline(timeline: &Timeline, figure: &Figure, screen: Screen) -> String {
    let width = screen.bar();
    let mut columns: Vec<Option<u64>> = vec![None; width];
    for (_, values) in &figure.lines {
        for (number, value) in values.iter().enumerate() {
            let since = i64::try_from(timeline.interval_ms.saturating_mul(number as u64)).unwrap_or(i64::MAX);
            let from = timeline.figures_from_ms.saturating_add(since);
            let to = from.saturating_add(i64::try_from(timeline.interval_ms).unwrap_or(i64::MAX));
            let (from, to) = (column(timeline.run.place(from), width), column(timeline.run.place(to), width));
            for one in columns.iter_mut().take(to.max(from + 1)).skip(from) {
                *one = (*one).max(*value);
            }
        }
    }
    let height = |value: Option<u64>| {
        let Some(value) = value else { return HEIGHTS[0] };
        let step = value.saturating_mul(7).checked_div(figure.top).unwrap_or(0).min(7);
        HEIGHTS[usize::try_from(step).unwrap_or(0) + 1]
    };
    let drawn: String = columns.into_iter().map(height).collect();
    let label = format!("{} {}", figure.name, figure.most.replacen("at most", "≤", 1));
    let wide = NAME + 1 + TIME;
    format!("  {label:<wide$}  {}", screen.paint("36", &drawn))
}

fn column(share: f64, width: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a screen's width"
    )]
    let column = (share * width as f64).round() as usize;
    column.min(width)
}

const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Machine => "34",
        Kind::Waiting => "90",
        Kind::Runner => "36",
        Kind::Job => "32",
        Kind::Ending => "33",
    }
}

impl Screen {
    fn bar(self) -> usize {
        self.width.saturating_sub(NAME + TIME + 5).clamp(*BAR.start(), *BAR.end())
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
