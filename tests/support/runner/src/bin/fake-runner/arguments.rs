//! The listener's command line, with upstream's own odd rules: only the first
//! word counts, a value must not begin with a dash, the first duplicate wins.

use std::collections::BTreeMap;

/// Commands upstream knows; any other first word is unrecognised.
const COMMANDS: [&str; 4] = ["configure", "remove", "warmup", "run"];
/// Names that may follow `run` or stand alone.
const NAMES: [&str; 9] = ["help", "version", "commit", "check", "jitconfig", "startuptype", "once", "url", "pat"];

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    command: Option<String>,
    named: BTreeMap<String, Option<String>>,
    unknown: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self::default();
        let mut words = words.peekable();
        let mut only_names = false;
        while let Some(word) = words.next() {
            if let Some(name) = word.strip_prefix("--") {
                only_names = true;
                let value = words.next_if(|next| !next.starts_with('-'));
                parsed.add(name, value);
            } else if !only_names && parsed.command.is_none() {
                parsed.command = Some(word.to_lowercase());
            } else {
                parsed.unknown.push(word);
            }
        }
        if let Some(command) = &parsed.command
            && !COMMANDS.contains(&command.as_str())
        {
            parsed.unknown.insert(0, command.clone());
        }
        parsed
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        let key = name.to_lowercase();
        if NAMES.contains(&key.as_str()) {
            self.named.entry(key).or_insert(value);
        } else {
            self.unknown.push(name.to_owned());
        }
    }

    pub(crate) fn is(&self, command: &str) -> bool {
        self.command.as_deref() == Some(command)
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.named.contains_key(flag)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.named.get(name)?.as_deref()
    }

    /// What upstream complains about, joined as it joins them.
    pub(crate) fn unknown(&self) -> Option<String> {
        (!self.unknown.is_empty()).then(|| self.unknown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse(line.split(' ').map(ToOwned::to_owned))
    }

    #[test]
    fn first_duplicate_wins_and_dashes_are_no_values() {
        let parsed = parse("RUN --jitconfig a --jitconfig b --once --bogus");
        assert!(parsed.is("run") && parsed.has("once"));
        assert_eq!(parsed.value("jitconfig"), Some("a"));
        assert_eq!(parsed.unknown().as_deref(), Some("bogus"));
        assert_eq!(parse("run --jitconfig --once").value("jitconfig"), None);
    }
}
