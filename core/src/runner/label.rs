//! The label that tells what of the daemon's things is the runner's.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The label that GitHub's runner puts on what it makes in Docker. It is another one for each JIT configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// A label that was worked out before, by another process; `None` if that is not one.
    #[must_use]
    pub fn known(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| Self(text.to_owned()))
    }

    /// Computes it as the runner does: the first six hexadecimal digits of the SHA-256 of the text of its `.runner`
    /// file in lower case. The file must be read before the runner ends, since the runner deletes it.
    #[must_use]
    pub fn of_runner_file(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        // .NET drops the byte order mark that it likes to write, and lowers character by character.
        let lower: String = text.trim_start_matches('\u{feff}').chars().map(lower).collect();
        let mut label = String::with_capacity(6);
        for byte in Sha256::digest(lower).iter().take(3) {
            let _ = write!(label, "{byte:02x}");
        }
        Self(label)
    }

    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter for it, as Docker's API takes one.
    #[must_use]
    pub fn filter(&self) -> String {
        serde_json::json!({ "label": [self.0] }).to_string()
    }
}

fn lower(character: char) -> char {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_one_that_the_runner_computes() {
        // printf '{"agentid":7}' | sha256sum
        let expected = "88baa5";
        for content in ["{\"agentId\":7}", "{\"AGENTID\":7}", "\u{feff}{\"agentId\":7}"] {
            let label = Label::of_runner_file(content.as_bytes());
            assert_eq!(label.as_str(), expected, "nothing of a job would be found by it");
        }
    }

    #[test]
    fn letters_are_lowered_one_by_one_as_in_dotnet() {
        // The last sigma of a word, and the letter whose lower case is two characters long.
        let lowered: String = "ΑΣ İ".chars().map(lower).collect();
        assert_eq!(lowered, "ασ İ");
    }
}
