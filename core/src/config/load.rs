//! Reading the layers.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, ValueKind, sections};
use super::{Config, Origin, Platform, Problems, Sink, Supervisor, template};

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/mayfly/agent.toml";

/// Reads the file (which need not be there), its drop-ins, and the environment.
///
/// `overrides` are `(key, value)` pairs of the command line; they win.
///
/// # Errors
/// Every problem there is.
pub fn load(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &[(&str, String)],
) -> Result<Config, Problems> {
    let mut loading = Loading::default();
    for key in KEYS {
        loading.set(key, Origin::Default, key.default);
    }
    for path in files(file, &mut loading.problems) {
        loading.read(&path);
    }
    for (name, value) in environment {
        loading.variable(&name, &value);
    }
    for (name, value) in overrides {
        if let Some(key) = KEYS.iter().find(|key| key.name == *name) {
            loading.set(key, Origin::CommandLine, value);
        }
    }
    // Combinations of values that are not there would only add noise.
    if loading.problems.0.is_empty() {
        combinations(&loading.config, &mut loading.problems);
    }
    if loading.problems.0.is_empty() { Ok(loading.config) } else { Err(loading.problems) }
}

/// The file, if it is there, and the drop-ins beside it: `agent.toml` has `agent.d/*.toml`.
fn files(file: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if file != Path::new(DEFAULT_PATH) || file.exists() {
        files.push(file.to_owned());
    }
    let directory = file.with_extension("d");
    match fs::read_dir(&directory) {
        Ok(entries) => {
            let mut drop_ins: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            drop_ins.retain(|path| path.extension() == Some(OsStr::new("toml")));
            drop_ins.sort();
            files.append(&mut drop_ins);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => problems.add(Origin::Default, format!("{}: cannot be read: {error}", directory.display())),
    }
    files
}

#[derive(Default)]
struct Loading {
    config: Config,
    problems: Problems,
}

impl Loading {
    fn set(&mut self, key: &'static Key, origin: Origin, text: &str) {
        match (key.set)(&mut self.config, text) {
            Ok(()) => {
                self.config.origins.insert(key.name, origin);
                self.config.texts.insert(key.name, text.to_owned());
            }
            Err(error) => self.problems.add(origin, format!("{}: {error}", key.name)),
        }
    }

    fn read(&mut self, path: &Path) {
        let at = |text: &str, offset: usize| {
            let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
            Origin::File(path.to_owned(), 1 + before.iter().filter(|byte| **byte == b'\n').count())
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.problems.add(Origin::Default, format!("{}: cannot be read: {error}", path.display()));
            }
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            self.problems.add(at(&text, error.span().map_or(0, |span| span.start)), error.message().to_owned());
        }
        for (name, value) in table.get_ref() {
            let origin = at(&text, name.span().start);
            match value.get_ref() {
                DeValue::Table(section) if sections().any(|known| known == name.get_ref()) => {
                    for (inner, value) in section {
                        let full = format!("{}.{}", name.get_ref(), inner.get_ref());
                        self.value(&full, at(&text, inner.span().start), value);
                    }
                }
                DeValue::Table(_) => self.problems.add(origin, unknown("section", name.get_ref(), sections())),
                _ => self.value(name.get_ref(), origin, value),
            }
        }
    }

    fn value(&mut self, name: &str, origin: Origin, value: &Spanned<DeValue<'_>>) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return self.problems.add(origin, unknown("key", name, KEYS.iter().map(|key| key.name)));
        };
        match (key.kind, value.get_ref()) {
            (ValueKind::Boolean, DeValue::Boolean(value)) => {
                self.set(key, origin, if *value { "true" } else { "false" })
            }
            (ValueKind::Boolean, other) => {
                self.problems.add(origin, format!("{name}: must be true or false, not {}", other.type_str()));
            }
            (_, DeValue::String(text)) => self.set(key, origin, text),
            (kind, other) => {
                let example = match kind {
                    ValueKind::Duration => " such as \"90s\"",
                    ValueKind::Size => " such as \"2GiB\"",
                    _ => "",
                };
                self.problems.add(origin, format!("{name}: must be a string{example}, not {}", other.type_str()));
            }
        }
    }

    /// `MAYFLY_LIMITS_IDLE` is `limits.idle`. Variables of no section of ours are somebody else's.
    fn variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix("MAYFLY_") else { return };
        let of = |key: &Key| key.name.replace('.', "_").to_ascii_uppercase();
        let origin = Origin::Environment(name.to_owned());
        if let Some(key) = KEYS.iter().find(|key| of(key) == rest) {
            self.set(key, origin, value);
        } else if sections().any(|section| rest.starts_with(&format!("{}_", section.to_ascii_uppercase()))) {
            let variables: Vec<String> = KEYS.iter().map(|key| format!("MAYFLY_{}", of(key))).collect();
            self.problems.add(origin, unknown("variable", name, variables.iter().map(String::as_str)));
        }
    }
}

fn combinations(config: &Config, problems: &mut Problems) {
    let limits = &config.limits;
    let origin = |name: &str| config.origins.get(name).cloned().unwrap_or(Origin::Default);
    let needed = limits.listening.saturating_add(limits.idle).saturating_add(limits.job);
    if needed > limits.lifetime {
        problems.add(
            origin("limits.lifetime"),
            format!(
                "limits.lifetime: {} is shorter than limits.listening, limits.idle and limits.job together ({}): a job would be cut short",
                humantime::format_duration(limits.lifetime),
                humantime::format_duration(needed)
            ),
        );
    }
    if config.interruption.kill_at >= config.interruption.stop_at {
        problems.add(
            origin("interruption.kill_at"),
            "interruption.kill_at: must be shorter than interruption.stop_at: the job is asked first, and killed later",
        );
    }
    if config.logs.sink == Sink::Directory && config.logs.directory.as_os_str().is_empty() {
        problems.add(origin("logs.sink"), "logs.sink: with \"directory\", logs.directory must say where logs go");
    }
    let has_file = !config.jit.file.as_os_str().is_empty();
    match config.platform {
        Platform::Local if config.runner.supervisor == Supervisor::Systemd => problems
            .add(origin("runner.supervisor"), "runner.supervisor: with platform = \"local\" it must be \"process\""),
        Platform::Ec2 if has_file => {
            problems.add(origin("jit.file"), "jit.file: only for platform = \"local\"; on EC2 use jit.parameter");
        }
        Platform::Ec2 if !template::is_of_one_instance(&config.jit.parameter, &config.class) => problems.add(
            origin("jit.parameter"),
            "jit.parameter: every instance of the class would read the same JIT configuration: put {instance_id} into it, or a \
             {tag:KEY} that is set for each instance",
        ),
        Platform::Local | Platform::Ec2 => {}
    }
}

/// Says what is unknown and, if something is near, what was probably meant.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|known| (strsim::levenshtein(name, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 3 => format!("unknown {what} {name}; did you mean {known}?"),
        _ => format!("unknown {what} {name}"),
    }
}
