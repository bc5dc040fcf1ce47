//! The power goes at any moment, on storage that then loses what was not synced.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::collections::BTreeSet;
use std::fs::{self, File};

use mayfly_e2e::Run;
use mayfly_e2e::storage::{Found, Moment, Storage, put};
use mayfly_fake_runner::install::Recording;
use mayfly_fake_runner::{JitConfig, recording};
use serde_json::Value;

/// A run of a second.
fn run() -> Run {
    let mut scenario = mayfly_fake_runner::scenarios::named("success").unwrap();
    (scenario.idle_ms, scenario.job_ms) = (50, 100);
    Run::with(&scenario)
}

/// Storage for its state. What is known outside: how many listeners were started.
fn storage(run: &Run) -> Storage {
    fs::create_dir(run.state()).unwrap();
    let root = run.root().to_owned();
    Storage::mount(&run.state(), move || {
        recording::read(&root).map_or(0, |records| Recording { records }.starts().len())
    })
}

/// The file, if it is there. Everything here that is replaced or created is JSON, and a part of it is not.
fn json(found: &Found, name: &str) -> Result<Option<Value>, String> {
    let Some(content) = found.get(name) else { return Ok(None) };
    let torn = |error| format!("{name} is not whole ({error}): {:?}", String::from_utf8_lossy(content));
    serde_json::from_slice(content).map(Some).map_err(torn)
}

/// Which JIT configurations are known for spent, by their fingerprints.
fn spent(found: &Found) -> Result<BTreeSet<String>, String> {
    let list = found.get("spent").map(|list| String::from_utf8_lossy(list).into_owned());
    if list.as_ref().is_some_and(|list| !list.ends_with('\n') || list.lines().any(|line| line.len() != 64)) {
        return Err(format!("the list of spent JIT configurations is not whole: {list:?}"));
    }
    let mut spent: BTreeSet<String> = list.unwrap_or_default().lines().map(str::to_owned).collect();
    spent.extend(json(found, "runner.started")?.map(|marker| marker["fingerprint"].as_str().unwrap().to_owned()));
    Ok(spent)
}

/// Whether the agent of another boot could go on with this. So many runs were over at that moment.
fn judge(found: &Found, moment: &Moment, over: usize) -> Result<(), String> {
    for name in ["record.json", "runner.pid", "runner.exit"] {
        json(found, name)?;
    }
    // Whoever writes down which process the listener is has started it.
    let written = moment.names_early.keys().any(|name| name.contains("runner.pid"));
    let (started, spent) = (moment.started.max(usize::from(written)), spent(found)?.len());
    if spent < started {
        return Err(format!("{started} listeners were started, and {spent} JIT configurations are known for spent"));
    }
    if started > over && !journal(found).contains(STARTING) {
        return Err(format!("a listener was started, and the journal does not say so: {:?}", journal(found)));
    }
    Ok(())
}

/// What the journal says before it is done.
const STARTING: &str = r#""state":"Starting""#;

fn journal(found: &Found) -> String {
    let content = found.get("journal.jsonl").map(|content| String::from_utf8_lossy(content).into_owned());
    content.unwrap_or_default().trim_end_matches('\0').to_owned()
}

#[test]
fn the_storage_of_these_tests_loses_what_was_not_synced() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::mount(directory.path(), || 0);
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let found = |name: &str| {
        let moment = storage.moments().pop().unwrap();
        moment.found().map(|(_, found)| found.get(name).map(|content| String::from_utf8_lossy(content).into_owned()))
    };
    let (nothing, empty, whole) = (None, Some(String::new()), Some("whole".to_owned()));
    fs::write(&old, "whole").unwrap();
    assert_eq!(found("old"), [nothing.clone(), empty, nothing.clone()], "content was kept that nobody synced");
    File::open(&old).unwrap().sync_all().unwrap();
    assert_eq!(found("old"), [nothing.clone(), whole.clone(), nothing.clone()], "a name was kept that nobody synced");
    File::open(directory.path()).unwrap().sync_all().unwrap();
    assert_eq!(found("old"), [whole.clone(), whole.clone(), whole.clone()]);
    fs::rename(&old, &new).unwrap();
    assert_eq!(found("old"), [whole.clone(), nothing.clone(), nothing.clone()]);
    assert_eq!(found("new"), [nothing.clone(), whole, nothing]);
}

