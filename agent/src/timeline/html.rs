//! A run as one HTML file: no script, nothing that is loaded from elsewhere; for a desk, a phone, paper, light and dark.

use std::fmt::Write as _;

use mayfly_core::lifecycle::Outcome;
use mayfly_core::timeline::{Chart, Figure, Kind, Timeline, span};

use super::style::STYLE;

/// The scale of a figure's drawing; it is stretched to its place.
const WIDE: f64 = 1000.0;
const HIGH: f64 = 100.0;

/// The whole page.
#[must_use]
pub fn page(timeline: &Timeline) -> String {
    let title = escaped(&timeline.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    heading(&mut page, timeline);
    for (name, about, chart) in [
        ("Start-up", "from the launch to the job’s first step", &timeline.startup),
        ("The run", "phase by phase", &timeline.run),
    ] {
        if !chart.rows.is_empty() {
            waterfall(&mut page, name, about, chart);
        }
    }
    if !timeline.figures.is_empty() {
        page.push_str(
            "<section>\n<h2>The machine <small>on the axis of the run</small></h2>\n<div class=\"figures\">\n",
        );
        timeline.figures.iter().for_each(|figure| draw(&mut page, timeline, figure));
        page.push_str("</div>\n</section>\n");
    }
    list(&mut page, "Remarks", &timeline.remarks);
    list(&mut page, "Logs", &timeline.logs);
    facts(&mut page, timeline);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn heading(page: &mut String, timeline: &Timeline) {
    let (class, mark, code) = match timeline.outcome {
        None => ("open", "▶", "running"),
        Some(Outcome::JobSucceeded) => ("good", "✔", Outcome::JobSucceeded.code()),
        Some(outcome) if outcome.is_failure() || outcome == Outcome::JobFailed => ("bad", "✘", outcome.code()),
        Some(outcome) => ("open", "■", outcome.code()),
    };
    let _ = writeln!(
        page,
        "<header>\n<p class=\"outcome {class}\"><span>{mark}</span> {code}</p>\n<h1>{}</h1>",
        escaped(&timeline.title)
    );
    for sentence in &timeline.story {
        let _ = writeln!(page, "<p class=\"story\">{}</p>", escaped(sentence));
    }
    page.push_str("</header>\n");
}

fn waterfall(page: &mut String, name: &str, about: &str, chart: &Chart) {
    let total = span(chart.total_ms());
    let _ = writeln!(page, "<section>\n<h2>{name} <b>{total}</b> <small>{about}</small></h2>\n<ol class=\"rows\">");
    for row in &chart.rows {
        let (name, note) = (escaped(&row.name), escaped(&row.note));
        match (chart.bar(row), row.duration_ms) {
            (Some((from, to)), Some(took)) => {
                let _ = writeln!(
                    page,
                    "<li class=\"{}\" title=\"{note}\"><span class=\"name\">{name}</span><span class=\"track\"><i \
                     style=\"left:min({:.2}%,100% - 3px);width:{:.2}%\"></i></span><span class=\"time\">{}</span></li>",
                    class(row.kind),
                    from * 100.0,
                    (to - from).max(0.0) * 100.0,
                    span(took)
                );
            }
            _ => {
                let _ = writeln!(
                    page,
                    "<li class=\"unknown\"><span class=\"name\">{name}</span><span class=\"why\">{note}</span><span \
                     class=\"time\">not known</span></li>"
                );
            }
        }
    }
    page.push_str("</ol>\n<div class=\"axis\" aria-hidden=\"true\">");
    for quarter in 0..=4_u64 {
        let at = if quarter == 0 { "0".to_owned() } else { span(chart.total_ms() / 4 * quarter) };
        let _ = write!(page, "<span>{at}</span>");
    }
    page.push_str("</div>\n</section>\n");
}

fn draw(page: &mut String, timeline: &Timeline, figure: &Figure) {
    let most = escaped(&figure.most);
    let _ = write!(page, "<figure>\n<figcaption><b>{}</b> {most}", figure.name);
    if figure.lines.len() > 1 {
        for (number, (name, _)) in figure.lines.iter().enumerate() {
            let _ = write!(page, " <span class=\"key line{number}\">{name}</span>");
        }
    }
    let _ = writeln!(
        page,
        "</figcaption>\n<svg viewBox=\"0 0 {WIDE} {HIGH}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{} over time, {most}\">",
        figure.name
    );
    for (number, (_, values)) in figure.lines.iter().enumerate() {
        let (line, area) = path(timeline, figure, values);
        if number == 0 {
            let _ = writeln!(page, "<path class=\"area\" d=\"{area}\"/>");
        }
        let _ = writeln!(page, "<path class=\"line{number}\" d=\"{line}\"/>");
    }
    page.push_str("</svg>\n</figure>\n");
}

/// A stair: each value holds for its interval. Where nothing is known there is a gap.
fn path(timeline: &Timeline, figure: &Figure, values: &[Option<u64>]) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let place = |number: usize| {
        let since = i64::try_from(timeline.interval_ms.saturating_mul(number as u64)).unwrap_or(i64::MAX);
        timeline.run.place(timeline.figures_from_ms.saturating_add(since)) * WIDE
    };
    let mut open = false;
    for (number, value) in values.iter().enumerate() {
        let (from, to) = (place(number), place(number + 1));
        let Some(value) = value else {
            if open {
                let _ = write!(area, "V{HIGH}Z");
            }
            open = false;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "a drawing of a hundred steps")]
        let y = HIGH - (*value as f64 / figure.top.max(1) as f64).clamp(0.0, 1.0) * (HIGH - 2.0) - 1.0;
        if open {
            let _ = write!(line, "V{y:.1}H{to:.1}");
            let _ = write!(area, "V{y:.1}H{to:.1}");
        } else {
            let _ = write!(line, "M{from:.1} {y:.1}H{to:.1}");
            let _ = write!(area, "M{from:.1} {HIGH}V{y:.1}H{to:.1}");
        }
        open = true;
    }
    if open {
        let _ = write!(area, "V{HIGH}Z");
    }
    (line, area)
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(page, "<section>\n<h2>{title}</h2>\n<ul>");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", escaped(line));
    }
    page.push_str("</ul>\n</section>\n");
}

fn facts(page: &mut String, timeline: &Timeline) {
    if timeline.facts.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Facts</h2>\n<dl>\n");
    for (name, value) in &timeline.facts {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value));
    }
    page.push_str("</dl>\n</section>\n");
}

const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Machine => "machine",
        Kind::Waiting => "waiting",
        Kind::Runner => "runner",
        Kind::Job => "job",
        Kind::Ending => "ending",
    }
}

/// A text as it is, in an element or in the value of an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
