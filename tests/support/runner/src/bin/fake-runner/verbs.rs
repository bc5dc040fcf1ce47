//! What the program does under its own name.

use std::fs;
use std::io;

use mayfly_fake_runner::{FakeRunner, JitConfig, Scenario, scenarios};

const USAGE: &str = "usage: fake-runner install ROOT [--scenario NAME | --scenario-file FILE]
       fake-runner jit-config [--seed N]
       fake-runner scenarios";

pub(crate) fn run() -> i32 {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["install", root, rest @ ..] => install(root, rest),
        ["jit-config"] => jit_config("1"),
        ["jit-config", "--seed", seed] => jit_config(seed),
        ["scenarios"] => list(),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

fn install(root: &str, options: &[&str]) -> io::Result<()> {
    let scenario = match options {
        [] => Scenario::default(),
        ["--scenario", name] => {
            scenarios::named(name).ok_or_else(|| io::Error::other(format!("no scenario named {name}")))?
        }
        ["--scenario-file", path] => serde_json::from_str(&fs::read_to_string(path)?)?,
        _ => return Err(io::Error::other(USAGE)),
    };
    FakeRunner::install(root, &scenario).map(drop)
}

fn jit_config(seed: &str) -> io::Result<()> {
    let seed = seed.parse().map_err(io::Error::other)?;
    println!("{}", JitConfig::new(seed).encode());
    Ok(())
}

fn list() -> io::Result<()> {
    for scenario in scenarios::all() {
        println!("{:28} {}", scenario.name, scenario.summary);
    }
    Ok(())
}
