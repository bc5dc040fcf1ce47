//! A run on the job's summary page: small tables in GitHub's Markdown. Nothing in them is the job's own word.

use super::{Timeline, span};

/// GitHub takes 1 MiB from a step; a page wants less.
const LONGEST: usize = 8 * 1024;

impl Timeline {
    /// What the machine did for this job, as Markdown.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut page = "### The machine of this job\n\n".to_owned();
        let mut table = |head: [&str; 2], rows: Vec<[String; 2]>| {
            if rows.is_empty() {
                return;
            }
            let line = |cells: [String; 2]| format!("| {} |\n", cells.map(|cell| cell_of(&cell)).join(" | "));
            let lines = [head.map(str::to_owned), ["---", "---:"].map(str::to_owned)].into_iter().chain(rows).map(line);
            for line in lines.chain(["\n".to_owned()]) {
                if page.len() + line.len() <= LONGEST {
                    page.push_str(&line);
                }
            }
        };
        let took = |name: &str, ms: Option<u64>| Some([name.to_owned(), span(ms?)]);
        let steps = self.startup.rows.iter().filter_map(|row| took(&row.name, row.duration_ms)).collect();
        table(["start-up", "took"], steps);
        let peaks = self.figures.iter().map(|figure| [figure.name.to_owned(), figure.most.clone()]).collect();
        table(["machine", "most"], peaks);
        page
    }
}

/// A cell has no end of its own and no line break.
fn cell_of(text: &str) -> String {
    text.replace(['|', '\n', '\r', '<'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::{Chart, Figure, Kind, Row};
    use super::*;
    use crate::record::Record;

    #[test]
    fn the_summary_is_two_small_tables_and_has_an_end() {
        let mut timeline = Timeline::of(&Record::default());
        let row = |name: &str| Row {
            name: name.to_owned(),
            kind: Kind::Runner,
            began_ms: Some(0),
            duration_ms: Some(1500),
            note: String::new(),
        };
        timeline.startup = Chart { rows: vec![row("session"), row("a|b\nc<img>")], ..Chart::default() };
        timeline.figures = vec![Figure { name: "memory", lines: Vec::new(), top: 1, most: "at most 3 GiB".to_owned() }];
        assert_eq!(
            timeline.summary(),
            "### The machine of this job\n\n| start-up | took |\n| --- | ---: |\n| session | 1.5 s |\n| a b c img> | 1.5 s |\n\n\
             | machine | most |\n| --- | ---: |\n| memory | at most 3 GiB |\n\n"
        );
        timeline.startup.rows = vec![row(&"x".repeat(400)); 1000];
        assert!(timeline.summary().len() <= LONGEST, "a page without end");
    }
}
