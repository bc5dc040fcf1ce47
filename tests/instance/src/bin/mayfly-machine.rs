//! What the scripts need of the test machine.
//!
//! ```text
//! mayfly-machine forward PORT          carries standard input and output to a port of this host; QEMU starts it
//! mayfly-machine runner DIRECTORY      puts the double of GitHub's runner there
//! mayfly-machine accelerator NAME      QEMU's arguments for the processor, as they work on this host
//! mayfly-machine snapshot NAME...      makes the snapshots that scenarios go on from
//! mayfly-machine run NAME [USER-DATA]  one machine for a person, its console in this terminal
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mayfly_fake_runner::{FakeRunner, JitConfig, scenarios};
use mayfly_instance::{Disk, Error, Result, Spec, snapshot};
use serde_json::json;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["forward", port] => forward(port),
        ["runner", directory] => runner(directory),
        ["accelerator", name] => accelerator(name),
        ["snapshot", names @ ..] => names.iter().try_for_each(|name| make_snapshot(name)),
        ["run", name] => run(name, None),
        ["run", name, user_data] => run(name, Some(user_data)),
        _ => Err(Error(
            "say forward, runner, accelerator, snapshot or run: scripts/test-instance and scripts/machine do"
                .to_owned(),
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One connection of the guest: QEMU gives it as standard input and output.
fn forward(port: &str) -> Result<()> {
    let port: u16 = port.parse().map_err(|_| Error(format!("not a port: {port}")))?;
    let mut here = TcpStream::connect(("127.0.0.1", port))?;
    here.set_nodelay(true)?;
    let mut there = here.try_clone()?;
    std::thread::spawn(move || {
        let _ = pump(&mut std::io::stdin().lock(), &mut there);
        let _ = there.shutdown(Shutdown::Write);
    });
    // The answer's end is the connection's end, whatever the guest may still say.
    pump(&mut here, &mut std::io::stdout().lock())?;
    Ok(())
}

fn pump(from: &mut impl std::io::Read, to: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut buffer = [0; 65536];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(buffer.get(..read).unwrap_or_default()).and_then(|()| to.flush())?,
        }
    }
}

fn runner(directory: &str) -> Result<()> {
    let scenario = scenarios::named("success").ok_or_else(|| Error("the double has no such scenario".to_owned()))?;
    FakeRunner::install(directory, &scenario)?;
    Ok(())
}

fn accelerator(name: &str) -> Result<()> {
    println!("{}", mayfly_instance::accelerator(&Disk::named(name)?)?.join(" "));
    Ok(())
}

fn make_snapshot(name: &str) -> Result<()> {
    let began = Instant::now();
    snapshot::of(&Disk::named(name)?)?;
    eprintln!("    {name}: snapshot ready after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn run(name: &str, user_data: Option<&str>) -> Result<()> {
    let mut spec = Spec::new(name).console_here().kernel("systemd.show_status=yes");
    if let Some(file) = user_data {
        spec = spec.user_data(&std::fs::read_to_string(file)?);
    }
    let mut machine = spec.boot()?;
    let clouds = &machine.clouds;
    // The request of a launcher, for curl: not everybody has the aws command, and moto checks no signature.
    let request = tempfile::NamedTempFile::new()?;
    let jit = json!({ "Name": clouds.parameter(), "Type": "SecureString", "Value": JitConfig::new(7).encode() });
    std::fs::write(request.path(), jit.to_string())?;
    let scope = format!("x/20260101/{}/ssm/aws4_request", clouds.moto.region());
    eprintln!(
        "\n  A {name} that believes it is the EC2 instance {}.\n\n  \
         log in             root, no password; Ctrl-A X ends the machine\n  \
         metadata service   {} (in the machine: http://169.254.169.254)\n  \
         AWS (moto)         {} (in the machine: http://169.254.169.2:{})\n\n  \
         let a run happen: in the machine\n    systemctl start mayfly.target\n  \
         and in another terminal do what a launcher does, put the JIT configuration in its SSM parameter:\n    \
         curl -H 'X-Amz-Target: AmazonSSM.PutParameter' -H 'Content-Type: application/x-amz-json-1.1' \\\n      \
         -H 'Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x' \\\n      \
         -d @{} {}\n",
        clouds.instance,
        clouds.imds.url(),
        clouds.aws.url(),
        clouds.aws.address().port(),
        request.path().display(),
        clouds.aws.url(),
    );
    let _ = std::io::stderr().flush();
    loop {
        if let Some(ended) = machine.off(Duration::from_secs(3600))? {
            let who = if ended.by_ec2 { "EC2 terminated it" } else { "it ended by itself" };
            eprintln!("\nthe machine is off: {} ({who})", ended.reason);
            return Ok(());
        }
    }
}
