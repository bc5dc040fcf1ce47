//! A batch as CloudWatch Logs takes it. Pure.
//!
//! Contract: PutLogEvents and `reference/aws-contracts.md` 5.1: 1,048,576 bytes with 26 for each event, 10,000 events, an
//! event of 1 MB, all within 24 hours, oldest first, no message empty.

/// The most bytes of a batch.
const MAX_BYTES: usize = 1_048_576;
/// What each event counts beside its text.
const PER_EVENT: usize = 26;
/// The most events of a batch.
const MAX_EVENTS: usize = 10_000;
/// The longest time from the first to the last event, in milliseconds: an hour less than the service's 24.
const MAX_SPAN: i64 = 23 * 3600 * 1000;
/// A line is cut into events of so many bytes: 256 KB are taken everywhere, 1 MB only by newer endpoints.
pub(super) const PIECE: usize = 250_000;

/// A line, or a piece of one that is too long for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogEvent {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// The text.
    pub(super) text: String,
    /// A line ends here.
    pub(super) ends_line: bool,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    events: Vec<LogEvent>,
    bytes: usize,
    /// The earliest and the latest time in it.
    span: Option<(i64, i64)>,
}

impl Batch {
    /// Takes an event, if there is room for it.
    ///
    /// # Errors
    /// There is none: the event comes back for the next batch. An empty batch takes any piece.
    pub(super) fn push(&mut self, event: LogEvent) -> Result<(), LogEvent> {
        let bytes = self.bytes + event.text.len() + PER_EVENT;
        let (first, last) = self.span.unwrap_or((event.at, event.at));
        let span = (first.min(event.at), last.max(event.at));
        let fits = bytes <= MAX_BYTES && self.events.len() < MAX_EVENTS && span.1.saturating_sub(span.0) <= MAX_SPAN;
        if !fits && !self.events.is_empty() {
            return Err(event);
        }
        (self.bytes, self.span) = (bytes, Some(span));
        self.events.push(event);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Its lines: of one in pieces, the last piece counts.
    pub(super) fn lines(&self) -> u64 {
        lines(&self.events)
    }

    /// Puts the oldest first. Events of the same time stay in the order in which they came.
    pub(super) fn sort(&mut self) {
        self.events.sort_by_key(|event| event.at);
    }

    pub(super) fn events(&self) -> &[LogEvent] {
        &self.events
    }

    /// Two halves, in order; a single event cannot be halved.
    pub(super) fn halve(mut self) -> (Self, Option<Self>) {
        let rest = if self.events.len() > 1 { self.events.split_off(self.events.len() / 2) } else { Vec::new() };
        let again = |events: Vec<LogEvent>| {
            let bytes = events.iter().map(|event| event.text.len() + PER_EVENT).sum();
            Self { events, bytes, span: None }
        };
        let rest = (!rest.is_empty()).then(|| again(rest));
        (again(self.events), rest)
    }
}

/// How many lines end in these events.
pub(super) fn lines(events: &[LogEvent]) -> u64 {
    events.iter().filter(|event| event.ends_line).count() as u64
}

/// A line in pieces that an event can carry, cut between characters. An empty line is one empty piece.
pub(super) fn pieces(line: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let (piece, after) = bytes.split_at(border(bytes));
        rest = (!after.is_empty()).then_some(after);
        Some((piece, rest.is_none()))
    })
}

/// The last border between characters at or before the end of a piece; the end itself in what is no text.
pub(super) fn border(bytes: &[u8]) -> usize {
    if bytes.len() <= PIECE {
        return bytes.len();
    }
    let begins = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (PIECE - 3..=PIECE).rev().find(begins).unwrap_or(PIECE)
}

