//! What a person types: configuration, status, and the agent on a local machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::process::{Command, Output, Stdio};

use mayfly_e2e::run::{drop_file, mayfly_binary};
use mayfly_e2e::{Run, processes};

fn mayfly(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(mayfly_binary());
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_problem_of_a_configuration_is_reported_at_once_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    fs::write(
        &file,
        "platform = \"local\"\nclas = \"x\"\n\n[limits]\nidle = 5\njob = \"6 hurs\"\n[runer]\nuser = \"x\"\n",
    )
    .unwrap();
    fs::create_dir(directory.path().join("agent.d")).unwrap();
    fs::write(
        directory.path().join("agent.d/10-x.toml"),
        "[terminate]\ndecrement = \"yes\"\n[limits]\nidle = \"0s\"\n",
    )
    .unwrap();
    fs::write(directory.path().join("agent.d/20-y.toml"), "this is = = no toml\n").unwrap();
    let path = file.to_str().unwrap();
    for command in [&["config", "check", "--config", path][..], &["agent", "--config", path]] {
        let output = mayfly(command, &[("MAYFLY_LIMITS_IDEL", "1s")]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        for part in [
            "agent.toml:2: unknown key clas; did you mean class?",
            "agent.toml:5: limits.idle: must be a string such as \"90s\"",
            "agent.toml:6: limits.job:",
            "agent.toml:7: unknown section runer; did you mean runner?",
            "10-x.toml:2: terminate.decrement: must be true or false",
            "10-x.toml:4: limits.idle: must be longer than zero",
            "20-y.toml:1:",
            "MAYFLY_LIMITS_IDEL: unknown variable",
        ] {
            assert!(stderr.contains(part), "missing {part:?} in:\n{stderr}");
        }
    }
}

#[test]
fn impossible_combinations_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    let cases = [
        ("[limits]\nlifetime = \"1h\"\n", "limits.lifetime: 1h is shorter than"),
        ("[interruption]\nkill_at = \"50s\"\n", "must be shorter than interruption.stop_at"),
        ("platform = \"local\"\n", "runner.supervisor: with platform"),
        ("[jit]\nfile = \"/x\"\n", "jit.file: only for platform"),
        ("[jit]\n\nparameter = \"/mayfly/runner\"\n", "agent.toml:3: jit.parameter: every instance of the class"),
        ("[jit]\nparameter = \"/mayfly/{class}\"\n", "agent.toml:2: jit.parameter: every instance of the class"),
        ("[jit]\nparameter = \"/{tag:mayfly:class}\"\n", "agent.toml:2: jit.parameter: every instance of the class"),
        (
            "[jit]\nparameter = \"/x/{instance-id}\"\n",
            "agent.toml:2: jit.parameter: there is no placeholder {instance-id}",
        ),
        ("[jit]\nparameter = \"/x:2/{instance_id}\"\n", "agent.toml:2: jit.parameter: a parameter's name has no ':'"),
    ];
    for (content, part) in cases {
        fs::write(&file, content).unwrap();
        let output = mayfly(&["config", "check", "--config", file.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(78), "{content:?} was accepted");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn an_unreadable_configuration_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("agent.toml")).unwrap();
    let path = directory.path().join("agent.toml");
    let output = mayfly(&["agent", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("cannot be read"), "{}", text(&output.stderr));
}

#[test]
fn later_layers_win_and_show_says_where_values_come_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    fs::write(&file, "[limits]\nidle = \"1m\"\njob = \"1h\"\nassigned = \"1m\"\n").unwrap();
    fs::create_dir(directory.path().join("agent.d")).unwrap();
    fs::write(directory.path().join("agent.d/50.toml"), "[limits]\nidle = \"2m\"\njob = \"2h\"\n").unwrap();
    let output = mayfly(&["config", "show", "--config", file.to_str().unwrap()], &[("MAYFLY_LIMITS_JOB", "3h")]);
    let shown = text(&output.stdout);
    for (value, origin) in [
        ("job = \"3h\"", "MAYFLY_LIMITS_JOB"),
        ("idle = \"2m\"", "50.toml:2"),
        ("assigned = \"1m\"", "agent.toml:4"),
        ("booting = \"60s\"", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value)).unwrap_or_else(|| panic!("no {value}:\n{shown}"));
        assert!(line.contains(origin), "{line}");
    }
    // What is shown is a configuration again.
    fs::remove_dir_all(directory.path().join("agent.d")).unwrap();
    fs::write(&file, &shown).unwrap();
    let output = mayfly(&["config", "check", "--config", file.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_schema_is_json_and_knows_every_key() {
    let schema: serde_json::Value = serde_json::from_slice(&mayfly(&["config", "schema"], &[]).stdout).unwrap();
    let shown: serde_json::Value =
        serde_json::from_slice(&mayfly(&["config", "show", "--json", "--config", "/dev/null"], &[]).stdout).unwrap();
    for name in shown.as_object().unwrap().keys() {
        let pointer = name.split('.').fold(String::new(), |path, part| format!("{path}/properties/{part}"));
        assert!(schema.pointer(&pointer).is_some(), "the schema lacks {name}");
    }
}

/// Ports that jobs open by default, and the first that the kernel gives to anybody (ip_local_port_range).
#[test]
fn the_default_port_of_the_metrics_is_none_that_a_job_wants() {
    let shown: serde_json::Value =
        serde_json::from_slice(&mayfly(&["config", "show", "--json", "--config", "/dev/null"], &[]).stdout).unwrap();
    let listen = shown["metrics.listen"]["value"].as_str().unwrap();
    let port: u16 = listen.rsplit_once(':').unwrap().1.parse().unwrap();
    let claimed = [4317, 4318, 8080, 8125, 8888, 8889, 9090, 9092, 9100, 9200, 9464];
    assert!(!claimed.contains(&port), "a job that opens port {port} gets EADDRINUSE from the agent");
    // https://github.com/prometheus/prometheus/wiki/Default-port-allocations
    assert!(!(9091..=10_999).contains(&port), "port {port} is in the range that Prometheus gives to exporters");
    assert!((1024..32_768).contains(&port), "port {port} is given to any connection, or needs root");
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    assert!(!services.contains(&format!("\t{port}/")) && !services.contains(&format!(" {port}/")), "it has an owner");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    assert_eq!(mayfly(&["run"], &[]).status.code(), Some(64));
    assert_eq!(mayfly(&["--help"], &[]).status.code(), Some(0));
}

#[test]
fn status_tells_the_state_and_the_job() {
    let mut scenario = mayfly_fake_runner::scenarios::named("success").unwrap();
    scenario.job_ms = 1000;
    let run = Run::with(&scenario);
    let state = run.state();
    let arguments = ["status", "--json", "--state-directory", state.to_str().unwrap()];
    let none = mayfly(&arguments, &[]);
    assert_eq!(none.status.code(), Some(69), "no agent, and status says {}", text(&none.stdout));
    let mut running = run.start();
    running.until_state("Busy");
    running.until("the job-started hook", |run| run.journal().concat().contains("repository"));
    let status: serde_json::Value = serde_json::from_slice(&mayfly(&arguments, &[]).stdout).unwrap();
    assert_eq!(status["state"], "Busy");
    assert_eq!(status["job_name"], "build");
    assert!(status["job"]["repository"].as_str().is_some_and(|name| name.contains('/')), "{status:#}");
    let people = text(&mayfly(&["status", "--state-directory", state.to_str().unwrap()], &[]).stdout);
    assert!(people.starts_with("state     Busy"), "{people}");
    running.end().assert_outcome("job-succeeded");
}

/// `mayfly agent` on a local machine waits for the file, takes it, and deletes it once it is spent.
#[test]
fn the_agent_takes_a_dropped_jit_configuration_and_deletes_it() {
    let run = Run::named("success");
    let jit = run.directory().join("dropped");
    let config = run.directory().join("agent.toml");
    let toml = format!(
        "platform = \"local\"\nstate_directory = {:?}\n[jit]\nfile = {jit:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \"process\"\n",
        run.state(),
        run.root()
    );
    fs::write(&config, toml).unwrap();
    let mut command = Command::new(mayfly_binary());
    command
        .args(["agent", "--config"])
        .arg(&config)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(run.environment.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for(|| run.journal().iter().any(|line| line.contains("WaitingForJitConfig")));
    drop_file(&jit, &run.jit);
    assert!(child.wait().unwrap().success());
    assert!(!jit.exists(), "the spent JIT configuration is still there");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(run.state().join("record.json")).unwrap()).unwrap();
    assert_eq!(record["outcome"], "job-succeeded");
    assert!(processes::of_run(&run).is_empty());
    // One machine, one job: started again, the agent has nothing to do.
    assert!(command.status().unwrap().success());
    assert_eq!(run.recording().starts().len(), 1, "a restarted agent ran a second job");
}

#[test]
fn completion_and_manual_page_come_from_the_command_line() {
    assert!(text(&mayfly(&["completion", "bash"], &[]).stdout).contains("mayfly"));
    assert!(text(&mayfly(&["man"], &[]).stdout).starts_with(".ie"));
}

fn wait_for(mut is_true: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_true() {
        assert!(std::time::Instant::now() < deadline, "not within 20 s");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// A terminal that nobody is looking at gets no escape sequences.
#[test]
fn output_that_is_no_terminal_has_no_colours() {
    let ended = Run::named("success").run();
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
    assert!(ended.stderr.contains("job-succeeded"), "{}", ended.stderr);
}
