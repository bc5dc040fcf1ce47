//! The double of GitHub that a JIT configuration names, if it does: it is told what this runner does, and says when
//! there is a job. A few bytes of HTTP by hand: this program has no client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Where the address may lie: on this machine, and so never at GitHub.
const HERE: &str = "http://127.0.0.1:";
const PATIENCE: Duration = Duration::from_secs(5);

/// What the double knows of this runner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// Nothing to do.
    Nothing,
    /// A job, by name and repository; whether it is to be cancelled.
    Job { name: String, repository: String, cancel: bool },
    /// The registration is gone.
    Gone,
    /// It does not answer.
    Silent,
}

/// The double, as this runner reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    address: SocketAddr,
    runner: String,
}

impl Service {
    /// By the members of `.runner`.
    pub(crate) fn named(members: &Map<String, Value>) -> Option<Self> {
        let url = members.get("ServerUrl")?.as_str()?;
        let port = url.strip_prefix(HERE)?.split('/').next()?.parse().ok()?;
        let runner = members.get("AgentName")?.as_str()?.to_owned();
        Some(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), runner })
    }

    /// Tells what happened; whether the registration is still there.
    pub(crate) fn tell(&self, what: &str, result: Option<&str>) -> Told {
        let body = json!({ "name": self.runner, "result": result });
        match self.post(what, &body.to_string()) {
            Some((200, answer)) => read(&answer),
            Some((404, _)) => Told::Gone,
            _ => Told::Silent,
        }
    }

    fn post(&self, what: &str, body: &str) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let head = format!("POST /_runner/{what} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }
}

fn read(answer: &Value) -> Told {
    let text = |key: &str| answer["job"][key].as_str().unwrap_or_default().to_owned();
    if answer["job"].is_object() {
        return Told::Job { name: text("name"), repository: text("repository"), cancel: answer["cancel"] == true };
    }
    Told::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Option<Service> {
        Service::named(json!({ "ServerUrl": url, "AgentName": "r" }).as_object().unwrap_or(&Map::new()))
    }

    #[test]
    fn only_an_address_on_this_machine_is_a_double() {
        assert_eq!(at("http://127.0.0.1:8080/").map(|service| service.address.port()), Some(8080));
        for other in
            ["https://broker.actions.githubusercontent.com/", "http://127.0.0.1.example:1/", "http://10.0.0.1:1/"]
        {
            assert!(at(other).is_none(), "{other} would be told of a test's runner");
        }
    }
}
