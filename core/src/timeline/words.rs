//! Times, sizes and names as people read them.

use bytesize::ByteSize;

/// No text of a picture is longer, in characters.
const LONGEST: usize = 400;

/// A text with nothing in it that moves a terminal's cursor, or turns the direction of what is around it.
#[must_use]
pub fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fit = |c: char| if c.is_control() || turns(c) { '\u{fffd}' } else { c };
    let mut clean: String = text.chars().take(LONGEST).map(fit).collect();
    if text.chars().nth(LONGEST).is_some() {
        clean.push('…');
    }
    clean
}

/// A span of time, in its two largest units.
#[must_use]
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..=59 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A number of bytes.
#[must_use]
pub fn bytes(number: u64) -> String {
    ByteSize(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        let told = [7, 999, 1_000, 59_999, 60_000, 3_599_999, 3_600_000, 90_000_000].map(span);
        assert_eq!(told, ["7 ms", "999 ms", "1.0 s", "59.9 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 0 min"]);
    }

    #[test]
    fn a_name_moves_no_cursor_turns_no_text_and_has_an_end() {
        assert_eq!(clean("a\u{1b}[2J\u{202e}b"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(clean(&"x".repeat(1_000)).chars().count(), LONGEST + 1);
    }
}
