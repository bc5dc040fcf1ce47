//! The journal's export format, as `journalctl --output=export` writes it, in pieces of any size. Pure.
//!
//! Contract: systemd's JOURNAL_EXPORT_FORMATS: an entry is fields, each `NAME=value` and a line break, or, where the value has
//! bytes that are no text, `NAME`, a line break, the length as 64 bits little-endian, the bytes and a line break; an empty line
//! ends it. Entries hold what anybody on the machine chose to write.

/// So much of one value is kept. journald splits what services print at 48 KiB; what is sent to it whole may be longer.
const MAX_VALUE: usize = 1_100_000;

/// So long may the name of a field be: journald takes 64 characters.
const MAX_NAME: usize = 256;

/// An entry, with the fields that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// `__CURSOR`
    pub(super) cursor: String,
    /// `__REALTIME_TIMESTAMP`, in microseconds since 1970.
    pub(super) realtime: Option<u64>,
    /// `MESSAGE`
    pub(super) message: Vec<u8>,
    /// `_LINE_BREAK`: why a line that a service printed ends here, if not by a line break.
    pub(super) line_break: String,
    /// `N_DROPPED`: so many messages were suppressed.
    pub(super) dropped: u64,
    /// `_STREAM_ID`: of which connection the line is.
    pub(super) stream: String,
    /// `_TRANSPORT`
    pub(super) transport: String,
    /// Bytes of the message that were not kept.
    pub(super) cut: usize,
}

/// The fields that journalctl is asked for; it always adds those that begin with two underscores.
pub(super) const FIELDS: &str = "MESSAGE,_LINE_BREAK,N_DROPPED,_STREAM_ID,_TRANSPORT";

#[derive(Debug)]
enum At {
    /// In a line: a name, or a name with its value.
    Line,
    /// In the length of a binary value, with so many bytes of it.
    Length(usize, u64),
    /// In a binary value, of which so many bytes are to come.
    Binary(u64),
    /// At the line break behind a binary value.
    Break,
}

/// Reads entries.
#[derive(Debug)]
pub(super) struct Parser {
    at: At,
    /// The line, or the name of the field whose binary value is being read.
    line: Vec<u8>,
    value: Vec<u8>,
    /// Bytes of this value or line that were not kept.
    cut: usize,
    entry: Entry,
}

impl Default for Parser {
    fn default() -> Self {
        Self { at: At::Line, line: Vec::new(), value: Vec::new(), cut: 0, entry: Entry::default() }
    }
}

