//! A double of the system bus with systemd behind it: it speaks as much D-Bus as the agent asks, says what a test wants it
//! to say of the runner's unit, or nothing at all.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// See the module.
#[derive(Debug)]
pub struct Bus {
    socket: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    silent: bool,
    main: u32,
    /// Where the supervisor process that really keeps the listener writes how it ended.
    exit: PathBuf,
    stopping: bool,
    closed: bool,
    /// The unit is in its `ExecStartPre=` until one question about it was answered.
    starting: bool,
    /// It says falsely that the listener has ended, in an answer that is longer than any of systemd's.
    too_long: bool,
    asked: BTreeMap<String, u32>,
}

impl Bus {
    /// Listens in this directory. The listener of the runner's unit has this process number.
    #[must_use]
    pub fn start(directory: &Path, main: u32) -> Self {
        let socket = directory.join("bus");
        let exit = directory.join("state/runner.exit");
        let shared = Arc::new(Mutex::new(Shared { main, exit, ..Shared::default() }));
        let (listener, serving) = (UnixListener::bind(&socket).unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().unwrap().closed {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { socket, shared }
    }

    /// What `DBUS_SYSTEM_BUS_ADDRESS` has to be.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    /// From now on it takes what is sent to it, and answers nothing.
    pub fn be_silent(&self) {
        self.shared.lock().unwrap().silent = true;
    }

    /// From now on it answers again.
    pub fn speak(&self) {
        self.shared.lock().unwrap().silent = false;
    }

    /// From now on the machine is shutting down.
    pub fn shut_down(&self) {
        self.shared.lock().unwrap().stopping = true;
    }

    /// The unit's start goes on between the first question about it and the next.
    pub fn start_between_questions(&self) {
        self.shared.lock().unwrap().starting = true;
    }

    /// From now on what it says of the unit is false, and longer than any answer of systemd's.
    pub fn be_too_long(&self) {
        self.shared.lock().unwrap().too_long = true;
    }

    /// How often it was asked this: a method's name, or, for `Get`, the property's. Also while it was silent.
    /// What it was asked about other units does not count.
    #[must_use]
    pub fn asked(&self, what: &str) -> u32 {
        self.shared.lock().unwrap().asked.get(what).copied().unwrap_or(0)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.shared.lock().unwrap().closed = true;
        let _ = UnixStream::connect(&self.socket);
    }
}

/// One connection, until its other side has enough of it.
fn serve(mut stream: UnixStream, shared: &Mutex<Shared>) {
    let served = handshake(&mut stream, shared).and_then(|()| {
        loop {
            let Call { serial, path, member, body } = Call::read(&mut stream)?;
            let what = match &*member {
                _ if path.contains("/unit/") && path != RUNNER => format!("{member} {path}"),
                "Get" => strings(&body).pop().unwrap_or_default(),
                _ => member,
            };
            let mut shared = shared.lock().unwrap();
            *shared.asked.entry(what.clone()).or_default() += 1;
            if !shared.silent {
                if what == "KillUnit" {
                    shared.kill(&body);
                }
                let (signature, body) = answer(&what, &shared);
                if path == RUNNER {
                    shared.starting = false;
                }
                stream.write_all(&message(serial, signature, &body))?;
            }
        }
    });
    drop::<io::Result<()>>(served);
}

fn handshake(stream: &mut UnixStream, shared: &Mutex<Shared>) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        let reply = match &*line {
            "BEGIN" => return Ok(()),
            "NEGOTIATE_UNIX_FD" => "AGREE_UNIX_FD\r\n",
            "AUTH EXTERNAL" => "DATA\r\n",
            _ => "OK 0123456789abcdef0123456789abcdef\r\n",
        };
        *shared.lock().unwrap().asked.entry("AUTH".to_owned()).or_default() += 1;
        if !shared.lock().unwrap().silent {
            stream.write_all(reply.as_bytes())?;
        }
    }
}

impl Shared {
    /// Not the listener's process number: its supervisor process may not have seen yet how it ended.
    fn ended(&self) -> Option<(i32, i32)> {
        let exit: serde_json::Value = serde_json::from_slice(&std::fs::read(&self.exit).ok()?).ok()?;
        let of = |how: &str| i32::try_from(exit["exited"][how].as_i64()?).ok();
        Some(of("code").map_or_else(|| (2, of("signal").unwrap_or(9)), |code| (1, code)))
    }

    /// `KillUnit` of the listener; what else belongs to the unit nobody here knows.
    fn kill(&self, body: &[u8]) {
        let Some(number) = body.last_chunk().copied().map(i32::from_le_bytes) else { return };
        if let Ok(signal) = Signal::try_from(number) {
            let _ = kill(Pid::from_raw(i32::try_from(self.main).unwrap()), signal);
        }
    }
}

/// The runner's unit.
const RUNNER: &str = "/org/freedesktop/systemd1/unit/mayfly_2drunner_2eservice";

