//! What a killed job left in the daemon: containers and networks that carry the runner's label.
//!
//! The runner removes them itself at the end of a job, but not if it is killed. Containers that the job's own steps
//! started carry no such label, and are nobody's business here.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{CALL, Docker, DockerError, Label};

/// How many are removed at a time.
const AT_ONCE: usize = 4;

/// What sort of thing was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container, running or not.
    Container,
    /// A network.
    Network,
}

/// One thing that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its sort.
    pub kind: Kind,
    /// The daemon's id of it.
    pub id: String,
    /// Its name, for people.
    pub name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Container => "container",
            Kind::Network => "network",
        };
        write!(out, "{kind} {} ({:.12})", self.name, self.id)
    }
}

/// What became of what was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Gone.
    pub removed: Vec<Item>,
    /// Still there, as far as is known, and why.
    pub failed: Vec<(Item, DockerError)>,
    /// Why it is not known whether there is more.
    pub unlisted: Option<DockerError>,
}

impl Removal {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.unlisted.is_none()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerEntry {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkEntry {
    id: String,
    name: String,
}

impl Docker {
    /// What carries the label: containers first, then networks.
    ///
    /// # Errors
    /// The daemon does not answer within ten seconds, or not as it should.
    pub async fn leftovers(&self, label: &Label) -> Result<Vec<Item>, DockerError> {
        self.list(label, Instant::now() + CALL).await
    }

    /// Removes what carries the label, with force and with the containers' anonymous volumes, and nothing else. Looks
    /// again afterwards, because a request of the killed job may still have been on its way. No call takes longer than
    /// ten seconds, and all of it no longer than the budget.
    pub async fn remove_leftovers(&self, label: &Label, budget: Duration) -> Removal {
        let end = Instant::now() + budget;
        let mut removal = Removal::default();
        let mut seen = HashSet::new();
        loop {
            let mut new = match self.list(label, end).await {
                Ok(found) => found,
                Err(error) => {
                    removal.unlisted = Some(error);
                    return removal;
                }
            };
            new.retain(|item| seen.insert(item.id.clone()));
            if new.is_empty() {
                return removal;
            }
            // A network can only go when no container is attached to it any more.
            let (containers, networks) = new.into_iter().partition(|item| item.kind == Kind::Container);
            self.remove_all(containers, end, &mut removal).await;
            self.remove_all(networks, end, &mut removal).await;
        }
    }

    async fn list(&self, label: &Label, end: Instant) -> Result<Vec<Item>, DockerError> {
        let filter = label.filter();
        let limit = left(end, "GET /containers/json")?;
        let containers: Vec<ContainerEntry> =
            self.get("/containers/json", &[("all", "true"), ("filters", &filter)], limit).await?;
        let limit = left(end, "GET /networks")?;
        let networks: Vec<NetworkEntry> = self.get("/networks", &[("filters", &filter)], limit).await?;
        let containers = containers.into_iter().map(|entry| {
            let name = entry.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            Item { kind: Kind::Container, id: entry.id, name }
        });
        let networks = networks.into_iter().map(|entry| Item { kind: Kind::Network, id: entry.id, name: entry.name });
        Ok(containers.chain(networks).collect())
    }

    async fn remove_all(&self, items: Vec<Item>, end: Instant, removal: &mut Removal) {
        let mut waiting = items.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some(item) = waiting.next()
            {
                let docker = self.clone();
                running.spawn(async move {
                    let result = docker.remove(&item, end).await;
                    (item, result)
                });
            }
            match running.join_next().await {
                None => return,
                Some(Ok((item, Ok(())))) => removal.removed.push(item),
                Some(Ok((item, Err(error)))) => removal.failed.push((item, error)),
                // Not aborted by anybody, and a panic ends the agent.
                Some(Err(_)) => {}
            }
        }
    }

    async fn remove(&self, item: &Item, end: Instant) -> Result<(), DockerError> {
        let path = match item.kind {
            Kind::Container => format!("/containers/{}", item.id),
            Kind::Network => format!("/networks/{}", item.id),
        };
        let query: &[(&str, &str)] = match item.kind {
            Kind::Container => &[("force", "true"), ("v", "true")],
            Kind::Network => &[],
        };
        let limit = left(end, &format!("DELETE {path}"))?;
        match self.exchange(Method::DELETE, &path, query, limit).await {
            Ok(_) => Ok(()),
            Err(error) if is_status(&error, 404) => Ok(()),
            // With force this means that somebody else is removing it: the job's own `docker rm`, which outlives the
            // job inside the daemon.
            Err(error) if is_status(&error, 409) && item.kind == Kind::Container => {
                self.wait_until_gone(&path, end).await.map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    async fn wait_until_gone(&self, path: &str, end: Instant) -> Result<(), DockerError> {
        let path = format!("{path}/wait");
        let limit = left(end, &format!("POST {path}"))?;
        match self.exchange(Method::POST, &path, &[("condition", "removed")], limit).await {
            Err(error) if !is_status(&error, 404) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The time for one call.
fn left(end: Instant, request: &str) -> Result<Duration, DockerError> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(DockerError::OutOfTime { request: request.to_owned() }) } else { Ok(left.min(CALL)) }
}

fn is_status(error: &DockerError, wanted: u16) -> bool {
    matches!(error, DockerError::Status { status, .. } if *status == wanted)
}
