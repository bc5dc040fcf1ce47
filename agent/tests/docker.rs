//! What the agent sees of a Docker daemon, and what it clears up there, against the double.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mayfly::docker::{
    Docker, DockerError, DockerHistory, DockerVerdict, Health, Kind, Label, Load, SLOW, State, watch,
};
use mayfly_core::config::DockerMode;
use mayfly_core::lifecycle::Time;
use mayfly_fake_docker::{Container, DockerDouble, Fault, Network, Stance};
use tempfile::TempDir;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for an answer on a busy machine, short enough for a test that waits for it in vain.
const TIMEOUT: Duration = Duration::from_millis(700);
const BUDGET: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(15);

/// A daemon's double, a client, and the directory of its socket and units.
struct Setup {
    double: DockerDouble,
    docker: Docker,
    place: TempDir,
}

fn setup() -> Setup {
    let place = tempfile::tempdir().unwrap();
    let double = DockerDouble::start(&place.path().join("docker.sock")).unwrap();
    let docker = client(place.path());
    Setup { double, docker, place }
}

fn client(place: &Path) -> Docker {
    Docker::new(place.join("docker.sock"), [place.to_owned()]).unwrap()
}

fn label() -> Label {
    Label::of_runner_file(br#"{"agentId": 42, "agentName": "one-job"}"#)
}

fn install(place: &Path) {
    fs::write(place.join("docker.service"), "[Service]\nExecStart=/usr/sbin/dockerd\n").unwrap();
}

async fn next(states: &mut channel::Receiver<Option<State>>) -> State {
    timeout(DEADLINE, states.changed()).await.expect("no look at the daemon is reported").unwrap();
    states.borrow_and_update().clone().unwrap()
}

#[tokio::test]
async fn a_daemon_that_answers_is_ready() {
    let Setup { double, docker, place: _place } = setup();
    assert_eq!(docker.ping(TIMEOUT).await, Health::Ready);
    assert_eq!(docker.ping(TIMEOUT).await, Health::Ready);
    assert_eq!(double.requests().len(), 2, "one poll is one request: {:?}", double.requests());
}

#[tokio::test]
async fn a_late_answer_is_slow_and_not_hung() {
    let Setup { double, docker, place: _place } = setup();
    double.fault("/_ping", None, Fault::Delay(SLOW + Duration::from_millis(300)));
    assert_eq!(docker.ping(Duration::from_secs(10)).await, Health::Slow);
}

#[tokio::test]
async fn no_answer_is_hung_after_the_patience_and_not_later() {
    let Setup { double, docker, place: _place } = setup();
    double.fault("/_ping", None, Fault::Hang);
    let begun = Instant::now();
    assert_eq!(docker.ping(TIMEOUT).await, Health::Hung);
    assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < TIMEOUT + Duration::from_secs(3));
}

#[tokio::test]
async fn a_socket_unit_that_listens_for_a_dead_service_is_hung_although_connecting_succeeds() {
    let Setup { double, docker, place: _place } = setup();
    double.stance(Stance::Unaccepted).unwrap();
    assert!(std::os::unix::net::UnixStream::connect(docker.socket()).is_ok(), "the trap is not set");
    assert_eq!(docker.ping(TIMEOUT).await, Health::Hung);
}

#[tokio::test]
async fn a_daemon_that_comes_up_behind_its_socket_answers_the_ping_that_woke_it() {
    let Setup { double, docker, place: _place } = setup();
    double.stance(Stance::Unaccepted).unwrap();
    let mut waiting = tokio::spawn(async move { docker.ping(DEADLINE).await });
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "answered by nobody");
    double.stance(Stance::Serving).unwrap();
    assert_eq!(waiting.await.unwrap(), Health::Ready);
}

#[tokio::test]
async fn a_queue_of_connections_that_is_full_is_hung() {
    let Setup { double, docker, place: _place } = setup();
    double.stance(Stance::Full).unwrap();
    assert_eq!(docker.ping(TIMEOUT).await, Health::Hung, "a daemon that accepts nothing would pass for something else");
}

