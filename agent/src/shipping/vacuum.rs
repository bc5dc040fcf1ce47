//! Whether the journal was vacuumed under the cursor: journalctl goes on with what is left, and does not tell.
//!
//! Entries are numbered, and a cursor names the number. What is between the last that was taken and the oldest that is left is gone.
//! Only how many entries that were of all the journal is known, not how many of them a stream would have taken.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::export::Parser;

/// How long journalctl may take to tell one entry.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which entry a cursor names: in which sequence of numbers, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    sequence: String,
    number: u64,
}

impl Place {
    /// `s=SEQUENCE;i=NUMBER;…`, the number in hexadecimal digits. `None` for any other form.
    pub(super) fn of(cursor: &str) -> Option<Self> {
        let part = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let number = u64::from_str_radix(part("i")?, 16).ok()?;
        Some(Self { sequence: part("s")?.to_owned(), number })
    }

    /// How many entries between this one and the oldest that is left are gone; `None` if none is, or nobody can tell.
    pub(super) fn gone_before(&self, oldest: &Self) -> Option<u64> {
        if self.sequence != oldest.sequence {
            return None;
        }
        oldest.number.checked_sub(self.number)?.checked_sub(1).filter(|gone| *gone > 0)
    }

    /// Whether an entry is not before the oldest that was left.
    pub(super) fn is_left(&self, oldest: &Self) -> bool {
        self.sequence == oldest.sequence && self.number >= oldest.number
    }
}

/// The oldest entry that the system's journal has of this boot.
pub(super) async fn oldest() -> Option<Place> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--system", "--boot", "--no-pager", "--output=export", "--output-fields=PRIORITY"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().ok()?;
    let mut pipe = child.stdout.take()?;
    let first = async {
        let (mut parser, mut buffer, mut first) = (Parser::default(), vec![0; 4096], None);
        while first.is_none() {
            let count = pipe.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            parser.read(&buffer[..count], |entry| {
                first.get_or_insert(entry.cursor);
            });
        }
        first
    };
    let cursor = timeout(TIMEOUT, first).await.ok().flatten();
    let _ = child.start_kill();
    let _ = timeout(TIMEOUT, child.wait()).await;
    Place::of(&cursor?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(text: &str) -> Place {
        Place::of(text).unwrap()
    }

    #[test]
    fn what_is_missing_between_a_cursor_and_the_oldest_entry_is_counted_and_a_guess_is_none() {
        let taken = place("s=ab;i=1f;b=cd;m=1;t=2;x=3");
        assert_eq!(taken.gone_before(&place("s=ab;i=2f;b=cd")), Some(15));
        for (oldest, why) in [
            ("s=ab;i=20;b=cd", "the next entry is there"),
            ("s=ab;i=1;b=cd", "nothing was vacuumed"),
            ("s=zz;i=2f;b=cd", "numbers of another journal are compared"),
        ] {
            assert_eq!(taken.gone_before(&place(oldest)), None, "{why}");
        }
        assert!(place("s=ab;i=30").is_left(&place("s=ab;i=2f")) && !taken.is_left(&place("s=ab;i=2f")));
        for garbage in ["", "17", "s=ab", "i=1f", "s=ab;i=-1", "s=ab;i=xyz", "s=ab;i=fffffffffffffffff"] {
            assert_eq!(Place::of(garbage), None, "{garbage:?}");
        }
    }
}
