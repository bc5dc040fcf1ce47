//! What an image says of itself, and what follows from it for the runner's age.
//!
//! GitHub may refuse a runner from 30 days after the *next* release on. When that was, the image cannot know; but it knows the last
//! day on which its runner was seen to be the newest. The next release came later, and so does the refusal: not before that day and
//! 30 more. An image that does not say it leaves the date of the runner's program, a guess.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// GitHub may refuse a runner so many days after the next release.
pub const REFUSED_DAYS: u64 = 30;

/// Then an image with a newer runner should be on its way.
pub const OLD_DAYS: u64 = 25;

/// More bytes no such file has.
pub const LONGEST: u64 = 16 * 1024;

/// The version of the file that is understood. Keys are added without a new one.
const SCHEMA: u32 = 1;

/// A version or an id is shorter.
const LONGEST_WORD: usize = 64;

const DAY: Duration = Duration::from_secs(86_400);

/// What an image says of itself: `/usr/share/mayfly/image.json`, written when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Image {
    schema: u32,
    /// When it was made, RFC 3339.
    pub built_at: String,
    /// The version of Mayfly that made it.
    pub mayfly: String,
    /// The runner in it.
    pub runner: ImageRunner,
    /// The image that it was made of, such as `ami-0fedcba9876543210`.
    #[serde(default)]
    pub source_image: Option<String>,
}

/// The runner that an image was made with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageRunner {
    /// Its version.
    pub version: String,
    /// The last day on which somebody saw that it was GitHub's newest release, such as `2026-10-08`.
    pub newest_on: String,
}

/// Why nothing is taken from the file.
#[derive(Debug, Error)]
pub enum NotAnImage {
    /// It is no such file.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// It is no JSON, or lacks a key.
    #[error("{0}")]
    NotUnderstood(#[from] serde_json::Error),
    /// A later Mayfly wrote it.
    #[error("its schema is {0}, and this Mayfly knows {SCHEMA}")]
    Schema(u32),
    /// A key has a value that cannot be.
    #[error("{key} is {value:?}, which is no {what}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it has, shortened.
        value: String,
        /// What it should be.
        what: &'static str,
    },
}

impl Image {
    /// Reads the file's content.
    ///
    /// # Errors
    /// Nothing of it is believed if any of it is wrong.
    pub fn read(content: &[u8]) -> Result<Self, NotAnImage> {
        if content.len() as u64 > LONGEST {
            return Err(NotAnImage::TooLong);
        }
        let image: Self = serde_json::from_slice(content)?;
        if image.schema != SCHEMA {
            return Err(NotAnImage::Schema(image.schema));
        }
        let wrong = |key, value: &str, what| NotAnImage::Value { key, value: value.chars().take(40).collect(), what };
        if humantime::parse_rfc3339(&image.built_at).is_err() {
            return Err(wrong("built_at", &image.built_at, "time as RFC 3339 has it"));
        }
        if day(&image.runner.newest_on).is_none() {
            return Err(wrong("runner.newest_on", &image.runner.newest_on, "day such as 2026-10-08"));
        }
        let words = [("mayfly", &image.mayfly), ("runner.version", &image.runner.version)];
        for (key, value) in words.into_iter().chain(image.source_image.as_ref().map(|id| ("source_image", id))) {
            if !is_word(value) {
                return Err(wrong(key, value, "version or id"));
            }
        }
        Ok(image)
    }
}

/// The beginning of a day.
fn day(text: &str) -> Option<SystemTime> {
    (text.len() == "2026-10-08".len()).then(|| humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok())?
}

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+~".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(fits)
}

/// By what the age of a runner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgeSource {
    /// The image says on which day its runner was the newest.
    Image,
    /// The date of the runner's program, which unpacking keeps from its release: a guess, which an image can spoil.
    FileDate,
}

impl AgeSource {
    /// Its stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::FileDate => "file-date",
        }
    }
}

/// How old the installed runner is, and by what that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerAge {
    /// The installed version.
    pub version: String,
    /// When it was known, or is guessed, to be the newest.
    pub newest: SystemTime,
    /// By what.
    pub source: AgeSource,
}

impl RunnerAge {
    /// From what is installed, what the image says, and the date of the runner's program. An image that names another version says
    /// nothing about this one.
    #[must_use]
    pub fn known(installed: Option<&str>, image: Option<&Image>, built: Option<SystemTime>) -> Option<Self> {
        let version = installed?.to_owned();
        let said = image.filter(|image| image.runner.version == version).and_then(|image| day(&image.runner.newest_on));
        let (newest, source) = match said {
            Some(newest) => (newest, AgeSource::Image),
            None => (built?, AgeSource::FileDate),
        };
        Some(Self { version, newest, source })
    }

    /// How many days ago that was. `None` if it is yet to come: then nobody knows, or the clock is wrong. (A day begins earlier in
    /// the east than by UTC.)
    #[must_use]
    pub fn days(&self, now: SystemTime) -> Option<u64> {
        match now.duration_since(self.newest) {
            Ok(age) => Some(age.as_secs() / DAY.as_secs()),
            Err(ahead) => (ahead.duration() <= DAY).then_some(0),
        }
    }