#[tokio::test]
async fn a_daemon_whose_containerd_is_stuck_answers_pings_and_is_hung_all_the_same() {
    let Setup { double, docker, place: _place } = setup();
    assert_eq!(docker.probe(TIMEOUT).await, Health::Ready);
    // What a real daemon does: whatever needs containerd hangs, the rest is answered.
    for path in ["/version", "/info"] {
        double.fault(path, None, Fault::Hang);
    }
    assert_eq!(docker.ping(TIMEOUT).await, Health::Ready, "the trap is not set");
    assert_eq!(docker.probe(TIMEOUT).await, Health::Hung, "every container of the job would hang");
    double.clear();
    double.fault("/version", Some(1), Fault::Status(500));
    assert!(matches!(docker.probe(TIMEOUT).await, Health::Failing(_)));
}

#[tokio::test]
async fn a_watcher_sees_a_stuck_containerd_with_its_first_look_and_again_until_it_is_well() {
    let Setup { double, docker, place: _place } = setup();
    double.fault("/version", Some(2), Fault::Status(500));
    let (states, mut seen) = channel::channel(None);
    let watching = tokio::spawn(watch(docker, DockerMode::Required, states));
    for _ in 0..2 {
        assert!(matches!(next(&mut seen).await.health, Health::Failing(_)), "an answered ping passed for health");
    }
    assert_eq!(next(&mut seen).await.health, Health::Ready);
    drop(seen);
    ended(watching).await;
}

#[tokio::test]
async fn a_killed_daemon_is_starting_since_somebody_will_start_it_again() {
    let Setup { double, docker, place: _place } = setup();
    double.stance(Stance::Refusing).unwrap();
    assert!(docker.socket().exists(), "a killed daemon leaves its socket file");
    assert_eq!(docker.ping(TIMEOUT).await, Health::Starting);
    double.stance(Stance::Serving).unwrap();
    assert_eq!(docker.ping(TIMEOUT).await, Health::Ready);
}

#[tokio::test]
async fn a_machine_without_docker_is_told_from_one_whose_daemon_is_not_up_yet() {
    let place = tempfile::tempdir().unwrap();
    let docker = client(place.path());
    assert_eq!(docker.ping(TIMEOUT).await, Health::Absent);
    install(place.path());
    assert_eq!(docker.ping(TIMEOUT).await, Health::Starting, "a job would not wait for the Docker that is coming");
}

#[tokio::test]
async fn a_daemon_in_trouble_is_failing_with_its_own_words() {
    let cases = [
        (Fault::Status(500), "the status 500: the double was told to fail"),
        (Fault::Garbage, "this is no Docker daemon"),
        (Fault::Drop, "GET /_ping on"),
        (Fault::HalfBody, "GET /_ping on"),
    ];
    for (fault, words) in cases {
        let Setup { double, docker, place: _place } = setup();
        double.fault("/_ping", Some(1), fault);
        match docker.ping(TIMEOUT).await {
            Health::Failing(reason) => assert!(reason.contains(words), "{fault:?}: {words:?} is not in {reason:?}"),
            other => panic!("{fault:?} is taken for {other:?}"),
        }
        assert_eq!(docker.ping(TIMEOUT).await, Health::Ready, "after {fault:?}");
    }
}

#[tokio::test]
async fn a_dead_service_behind_its_socket_is_given_up_and_taken_back() {
    let Setup { double, docker, place: _place } = setup();
    let mut verdicts = DockerHistory::default();
    let mut judge = |at: u64, health: &Health| verdicts.observe(Time(at * 1000), Load::Idle, health);
    assert_eq!(judge(0, &docker.ping(TIMEOUT).await), DockerVerdict::Ready);
    double.stance(Stance::Unaccepted).unwrap();
    let hung = docker.ping(TIMEOUT).await;
    assert_eq!(judge(10, &hung), DockerVerdict::NotYet);
    assert_eq!(judge(25, &hung), DockerVerdict::NotYet);
    let DockerVerdict::Down { reason } = judge(40, &hung) else { panic!("a job would be let in to hang") };
    assert!(reason.to_string().contains("docker.service is dead while docker.socket listens"), "{reason}");
    double.stance(Stance::Serving).unwrap();
    assert_eq!(judge(41, &docker.ping(TIMEOUT).await), DockerVerdict::Ready);
}