impl Parser {
    /// Takes what was read and gives each entry that is whole to `each`.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Entry)) {
        while let Some(first) = bytes.first() {
            match &mut self.at {
                At::Line => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    let room = (MAX_VALUE + MAX_NAME).saturating_sub(self.line.len());
                    self.line.extend_from_slice(&part[..part.len().min(room)]);
                    self.cut += part.len().saturating_sub(room);
                    bytes = &bytes[part.len() + usize::from(end.is_some())..];
                    if end.is_some() {
                        self.line_ends(&mut each);
                    }
                }
                At::Length(count, length) => {
                    *length |= u64::from(*first) << (8 * *count);
                    *count += 1;
                    if *count == 8 {
                        self.at = At::Binary(*length);
                    }
                    bytes = &bytes[1..];
                }
                At::Binary(0) => self.at = At::Break,
                At::Binary(left) => {
                    let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let room = MAX_VALUE.saturating_sub(self.value.len());
                    self.value.extend_from_slice(&bytes[..count.min(room)]);
                    self.cut += count.saturating_sub(room);
                    *left -= count as u64;
                    bytes = &bytes[count..];
                }
                At::Break => {
                    // Anything else is no export format any more; the next line tells.
                    bytes = &bytes[usize::from(*first == b'\n')..];
                    let (name, value) = (std::mem::take(&mut self.line), std::mem::take(&mut self.value));
                    self.field(&name, value);
                    self.at = At::Line;
                }
            }
        }
    }

    fn line_ends(&mut self, each: &mut impl FnMut(Entry)) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let entry = std::mem::take(&mut self.entry);
            self.cut = 0;
            if !entry.cursor.is_empty() {
                each(entry);
            }
        } else if let Some(end) = line.iter().position(|byte| *byte == b'=') {
            let value = line[end + 1..].to_vec();
            self.field(&line[..end], value);
        } else if line.len() <= MAX_NAME {
            (self.line, self.at) = (line, At::Length(0, 0));
        } else {
            self.cut = 0; // no field has such a name
        }
    }

    fn field(&mut self, name: &[u8], value: Vec<u8>) {
        let cut = std::mem::take(&mut self.cut);
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value[..value.len().min(MAX_NAME * 4)]).into_owned();
        let entry = &mut self.entry;
        match name {
            b"__CURSOR" => entry.cursor = text(value),
            b"__REALTIME_TIMESTAMP" => entry.realtime = text(value).parse().ok(),
            b"MESSAGE" => (entry.message, entry.cut) = (value, cut),
            b"_LINE_BREAK" => entry.line_break = text(value),
            b"N_DROPPED" => entry.dropped = text(value).parse().unwrap_or(0),
            b"_STREAM_ID" => entry.stream = text(value),
            b"_TRANSPORT" => entry.transport = text(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(chunks: &[&[u8]]) -> Vec<Entry> {
        let (mut parser, mut entries) = (Parser::default(), Vec::new());
        chunks.iter().for_each(|chunk| parser.read(chunk, |entry| entries.push(entry)));
        entries
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    fn written(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            out.extend(format!("__CURSOR=c{number}\n__REALTIME_TIMESTAMP={number}\n_TRANSPORT=stdout\n").as_bytes());
            let printable = message.iter().all(|byte| (32..127).contains(byte));
            out.extend(if printable {
                [b"MESSAGE=", message.as_slice(), b"\n"].concat()
            } else {
                binary("MESSAGE", message)
            });
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn a_text_and_a_binary_value_are_the_same() {
        let bytes = written(&[b"plain = text".to_vec(), b"a\nb\x00\xff".to_vec(), Vec::new()]);
        let messages: Vec<_> = all(&[&bytes]).into_iter().map(|entry| (entry.cursor, entry.message)).collect();
        let expected = [("c0", b"plain = text".to_vec()), ("c1", b"a\nb\x00\xff".to_vec()), ("c2", Vec::new())];
        assert_eq!(messages, expected.map(|(cursor, message)| (cursor.to_owned(), message)));
    }

    #[test]
    fn a_value_without_end_costs_bounded_memory_and_the_next_entry_arrives() {
        let mut bytes = b"__CURSOR=a\n".to_vec();
        bytes.extend(binary("MESSAGE", &vec![7; 5_000_000]));
        bytes
            .extend(format!("\n__CURSOR=b\nMESSAGE={}\n\n__CURSOR=c\nMESSAGE=x\n\n", "y".repeat(5_000_000)).as_bytes());
        let entries = all(&bytes.chunks(4096).collect::<Vec<_>>());
        let kept: Vec<_> =
            entries.iter().map(|entry| (entry.cursor.as_str(), entry.message.len() <= MAX_VALUE + MAX_NAME)).collect();
        assert_eq!(kept, [("a", true), ("b", true), ("c", true)]);
        assert!(entries.iter().take(2).all(|entry| entry.message.len() + entry.cut == 5_000_000));
    }

    #[test]
    fn the_count_of_suppressed_messages_is_read() {
        let entry = b"__CURSOR=a\n_TRANSPORT=driver\nMESSAGE=Suppressed 17 messages from docker.service\nN_DROPPED=17\nOBJECT_SYSTEMD_UNIT=docker.service\n\n";
        let entries = all(&[entry]);
        assert_eq!(entries[0].dropped, 17);
    }

    proptest! {
        #[test]
        fn entries_are_the_same_whatever_the_pieces(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8), size in 1_usize..40
        ) {
            let bytes = written(&messages);
            let read: Vec<_> = all(&bytes.chunks(size).collect::<Vec<_>>()).into_iter().map(|entry| entry.message).collect();
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn garbage_ends_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..3000), size in 1_usize..500) {
            let _ = all(&bytes.chunks(size).collect::<Vec<_>>());
        }
    }
}
