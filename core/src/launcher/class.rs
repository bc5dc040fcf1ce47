//! A runner class: which jobs are its own, and within which bounds instances are launched for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::JobSignal;

/// The longest text of all labels of a job: a tag of its instance holds it.
pub const LONGEST_LABELS: usize = 256;

/// Whose runners a class's runners are on GitHub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// An organisation, by its login.
    Organization(String),
    /// One repository, `owner/name`.
    Repository(String),
}

impl Scope {
    /// Whether jobs of this repository can run on such runners.
    #[must_use]
    pub fn holds(&self, repository: &str) -> bool {
        match self {
            Self::Organization(login) => {
                repository.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(login))
            }
            Self::Repository(name) => name.eq_ignore_ascii_case(repository),
        }
    }
}

/// What happens to a job for which every launch was in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenSpent {
    /// Its workflow run is cancelled, so that it does not wait for a day.
    Cancel,
    /// A check run on its commit says why; GitHub fails the job after 24 hours.
    #[default]
    Annotate,
    /// Only the log says so.
    Log,
}

/// A runner class, as far as decisions go; what a provider needs of it is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// Its name: a tag of its instances, and the beginning of its runners' names.
    pub name: String,
    /// The label sets of which a job must have exactly one, in any order; lower case.
    pub labels: Vec<BTreeSet<String>>,
    /// The `key=value` labels that a job may have besides: key to patterns of values (`*` for any text).
    pub values: BTreeMap<String, Vec<String>>,
    /// Whose runners they are.
    pub scope: Scope,
    /// Which App speaks for it: an index into the settings.
    pub app: usize,
    /// Patterns of `owner/name` whose jobs it takes; all of its scope where there is none.
    pub repositories: Vec<String>,
    /// Whether it takes jobs of public repositories, where strangers' pull requests may run.
    pub public: bool,
    /// Whether its runners may take jobs of another class whose label set is part of one of its own.
    pub takes_smaller: bool,
    /// The most instances at once.
    pub max: u32,
    /// The most instances of `max` that one repository gets while another one waits, in percent (1 to 100).
    pub share: u32,
    /// The most instances that are launched for one job (1 or more).
    pub launches: u32,
    /// How long a job is tried for where nothing can be launched.
    pub patience: Duration,
    /// What happens after that.
    pub when_spent: WhenSpent,
    /// How many ways to launch there are (purchase option, types, region), tried in this order; 1 or more.
    pub candidates: u8,
    /// How long an instance may take from its launch to its first sign.
    pub phone_in: Duration,
    /// How long an instance may live; longer than the agent's own `limits.lifetime`.
    pub lifetime: Duration,
}

/// Whose a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the class with this index.
    Class(usize),
    /// Some label is nobody's here: left alone.
    Foreign,
    /// Its labels are a class's, but the class does not take it: why.
    Refused(String),
}

/// Finds the class of a job: the first one whose labels are the job's and which may take it. What is foreign wins over nothing,
/// what is refused over foreign.
#[must_use]
pub fn class_of(classes: &[Class], signal: &JobSignal) -> Verdict {
    let mut verdict = Verdict::Foreign;
    for (index, class) in classes.iter().enumerate() {
        match class.judge(signal) {
            Ok(()) => return Verdict::Class(index),
            Err(Some(why)) if verdict == Verdict::Foreign => {
                verdict = Verdict::Refused(format!("class {}: {why}", class.name));
            }
            Err(_) => {}
        }
    }
    verdict
}

impl Class {
    /// A class with the defaults of the configuration.
    #[must_use]
    pub fn new(name: &str, labels: &[&str], scope: Scope) -> Self {
        Self {
            name: name.to_owned(),
            labels: vec![labels.iter().map(|label| (*label).to_owned()).collect()],
            values: BTreeMap::new(),
            scope,
            app: 0,
            repositories: Vec::new(),
            public: false,
            takes_smaller: false,
            max: 10,
            share: 100,
            launches: 3,
            patience: Duration::from_secs(3600),
            when_spent: WhenSpent::default(),
            candidates: 1,
            phone_in: Duration::from_secs(600),
            lifetime: Duration::from_secs(8 * 3600),
        }
    }

    /// `Err(None)`: the labels are not its own; `Err(Some)`: they are, but it does not take the job.
    fn judge(&self, signal: &JobSignal) -> Result<(), Option<String>> {
        let labels: BTreeSet<String> = signal.labels.iter().map(|label| label.to_lowercase()).collect();
        let (valued, plain): (BTreeSet<String>, BTreeSet<String>) =
            labels.into_iter().partition(|label| self.is_valued(label));
        if !self.labels.contains(&plain) {
            return Err(None);
        }
        if let Some(label) = valued.iter().find(|label| !self.allows(label)) {
            return Err(Some(format!("the label {label:?} is not among the values that it allows")));
        }
        if label_key(&signal.labels).len() > LONGEST_LABELS {
            return Err(Some(format!("its labels are longer than {LONGEST_LABELS} characters together")));
        }
        if !self.scope.holds(&signal.repository) {
            return Err(Some(format!("{} is not in its scope", signal.repository)));
        }
        if !self.repositories.is_empty()
            && !self.repositories.iter().any(|pattern| matches(pattern, &signal.repository))
        {
            return Err(Some(format!("{} is not among its repositories", signal.repository)));
        }
        if !self.public && signal.private == Some(false) {
            return Err(Some(format!("{} is public, and the class does not say public = true", signal.repository)));
        }
        Ok(())
    }

    fn is_valued(&self, label: &str) -> bool {
        label.split_once('=').is_some_and(|(key, _)| self.values.contains_key(key))
    }

