//! The two binaries as a shell script drives them.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

struct Binary {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Binary {
    fn start(path: &str, flags: &[&str]) -> (Self, Value) {
        let mut child = Command::new(path).args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut binary = Self { child, input, lines };
        let ready = binary.line();
        (binary, ready)
    }

    fn line(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        self.line()
    }

    /// Ends the input, which must end the binary with success.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn fake_imds_obeys_and_ends() {
    let path = env!("CARGO_BIN_EXE_fake-imds");
    let (mut imds, ready) = Binary::start(path, &["--instance-id", "i-1", "--tag", "a=b"]);
    assert_eq!(ready["instance_id"], "i-1");
    assert_eq!(imds.ask(r#"{"set":["meta-data/x","y"]}"#)["ok"], true);
    assert_eq!(imds.ask(r#"{"requests":null}"#)["connections"], 0);
    assert_eq!(imds.ask("nonsense")["ok"], false);
    imds.end();
}

#[test]
fn fake_aws_obeys_and_ends() {
    let path = env!("CARGO_BIN_EXE_fake-aws");
    let (mut aws, ready) = Binary::start(path, &["--group", "runners"]);
    assert_eq!(ready["group"], "runners");
    assert_eq!(aws.ask("state")["state"], "running");
    let file = format!("{}/Cargo.toml", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    assert_eq!(aws.ask(&format!("put-parameter /a {file}"))["ok"], true);
    assert_eq!(aws.ask("parameter-exists /a")["exists"], true);
    assert_eq!(aws.ask("parameter-exists /b")["exists"], false);
    assert_eq!(aws.ask(r#"fault {"fault":"throttled"}"#)["ok"], true);
    aws.end();
}
