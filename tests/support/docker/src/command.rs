//! Commands as JSON, for scripts that drive the double from outside.

use serde_json::{Value, json};

use crate::{Container, DockerDouble, Network};

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected a text, found {value}"))
}

impl DockerDouble {
    /// Carries out a command: an object whose only key names it. See the binary `fake-docker` for the list.
    ///
    /// # Errors
    /// It cannot be read, or not be carried out.
    pub fn command(&self, command: &Value) -> Result<Value, String> {
        let (name, argument) = command
            .as_object()
            .filter(|object| object.len() == 1)
            .and_then(|object| object.iter().next())
            .ok_or("expected an object with one key")?;
        match name.as_str() {
            "stance" => self.stance(text(argument)?.parse()?).map_err(|error| error.to_string())?,
            "fault" => {
                let times = argument["times"].as_u64().map(|times| u32::try_from(times).unwrap_or(u32::MAX));
                let fault = text(&argument["fault"])?.parse()?;
                self.fault(argument["path"].as_str().unwrap_or("/"), times, fault);
            }
            "clear" => self.clear(),
            "root" => self.set_root(text(argument)?),
            "container" => {
                let mut container = Container::new(text(&argument["name"])?).running();
                if let Some(label) = argument["label"].as_str() {
                    container = container.label(label);
                }
                if let Some(network) = argument["network"].as_str() {
                    container = container.network(network);
                }
                self.add(container);
            }
            "network" => {
                let mut network = Network::new(text(&argument["name"])?);
                if let Some(label) = argument["label"].as_str() {
                    network = network.label(label);
                }
                self.add_network(network);
            }
            "list" => return Ok(json!({ "containers": self.containers(), "networks": self.networks() })),
            "requests" => return Ok(self.requests_json()),
            unknown => return Err(format!("no such command: {unknown}")),
        }
        Ok(json!({}))
    }

    fn requests_json(&self) -> Value {
        let requests = self.requests().into_iter().map(|request| {
            json!({
                "at_ms": request.at.as_secs_f64() * 1000.0,
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "status": request.status,
            })
        });
        json!({ "requests": requests.collect::<Value>() })
    }
}
