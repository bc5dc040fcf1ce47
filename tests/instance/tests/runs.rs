//! Whole runs, from the power button to the end of the instance.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_fake_runner::scenario::Act;
use mayfly_instance::{Machine, Spec, job, named, seconds};

/// Where an instance without a class ships its lines.
const LOG_GROUP: &str = "/mayfly/default";

/// What workflows do with Docker: a build, a run, a bind mount, a service container on a network of its own.
const DOCKER: &str = r#"set -ex
/usr/local/lib/mayfly-test/docker-image
mkdir -p /tmp/context && cd /tmp/context
printf 'FROM mayfly-test\nRUN echo built >/tmp/made\n' >Dockerfile
docker build -t made . 
[ "$(docker run --rm made cat /tmp/made)" = built ]
echo here >/tmp/context/file
[ "$(docker run --rm -v /tmp/context:/mnt mayfly-test cat /mnt/file)" = here ]
docker network create jobnet
docker run -d --name service --network jobnet mayfly-test sh -c 'mkdir /www; echo served >/www/index.html; httpd -f -h /www'
docker run --rm --network jobnet mayfly-test sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://service/ && exit 0; sleep 1; done; exit 1' | grep served
docker rm -f service; docker network rm jobnet"#;

fn a_whole_run(name: &str) {
    let mut machine = Machine::cold(name);
    machine.live_at_boot(&job(&[DOCKER]));
    let record = machine.ends("job-succeeded", seconds(400));
    assert_eq!(record["job"]["repository"], "mayfly-example/sample", "the hook did not reach the agent");
    let exists = machine.clouds.moto.parameter_exists(&machine.clouds.parameter()).unwrap();
    assert!(!exists, "the spent JIT configuration is still in SSM");
    let console = machine.console();
    assert!(console.contains("mayfly: job-succeeded"), "the cloud's console output does not tell how it ended");
}

#[test]
fn debian_13_boots_takes_a_job_that_uses_docker_and_ends_itself() {
    a_whole_run("debian-13");
}

#[test]
fn debian_12_boots_takes_a_job_that_uses_docker_and_ends_itself() {
    a_whole_run("debian-12");
}

#[test]
fn every_console_line_of_a_flood_is_in_the_journal() {
    let mut machine = Machine::restored("debian-13");
    machine.clouds.moto.create_log_group(LOG_GROUP).unwrap();
    let mut flood = named("flood");
    for act in &mut flood.acts {
        if let Act::Flood { bytes } = act {
            *bytes = 13_000_000; // some 65,000 lines of 200 bytes, as fast as they can be written
        }
    }
    machine.live(&flood);
    machine.until_terminated(seconds(240));
    let printed = machine.record()["console_lines"].as_u64().unwrap();
    assert!(printed >= 60_000, "this was no flood: {printed} lines");
    let kept = machine.guest("sync; journalctl --sync; journalctl --output=cat --identifier=Runner.Listener | wc -l");
    assert_eq!(kept.trim(), printed.to_string(), "lines of the runner's console are lost");
    // And all of them are out of the machine: an agent without capabilities reads the journal and the runner's files.
    let in_the_flood = machine.guest("journalctl --output=cat --identifier=Runner.Listener | grep -c ^ffff");
    let arrived = |stream: &str| {
        let stream = format!("{}/{stream}", machine.clouds.instance);
        machine.clouds.moto.log_messages(LOG_GROUP, &stream).unwrap()
    };
    let of_the_flood = arrived("runner").iter().filter(|line| line.starts_with("ffff")).count();
    assert_eq!(of_the_flood.to_string(), in_the_flood.trim(), "lines of the runner are not in CloudWatch Logs");
    for (stream, line) in [("agent", "starting the runner"), ("system", "systemd"), ("worker", "")] {
        let lines = arrived(stream);
        assert!(lines.iter().any(|known| known.contains(line)), "{stream} has no line with {line:?}: {lines:#?}");
    }
    let own = arrived("agent");
    let document = |line: &String| serde_json::from_str::<serde_json::Value>(line).ok();
    let last = own.iter().rev().find_map(document).unwrap_or_default();
    let outcome = machine.record()["outcome"].clone();
    assert_eq!(last["outcome"], outcome, "the record is not the agent's last document: {own:#?}");
    for stream in machine.record()["logs"].as_array().unwrap() {
        assert_eq!((&stream["lost"], &stream["read"]), (&0.into(), &stream["confirmed"]), "lines are lost: {stream}");
    }
    machine.wait_for_power_off(seconds(120));
}

#[test]
fn a_power_off_is_the_end_where_no_api_answers() {
    let limits = "[limits]\nidle = \"20s\"\nterminating = \"5s\"\n";
    let mut machine = Spec::new("debian-13").agent(limits).restore().unwrap();
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    machine.clouds.aws.refuse(None).unwrap();
    machine.powers_itself_off("mayfly: idle-timeout", seconds(180));
}

#[test]
fn an_instance_without_a_job_ends_when_its_idle_time_is_over() {
    let mut machine = Spec::new("debian-13").agent("[limits]\nidle = \"5s\"\n").restore().unwrap();
    machine.live(&named("no-job"));
    machine.ends("idle-timeout", seconds(120));
}

#[test]
fn the_lifetime_is_the_timers_and_ends_a_job_in_order() {
    let mut machine = Machine::restored("debian-13");
    machine.guest(
        "mkdir -p /run/systemd/system/mayfly-deadline.timer.d;          printf '[Timer]\nOnActiveSec=\nOnActiveSec=45s\n' >/run/systemd/system/mayfly-deadline.timer.d/t.conf;          systemctl daemon-reload",
    );
    machine.live(&named("long-job"));
    // Agent and timer count to the same moment; whichever wins, the machine is gone soon after.
    let ended = machine.wait_for_power_off(seconds(240));
    assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut itself down");
    assert!(machine.console().contains("lifetime"), "the console does not tell that it was the lifetime limit");
}

/// When the timer of the lifetime comes true, in microseconds of the machine's clock.
fn deadline(machine: &mut Machine) -> u64 {
    let told = machine.guest(
        "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/mayfly_2ddeadline_2etimer \
         org.freedesktop.systemd1.Timer NextElapseUSecMonotonic",
    );
    told.trim().trim_start_matches("t ").parse().unwrap()
}

/// Waits until the agent has had the timer renewed this often.
fn until_renewed(machine: &mut Machine, times: u32) {
    let renewed = "journalctl --unit mayfly-agent --output=cat | grep -c 'mayfly-deadline.timer was restarted'";
    machine.until("the timer is renewed", seconds(60), &format!("[ \"$({renewed})\" = {times} ]"));
}

#[test]
fn the_time_in_a_warm_pool_is_not_taken_from_the_job() {
    let mut machine = Spec::new("debian-13").in_group("pool").restore().unwrap();
    machine.clouds.imds.target_lifecycle_state("Warmed:Running");
    machine.start_mayfly();
    machine.until_state("Warm");
    until_renewed(&mut machine, 1);
    let in_the_pool = deadline(&mut machine);
    machine.guest("sleep 5");
    assert_eq!(deadline(&mut machine), in_the_pool, "a timer that moves by itself never comes true");
    machine.clouds.imds.target_lifecycle_state("InService");
    machine.until_state("WaitingForJitConfig");
    until_renewed(&mut machine, 2);
    let in_service = deadline(&mut machine);
    eprintln!("the deadline moved by {} ms", (in_service - in_the_pool) / 1000);
    assert!(in_service >= in_the_pool + 5_000_000, "the job has only what the pool has left of the lifetime");
}
