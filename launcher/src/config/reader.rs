//! Reads TOML so that every problem is found at once, each with its line: a wrong value, a key that nobody knows, one that lacks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use mayfly_core::config::{Origin, Problems};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One file being read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: RefCell<Problems>,
}

/// One table of it.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    name: &'static str,
    table: &'a DeTable<'a>,
    line: usize,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    /// A file with this text.
    #[must_use]
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: RefCell::default() }
    }

    /// The whole file, which was parsed before.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section { reader: self, name: "the file", table, line: 1, asked: RefCell::default() }
    }

    /// A problem at a place of the text.
    pub(super) fn problem_at(&self, offset: usize, message: impl Into<String>) {
        self.problem(self.line_of(offset), message);
    }

    /// A problem in a line.
    pub(super) fn problem(&self, line: usize, message: impl Into<String>) {
        self.problems.borrow_mut().add(Origin::File(self.path.to_owned(), line), message);
    }

    /// All of them, in the order of the lines.
    #[must_use]
    pub(super) fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.0.sort_by_key(|problem| match &problem.origin {
            Origin::File(_, line) => *line,
            _ => 0,
        });
        problems
    }

    fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl<'a> Section<'a> {
    /// The line in which it begins.
    #[must_use]
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The line of a key of it, or its own.
    #[must_use]
    pub(super) fn line_of(&self, key: &str) -> usize {
        let place = self.table.iter().find(|(name, _)| name.get_ref() == key);
        place.map_or(self.line, |(name, _)| self.reader.line_of(name.span().start))
    }

    /// A problem with a key of it.
    pub(super) fn problem(&self, key: &str, message: impl std::fmt::Display) {
        self.reader.problem(self.line_of(key), format!("{key}: {message}"));
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn of<T>(&self, key: &'static str, what: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.problem(key, format!("must be {what}, not {}", value.get_ref().type_str()));
        }
        read
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.of(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &'static str) -> String {
        let there = self.value(key).is_some();
        let text = self.text(key).unwrap_or_default();
        if !there {
            self.reader.problem(self.line, format!("{} lacks {key}", self.name));
        } else if text.is_empty() {
            self.problem(key, "must not be empty");
        }
        text
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> bool {
        self.of(key, "true or false", DeValue::as_bool).unwrap_or_default()
    }

    /// A whole number of this range.
    pub(super) fn number(&self, key: &'static str, default: u32, range: std::ops::RangeInclusive<u32>) -> u32 {
        let number = self.of(key, "a whole number", |value| {
            value.as_integer().and_then(|integer| u32::from_str_radix(integer.as_str(), integer.radix()).ok())
        });
        let number = number.unwrap_or(default);
        if !range.contains(&number) {
            self.problem(key, format!("must be {} to {}, not {number}", range.start(), range.end()));
        }
        number
    }

    /// A duration such as `"90s"`.
    pub(super) fn duration(&self, key: &'static str, default: Duration) -> Duration {
        let Some(text) = self.text(key) else { return default };
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() => duration,
            Ok(_) => {
                self.problem(key, "must be longer than zero");
                default
            }
            Err(error) => {
                self.problem(key, format!("{text:?} is not a duration such as \"90s\" or \"6h30m\": {error}"));
                default
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.unwrap_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.problem(key, format!("{text:?} is not one of {}", words.join(", ")));
            default
        })
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        self.of(key, "a list of strings", texts_of).unwrap_or_default()
    }

    /// A list of lists of texts.
    pub(super) fn lists(&self, key: &'static str) -> Vec<Vec<String>> {
        let read = |value: &'a DeValue<'a>| value.as_array()?.iter().map(|item| texts_of(item.get_ref())).collect();
        self.of(key, "a list of lists of strings", read).unwrap_or_default()
    }

    /// A table of lists of texts, whatever its keys are.
    pub(super) fn map(&self, key: &'static str) -> Vec<(String, Vec<String>)> {
        let read = |value: &'a DeValue<'a>| {
            let pair = |(name, item): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.to_string(), texts_of(item.get_ref())?))
            };
            value.as_table()?.iter().map(pair).collect()
        };
        self.of(key, "a table of lists of strings", read).unwrap_or_default()
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let read = |value: &'a DeValue<'a>| {
            let table = |item: &'a Spanned<DeValue<'a>>| Some((item.span().start, item.get_ref().as_table()?));
            value.as_array()?.iter().map(table).collect::<Option<Vec<_>>>()
        };
        let tables = self.of(key, "an array of tables", read).unwrap_or_default();
        tables.into_iter().map(|(at, table)| self.inner(key, at, table)).collect()
    }

    /// A table inside it, if it is there.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let at = self.value(key)?.span().start;
        let table = self.of(key, "a table", DeValue::as_table)?;
        Some(self.inner(key, at, table))
    }

    fn inner(&self, name: &'static str, at: usize, table: &'a DeTable<'a>) -> Section<'a> {
        Section { reader: self.reader, name, table, line: self.reader.line_of(at), asked: RefCell::default() }
    }

    /// Reports the keys that nobody asked for, at the end of reading.
    pub(super) fn finish(self) {
        self.unknown();
    }

    /// Reports the keys that nobody asked for so far.
    pub(super) fn unknown(&self) {
        let asked = self.asked.borrow();
        for (name, _) in self.table {
            if asked.contains(name.get_ref().as_ref()) {
                continue;
            }
            let near = asked.iter().map(|known| (strsim::levenshtein(name.get_ref(), known), *known)).min();
            let hint = match near {
                Some((distance, known)) if distance <= 3 => format!("; did you mean {known}?"),
                _ => String::new(),
            };
            self.reader.problem_at(name.span().start, format!("unknown key {} in {}{hint}", name.get_ref(), self.name));
        }
    }
}

fn texts_of(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}