/// Bytes as text: what is no UTF-8 is replaced, and NUL, which many readers take for an end, is shown as ␀.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('\0') { text.replace('\0', "\u{2400}") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest text of an event: a piece of bytes that are no text, each of which becomes three.
    const MAX_TEXT: usize = 3 * PIECE;

    fn event(at: i64, text: &str) -> LogEvent {
        LogEvent { at, text: text.to_owned(), ends_line: true }
    }

    /// Everything into batches, as a stream does it.
    fn batches(events: Vec<LogEvent>) -> Vec<Batch> {
        let (mut done, mut batch) = (Vec::new(), Batch::default());
        for event in events {
            if let Err(event) = batch.push(event) {
                done.push(std::mem::take(&mut batch));
                assert!(batch.push(event).is_ok(), "an empty batch takes any event");
            }
        }
        done.push(batch);
        done.retain(|batch| !batch.is_empty());
        done.iter_mut().for_each(Batch::sort);
        done
    }

    #[test]
    fn the_services_limits_are_the_ends_of_a_batch() {
        let full = batches((0..10_001).map(|at| event(at, "")).collect());
        assert_eq!(full.iter().map(|batch| batch.events().len()).collect::<Vec<_>>(), [10_000, 1]);
        let large = "x".repeat(MAX_TEXT);
        let full =
            batches(vec![event(0, &large), event(0, &large[..MAX_BYTES - MAX_TEXT - 2 * PER_EVENT]), event(0, "")]);
        assert_eq!(full.iter().map(|batch| batch.events().len()).collect::<Vec<_>>(), [2, 1]);
        let days = batches(vec![event(0, "a"), event(MAX_SPAN, "b"), event(-1, "c"), event(MAX_SPAN + 1, "d")]);
        assert_eq!(days.len(), 3, "a batch that spans more than a day is refused whole");
    }

    #[test]
    fn halving_ends_with_single_events_and_loses_none() {
        let mut todo: Vec<_> = batches((0..37).map(|at| event(at, "x")).collect());
        let mut single = Vec::new();
        while let Some(batch) = todo.pop() {
            match batch.halve() {
                (first, Some(rest)) => todo.extend([rest, first]),
                (one, None) => single.extend(one.events().to_vec()),
            }
        }
        assert_eq!(single.iter().map(|event| event.at).collect::<Vec<_>>(), (0..37).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_text_becomes_text() {
        assert_eq!(text(b"a\xff\0b"), "a\u{fffd}\u{2400}b");
        assert_eq!(pieces(b"").collect::<Vec<_>>(), [(b"".as_slice(), true)], "an empty line is a line");
        let longest = text(&vec![0xff; PIECE]);
        assert!(longest.len() <= MAX_TEXT && longest.len() + PER_EVENT <= MAX_BYTES, "one event is no batch");
    }

    proptest! {
        #[test]
        fn every_batch_is_one_that_the_service_takes_and_nothing_is_lost_or_out_of_order(
            events in proptest::collection::vec((-200_000_000_i64..200_000_000, 0_usize..400_000), 0..60)
        ) {
            let events: Vec<_> = events.iter().enumerate()
                .map(|(number, (at, size))| LogEvent { at: *at, text: format!("{number} {}", "y".repeat(*size)), ends_line: true })
                .collect();
            let batches = batches(events.clone());
            let mut seen = Vec::new();
            for batch in &batches {
                let bytes: usize = batch.events().iter().map(|event| event.text.len() + PER_EVENT).sum();
                prop_assert!(bytes <= MAX_BYTES && batch.events().len() <= MAX_EVENTS);
                prop_assert!(batch.events().is_sorted_by_key(|event| event.at));
                let (first, last) = (batch.events().first(), batch.events().last());
                prop_assert!(first.zip(last).is_none_or(|(first, last)| last.at - first.at <= MAX_SPAN));
                let mut numbers: Vec<usize> = batch.events().iter()
                    .filter_map(|event| event.text.split(' ').next()?.parse().ok()).collect();
                numbers.sort_unstable();
                seen.extend(numbers);
            }
            prop_assert_eq!(seen, (0..events.len()).collect::<Vec<_>>(), "a batch is what came, one after the other");
        }

        #[test]
        fn pieces_are_short_enough_and_make_up_the_line(repeats in 0_usize..90_000, text in "[aé漢🦀]{0,12}") {
            let line = text.repeat(repeats);
            let cut: Vec<_> = pieces(line.as_bytes()).collect();
            prop_assert!(cut.iter().all(|(piece, _)| piece.len() <= PIECE && std::str::from_utf8(piece).is_ok()));
            prop_assert_eq!(cut.iter().filter(|(_, last)| *last).count(), 1);
            prop_assert_eq!(cut.iter().flat_map(|(piece, _)| piece.to_vec()).collect::<Vec<_>>(), line.into_bytes());
        }
    }
}
