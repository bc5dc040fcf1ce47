//! The name of this instance's parameter: `jit.parameter` with its placeholders filled in.
//!
//! A launcher can tag an instance only once it has its id, and the metadata shows a tag some seconds later: a tag that is
//! not there is waited for, but not for long.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::ec2::{Ec2, Refused, unavailable};
use super::imds::ImdsError;
use mayfly_core::config::template::{self, Part};
use mayfly_core::lifecycle::Outcome;

/// How long a tag may come later than the instance.
const TAG_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked for.
const TAG_INTERVAL: Duration = Duration::from_secs(2);

/// How long one poll may take.
const TAG_BUDGET: Duration = Duration::from_secs(2);

/// Where the metadata service lists the keys of the instance's tags; nowhere, if its tags are not in the metadata.
const TAG_KEYS: &str = "meta-data/tags/instance";

impl Ec2 {
    /// The parameter's name, once it is known; till then what the configuration says.
    pub(super) fn shown_parameter(&self) -> &str {
        self.name.get().map_or(&self.settings.parameter, String::as_str)
    }

    /// The parameter's name. Tags are waited for no longer than `timeout`.
    pub(super) async fn parameter(&self, timeout: Duration) -> Result<&str, Refused> {
        self.name.get_or_try_init(|| self.fill_parameter(timeout)).await.map(String::as_str)
    }

    async fn fill_parameter(&self, timeout: Duration) -> Result<String, Refused> {
        let until = Instant::now() + timeout.min(self.scaled(TAG_TIMEOUT));
        let id = self.known_id().await.map_err(unavailable)?;
        let parse = |text: &str| template::parse(text).map_err(|error| wrong(&error));
        let class = parse(&self.settings.class)?;
        let parts = parse(&self.settings.parameter)?;
        let parts = parts.into_iter().flat_map(|part| if part == Part::Class { class.clone() } else { vec![part] });
        let mut name = String::new();
        for part in parts {
            match part {
                Part::Text(text) => name.push_str(&text),
                Part::InstanceId => name.push_str(id.as_str()),
                Part::Tag(key) => name.push_str(&self.tag_value(&key, until).await?),
                Part::Class => return Err(wrong("{class} cannot be part of itself")),
            }
        }
        template::check_name(&name).map_err(|error| wrong(&format!("the name {name:?}: {error}")))?;
        Ok(name)
    }

    /// An instance tag that can be part of a parameter's name.
    async fn tag_value(&self, key: &str, until: Instant) -> Result<String, Refused> {
        let mut told = false;
        loop {
            let last = match self.imds.tag(key, TAG_BUDGET).await {
                Ok(Some(value)) if !value.is_empty() => {
                    let checked = template::check_value(&value);
                    return checked.map(|()| value).map_err(|error| wrong(&format!("the instance tag {key}: {error}")));
                }
                Ok(_) => wrong(&format!("the instance tag {key} is not there: {}", self.why_no_tag().await)),
                Err(error) => unknown(&error),
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

fn wrong(detail: &str) -> Refused {
    (Outcome::ConfigInvalid, format!("jit.parameter cannot be filled in: {detail}"))
}

/// No answer is not "no such tag".
fn unknown(error: &ImdsError) -> Refused {
    (Outcome::ImdsUnavailable, error.to_string())
}
