//! PID 1 over D-Bus.
//!
//! Over the system bus: PID 1's own socket, which needs no bus daemon, speaks a dialect that only `systemctl` may rely
//! on (its messages name a sender that no client library accepts).

use std::num::NonZeroUsize;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

use zbus::{Connection, MatchRule, MessageStream, OwnedVariant, connection, message};

use super::error::{JobResult, SystemctlError, SystemdError};
use super::unit::{Changes, next};
use crate::base::clock::time_scale;

pub(super) const DESTINATION: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long PID 1 may take to answer a question. It answers in a millisecond, but a job may have taken every CPU.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The same, shorter in tests.
fn answer_timeout() -> Duration {
    TIMEOUT.mul_f64(time_scale().unwrap_or(1.0).clamp(0.1, 1.0))
}

/// How many signals may wait to be read; a reader that falls behind this far asks again anyway.
const QUEUE: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// A service has some 400 properties, together some 40 KiB. An entry takes 8 bytes and more: this bounds their number too.
const LONGEST_PROPERTIES: usize = 1024 * 1024;

/// The way to PID 1; connects when it is first needed, and again after it was cut.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Manager {
    /// Starts a unit and waits until that is done.
    ///
    /// # Errors
    /// It was not started. A unit whose conditions do not hold counts as started; ask for its status.
    pub async fn start(&self, unit: &str, timeout: Duration) -> Result<(), SystemdError> {
        self.job("start", "StartUnit", unit, timeout).await
    }

    /// Stops a unit and waits until that is done.
    ///
    /// # Errors
    /// It was not stopped, or not in time.
    pub async fn stop(&self, unit: &str, timeout: Duration) -> Result<(), SystemdError> {
        self.job("stop", "StopUnit", unit, timeout).await
    }

    /// Restarts a unit and waits until that is done.
    ///
    /// # Errors
    /// It was not restarted.
    pub async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), SystemdError> {
        self.job("restart", "RestartUnit", unit, timeout).await
    }

    /// Restarts a unit that runs; leaves one alone that does not.
    ///
    /// # Errors
    /// It runs and was not restarted.
    pub async fn try_restart(&self, unit: &str, timeout: Duration) -> Result<(), SystemdError> {
        self.job("restart", "TryRestartUnit", unit, timeout).await
    }

    /// Signals a unit's main process (`main`) or its whole cgroup (`all`).
    ///
    /// # Errors
    /// There is no such process, or systemd did not answer.
    pub async fn kill(&self, unit: &str, whom: &str, signal: i32) -> Result<(), SystemdError> {
        let what = format!("to signal {unit}");
        match self.call(&what, MANAGER_PATH, MANAGER, "KillUnit", &(unit, whom, signal)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_answer() => Err(error),
            Err(error) => kill_without_bus(unit, whom, signal)
                .await
                .map_err(|systemctl| SystemdError::NotSignalled { bus: Box::new(error), systemctl }),
        }
    }

    /// Whether the whole machine is shutting down.
    ///
    /// # Errors
    /// systemd did not say, neither over the bus nor to `systemctl`: it may be.
    pub async fn is_stopping(&self) -> Result<bool, SystemdError> {
        match self.property::<String>(MANAGER_PATH, MANAGER, "SystemState").await {
            Ok(state) => Ok(state == "stopping"),
            Err(error) if error.is_answer() => Err(error),
            // The exit code tells how well the machine is; only the word counts.
            Err(error) => match systemctl(&["is-system-running"]).await.map(|output| output.stdout) {
                Ok(word) if matches!(&*word, b"stopping\n") => Ok(true),
                Ok(word) if matches!(&*word, b"running\n" | b"degraded\n" | b"starting\n" | b"initializing\n") => {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    /// Tells of changes of a unit's properties from now on.
    ///
    /// # Errors
    /// systemd cannot be reached.
    pub async fn changes(&self, unit: &str) -> Result<Changes, SystemdError> {
        let connection = self.connected().await?;
        self.subscribe().await?;
        let refused = |error| SystemdError::Refused { what: format!("to tell of changes of {unit}"), error };
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .path(super::unit::path(unit))
            .build()
            .map_err(refused)?;
        Ok(Changes::new(MessageStream::for_match_rule(rule, &connection, Some(QUEUE)).await.map_err(refused)?))
    }

    async fn job(
        &self,
        verb: &'static str,
        method: &'static str,
        unit: &str,
        timeout: Duration,
    ) -> Result<(), SystemdError> {
        let what = format!("to {verb} {unit}");
        let doing = async {
            let connection = self.connected().await?;
            self.subscribe().await?;
            let refused = |error| SystemdError::Refused { what: what.clone(), error };
            let rule = MatchRule::builder()
                .msg_type(message::Type::Signal)
                .interface(MANAGER)
                .member("JobRemoved")
                .build()
                .map_err(refused)?;
            // Before the call: the job may be over before its answer is read.
            let mut removed = MessageStream::for_match_rule(rule, &connection, Some(QUEUE)).await.map_err(refused)?;
            let answer = self.call(&what, MANAGER_PATH, MANAGER, method, &(unit, "replace")).await?;
            let body = answer.body();
            let job: zbus::ObjectPath<'_> = body.deserialize().map_err(refused)?;
            let header = answer.header();
            while let Some(message) = next(&mut removed).await {
                // Any user may send such a signal to this connection; who answered the call is systemd.
                if message.header().sender() != header.sender() {
                    continue;
                }
                let body = message.body();
                let Ok((_, of, _, result)) = body.deserialize::<(u32, zbus::ObjectPath<'_>, &str, &str)>() else {
                    continue;
                };
                if of == job {
                    return match result {
                        "done" => Ok(()),
                        other => Err(SystemdError::Job { verb, unit: unit.to_owned(), result: other.into() }),
                    };
                }
            }
            Err(SystemdError::Job { verb, unit: unit.to_owned(), result: JobResult::Cut })
        };
        tokio::time::timeout(timeout, doing)
            .await
            .unwrap_or_else(|_| Err(SystemdError::Silent { what: what.clone(), within: timeout }))
    }

    /// Signals are sent to those only who asked for them.
    async fn subscribe(&self) -> Result<(), SystemdError> {
        match self.call("to tell of changes", MANAGER_PATH, MANAGER, "Subscribe", &()).await {
            // "Client is already subscribed."
            Err(SystemdError::Refused { error: zbus::Error::MethodError(name, ..), .. })
                if name.as_str() == "org.freedesktop.systemd1.AlreadySubscribed" =>
            {
                Ok(())
            }
            subscribed => subscribed.map(drop),
        }
    }

    pub(super) async fn property<T>(&self, path: &str, interface: &str, name: &str) -> Result<T, SystemdError>
    where
        T: TryFrom<OwnedVariant, Error: Into<zbus::Error>>,
    {
        let what = format!("for {name}");
        let answer = self.call(&what, path, PROPERTIES, "Get", &(interface, name)).await?;
        let value: OwnedVariant =
            answer.body().deserialize().map_err(|error| SystemdError::Refused { what: what.clone(), error })?;
        T::try_from(value).map_err(|error| SystemdError::Refused { what, error: error.into() })
    }

    /// What an object's properties are at one moment, of all its interfaces (that is what the empty name means).
    pub(super) async fn properties<T>(&self, what: &str, path: &str) -> Result<T, SystemdError>
    where
        T: for<'d> serde::Deserialize<'d> + zbus::Type,
    {
        let answer = self.call(what, path, PROPERTIES, "GetAll", &"").await?;
        let body = answer.body();
        if body.len() > LONGEST_PROPERTIES {
            return Err(SystemdError::TooLong { what: what.to_owned(), bytes: body.len() });
        }
        body.deserialize().map_err(|error| SystemdError::Refused { what: what.to_owned(), error })
    }

    pub(super) async fn call<B>(
        &self,
        what: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<zbus::Message, SystemdError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let connection = self.connected().await?;
        let calling = connection.call_method(Some(DESTINATION), path, Some(interface), method, body);
        match tokio::time::timeout(answer_timeout(), calling).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if !matches!(error, zbus::Error::MethodError(..)) {
                    self.forget().await; // cut: the next call connects anew
                }
                Err(SystemdError::Refused { what: what.to_owned(), error })
            }
            Err(_) => {
                self.forget().await;
                Err(SystemdError::Silent { what: what.to_owned(), within: answer_timeout() })
            }
        }
    }

    async fn forget(&self) {
        *self.connection.lock().await = None;
    }

    async fn connected(&self) -> Result<Connection, SystemdError> {
        let mut known = self.connection.lock().await;
        if let Some(connection) = &*known {
            return Ok(connection.clone());
        }
        let connection = connect().await?;
        *known = Some(connection.clone());
        Ok(connection)
    }
}

async fn connect() -> Result<Connection, SystemdError> {
    match tokio::time::timeout(answer_timeout(), connection::Builder::system().build()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(SystemdError::Unreachable(error)),
        Err(_) => Err(SystemdError::BusSilent(answer_timeout())),
    }
}

/// Signals with `systemctl`, which reaches PID 1 over a socket of its own: a job with root can stop the bus daemon.
async fn kill_without_bus(unit: &str, whom: &str, signal: i32) -> Result<(), SystemctlError> {
    let output = systemctl(&["kill", "--signal", &signal.to_string(), "--kill-who", whom, unit]).await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(SystemctlError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

pub(super) async fn systemctl(words: &[&str]) -> Result<Output, SystemctlError> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(words);
    systemctl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    match tokio::time::timeout(answer_timeout(), systemctl.output()).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(SystemctlError::NotRun(error)),
        Err(_) => Err(SystemctlError::Silent(answer_timeout())),
    }
}