#[tokio::test]
async fn the_room_is_that_of_the_file_system_the_daemon_names() {
    let Setup { double, docker, place } = setup();
    let room = docker.data_root_room().await.unwrap();
    assert_eq!(room.path, place.path());
    assert!(room.free_bytes > 0, "{room:?}");
    double.set_root("/proc/self");
    let proc = docker.data_root_room().await.unwrap();
    assert_eq!(
        (proc.free_bytes, proc.free_inodes),
        (0, None),
        "a file system without inodes would pass for a full one"
    );
}

#[tokio::test]
async fn no_figure_is_made_up_where_there_is_none() {
    let Setup { double, docker, place: _place } = setup();
    double.set_root("/no/such/directory");
    let error = docker.data_root_room().await.unwrap_err();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
    double.fault("/info", Some(1), Fault::Garbage);
    assert!(matches!(docker.data_root_room().await, Err(DockerError::NotDocker { .. })));
    double.fault("/info", Some(1), Fault::HalfBody);
    assert!(matches!(docker.data_root_room().await, Err(DockerError::Broken { .. })));
    double.stance(Stance::Refusing).unwrap();
    assert!(matches!(docker.data_root_room().await, Err(DockerError::Refused { .. })));
}

#[tokio::test]
async fn what_a_killed_job_left_goes_and_everything_else_stays() {
    let Setup { double, docker, place: _place } = setup();
    let label = label();
    let mine = label.as_str();
    double.add_network(Network::new("github_network_1").label(mine));
    double.add_network(Network::new("bridge"));
    double.add(Container::new("service").label(mine).running().network("github_network_1").volumes(2));
    double.add(Container::new("created").label(mine));
    double.add(Container::new("operators").label("keep=yes").running().volumes(1));
    double.add(Container::new("another-label").label("0000000").running());

    let found = docker.leftovers(&label).await.unwrap();
    let names: Vec<&str> = found.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["service", "created", "github_network_1"]);
    assert_eq!(found.iter().filter(|item| item.kind == Kind::Network).count(), 1);

    let removal = docker.remove_leftovers(&label, BUDGET).await;
    assert!(removal.is_complete(), "{removal:?}");
    assert_eq!(removal.removed.len(), 3, "{removal:?}");
    assert_eq!(double.containers(), ["operators", "another-label"], "something that is not the runner's was removed");
    assert_eq!(double.networks(), ["bridge"]);
    assert_eq!(double.volumes(), 1, "anonymous volumes of removed containers fill the disk");
    let others = double.requests().into_iter().filter(|request| !matches!(request.method.as_str(), "GET" | "DELETE"));
    assert_eq!(others.count(), 0, "nothing needs to be stopped or killed first");
}

#[tokio::test]
async fn what_cannot_be_removed_is_reported_and_holds_up_nothing_else() {
    let Setup { double, docker, place: _place } = setup();
    let label = label();
    double.add(Container::new("stuck").label(label.as_str()).running().indelible());
    for number in 0..9 {
        double.add(Container::new(&format!("fine-{number}")).label(label.as_str()).running());
    }
    // A step of the job started this one itself, without the label: it keeps the network.
    double.add_network(Network::new("shared").label(label.as_str()));
    double.add(Container::new("of-a-step").running().network("shared"));

    let removal = docker.remove_leftovers(&label, BUDGET).await;
    assert_eq!((removal.removed.len(), removal.failed.len()), (9, 2), "{removal:?}");
    assert!(!removal.is_complete());
    let reasons: Vec<String> = removal.failed.iter().map(|(item, error)| format!("{item}: {error}")).collect();
    assert!(reasons.iter().any(|reason| reason.contains("container stuck") && reason.contains("root filesystem")));
    assert!(reasons.iter().any(|reason| reason.contains("network shared") && reason.contains("active endpoints")));
    assert_eq!(double.containers(), ["stuck", "of-a-step"]);
}

