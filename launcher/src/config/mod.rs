//! The launcher's configuration, `/etc/mayfly/launcher.toml`: Apps, runner classes, and how each class launches.

mod class;
mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mayfly_core::config::{Origin, Problems};
use mayfly_core::launcher::class::contained;
use mayfly_core::launcher::{Class, Settings};
use toml::de::DeTable;

pub use class::{Ec2, Local, Market, Method, Provider, Way};
use reader::{Reader, Section};

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/mayfly/launcher.toml";

/// A GitHub App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// What classes call it.
    pub name: String,
    /// Its client id, or its App id.
    pub id: String,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// What its webhooks are signed with; none for an App without webhooks.
    pub webhook_secret: Option<PathBuf>,
    /// The REST API: `https://api.github.com`, `https://HOST/api/v3` of a GitHub Enterprise Server, `https://api.SUBDOMAIN.ghe.com`.
    pub api: String,
}

/// What a class needs beside what is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launching {
    /// The runner group, by name.
    pub group: String,
    /// Whether the default group, which every repository may use, is allowed.
    pub default_group: bool,
    /// Where its instances come from.
    pub provider: Provider,
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the file is.
    pub path: PathBuf,
    /// Where webhooks, health and the page for people are served; `None` where nothing comes in.
    pub listen: Option<SocketAddr>,
    /// The file with the password of the page for people; none for no page.
    pub page_token: Option<PathBuf>,
    /// By what this launcher's instances are known: the value of the tag `mayfly:launcher`.
    pub name: String,
    /// The Apps.
    pub apps: Vec<App>,
    /// What is decided on.
    pub settings: Settings,
    /// How often AWS and GitHub are asked for lists.
    pub reconcile: Duration,
    /// One for each class of the settings.
    pub launching: Vec<Launching>,
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every problem there is.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let mut problems = Problems::default();
        problems.add(Origin::Default, format!("{}: cannot be read: {error}", path.display()));
        problems
    })?;
    parse(path, &text)
}

/// Checks a configuration's text.
///
/// # Errors
/// Every problem there is.
pub fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let reader = Reader::new(path, text);
    for error in errors {
        reader.problem_at(error.span().map_or(0, |span| span.start), error.message().to_owned());
    }
    let config = read(path, &reader.root(table.get_ref()), &reader);
    let problems = reader.into_problems();
    if problems.0.is_empty() { Ok(config) } else { Err(problems) }
}

fn read<'a>(path: &Path, root: &Section<'a>, reader: &'a Reader<'a>) -> Config {
    let listen = root.text("listen").filter(|text| !text.is_empty()).and_then(|text| {
        text.parse()
            .map_err(|_| root.problem("listen", format!("{text:?} is not an address such as \"127.0.0.1:8080\"")))
            .ok()
    });
    let name = root.text("name").unwrap_or_else(|| "mayfly".to_owned());
    let page_token = root.text("page_token").filter(|text| !text.is_empty()).map(PathBuf::from);
    let max = root.number("max", 100, 1..=10_000);
    let apps: Vec<App> = root.sections("app").into_iter().map(app).collect();
    if apps.is_empty() {
        reader.problem(1, "no [[app]]: the launcher speaks to GitHub as a GitHub App");
    }
    let sections = root.sections("class");
    if sections.is_empty() {
        reader.problem(1, "no [[class]]: there is nothing to launch");
    }
    let lines: Vec<usize> = sections.iter().map(Section::line).collect();
    let read: Vec<(Class, Launching)> = sections.into_iter().map(|section| class::read(section, &apps)).collect();
    let (classes, launching): (Vec<Class>, Vec<Launching>) = read.into_iter().unzip();
    together(&classes, &lines, reader);
    let mut reconcile = Duration::from_secs(60);
    let mut settings = Settings::new(classes, apps.len(), max);
    if let Some(limits) = root.section("limits") {
        settings.jit_per_minute = limits.number("jit_per_minute", settings.jit_per_minute, 1..=10_000);
        settings.stores_per_minute = limits.number("parameters_per_minute", settings.stores_per_minute, 1..=10_000);
        settings.launches_per_minute = limits.number("launches_per_minute", settings.launches_per_minute, 1..=10_000);
        settings.list_lag = limits.duration("list_lag", settings.list_lag);
        reconcile = limits.duration("reconcile", reconcile);
        limits.finish();
    }
    root.unknown();
    Config { path: path.to_owned(), listen, page_token, name, apps, settings, reconcile, launching }
}

fn app(section: Section<'_>) -> App {
    let path = |key: &'static str| section.text(key).filter(|text| !text.is_empty()).map(PathBuf::from);
    let api = section.text("api").unwrap_or_else(|| "https://api.github.com".to_owned());
    if !api.starts_with("https://") && !is_loopback(&api) {
        section.problem("api", format!("{api:?} does not begin with https://"));
    }
    let app = App {
        name: section.text("name").unwrap_or_else(|| "main".to_owned()),
        id: section.needed("id"),
        private_key: PathBuf::from(section.needed("private_key")),
        webhook_secret: path("webhook_secret"),
        api: api.trim_end_matches('/').to_owned(),
    };
    section.finish();
    app
}

/// Plain HTTP leaves the machine nowhere else.
fn is_loopback(url: &str) -> bool {
    url.strip_prefix("http://").is_some_and(|rest| rest.starts_with("127.0.0.1:") || rest.starts_with("localhost:"))
}

/// What no class can be told of alone.
fn together(classes: &[Class], lines: &[usize], reader: &Reader<'_>) {
    let line = |class: &Class| {
        let place = classes.iter().position(|other| std::ptr::eq(other, class));
        place.and_then(|place| lines.get(place)).copied().unwrap_or(1)
    };
    for (index, class) in classes.iter().enumerate() {
        if classes.iter().take(index).any(|other| other.name == class.name) {
            reader.problem(line(class), format!("there are two classes with the name {}", class.name));
        }
    }
    for (smaller, larger, set) in contained(classes) {
        let labels: Vec<&str> = set.iter().map(String::as_str).collect();
        let what =
            if smaller.name == larger.name { "another label set of its own" } else { "its runners have all labels" };
        reader.problem(
            line(larger),
            format!(
                "class {}: {what} of [{}] of class {}: GitHub would give it those jobs; give one of them a label that the other \
                 lacks, or say takes_smaller = true",
                larger.name,
                labels.join(", "),
                smaller.name
            ),
        );
    }
}
