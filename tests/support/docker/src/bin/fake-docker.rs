//! The double of the Docker daemon for scripts and demos.
//!
//! ```text
//! fake-docker SOCKET
//! ```
//!
//! Prints `{"host": "unix://…"}` once it listens. Then every line of input is a command and is answered with one line:
//! `{"stance": "serving|refusing|gone|unaccepted|full"}`,
//! `{"fault": {"path": PREFIX, "fault": "hang|delay:MS|500|garbage|drop|half", "times": N}}`, `{"clear": null}`,
//! `{"container": {"name": NAME, "label": L, "network": NAME}}`, `{"network": {"name": NAME, "label": L}}`,
//! `{"root": DIRECTORY}`, `{"list": null}`, `{"requests": null}`.

use std::path::Path;
use std::process::ExitCode;

use mayfly_fake_aws::script::{Flags, converse, exit};
use mayfly_fake_docker::DockerDouble;
use serde_json::json;

fn run() -> Result<(), String> {
    let mut arguments = Flags::of_process();
    let socket = arguments.next_flag().ok_or("the path of a socket is needed")?;
    if let Some(unknown) = arguments.next_flag() {
        return Err(format!("unknown argument {unknown}"));
    }
    let docker = DockerDouble::start(Path::new(&socket)).map_err(|error| format!("{socket}: {error}"))?;
    converse(&json!({ "host": docker.host() }), |line| {
        let command = serde_json::from_str(line).map_err(|error| error.to_string())?;
        docker.command(&command)
    })
    .map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    exit("fake-docker", run())
}
