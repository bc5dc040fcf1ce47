//! The terminal. A reader that has gone away is no error: upstream goes on.

use std::io::{self, Write};

use mayfly_fake_runner::strings;
use mayfly_fake_runner::{Stream, strings::fill};

/// Bytes of one flood line, newline included.
const FLOOD_LINE: usize = 200;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    ascii: bool,
}

impl Console {
    /// .NET takes the charset of the first of these that is set; without a
    /// charset it writes UTF-8.
    pub(crate) fn from_locale() -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|key| std::env::var(key).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default();
        let charset = locale.split_once('.').map(|(_, charset)| charset);
        let utf8 =
            charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8"));
        Self { ascii: !utf8 }
    }

    /// Prints a line of the table.
    pub(crate) fn line(self, stream: Stream, template: &str, values: &[(&str, &str)]) {
        let mut text = fill(template, values);
        if self.ascii {
            text = text.replace(|c: char| !c.is_ascii(), "?");
        }
        text.push('\n');
        match stream {
            Stream::Out => deliver(&mut io::stdout().lock(), text.as_bytes()),
            Stream::Err => deliver(&mut io::stderr().lock(), text.as_bytes()),
        }
    }

    pub(crate) fn out(self, template: &str) {
        self.line(Stream::Out, template, &[]);
    }

    pub(crate) fn error(self, message: &str) {
        self.line(Stream::Err, strings::ERROR_OCCURRED, &[("message", message)]);
    }

    /// A text that comes from outside the table, such as .NET's own messages.
    pub(crate) fn plain_error(self, text: &str) {
        self.line(Stream::Err, "{text}", &[("text", text)]);
    }
}

fn deliver(stream: &mut impl Write, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

/// One large write's worth of flood lines.
pub(crate) fn flood_block() -> Vec<u8> {
    let mut line = [b'f'; FLOOD_LINE];
    line[FLOOD_LINE - 1] = b'\n';
    line.repeat(64 * 1024 / FLOOD_LINE)
}

/// Writes a block; false if the reader is gone.
pub(crate) fn pour(block: &[u8]) -> bool {
    io::stdout().lock().write_all(block).is_ok()
}
