//! How findings are shown.

use std::fmt::Write;

use serde::Serialize;

use super::image::{Refusal, refusal};
use super::{Finding, Machine, Verdict};
use mayfly_core::config::Level;

/// As wide as the longest name and a space.
const NAME: usize = 22;
/// As wide as the longest verdict and a space.
const VERDICT: usize = 11;

/// Findings about one part of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Which part.
    pub title: &'static str,
    /// What was found, in order.
    pub findings: Vec<Finding>,
}

impl Section {
    /// The section for people: one line each, and what to do below it.
    #[must_use]
    pub fn to_text(&self, colours: bool) -> String {
        let mut text = format!("{}\n", paint(colours, "1", self.title));
        for finding in &self.findings {
            let (word, colour) = match finding.verdict {
                Verdict::Holds => ("holds", "32"),
                Verdict::Broken => ("BROKEN", "31"),
                Verdict::Warning => ("warning", "33"),
                Verdict::NotTried => ("not tried", "36"),
                Verdict::NotPromised => {
                    let _ = writeln!(text, "  - {}", finding.what);
                    continue;
                }
            };
            // Padded before it is painted: escape sequences have no width.
            let word = paint(colours, colour, &format!("{word:<VERDICT$}"));
            let indent = format!("\n  {:w$}", "", w = VERDICT + NAME);
            let _ = writeln!(text, "  {word}{:<NAME$}{}", finding.name, finding.what.trim().replace('\n', &indent));
            if !finding.advice.is_empty() {
                let _ =
                    writeln!(text, "{}-> {}", indent.trim_start_matches('\n'), finding.advice.replace('\n', &indent));
            }
        }
        text.push('\n');
        text
    }
}

/// Everything that was found, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// `isolation.level`
    pub level: &'static str,
    /// Whether nothing is broken.
    pub holds: bool,
    /// With `--image`: why this must not become an image; empty if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<Refusal>>,
    /// What was found, in order.
    pub sections: Vec<Section>,
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(machine: &Machine) -> Self {
        let refused = machine.image.then(Vec::new);
        let version = env!("CARGO_PKG_VERSION");
        Self { version, level: word(machine.level()), holds: true, refused, sections: Vec::new() }
    }

    /// Takes a section in.
    pub fn add(&mut self, section: Section) {
        self.holds &= !section.findings.iter().any(|finding| finding.verdict == Verdict::Broken);
        if let Some(refused) = &mut self.refused {
            refused.extend(section.findings.iter().filter_map(refusal));
        }
        self.sections.push(section);
    }

    /// Whether the machine is as it must be: nothing is broken, or with `--image` nothing refuses it.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.holds && self.refused.as_ref().is_none_or(Vec::is_empty)
    }

    /// The last lines for people.
    #[must_use]
    pub fn summary(&self, colours: bool) -> String {
        let mut refusals = String::new();
        if let Some(refused) = &self.refused {
            for Refusal { name, verdict, what } in refused {
                let verdict = match verdict {
                    Verdict::NotTried => "not tried",
                    Verdict::Warning => "warning",
                    _ => "BROKEN",
                };
                let _ = writeln!(refusals, "  {name} ({verdict}): {}", what.trim().replace('\n', "; "));
            }
        }
        let count = |verdict| {
            self.sections.iter().flat_map(|section| &section.findings).filter(|found| found.verdict == verdict).count()
        };
        let counts = format!(
            "holds: {}, broken: {}, warnings: {}, not tried: {}",
            count(Verdict::Holds),
            count(Verdict::Broken),
            count(Verdict::Warning),
            count(Verdict::NotTried)
        );
        let words = match &self.refused {
            Some(refused) if !refused.is_empty() => paint(colours, "31", "This image is refused"),
            Some(_) => paint(colours, "32", "This may become an image"),
            None if self.holds => paint(colours, "32", "Nothing is broken here, as far as it could be tried"),
            None => paint(colours, "31", "This machine does not keep its promises"),
        };
        format!("{words}: {counts} (level {}).\n{refusals}", self.level).trim_end().to_owned()
    }
}

/// How the level is written.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Compatible => "compatible",
        Level::Restricted => "restricted",
    }
}

fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_with_and_without_colours() {
        let findings = vec![Finding::broken("x", "one\ntwo", "do this"), Finding::holds("isolation.host-network", "y")];
        let section = Section { title: "T", findings };
        let plain = section.to_text(false);
        let column = 2 + VERDICT + NAME;
        let at = |words: &str| plain.lines().find_map(|line| line.find(words));
        for words in ["one", "two", "-> do this", "y"] {
            assert_eq!(at(words), Some(column), "{words} is not in its column:\n{plain}");
        }
        let mut painted = section.to_text(true);
        for code in ["\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"] {
            assert!(painted.contains(code), "no {code:?}");
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, plain, "colours change the text");
    }

    #[test]
    fn one_broken_promise_is_enough() {
        let mut report = Report { version: "0", level: "compatible", holds: true, refused: None, sections: Vec::new() };
        report.add(Section { title: "T", findings: vec![Finding::warning("a", "b", "c")] });
        report.add(Section { title: "T", findings: vec![Finding::not_tried("a", "b", "")] });
        assert!(report.holds, "a warning fails a build");
        assert!(report.passes() && !report.summary(false).contains("image"));
        report.add(Section { title: "T", findings: vec![Finding::broken("a", "b", "c")] });
        report.add(Section { title: "T", findings: vec![Finding::holds("a", "b")] });
        assert!(!report.holds && report.summary(false).contains("holds: 1, broken: 1, warnings: 1, not tried: 1"));
    }

    #[test]
    fn an_image_is_refused_for_a_warning_and_the_summary_says_which_and_why() {
        let refused = Some(Vec::new());
        let mut report = Report { version: "0", level: "compatible", holds: true, refused, sections: Vec::new() };
        report.add(Section { title: "T", findings: vec![Finding::not_tried("units.agent", "an image is built", "")] });
        assert!(report.passes() && report.summary(false).contains("may become an image"), "no image can be built");
        report.add(Section { title: "T", findings: vec![Finding::warning("runner.program", "no\nversion", "c")] });
        let summary = report.summary(false);
        assert!(!report.passes() && report.holds, "a warning passes an image build");
        assert!(summary.contains("refused") && summary.contains("runner.program (warning): no; version"), "{summary}");
    }
}
