//! The runner's console file: lines are lines, however the bytes arrive.

use std::io::Write as _;

use mayfly::runner::tail::Tail;
use mayfly_core::runner::console::observation;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_come_whole_however_they_were_written(
        pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), 1..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut tail = Tail::new(&path);
        let (mut seen, mut last_end) = (Vec::new(), 0);
        for piece in &pieces {
            file.write_all(piece).unwrap();
            tail.read(|line, end| {
                seen.push(line.to_owned());
                last_end = end;
            })
            .unwrap();
        }
        let all = pieces.concat();
        let whole = all.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let expected: Vec<String> = all[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
            .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
            .collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(last_end, whole as u64, "a restarted agent would read from the wrong place");
    }

    #[test]
    fn text_before_a_time_stamp_takes_its_meaning_away(before in "[^\n0-9]{1,30}") {
        let line = format!("{before}2026-11-21 08:00:00Z: Listening for Jobs");
        prop_assert_eq!(observation(&line), None, "a job's own output was believed");
    }
}