#[tokio::test]
async fn a_removal_that_the_job_had_begun_is_waited_for() {
    let Setup { double, docker, place: _place } = setup();
    let label = label();
    double.add_network(Network::new("github_network_1").label(label.as_str()));
    let container = Container::new("half-gone").label(label.as_str()).running().network("github_network_1");
    double.add(container.being_removed());
    let removing = tokio::spawn(async move { docker.remove_leftovers(&label, BUDGET).await });
    let asked = tokio::task::spawn_blocking(move || {
        let asked = double.wait(DEADLINE, |requests| requests.iter().any(|request| request.path.ends_with("/wait")));
        double.finish_removals();
        (asked, double)
    });
    let (asked, double) = asked.await.unwrap();
    assert!(asked, "nobody waits for the container: {:?}", double.requests());
    let removal = removing.await.unwrap();
    assert!(removal.is_complete() && removal.removed.len() == 2, "{removal:?}");
    assert_eq!(double.networks(), Vec::<String>::new());
}

#[tokio::test]
async fn clearing_up_in_a_hung_daemon_ends_with_its_budget() {
    let Setup { double, docker, place: _place } = setup();
    let label = label();
    for number in 0..6 {
        double.add(Container::new(&format!("left-{number}")).label(label.as_str()).running());
    }
    double.fault("/containers/6", None, Fault::Hang);
    let begun = Instant::now();
    let removal = docker.remove_leftovers(&label, Duration::from_millis(1500)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the machine's end would wait {:?}", begun.elapsed());
    assert_eq!((removal.removed.len(), removal.failed.len()), (0, 6), "{removal:?}");
    assert!(removal.failed.iter().any(|(_, error)| matches!(error, DockerError::NoAnswer { .. })), "{removal:?}");
    assert!(removal.unlisted.is_some(), "it is not known whether that was all: {removal:?}");

    double.stance(Stance::Unaccepted).unwrap();
    let removal = docker.remove_leftovers(&label, TIMEOUT).await;
    assert!(matches!(removal.unlisted, Some(DockerError::NoAnswer { .. })), "{removal:?}");
}

#[tokio::test]
async fn a_watcher_reports_the_daemon_coming_up_within_a_second_or_two() {
    let Setup { double, docker, place } = setup();
    install(place.path());
    double.stance(Stance::Gone).unwrap();
    let (states, mut seen) = channel::channel(None);
    let watching = tokio::spawn(watch(docker, DockerMode::IfPresent, states));
    let first = next(&mut seen).await;
    assert_eq!(first.health, Health::Starting);
    let second = next(&mut seen).await;
    assert_eq!((second.health, second.since), (Health::Starting, first.since), "every poll is reported");
    assert!(second.seen > first.seen);
    double.stance(Stance::Serving).unwrap();
    let begun = Instant::now();
    while next(&mut seen).await.health != Health::Ready {}
    assert!(begun.elapsed() < Duration::from_secs(5), "a job would wait {:?} too long", begun.elapsed());
    drop(seen);
    ended(watching).await;
}

#[tokio::test]
async fn a_watcher_ends_at_once_when_nobody_listens_even_while_the_daemon_hangs() {
    let Setup { double, docker, place: _place } = setup();
    double.stance(Stance::Unaccepted).unwrap();
    let (states, seen) = channel::channel(None);
    let mut watching = tokio::spawn(watch(docker, DockerMode::Required, states));
    assert!(timeout(Duration::from_millis(200), &mut watching).await.is_err(), "nothing was looked at");
    drop(seen);
    ended(watching).await;
}

#[tokio::test]
async fn with_docker_off_nobody_asks() {
    let Setup { double, docker, place: _place } = setup();
    let (states, seen) = channel::channel(None);
    ended(tokio::spawn(watch(docker, DockerMode::Off, states))).await;
    assert!(double.requests().is_empty() && seen.borrow().is_none());
}

async fn ended(watching: JoinHandle<()>) {
    timeout(Duration::from_secs(3), watching).await.expect("the watcher goes on for nobody").unwrap();
}
