//! `mayfly config`

use std::path::PathBuf;

use clap::Subcommand;

use super::{environment, exit, fail, print};
use mayfly_core::config::keys::{KEYS, ValueKind};
use mayfly_core::config::{Config, DEFAULT_PATH, load, schema};

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
    /// The configuration; drop-ins are beside it, in agent.d/*.toml
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with it, with file and line
    Check,
    /// Show every value and where it comes from
    Show {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print its JSON Schema
    Schema,
}

pub(super) fn run(args: &ConfigArgs) -> u8 {
    if matches!(args.command, Command::Schema) {
        return print(|out| {
            serde_json::to_writer_pretty(&mut *out, &schema())?;
            writeln!(out)
        });
    }
    let config = match load(&args.config, environment(), &[]) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    match args.command {
        Command::Show { json: true } => show_json(&config),
        Command::Show { json: false } => show(&config),
        Command::Check | Command::Schema => print(|out| writeln!(out, "the configuration is valid")),
    }
}

fn show(config: &Config) -> u8 {
    print(|out| {
        let mut section = "";
        for key in KEYS {
            let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if of != section {
                writeln!(out, "\n[{of}]")?;
                section = of;
            }
            let (Some(text), Some(origin)) = (config.texts.get(key.name), config.origins.get(key.name)) else {
                continue;
            };
            let value = if key.kind == ValueKind::Boolean {
                text.clone()
            } else {
                toml::Value::from(text.as_str()).to_string()
            };
            writeln!(out, "{:<48} # {origin}", format!("{name} = {value}"))?;
        }
        Ok(())
    })
}

fn show_json(config: &Config) -> u8 {
    let values: serde_json::Map<_, _> = KEYS
        .iter()
        .filter_map(|key| {
            let value = serde_json::json!({
                "value": config.texts.get(key.name)?,
                "origin": config.origins.get(key.name)?.to_string(),
            });
            Some((key.name.to_owned(), value))
        })
        .collect();
    print(|out| {
        serde_json::to_writer_pretty(&mut *out, &values)?;
        writeln!(out)
    })
}
