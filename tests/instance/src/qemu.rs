//! The emulator's process and its command line.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::accelerator::Accelerator;
use crate::qmp::Qmp;
use crate::shell::{PORT, Shell};
use crate::{Disk, Error, Result, Trying as _};

/// The network card's address, which the metadata service tells too.
pub(crate) const MAC: &str = "06:12:34:56:78:9a";

/// EC2's machines have a UUID that begins so; cloud-init believes nothing else.
const UUID: &str = "ec2a1b2c-3d4e-5f60-7182-93a4b5c6d7e8";

/// Sockets that are there: QEMU makes them before the guest runs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// QEMU, which ends with the thread that started it, however that ends.
pub(crate) fn command() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command
}

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct Hardware<'a> {
    pub(crate) disk: &'a Disk,
    /// The overlay that the guest writes to.
    pub(crate) overlay: &'a Path,
    /// Sockets and the console's text.
    pub(crate) directory: &'a Path,
    pub(crate) accelerator: Accelerator,
    pub(crate) imds_port: u16,
    /// A saved state to go on from.
    pub(crate) state: Option<PathBuf>,
    /// The serial console in this terminal instead of in a file.
    pub(crate) console_here: bool,
    /// Appended to the kernel's command line.
    pub(crate) kernel: &'a str,
    /// More disks, raw.
    pub(crate) drives: &'a [PathBuf],
}

/// The running emulator; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    pub(crate) qmp: Qmp,
    pub(crate) shell: Shell,
}

/// An overlay over an image that is not written to.
pub(crate) fn overlay(backing: &Path, at: &Path) -> Result<()> {
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .arg(backing)
        .arg(at)
        .output()
        .trying(|| "running qemu-img".to_owned())?;
    if made.status.success() {
        return Ok(());
    }
    Err(Error(format!("qemu-img makes no overlay of {}: {}", backing.display(), String::from_utf8_lossy(&made.stderr))))
}

/// Connects to a socket that QEMU makes before the guest runs; its file is there a moment before it listens.
fn connect(child: &mut Child, socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if child.try_wait()?.is_some() || Instant::now() > deadline => {
                return Err(Error(format!("connecting to {}: {error}", socket.display())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Qemu {
    pub(crate) fn start(hardware: &Hardware<'_>) -> Result<Self> {
        let at = |name: &str| hardware.directory.join(name);
        let errors = fs::File::create(at("qemu.log"))?;
        let mut command = hardware.command()?;
        command.stderr(errors);
        if !hardware.console_here {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        let mut child =
            command.spawn().trying(|| "starting qemu-system-x86_64 (install qemu-system-x86)".to_owned())?;
        let connected = connect(&mut child, &at("qmp"))
            .and_then(|stream| Ok((Qmp::over(stream)?, Shell::over(connect(&mut child, &at("shell"))?))));
        match connected {
            Ok((qmp, shell)) => Ok(Self { child, qmp, shell }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(at("qemu.log")).unwrap_or_default();
                Err(Error(format!("QEMU does not start: {error}; it said: {said}")))
            }
        }
    }

    /// Waits for the process to end by itself.
    pub(crate) fn gone(&mut self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Freezes the machine, writes memory and devices to a file, and ends. The overlay then belongs to that state.
    pub(crate) fn save(&mut self, state: &Path) -> Result<()> {
        self.qmp.run("stop", json!({}))?;
        self.qmp.run("migrate-set-parameters", json!({ "max-bandwidth": 0 }))?;
        self.qmp.run("migrate", json!({ "uri": format!("exec:cat >'{}'", state.display()) }))?;
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let status = self.qmp.run("query-migrate", json!({}))?;
            match status["status"].as_str() {
                Some("completed") => break,
                Some("failed" | "cancelled") => return Err(Error(format!("QEMU does not save the machine: {status}"))),
                _ if Instant::now() > deadline => return Err(Error(format!("saving hangs: {status}"))),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        self.qmp.run("quit", json!({}))?;
        if self.gone(TIMEOUT)? { Ok(()) } else { Err(Error("QEMU does not end after saving".to_owned())) }
    }

    /// Lets a machine that was started from a saved state go on.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.qmp.run("query-status", json!({}))?;
            match status["status"].as_str() {
                Some("inmigrate") if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Some("inmigrate") => return Err(Error("QEMU does not finish reading the saved state".to_owned())),
                _ => break,
            }
        }
        self.qmp.run("cont", json!({})).map(drop)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hardware<'_> {
    fn command(&self) -> Result<Command> {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let forward = forwarder()?;
        let console = if self.console_here { "mon:stdio".to_owned() } else { format!("file:{}", at("console")) };
        let mut command = command();
        command.args(self.accelerator.arguments()?);
        command.args(["-machine", "q35", "-smp", "2", "-m", "2048", "-nodefaults", "-display", "none"]);
        command
            .arg("-smbios")
            .arg(format!("type=1,manufacturer=Amazon EC2,product=m7i.large,uuid={UUID},serial={UUID}"));
        command
            .arg("-kernel")
            .arg(self.disk.kernel())
            .arg("-initrd")
            .arg(self.disk.initrd())
            .arg("-append")
            .arg(format!("root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off loglevel=4 {}", self.kernel));
        // The disk outlives no test, so nothing needs to reach the host's own disk.
        command.arg("-drive").arg(format!("file={},if=none,id=disk,cache=unsafe", self.overlay.display()));
        command.args(["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]);
        command.arg("-netdev").arg(format!(
            "user,id=net,ipv6=off,net=169.254.169.0/24,host={},dns=169.254.169.3,dhcpstart=169.254.169.15,\
             guestfwd=tcp:169.254.169.254:80-cmd:{forward} forward {}",
            crate::cloud::HOST,
            self.imds_port
        ));
        command.arg("-device").arg(format!("virtio-net-pci,netdev=net,mac={MAC}"));
        command.args(["-device", "virtio-serial-pci"]);
        command.arg("-chardev").arg(format!("socket,id=shell,path={},server=on,wait=off", at("shell")));
        command.arg("-device").arg(format!("virtserialport,chardev=shell,name={PORT}"));
        for (number, drive) in self.drives.iter().enumerate() {
            let drive = drive.display();
            command.arg("-drive").arg(format!("file={drive},if=none,id=drive{number},format=raw,cache=unsafe"));
            command.arg("-device").arg(format!("virtio-blk-pci,drive=drive{number}"));
        }
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", at("qmp")));
        command.arg("-serial").arg(console);
        if let Some(state) = &self.state {
            command.arg("-incoming").arg(format!("exec:cat '{}'", state.display()));
        }
        Ok(command)
    }
}

/// The program that carries one connection of the guest to a double: QEMU starts it for each.
fn forwarder() -> Result<String> {
    let found = match std::env::var_os("MAYFLY_MACHINE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let current = std::env::current_exe()?;
            let beside = current.ancestors().skip(1).take(2).map(|directory| directory.join("mayfly-machine"));
            beside
                .into_iter()
                .find(|candidate| candidate.is_file())
                .ok_or_else(|| Error("no mayfly-machine program: run scripts/test-instance".to_owned()))?
        }
    };
    Ok(found.display().to_string())
}