    /// Version, days, and by what they are known, in a sentence without its full stop.
    #[must_use]
    pub fn sentence(&self, now: SystemTime) -> String {
        let Self { version, newest, source } = self;
        let date = date(*newest);
        match (self.days(now), source) {
            (None, AgeSource::Image) => {
                format!("version {version} is said to have been GitHub's newest on {date}, which is yet to come")
            }
            (None, AgeSource::FileDate) => format!("version {version}: the date of its file is yet to come"),
            (Some(days), AgeSource::Image) => {
                let until = date_of(newest.checked_add(DAY * 30));
                format!(
                    "version {version} was GitHub's newest on {date}, {days} days ago (its image says so): GitHub takes it \
                     until {until} at least"
                )
            }
            (Some(days), AgeSource::FileDate) => format!(
                "version {version} is {days} days old (by the date of its file, which unpacking keeps from the release: a guess)"
            ),
        }
    }
}

/// The day of a moment, by UTC.
fn date(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string().chars().take_while(|c| *c != 'T').collect()
}

fn date_of(moment: Option<SystemTime>) -> String {
    moment.map_or_else(|| "a day that cannot be told".to_owned(), date)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"{"schema":1,"built_at":"2026-11-30T12:00:00Z","mayfly":"0.1.0",
        "runner":{"version":"2.338.0","newest_on":"2026-10-08"},"source_image":"ami-0123","later":{"a":1}}"#;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn what_the_image_says_is_read_and_keys_of_a_later_version_are_no_hindrance() {
        let image = Image::read(GOOD.as_bytes()).unwrap();
        assert_eq!((image.runner.version.as_str(), image.runner.newest_on.as_str()), ("2.338.0", "2026-10-08"));
        let without = Image::read(GOOD.replace("\"ami-0123\"", "null").as_bytes()).unwrap();
        assert_eq!(without.source_image, None);
    }

    #[test]
    fn garbage_in_the_file_is_an_error_that_says_what_is_wrong() {
        let long = "9".repeat(5000);
        for (part, wrong, said) in [
            (GOOD, "", "EOF"),
            (GOOD, "\u{0}\u{1}no json", "expected value"),
            ("\"schema\":1", "\"schema\":2", "schema is 2"),
            ("2026-11-30T12:00:00Z", "yesterday", "built_at is \"yesterday\""),
            ("2026-10-08", "2026-13-08", "runner.newest_on"),
            ("2026-10-08", "2026-10-08T00:00:00Z", "runner.newest_on"),
            ("2.338.0", "2.338.0\\u001b[31m", "runner.version"),
            ("2.338.0", &long, "runner.version"),
            ("ami-0123", "", "source_image"),
            ("\"newest_on\"", "\"oldest_on\"", "missing field `newest_on`"),
        ] {
            let error = Image::read(GOOD.replace(part, wrong).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said) && error.len() < 300, "{said:?} is not told: {error}");
        }
        let endless = format!("{GOOD}{}", " ".repeat(usize::try_from(LONGEST).unwrap()));
        assert!(matches!(Image::read(endless.as_bytes()), Err(NotAnImage::TooLong)), "a file without end is read");
    }

    #[test]
    fn a_refusal_is_counted_from_the_day_on_which_the_runner_was_the_newest() {
        let image = Image::read(GOOD.as_bytes()).unwrap();
        let built = Some(at("2026-08-01T00:00:00Z"));
        let now = at("2026-11-30T12:00:00Z");
        let age = RunnerAge::known(Some("2.338.0"), Some(&image), built).unwrap();
        assert_eq!((age.source, age.days(now)), (AgeSource::Image, Some(53)), "the date of the file cries wolf");
        assert!(age.sentence(now).contains("until 2026-11-07 at least"), "{}", age.sentence(now));
        assert_eq!(age.days(at("2026-10-07T12:00:00Z")), Some(0), "east of Greenwich the day has begun");
        assert_eq!(age.days(at("2026-10-06T12:00:00Z")), None, "a day that is yet to come is believed");
    }

    #[test]
    fn an_image_of_another_version_says_nothing_about_the_installed_one() {
        let image = Image::read(GOOD.as_bytes()).unwrap();
        let built = Some(at("2026-08-01T00:00:00Z"));
        let age = RunnerAge::known(Some("2.336.0"), Some(&image), built).unwrap();
        assert_eq!(age.source, AgeSource::FileDate, "an old runner passes as the image's new one");
        assert!(age.sentence(at("2026-11-30T12:00:00Z")).contains("a guess"), "a guess is told as knowledge");
        assert_eq!(RunnerAge::known(Some("2.336.0"), None, None), None, "no date is taken for a good one");
        assert_eq!(RunnerAge::known(None, Some(&image), built), None, "nobody knows which version is installed");
    }
}
