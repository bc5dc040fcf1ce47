//! What the daemon has, and how it answers for that.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::query;

/// The newest version of the API that the double claims.
pub(crate) const API: (u32, u32) = (1, 41);

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    labels: Vec<String>,
    running: bool,
    network: Option<String>,
    volumes: usize,
    being_removed: bool,
    indelible: bool,
}

impl Container {
    /// A container that was created and not started.
    pub fn new(name: &str) -> Self {
        Self {
            id: id_of(name),
            name: name.to_owned(),
            labels: Vec::new(),
            running: false,
            network: None,
            volumes: 0,
            being_removed: false,
            indelible: false,
        }
    }

    /// With a label, `KEY` or `KEY=VALUE`.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.to_owned());
        self
    }

    /// Running; for its removal it makes no difference whether it would be restarted always.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.running = true;
        self
    }

    /// Attached to a network, which cannot be removed before it.
    #[must_use]
    pub fn network(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    /// With so many anonymous volumes.
    #[must_use]
    pub fn volumes(mut self, count: usize) -> Self {
        self.volumes = count;
        self
    }

    /// Somebody else has begun to remove it; it is there until [`crate::DockerDouble::finish_removals`].
    #[must_use]
    pub fn being_removed(mut self) -> Self {
        self.being_removed = true;
        self
    }

    /// The daemon fails to remove it.
    #[must_use]
    pub fn indelible(mut self) -> Self {
        self.indelible = true;
        self
    }
}

/// A network.
#[derive(Clone, Debug)]
pub struct Network {
    id: String,
    pub(crate) name: String,
    labels: Vec<String>,
}

impl Network {
    /// A network without containers.
    pub fn new(name: &str) -> Self {
        Self { id: id_of(name), name: name.to_owned(), labels: Vec::new() }
    }

    /// With a label, `KEY` or `KEY=VALUE`.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.to_owned());
        self
    }
}

/// 64 hexadecimal digits, the same for the same name.
fn id_of(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64.64}")
}

/// A status and a body; none where Docker sends none.
pub(crate) type Plain = (u16, Option<Value>);

pub(crate) fn refusal(status: u16, message: &str) -> Plain {
    (status, Some(json!({ "message": message })))
}

/// Everything that the daemon has.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) containers: Vec<Container>,
    pub(crate) networks: Vec<Network>,
    orphaned_volumes: usize,
}

impl World {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, containers: Vec::new(), networks: Vec::new(), orphaned_volumes: 0 }
    }

    pub(crate) fn volumes(&self) -> usize {
        self.orphaned_volumes + self.containers.iter().map(|container| container.volumes).sum::<usize>()
    }

    pub(crate) fn finish_removals(&mut self) {
        self.containers.retain(|container| !container.being_removed);
    }

    pub(crate) fn has_container(&self, id: &str) -> bool {
        self.containers.iter().any(|container| container.id == id || container.name == id)
    }

    pub(crate) fn version() -> Plain {
        (200, Some(json!({ "Version": "20.10.24", "ApiVersion": format!("{}.{}", API.0, API.1) })))
    }

    pub(crate) fn info(&self) -> Plain {
        let about = json!({
            "ID": "FAKE", "ServerVersion": "20.10.24", "DockerRootDir": self.root, "Containers": self.containers.len(),
        });
        (200, Some(about))
    }

    pub(crate) fn list_containers(&self, query: &[(String, String)]) -> Plain {
        let wanted = match query::labels(query) {
            Ok(wanted) => wanted,
            Err(message) => return refusal(500, &message),
        };
        let all = query::is_on(query, "all");
        let fits = |container: &&Container| (all || container.running) && has_all(&container.labels, &wanted);
        let shown = self.containers.iter().filter(fits).map(|container| {
            json!({
                "Id": container.id, "Names": [format!("/{}", container.name)], "Labels": label_map(&container.labels),
                "State": if container.running { "running" } else { "created" },
            })
        });
        (200, Some(shown.collect()))
    }

    pub(crate) fn list_networks(&self, query: &[(String, String)]) -> Plain {
        let wanted = match query::labels(query) {
            Ok(wanted) => wanted,
            Err(message) => return refusal(500, &message),
        };
        let fits = |network: &&Network| has_all(&network.labels, &wanted);
        let shown = self
            .networks
            .iter()
            .filter(fits)
            .map(|network| json!({ "Id": network.id, "Name": network.name, "Labels": label_map(&network.labels) }));
        (200, Some(shown.collect()))
    }

    pub(crate) fn remove_container(&mut self, id: &str, query: &[(String, String)]) -> Plain {
        let Some(place) = self.containers.iter().position(|container| container.id == id || container.name == id)
        else {
            return refusal(404, &format!("No such container: {id}"));
        };
        let container = &self.containers[place];
        if container.being_removed {
            return refusal(409, &format!("removal of container {id} is already in progress"));
        }
        if container.running && !query::is_on(query, "force") {
            let advice = "Stop the container before attempting removal or force remove";
            return refusal(409, &format!("You cannot remove a running container {}. {advice}", container.id));
        }
        if container.indelible {
            return refusal(
                500,
                &format!("container {}: driver \"overlay2\" failed to remove root filesystem", container.id),
            );
        }
        if !query::is_on(query, "v") {
            self.orphaned_volumes += container.volumes;
        }
        self.containers.remove(place);
        (204, None)
    }

    pub(crate) fn remove_network(&mut self, id: &str) -> Plain {
        let Some(place) = self.networks.iter().position(|network| network.id == id || network.name == id) else {
            return refusal(404, &format!("network {id} not found"));
        };
        let Network { id, name, .. } = &self.networks[place];
        if self.containers.iter().any(|container| container.running && container.network.as_ref() == Some(name)) {
            return refusal(403, &format!("error while removing network: network {name} id {id} has active endpoints"));
        }
        self.networks.remove(place);
        (204, None)
    }
}

fn has_all(labels: &[String], wanted: &[String]) -> bool {
    let key = |label: &str| label.split_once('=').map_or(label.to_owned(), |(key, _)| key.to_owned());
    wanted.iter().all(|wanted| labels.iter().any(|label| label == wanted || key(label) == *wanted))
}

fn label_map(labels: &[String]) -> Map<String, Value> {
    let pairs = labels.iter().map(|label| label.split_once('=').unwrap_or((label, "")));
    pairs.map(|(key, value)| (key.to_owned(), value.into())).collect()
}
