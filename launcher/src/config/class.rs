//! One `[[class]]`: its jobs, its bounds, and how it launches.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mayfly_core::launcher::{Class, Scope, WhenSpent};

use super::reader::Section;
use super::{App, Launching};

/// Where instances come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon EC2.
    Ec2(Ec2),
    /// This machine: each job is a `mayfly run`.
    Local(Local),
}

/// `[class.ec2]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ec2 {
    /// The launch template: `lt-…`, or its name.
    pub template: String,
    /// Its version: a number, `$Default` or `$Latest`.
    pub version: String,
    /// How it is asked for.
    pub method: Method,
    /// Whether the JIT configuration's parameter has the instance's ticket in its name (the agent's `jit.parameter` must agree).
    pub ticket: bool,
    /// The KMS key of the parameter; none for the account's own.
    pub kms_key: Option<String>,
    /// The ways to launch, in the order in which they are tried.
    pub ways: Vec<Way>,
}

/// Which call launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `CreateFleet` of the type *instant*: EC2 chooses among types and subnets.
    Fleet,
    /// `RunInstances`, with the first type and subnet.
    RunInstances,
}

/// How capacity is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// Spot.
    Spot,
    /// On-demand.
    OnDemand,
}

/// One `[[class.ec2.way]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The region.
    pub region: String,
    /// How capacity is bought.
    pub market: Market,
    /// Instance types; none for the template's.
    pub types: Vec<String>,
    /// Subnets; none for the template's.
    pub subnets: Vec<String>,
}

/// `[class.local]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The `mayfly` binary.
    pub mayfly: PathBuf,
    /// Where GitHub's runner is unpacked; each job gets a copy of it.
    pub runner: PathBuf,
    /// Where the copies and the records go.
    pub directory: PathBuf,
}

pub(super) fn read(section: Section<'_>, apps: &[App]) -> (Class, Launching) {
    let name = section.needed("name");
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || name.len() > 40 {
        section.problem("name", "at most 40 letters, digits and hyphens: it begins the names of its runners");
    }
    let app = app_of(&section, apps);
    let group = section.text("runner_group").unwrap_or_default();
    let default_group = section.flag("default_runner_group");
    let scope = scope_of(&section);
    if let Scope::Organization(_) = scope
        && group.is_empty()
        && !default_group
    {
        let why = "the default group is open to every repository: name a group, or say default_runner_group = true";
        section.problem("runner_group", why);
    }
    let provider = provider_of(&section);
    let candidates = match &provider {
        Provider::Ec2(ec2) => u8::try_from(ec2.ways.len()).unwrap_or(u8::MAX),
        Provider::Local(_) => 1,
    };
    let default = Class::new(&name, &[], scope);
    let class = Class {
        labels: labels_of(&section),
        values: section.map("values").into_iter().map(|(key, values)| (key.to_lowercase(), values)).collect(),
        app,
        repositories: section.texts("repositories"),
        public: section.flag("public"),
        takes_smaller: section.flag("takes_smaller"),
        max: section.number("max", default.max, 1..=10_000),
        share: section.number("share_per_repository", default.share, 1..=100),
        launches: section.number("launches_per_job", default.launches, 1..=20),
        patience: section.duration("patience", default.patience),
        when_spent: section.word(
            "when_spent",
            default.when_spent,
            &[("annotate", WhenSpent::Annotate), ("cancel", WhenSpent::Cancel), ("log", WhenSpent::Log)],
        ),
        candidates,
        phone_in: section.duration("phone_in", default.phone_in),
        lifetime: section.duration("lifetime", default.lifetime),
        ..default
    };
    section.finish();
    (class, Launching { group, default_group, provider })
}

fn app_of(section: &Section<'_>, apps: &[App]) -> usize {
    let Some(name) = section.text("app") else { return 0 };
    apps.iter().position(|app| app.name == name).unwrap_or_else(|| {
        section.problem("app", format!("there is no [[app]] with the name {name:?}"));
        0
    })
}

