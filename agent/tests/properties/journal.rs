//! The journal, whatever a crash or a disk has left of it. (Cut at every byte of a real one: `agent/tests/journal.rs`.)

use std::fs;
use std::time::Duration;

use mayfly::daemon::journal::{Binding, Entry, Journal, Replay};
use mayfly_core::lifecycle::{Phase, State, Time};
use proptest::prelude::*;

fn binding() -> Binding {
    Binding { instance: "i-0123456789abcdef0".to_owned(), boot: "this-boot".to_owned() }
}

fn entry(at: u64) -> Entry {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    fs::write(&file, "").unwrap();
    let policy = mayfly_core::config::load(&file, [], &[]).unwrap().policy();
    Entry {
        at: Time(at),
        state: State {
            phase: Phase::Booting { deadline: Time(at) + Duration::from_secs(1) },
            ..State::new(&policy, Time(at))
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_replayed_or_set_aside(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("journal.jsonl"), &bytes).unwrap();
        let (_, replay) = Journal::read(directory.path(), &binding());
        prop_assert!(matches!(replay, Replay::Nothing | Replay::Unreadable), "noise was taken for a run: {replay:?}");
    }

    #[test]
    fn what_a_crash_tore_off_costs_no_line_before_it(count in 1..5_u64, torn in "[^\n\0]{0,80}") {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, replay) = Journal::read(directory.path(), &binding());
        journal.prepare(&binding(), &replay);
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        for entry in &entries {
            journal.append(entry).unwrap();
        }
        let path = directory.path().join("journal.jsonl");
        let mut content = fs::read(&path).unwrap();
        let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
        content.truncate(end);
        content.extend_from_slice(torn.as_bytes());
        fs::write(&path, content).unwrap();
        let (_, replay) = Journal::read(directory.path(), &binding());
        prop_assert_eq!(replay, Replay::ThisBoot(entries));
    }
}