    fn allows(&self, label: &str) -> bool {
        let Some((key, value)) = label.split_once('=') else { return false };
        self.values.get(key).is_some_and(|patterns| patterns.iter().any(|pattern| matches(pattern, value)))
    }
}

/// Whether a text fits a pattern in which `*` stands for any text; case does not count.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for piece in pieces {
        // Each piece is taken where it first comes; the last one must be the end.
        if let Some(earlier) = last.replace(piece) {
            let Some(place) = rest.find(earlier) else { return false };
            rest = rest.get(place + earlier.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// Pairs of label sets of which the runner of one could take the jobs of the other: `(owner of the smaller, owner of the larger,
/// smaller set)`. GitHub gives a job to any runner that has all of its labels.
#[must_use]
pub fn contained(classes: &[Class]) -> Vec<(&Class, &Class, &BTreeSet<String>)> {
    let mut found = Vec::new();
    for larger in classes.iter().filter(|class| !class.takes_smaller) {
        for smaller in classes.iter().filter(|class| class.scope == larger.scope) {
            for set in &smaller.labels {
                if larger
                    .labels
                    .iter()
                    .any(|other| set.is_subset(other) && (set != other || smaller.name < larger.name))
                {
                    found.push((smaller, larger, set));
                }
            }
        }
    }
    found
}

/// A job's labels as one text: lower case, in order, without doubles. The same text means the same runners.
#[must_use]
pub fn label_key(labels: &[String]) -> String {
    let labels: BTreeSet<String> = labels.iter().map(|label| label.to_lowercase()).collect();
    labels.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::{JobId, JobStatus, Moment, RunId};
    use super::*;

    pub(crate) fn class(name: &str, labels: &[&str]) -> Class {
        Class::new(name, labels, Scope::Organization("acme".to_owned()))
    }

    pub(crate) fn queued(job: u64, labels: &[&str]) -> JobSignal {
        JobSignal {
            job: JobId(job),
            run: RunId(job),
            repository: "acme/shop".to_owned(),
            private: Some(true),
            name: "build".to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            status: JobStatus::Queued,
            runner: None,
            created_at: Moment(0),
            head_sha: "0".repeat(40),
        }
    }

    #[test]
    fn a_job_is_of_the_class_whose_labels_are_exactly_its_own_in_any_order_and_case() {
        let classes = [class("gpu", &["self-hosted", "ec2", "gpu"]), class("plain", &["self-hosted", "ec2"])];
        let of = |labels: &[&str]| class_of(&classes, &queued(1, labels));
        assert_eq!(of(&["EC2", "Self-Hosted"]), Verdict::Class(1));
        assert_eq!(of(&["gpu", "ec2", "self-hosted", "ec2"]), Verdict::Class(0));
        for foreign in [&["self-hosted"][..], &["ubuntu-latest"], &["self-hosted", "ec2", "k8s"], &[]] {
            assert_eq!(
                of(foreign),
                Verdict::Foreign,
                "an instance would be launched for {foreign:?}, which is others' business"
            );
        }
    }

    #[test]
    fn labels_with_values_are_taken_only_from_the_list() {
        let mut plain = class("plain", &["self-hosted", "ec2"]);
        plain.values.insert("size".to_owned(), vec!["large".to_owned(), "x*".to_owned()]);
        let classes = [plain];
        let of = |label: &str| class_of(&classes, &queued(1, &["self-hosted", "ec2", label]));
        assert_eq!(of("size=large"), Verdict::Class(0));
        assert_eq!(of("SIZE=XLarge"), Verdict::Class(0));
        assert!(
            matches!(of("size=metal"), Verdict::Refused(why) if why.contains("size=metal")),
            "a stranger chooses the bill"
        );
        assert_eq!(of("disk=large"), Verdict::Foreign);
    }

    #[test]
    fn public_repositories_and_strangers_are_refused_unless_the_class_says_so() {
        let mut classes = vec![class("plain", &["ec2"])];
        let mut signal = queued(1, &["ec2"]);
        signal.private = Some(false);
        assert!(matches!(class_of(&classes, &signal), Verdict::Refused(why) if why.contains("public")));
        classes[0].public = true;
        assert_eq!(class_of(&classes, &signal), Verdict::Class(0));
        classes[0].repositories = vec!["acme/s*".to_owned()];
        assert_eq!(class_of(&classes, &signal), Verdict::Class(0));
        signal.repository = "acme/bank".to_owned();
        assert!(matches!(class_of(&classes, &signal), Verdict::Refused(_)));
        signal.repository = "evil/shop".to_owned();
        assert!(matches!(class_of(&classes, &signal), Verdict::Refused(_)), "another owner's job was taken");
    }

    #[test]
    fn a_class_whose_runners_would_take_anothers_jobs_is_found() {
        let mut classes = vec![class("gpu", &["self-hosted", "ec2", "gpu"]), class("plain", &["self-hosted", "ec2"])];
        let found = contained(&classes);
        assert_eq!(found.len(), 1, "a gpu machine would take plain jobs, and nobody was told");
        assert_eq!((&*found[0].0.name, &*found[0].1.name), ("plain", "gpu"));
        classes[0].takes_smaller = true;
        assert!(contained(&classes).is_empty());
    }

    #[test]
    fn patterns_stand_for_any_text() {
        for (pattern, text) in
            [("*", ""), ("*", "x"), ("a*c", "abc"), ("a*c*", "acx"), ("acme/*", "acme/shop"), ("a*b*c", "aXbYbc")]
        {
            assert!(matches(pattern, text), "{pattern} does not match {text}");
        }
        for (pattern, text) in
            [("", "x"), ("a", "ab"), ("a*c", "ab"), ("acme/*", "acmeX/shop"), ("a*a", "a"), ("*a*b", "ba")]
        {
            assert!(!matches(pattern, text), "{pattern} matches {text}");
        }
    }
}