fn scope_of(section: &Section<'_>) -> Scope {
    match (section.text("organization"), section.text("repository")) {
        (Some(login), None) => Scope::Organization(login),
        (None, Some(name)) => {
            if name.split('/').filter(|part| !part.is_empty()).count() != 2 {
                section.problem("repository", format!("{name:?} is not owner/name"));
            }
            Scope::Repository(name)
        }
        _ => {
            section.problem("organization", "say either organization = \"LOGIN\" or repository = \"OWNER/NAME\"");
            Scope::Organization(String::new())
        }
    }
}

fn labels_of(section: &Section<'_>) -> Vec<BTreeSet<String>> {
    let lists = section.lists("labels");
    if lists.is_empty() {
        section.problem("labels", "say for which runs-on it is, such as [[\"self-hosted\", \"ec2\"]]");
    }
    let bad = |label: &String| label.is_empty() || label.len() > 256 || label.contains(',') || label.contains('=');
    if let Some(label) = lists.iter().flatten().find(|label| bad(label)) {
        section.problem("labels", format!("{label:?} is not a label: no comma, no =, 1 to 256 characters"));
    }
    if lists.iter().any(|list| list.is_empty() || list.len() > 100) {
        section.problem("labels", "a label set has 1 to 100 labels");
    }
    lists.iter().map(|list| list.iter().map(|label| label.to_lowercase()).collect()).collect()
}

fn provider_of(section: &Section<'_>) -> Provider {
    match (section.section("ec2"), section.section("local")) {
        (Some(ec2), None) => Provider::Ec2(ec2_of(ec2)),
        (None, Some(local)) => Provider::Local(local_of(local)),
        _ => {
            section.problem("name", "the class needs either [class.ec2] or [class.local]");
            Provider::Local(Local { mayfly: PathBuf::new(), runner: PathBuf::new(), directory: PathBuf::new() })
        }
    }
}

fn ec2_of(section: Section<'_>) -> Ec2 {
    let region = section.text("region").unwrap_or_default();
    let mut ways: Vec<Way> = section.sections("way").into_iter().map(|way| way_of(way, &region)).collect();
    if ways.is_empty() {
        ways.push(Way { region, market: Market::OnDemand, types: Vec::new(), subnets: Vec::new() });
    }
    if ways.iter().any(|way| way.region.is_empty()) {
        section.problem("region", "say in which region, here or in every [[class.ec2.way]]");
    }
    if ways.len() > 32 {
        section.problem("way", "at most 32");
    }
    let ec2 = Ec2 {
        template: section.needed("launch_template"),
        version: section.text("version").unwrap_or_else(|| "$Default".to_owned()),
        method: section.word(
            "method",
            Method::Fleet,
            &[("fleet", Method::Fleet), ("run-instances", Method::RunInstances)],
        ),
        ticket: section.word("parameter", true, &[("ticket", true), ("instance", false)]),
        kms_key: section.text("kms_key"),
        ways,
    };
    section.finish();
    ec2
}

fn way_of(section: Section<'_>, region: &str) -> Way {
    let way = Way {
        region: section.text("region").unwrap_or_else(|| region.to_owned()),
        market: section.word("market", Market::OnDemand, &[("spot", Market::Spot), ("on-demand", Market::OnDemand)]),
        types: section.texts("types"),
        subnets: section.texts("subnets"),
    };
    section.finish();
    way
}

fn local_of(section: Section<'_>) -> Local {
    let path =
        |key: &'static str, default: &str| PathBuf::from(section.text(key).unwrap_or_else(|| default.to_owned()));
    let local = Local {
        mayfly: path("mayfly", "mayfly"),
        runner: path("runner", "/opt/actions-runner"),
        directory: path("directory", "/var/lib/mayfly-launcher"),
    };
    section.finish();
    local
}
