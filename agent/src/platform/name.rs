//! The name of this instance's parameter: `jit.parameter` with its placeholders filled in.
//!
//! A launcher can tag an instance only once it has its id, and the metadata shows a tag some seconds later: a tag that is
//! not there is waited for, but not for long.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::ec2::Ec2;
use super::error::Ec2Error;
use super::imds::ImdsError;
use mayfly_core::config::template::{self, Part, TemplateError};

/// How long a tag may come later than the instance.
const TAG_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked for.
const TAG_INTERVAL: Duration = Duration::from_secs(2);

/// How long one poll may take.
const TAG_BUDGET: Duration = Duration::from_secs(2);

/// Where the metadata service lists the keys of the instance's tags; nowhere, if its tags are not in the metadata.
const TAG_KEYS: &str = "meta-data/tags/instance";

/// Why the parameter's name is not known.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// `jit.parameter` or `class` is no template.
    #[error("jit.parameter cannot be filled in: {0}")]
    Template(#[from] TemplateError),
    /// The name is none that SSM knows.
    #[error("jit.parameter cannot be filled in: the name {name:?}: {error}")]
    NotAName {
        /// All placeholders filled in.
        name: String,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// A tag's value cannot be part of a name.
    #[error("jit.parameter cannot be filled in: the instance tag {key}: {error}")]
    TagValue {
        /// The tag.
        key: String,
        /// What is wrong with its value, without the value.
        error: TemplateError,
    },
    /// An instance tag is not there.
    #[error("jit.parameter cannot be filled in: the instance tag {key} is not there: {advice}")]
    NoTag {
        /// The tag.
        key: String,
        /// What a person has to change.
        advice: &'static str,
    },
    /// The metadata service did not say whether a tag is there: no answer is not "no such tag".
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    /// The instance does not know its id.
    #[error(transparent)]
    Instance(#[from] Ec2Error),
}

impl Ec2 {
    /// The parameter's name, once it is known; till then what the configuration says.
    pub(super) fn shown_parameter(&self) -> &str {
        self.name.get().map_or(&self.settings.parameter, String::as_str)
    }

    /// The parameter's name. Tags are waited for no longer than `timeout`.
    pub(super) async fn parameter(&self, timeout: Duration) -> Result<&str, NameError> {
        self.name.get_or_try_init(|| self.fill_parameter(timeout)).await.map(String::as_str)
    }

    /// Fills the class in, if that takes no waiting: for figures, which go on without.
    pub(super) async fn learn_class(&self) {
        if self.class.get().is_some() {
            return;
        }
        let Ok(parts) = template::parse(&self.settings.class) else { return };
        let mut class = String::new();
        for part in parts {
            match part {
                Part::Text(text) => class.push_str(&text),
                Part::Tag(key) => match self.imds.tag(&key, TAG_BUDGET).await {
                    Ok(Some(value)) if template::check_value(&value).is_ok() => class.push_str(&value),
                    _ => return,
                },
                Part::InstanceId | Part::Class => return,
            }
        }
        let _ = self.class.set(class);
    }

    async fn fill_parameter(&self, timeout: Duration) -> Result<String, NameError> {
        let until = Instant::now() + timeout.min(self.scaled(TAG_TIMEOUT));
        let id = self.known_id().await?;
        let class = template::parse(&self.settings.class)?;
        let parts = template::parse(&self.settings.parameter)?;
        let parts = parts.into_iter().flat_map(|part| if part == Part::Class { class.clone() } else { vec![part] });
        let mut name = String::new();
        for part in parts {
            match part {
                Part::Text(text) => name.push_str(&text),
                Part::InstanceId => name.push_str(id.as_str()),
                Part::Tag(key) => name.push_str(&self.tag_value(&key, until).await?),
                Part::Class => return Err(TemplateError::ClassInClass.into()),
            }
        }
        match template::check_name(&name) {
            Ok(()) => Ok(name),
            Err(error) => Err(NameError::NotAName { name, error }),
        }
    }

    /// The name of the log group, with its placeholders filled in. What is not there within `patience` is "default": lines go
    /// somewhere.
    pub async fn log_group(&self, group: &str, patience: Duration) -> String {
        let until = Instant::now() + patience.min(self.scaled(TAG_TIMEOUT));
        let class = template::parse(&self.settings.class).unwrap_or_default();
        let parts = template::parse(group).unwrap_or_default();
        let parts = parts.into_iter().flat_map(|part| if part == Part::Class { class.clone() } else { vec![part] });
        let mut name = String::new();
        for part in parts {
            match part {
                Part::Text(text) => name.push_str(&text),
                Part::InstanceId => name.push_str(self.id().map_or("unknown", |id| id.as_str())),
                Part::Tag(key) => name.push_str(&self.tag_for_group(&key, until).await),
                Part::Class => {}
            }
        }
        name
    }

    async fn tag_for_group(&self, key: &str, until: Instant) -> String {
        loop {
            let why = match self.imds.tag(key, TAG_BUDGET).await {
                Ok(Some(value)) if !value.is_empty() => match template::check_value(&value) {
                    Ok(()) => return value,
                    Err(error) => error.to_string(),
                },
                Ok(_) if Instant::now() >= until => self.why_no_tag().await.to_owned(),
                Err(error) if Instant::now() >= until => error.to_string(),
                Ok(_) | Err(_) => {
                    sleep(self.scaled(TAG_INTERVAL).min(until.saturating_duration_since(Instant::now()))).await;
                    continue;
                }
            };
            warn!("logs.group needs the instance tag {key}, and \"default\" takes its place: {why}");
            return "default".to_owned();
        }
    }

    /// An instance tag that can be part of a parameter's name.
    async fn tag_value(&self, key: &str, until: Instant) -> Result<String, NameError> {
        let mut told = false;
        loop {
            let last = match self.imds.tag(key, TAG_BUDGET).await {
                Ok(Some(value)) if !value.is_empty() => {
                    let checked = template::check_value(&value);
                    return checked.map(|()| value).map_err(|error| NameError::TagValue { key: key.to_owned(), error });
                }
                Ok(_) => NameError::NoTag { key: key.to_owned(), advice: self.why_no_tag().await },
                Err(error) => error.into(),
            };
            if Instant::now() >= until {
                return Err(last);
            }
            if !told {
                info!("jit.parameter needs the instance tag {key}, which the metadata does not show: it is waited for");
                told = true;
            }
            sleep(self.scaled(TAG_INTERVAL).min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// What a person has to change so that a tag is there.
    async fn why_no_tag(&self) -> &'static str {
        match self.imds.get_text(TAG_KEYS, TAG_BUDGET).await {
            Ok(Some(_)) => {
                "other tags are in the instance metadata, so whoever launches the instance has not set this one"
            }
            Ok(None) => {
                "no tag is in the instance metadata: set InstanceMetadataTags=enabled in the launch template's metadata \
                 options"
            }
            Err(error) => {
                warn!("which tags there are is not known: {error}");
                "see that it is set, and InstanceMetadataTags=enabled in the launch template"
            }
        }
    }
}