/// Every run has a JIT configuration of its own.
#[test]
fn a_power_cut_at_any_moment_leaves_files_whole_and_a_started_runner_known() {
    let mut run = run();
    let storage = storage(&run);
    let mut ends = Vec::new();
    for seed in [7, 8] {
        run.jit = JitConfig::new(seed).encode();
        run.run().assert_outcome("job-succeeded");
        // What the agent told its caller is there, too.
        let moments = storage.moments();
        let last = &moments.last().unwrap().synced;
        let record = json(last, "record.json").unwrap().expect("the record of a run that is over is lost");
        assert_eq!(record["outcome"], "job-succeeded", "the record of a run that is over is an old one");
        let exit = json(last, "runner.exit").unwrap().expect("how the runner ended is lost");
        assert!(exit["exited"].is_object(), "how the runner ended is not said: {exit}");
        ends.push(moments.len());
    }
    let moments = storage.moments();
    drop(storage);
    assert_eq!((moments[0].started, moments.last().unwrap().started), (0, 2), "the test is wrong: it saw no start");
    assert!(moments.len() > 50, "{} moments of two runs are no test", moments.len());
    for (number, moment) in moments.iter().enumerate() {
        let over = ends.iter().filter(|end| number >= **end).count();
        for (how, found) in moment.found() {
            judge(found, moment, over).unwrap_or_else(|why| {
                let names: Vec<_> = found.keys().collect();
                panic!("power cut at moment {number} of {}, {how}: {why}; found: {names:?}", moments.len())
            });
        }
    }
}

/// What the agent of the next boot makes of it. Its console and its lock mean nothing then.
#[test]
fn after_a_power_cut_at_any_moment_no_second_runner_is_started() {
    let first = run();
    let storage = storage(&first);
    first.run().assert_outcome("job-succeeded");
    let moments = storage.moments();
    drop(storage);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let found = moments.iter().flat_map(Moment::found).map(|(_, found)| other_boot(found, boot.trim()));
    let all: Vec<Found> = found.collect::<BTreeSet<_>>().into_iter().collect();
    let marked = all.iter().filter(|found| found.contains_key("runner.started")).count();
    assert!(
        marked > 5 && marked < all.len(),
        "the test is wrong: of {} moments {marked} come after the start",
        all.len()
    );
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let all = &all;
            scope.spawn(move || all.iter().skip(worker).step_by(WORKERS).for_each(next_boot));
        }
    });
}

/// So many agents at once.
const WORKERS: usize = 4;

/// As another boot finds it.
fn other_boot(found: &Found, boot: &str) -> Found {
    let mut found = found.clone();
    found.retain(|name, _| name != "lock" && !name.starts_with("console."));
    for content in found.values_mut() {
        let text = String::from_utf8_lossy(content).replace(boot, "00000000-0000-4000-8000-000000000000");
        *content = text.into_bytes().into();
    }
    found
}

fn next_boot(found: &Found) {
    let run = run();
    put(found, &run.state());
    let ended = run.run();
    let starts = run.recording().starts().len();
    let names: Vec<_> = found.keys().collect();
    let journal = journal(found);
    let marked = found.contains_key("runner.started");
    // The journal says "starting" before the marker is made: what became of that nobody knows.
    if !marked && !journal.contains(STARTING) {
        return ended.assert_outcome("job-succeeded");
    }
    assert_eq!(starts, 0, "a second runner with one JIT configuration, from {names:?}");
    // Over, or it is known how it ended, or it is not.
    let known = journal.contains("job-succeeded");
    let expected: &[&str] = if known { &["job-succeeded", "jit-config-invalid"] } else { &["second-boot"] };
    assert!(expected.contains(&ended.outcome()), "{} from {names:?}, {journal}", ended.outcome());
}