/// What it knows of it.
const UNIT: [&str; 7] =
    ["ActiveState", "SubState", "MainPID", "ExecMainPID", "ExecMainCode", "ExecMainStatus", "Result"];

/// No answer of systemd's is that long.
const TOO_LONG: usize = 2 * 1024 * 1024;

/// The answer's signature and body.
fn answer(what: &str, shared: &Shared) -> (&'static str, Vec<u8>) {
    match what {
        "Hello" => ("s", string(":1.7")),
        "GetAll" => ("a{sv}", properties(shared)),
        _ => property(what, shared).map_or(("", Vec::new()), |(signature, value)| {
            let mut body = Vec::new();
            variant(&mut body, signature, &value);
            ("v", body)
        }),
    }
}

/// A property's signature and value.
fn property(name: &str, shared: &Shared) -> Option<(&'static str, Vec<u8>)> {
    let ended = if shared.too_long { Some((1, 1)) } else { shared.ended() };
    let (code, status) = ended.unwrap_or_default();
    let text = |text: &str| Some(("s", string(text)));
    let number = |number: u32| Some(("u", number.to_le_bytes().to_vec()));
    match name {
        "SystemState" => text(if shared.stopping { "stopping" } else { "running" }),
        "MainPID" => number(if ended.is_none() && !shared.starting { shared.main } else { 0 }),
        "ExecMainPID" => number(if shared.starting { 0 } else { shared.main }),
        "ExecMainCode" => Some(("i", code.to_le_bytes().to_vec())),
        "ExecMainStatus" => Some(("i", status.to_le_bytes().to_vec())),
        "ActiveState" => text(if shared.starting { "activating" } else { "active" }),
        "SubState" if shared.starting => text("start-pre"),
        "SubState" => text(if ended.is_none() { "running" } else { "exited" }),
        "Result" => text("success"),
        "Description" => text(&" ".repeat(if shared.too_long { TOO_LONG } else { 20 })),
        _ => None,
    }
}

/// An array of names and variants, with one that nobody asked for.
fn properties(shared: &Shared) -> Vec<u8> {
    let mut body = vec![0; 8]; // the length, and the first entry's alignment
    for name in UNIT.iter().chain(&["Description"]) {
        let (signature, value) = property(name, shared).unwrap();
        pad(&mut body, 8);
        body.extend(string(name));
        variant(&mut body, signature, &value);
    }
    let length = u32::try_from(body.len() - 8).unwrap();
    body[..4].copy_from_slice(&length.to_le_bytes());
    body
}

/// Appends a variant whose value is aligned to four bytes.
fn variant(body: &mut Vec<u8>, signature: &str, value: &[u8]) {
    body.push(1);
    body.extend(signature.bytes().chain([0]));
    pad(body, 4);
    body.extend(value);
}

struct Call {
    serial: u32,
    path: String,
    member: String,
    body: Vec<u8>,
}

impl Call {
    /// Reads one message, little-endian, as every client on this machine writes it.
    fn read(stream: &mut UnixStream) -> io::Result<Self> {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let (body_length, serial, fields_length) = (number(4) as usize, number(8), number(12) as usize);
        let mut fields = vec![0; fields_length.next_multiple_of(8)];
        stream.read_exact(&mut fields)?;
        let mut body = vec![0; body_length];
        stream.read_exact(&mut body)?;
        let fields = &fields[..fields_length];
        Ok(Self { serial, path: field(1, fields), member: field(3, fields), body })
    }
}

/// A field of a header: `PATH` (1) or `MEMBER` (3).
fn field(wanted: u8, fields: &[u8]) -> String {
    let mut at: usize = 0;
    while at + 4 < fields.len() {
        let (code, kind) = (fields[at], fields[at + 2]);
        at += 4; // code, and a signature of one character
        let length = match kind {
            b'g' => usize::from(fields[at]) + 2,
            b'u' => 4,
            _ => u32::from_le_bytes(fields[at..at + 4].try_into().unwrap()) as usize + 5,
        };
        if code == wanted {
            return String::from_utf8_lossy(&fields[at + 4..at + length - 1]).into_owned();
        }
        at = (at + length).next_multiple_of(8);
    }
    String::new()
}

/// The strings that a body is made of.
fn strings(body: &[u8]) -> Vec<String> {
    let (mut at, mut strings) = (0_usize, Vec::new());
    while at + 4 < body.len() {
        let length = u32::from_le_bytes(body[at..at + 4].try_into().unwrap()) as usize;
        strings.push(String::from_utf8_lossy(&body[at + 4..at + 4 + length]).into_owned());
        at = (at + 4 + length + 1).next_multiple_of(4);
    }
    strings
}

fn string(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_le_bytes()[..], text.as_bytes(), &[0]].concat()
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// A method return.
fn message(to: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(to.to_le_bytes());
    if !signature.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
        fields.extend(signature.bytes().chain([0]));
    }
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut message = vec![b'l', 2, 1, 1];
    message.extend(length(body));
    message.extend(to.to_le_bytes()); // a serial of our own; any but 0
    message.extend(length(&fields));
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}
