//! One unit: what systemd knows of it, and when that changes.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use nix::sys::signal::Signal;
use zbus::{DeserializeDict, Message, MessageStream, Type};

use super::error::SystemdError;
use super::manager::{Manager, systemctl};
use mayfly_core::lifecycle::Exit;

/// `si_code` of a process that ended by itself (`CLD_EXITED` of `signal.h`); others were killed.
const CLD_EXITED: i32 = 1;

/// What systemd knows of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`
    pub active: String,
    /// Finer: `running`, `exited`, `start-pre`, `dead` and others.
    pub sub: String,
    /// The main process that runs right now.
    pub main: Option<i32>,
    /// How the last main process ended.
    pub exit: Option<Exit>,
    /// `success`, `exit-code`, `signal`, `oom-kill`, `timeout` and others.
    pub result: String,
}

/// A service's properties, by systemd's names.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
struct ServiceProperties {
    #[zbus(rename = "ActiveState")]
    active_state: String,
    #[zbus(rename = "SubState")]
    sub_state: String,
    #[zbus(rename = "MainPID")]
    main_pid: u32,
    #[zbus(rename = "ExecMainPID")]
    exec_main_pid: u32,
    #[zbus(rename = "ExecMainCode")]
    exec_main_code: i32,
    #[zbus(rename = "ExecMainStatus")]
    exec_main_status: i32,
    #[zbus(rename = "Result")]
    result: String,
}

impl From<ServiceProperties> for UnitStatus {
    fn from(service: ServiceProperties) -> Self {
        let (main, ran) = (service.main_pid, service.exec_main_pid);
        Self {
            active: service.active_state,
            sub: service.sub_state,
            main: i32::try_from(main).ok().filter(|pid| *pid != 0),
            exit: exit(main, ran, service.exec_main_code, service.exec_main_status),
            result: service.result,
        }
    }
}

/// A timer's properties.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
struct TimerProperties {
    active_state: String,
    timers_monotonic: Vec<(String, u64, u64)>,
}

impl Manager {
    /// What systemd knows of a service right now: all of it at one moment.
    ///
    /// # Errors
    /// systemd did not answer, neither over the bus nor to `systemctl`.
    pub async fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        match self.status_by_bus(unit).await {
            Err(error) if !error.is_answer() => status_without_bus(unit).await.ok_or(error),
            status => status,
        }
    }

    async fn status_by_bus(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        let what = format!("for the status of {unit}");
        Ok(self.properties::<ServiceProperties>(&what, &path(unit)).await?.into())
    }

    /// The interval of a timer's first monotonic rule, such as `OnActiveSec=`; `None` if it has none or is not running.
    ///
    /// # Errors
    /// systemd did not answer.
    pub async fn timer_interval(&self, unit: &str) -> Result<Option<Duration>, SystemdError> {
        let what = format!("for the rules of {unit}");
        let timer: TimerProperties = self.properties(&what, &path(unit)).await?;
        let first = timer.timers_monotonic.first().filter(|_| timer.active_state == "active");
        Ok(first.map(|(_, microseconds, _)| Duration::from_micros(*microseconds)))
    }

    /// Kills everything in a service's cgroup, and waits until it is empty. Returns how many processes were left; nothing if
    /// that could not be seen. What is left is looked for in `/proc`, whatever systemd says or does not say.
    pub async fn kill_all(&self, unit: &str, timeout: Duration) -> Option<usize> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let left = crate::base::cgroup::in_unit(unit).ok().map(|pids| pids.len());
            if left == Some(0) || tokio::time::Instant::now() >= deadline {
                return left;
            }
            // Fails if the last process ended meanwhile; then the next poll says so.
            let _ = tokio::time::timeout_at(deadline, self.kill(unit, "all", Signal::SIGKILL as i32)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// How the last main process ended, if none runs.
fn exit(main: u32, ran: u32, code: i32, status: i32) -> Option<Exit> {
    let ended = ran != 0 && main == 0 && code != 0;
    ended.then_some(if code == CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) })
}

/// The same as over the bus, from `systemctl show`: it reaches PID 1 over a socket of its own.
async fn status_without_bus(unit: &str) -> Option<UnitStatus> {
    let names = "MainPID,ExecMainPID,ExecMainCode,ExecMainStatus,ActiveState,SubState,Result";
    let output = systemctl(&["show", "--property", names, unit]).await.ok()?;
    output.status.success().then(|| status_of_text(&String::from_utf8_lossy(&output.stdout)))?
}

fn status_of_text(text: &str) -> Option<UnitStatus> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name)?.parse::<u32>().ok();
    let service = ServiceProperties {
        active_state: value("ActiveState")?.to_owned(),
        sub_state: value("SubState")?.to_owned(),
        main_pid: number("MainPID")?,
        exec_main_pid: number("ExecMainPID")?,
        exec_main_code: i32::try_from(number("ExecMainCode")?).ok()?,
        exec_main_status: i32::try_from(number("ExecMainStatus")?).ok()?,
        result: value("Result")?.to_owned(),
    };
    Some(service.into())
}

/// Becomes ready when a property of a unit changed.
#[derive(Debug)]
pub struct Changes {
    stream: Option<MessageStream>,
}

impl Changes {
    pub(super) fn new(stream: MessageStream) -> Self {
        Self { stream: Some(stream) }
    }

    /// Nothing to wait for: systemd could not be reached.
    #[must_use]
    pub fn none() -> Self {
        Self { stream: None }
    }

    /// Waits for the next change; for ever once the connection is cut.
    pub async fn next(&mut self) {
        if let Some(stream) = &mut self.stream
            && next(stream).await.is_some()
        {
            return;
        }
        self.stream = None;
        std::future::pending().await
    }
}

/// The next message of a stream, or `None` once the connection is cut.
pub(super) async fn next(stream: &mut MessageStream) -> Option<Message> {
    loop {
        match std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await {
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) => {}
            None => return None,
        }
    }
}

/// A unit's object path: every byte but letters and digits becomes `_` and its hexadecimal code.
pub(super) fn path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for byte in unit.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(char::from(byte)),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read_as_what_the_bus_says() {
        let text = "Result=success\nExecMainPID=77\nExecMainStatus=102\nExecMainCode=1\nMainPID=0\nActiveState=active\n\
                    SubState=exited\n";
        let status = status_of_text(text);
        assert_eq!(status.as_ref().and_then(|status| status.exit), Some(Exit::Code(102)), "{status:?}");
        let running = status_of_text(&text.replace("MainPID=0\n", "MainPID=77\n"));
        assert_eq!(running.map(|status| (status.main, status.exit)), Some((Some(77), None)));
        assert_eq!(status_of_text("System has not been booted with systemd"), None);
    }

    #[test]
    fn the_object_path_of_a_unit_is_escaped_as_systemd_does() {
        assert_eq!(path("mayfly-runner.service"), "/org/freedesktop/systemd1/unit/mayfly_2drunner_2eservice");
    }
}
