//! The record: what happened to a job, and why it took so long.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use mayfly_e2e::{Cloud, Run, schema};
use serde_json::Value;

fn step<'a>(record: &'a Value, name: &str) -> &'a Value {
    let steps = record["startup"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name}: {record:#}"))
}

#[test]
fn what_is_no_record_is_refused_by_the_schema() {
    for wrong in [serde_json::json!({ "version": 1 }), serde_json::json!([])] {
        assert!(std::panic::catch_unwind(|| schema::validate(&wrong)).is_err(), "the schema allows anything");
    }
}

#[test]
fn the_record_tells_every_phase_and_every_step_of_the_start_with_clock_and_duration() {
    let ended = Run::named("success").run();
    ended.assert_outcome("job-succeeded");
    let record = &ended.record;
    let total: u64 =
        record["phases"].as_array().unwrap().iter().filter_map(|phase| phase["duration_ms"].as_u64()).sum();
    assert!(u128::from(total) <= ended.took.as_millis(), "phases that took longer than the run: {record:#}");
    for name in
        ["identity", "jit-config", "runner-start", "session", "listening", "job-message", "worker", "first-step"]
    {
        let step = step(record, name);
        assert!(
            step["duration_ms"].is_u64() && step["began_at"].is_string(),
            "nobody can say why it was slow: {step:#}"
        );
    }
    let sources = ["session", "worker"].map(|name| step(record, name)["source"].as_str().unwrap().to_owned());
    assert_eq!(sources, ["perf-log", "perf-log"], "the runner's own words are not read");
    for name in ["kernel", "systemd", "cloud-init", "launch"] {
        let step = step(record, name);
        assert!(step["unknown_why"].is_string(), "a time was made up for a machine that was not asked: {step:#}");
    }
    assert!(record["series"]["cpu_percent"].is_array(), "nobody can see what the machine did: {record:#}");
}

#[test]
fn a_run_that_ends_early_says_of_each_step_that_it_was_not_reached() {
    let ended = Run::named("success").jit("no JIT configuration").run();
    ended.assert_outcome("jit-config-invalid");
    for name in ["session", "listening", "worker", "first-step"] {
        let why = &step(&ended.record, name)["unknown_why"];
        assert_eq!(why, "the run ended before it came to this", "{name}");
    }
}

#[test]
fn the_record_of_an_instance_tells_what_its_price_depends_on_and_how_long_the_launch_took() {
    let gone = Cloud::standalone("success").launched().run();
    gone.assert_outcome("job-succeeded");
    let machine = &gone.record["machine"];
    for key in ["instance_type", "zone", "purchase", "image"] {
        assert!(machine[key].as_str().is_some_and(|word| !word.is_empty()), "{key} is not told: {:#}", gone.record);
    }
    let launch = step(&gone.record, "launch");
    assert!(launch["source"] == "metadata-service", "{launch:#}");
}
