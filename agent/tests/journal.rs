//! The journal, cut at every byte. (The same on the shipped binary, with a runner: `tests/e2e/crash.rs`.)

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::time::Duration;

use mayfly::daemon::journal::{Binding, Entry, Journal, Replay};
use mayfly_core::lifecycle::{Begin, Ending, Event, Identity, Limits, Observation, Policy, State, Target, Time, step};

fn policy() -> Policy {
    let minute = Duration::from_secs(60);
    Policy {
        limits: Limits {
            booting: minute,
            jit_wait: minute,
            listening: minute,
            idle: minute,
            assigned: minute,
            job: minute,
            finishing: minute,
            orphaned: minute,
            lock: minute,
            updating: minute,
            draining: minute,
            closing: minute,
            terminating: minute,
            lifetime: minute * 60,
        },
        stop_at: Duration::from_secs(25),
        kill_at: Duration::from_secs(8),
        drain_on_rebalance: true,
        docker_required: true,
        hold_on_failure: Duration::ZERO,
        launch_hook: false,
        termination_hook: false,
        ending: Ending::Process,
    }
}

/// The states of a run up to its job, as the loop journals them.
fn entries() -> Vec<Entry> {
    let policy = policy();
    let mut entries = vec![Entry { at: Time(0), state: State::new(&policy, Time(0)) }];
    let identity = Identity { target: Target::Absent, launched: None, notice: None };
    let events = [
        Event::Begin(Begin::Fresh),
        Event::Identified(identity),
        Event::JitConfigReady,
        Event::Observed(Observation::Listening),
        Event::Observed(Observation::Running { job: "build — \u{1f98b} \"quoted\"\n".to_owned() }),
        Event::Observed(Observation::WorkerSeen),
    ];
    for (at, event) in events.iter().enumerate() {
        let at = Time(1 + at as u64);
        let (state, _) = step(&policy, &entries[entries.len() - 1].state, event, at);
        if state != entries[entries.len() - 1].state {
            entries.push(Entry { at, state });
        }
    }
    entries
}

#[test]
fn cut_at_every_byte_it_tells_a_beginning_of_the_truth_and_can_be_continued() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.jsonl");
    let binding = Binding { instance: "i-0123456789abcdef0".to_owned(), boot: "b".to_owned() };
    let all = entries();
    let (mut journal, replay) = Journal::read(directory.path(), &binding);
    journal.prepare(&binding, &replay);
    all.iter().for_each(|entry| journal.append(entry).unwrap());
    let whole = fs::read(&path).unwrap();
    let written = whole.iter().position(|byte| *byte == 0).unwrap();
    assert!(all.len() > 5 && written > 1000, "{} entries in {written} bytes are no test", all.len());
    for cut in 0..=written {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, replay) = Journal::read(directory.path(), &binding);
        let told = match &replay {
            Replay::Nothing => 0,
            Replay::ThisBoot(told) => {
                assert_eq!(told[..], all[..told.len()], "cut at byte {cut}: something was told that never was");
                told.len()
            }
            other => panic!("cut at byte {cut}: {other:?}"),
        };
        // The torn line is written over; what was told before stays.
        journal.prepare(&binding, &replay);
        journal.append(&all[0]).unwrap();
        let Replay::ThisBoot(again) = Journal::read(directory.path(), &binding).1 else { panic!("cut at byte {cut}") };
        assert_eq!(again.len(), told + 1, "cut at byte {cut}: the next line did not follow the last whole one");
    }
}

/// What changes without end makes no journal without end, and what was said last is what is read.
#[test]
fn a_journal_of_ten_thousand_changes_is_bounded_and_tells_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let binding = Binding { instance: "i-0123456789abcdef0".to_owned(), boot: "b".to_owned() };
    let (mut journal, replay) = Journal::read(directory.path(), &binding);
    journal.prepare(&binding, &replay);
    let run = entries();
    for entry in &run {
        journal.append(entry).unwrap();
    }
    let mut last = run[run.len() - 1].clone();
    let (path, mut longest) = (directory.path().join("journal.jsonl"), 0);
    for change in 0..10_000 {
        last.at = Time(100 + change);
        last.state.hold = Some(Time(change));
        journal.append(&last).unwrap();
        longest = longest.max(fs::metadata(&path).unwrap().len());
        if change % 997 == 0 {
            // A new agent process at this moment.
            let (again, replay) = Journal::read(directory.path(), &binding);
            let Replay::ThisBoot(read) = &replay else { panic!("after {change} changes: {replay:?}") };
            assert_eq!(read.last(), Some(&last), "what was said last is lost after {change} changes");
            assert_eq!(read.first(), run.first(), "when the run began is lost");
            journal = again;
            journal.prepare(&binding, &replay);
        }
    }
    assert!(longest < 2 * 1024 * 1024, "a run made a journal of {longest} bytes");
    let Replay::ThisBoot(read) = Journal::read(directory.path(), &binding).1 else { panic!("it is not read") };
    let names = |entries: &[Entry]| {
        let mut names: Vec<_> = entries.iter().map(|entry| entry.state.phase.name()).collect();
        names.dedup();
        names
    };
    assert_eq!(names(&read), names(&run), "how the run went is lost");
}
