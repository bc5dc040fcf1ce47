//! What this instance is.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use thiserror::Error;

use super::{ImdsClient, ImdsError};

const DOCUMENT: &str = "dynamic/instance-identity/document";
const LIFE_CYCLE: &str = "meta-data/instance-life-cycle";
/// The tag that an Auto Scaling group puts on its instances.
const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// An instance's name, such as `i-0123456789abcdef0`: `i-` and 8 to 17 hexadecimal digits, and never anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the id of an instance.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not the id of an instance")]
pub struct NotAnInstanceId(String);

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, NotAnInstanceId> {
        let digits = text.strip_prefix("i-").unwrap_or_default();
        let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hexadecimal && (8..=17).contains(&digits.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAnInstanceId(text.chars().take(40).collect()))
    }
}

/// Why an identity document cannot be relied on. Nothing of it is shown but the id or region that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DocumentError {
    /// There is none.
    #[error("there is no identity document (404)")]
    Missing,
    /// It is something else.
    #[error("the identity document is not a JSON object")]
    NotAnObject,
    /// A part of it that must be there is not.
    #[error("the identity document has no {0}")]
    No(&'static str),
    /// Its id is none.
    #[error(transparent)]
    BadId(#[from] NotAnInstanceId),
    /// Its region is none; the beginning of what it says.
    #[error("{0:?} is not a region")]
    BadRegion(String),
}

/// How the instance was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifeCycle {
    /// At the list price, for as long as wanted.
    OnDemand,
    /// From spare capacity, which may be taken back.
    Spot,
    /// Something else, such as `capacity-block`.
    Other(String),
}

impl fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Other(word) => word,
        })
    }
}

/// What this instance is. The id and the region are certain; what the document does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub instance_id: InstanceId,
    /// Such as `eu-central-1`.
    pub region: String,
    /// Such as `eu-central-1a`.
    pub availability_zone: Option<String>,
    /// The account's twelve digits.
    pub account_id: Option<String>,
    /// Such as `m7i.large`.
    pub instance_type: Option<String>,
    /// `x86_64` or `arm64`.
    pub architecture: Option<String>,
    /// Such as `ami-0fedcba9876543210`.
    pub image_id: Option<String>,
    /// When EC2 began to launch it (of a stopped instance: to start it again).
    pub pending_time: Option<SystemTime>,
}

/// What is good to know, and is asked for off the critical path. `None` is "there is none" as well as "no answer".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// How it was bought.
    pub life_cycle: Option<LifeCycle>,
    /// The Auto Scaling group, if it has one and its tags are in the metadata.
    pub group: Option<String>,
}

impl Details {
    /// Asks for both: two requests. Nothing here can fail; the budget bounds it.
    pub async fn fetch(client: &ImdsClient, budget: Duration) -> Self {
        let (life_cycle, group) = tokio::join!(client.get_text(LIFE_CYCLE, budget), client.tag(GROUP_TAG, budget));
        let told = |answer: Result<Option<String>, ImdsError>| answer.ok().flatten().filter(|text| !text.is_empty());
        let life_cycle = told(life_cycle).map(|text| match text.as_str() {
            "on-demand" => LifeCycle::OnDemand,
            "spot" => LifeCycle::Spot,
            _ => LifeCycle::Other(text),
        });
        Self { life_cycle, group: told(group) }
    }
}

impl Identity {
    /// Reads the identity document: one request after the session token's.
    ///
    /// # Errors
    /// [`ImdsError::BadIdentity`] for a document without a proper id and region, and those of [`ImdsClient::get`].
    pub async fn fetch(client: &ImdsClient, budget: Duration) -> Result<Self, ImdsError> {
        let request = client.asking(DOCUMENT);
        let bad = |reason| ImdsError::BadIdentity { request: request.clone(), reason };
        let text = client.get_text(DOCUMENT, budget).await?;
        let text = text.ok_or_else(|| bad(DocumentError::Missing))?;
        Self::of_document(&text).map_err(bad)
    }

    /// Reads the identity document.
    fn of_document(text: &str) -> Result<Self, DocumentError> {
        let Ok(Value::Object(document)) = serde_json::from_str(text) else {
            return Err(DocumentError::NotAnObject);
        };
        let field = |key: &str| string_of(&document, key);
        let instance_id = field("instanceId").ok_or(DocumentError::No("instanceId"))?.parse()?;
        let region = field("region").ok_or(DocumentError::No("region"))?;
        if !is_region(&region) {
            return Err(DocumentError::BadRegion(region.chars().take(40).collect()));
        }
        Ok(Self {
            instance_id,
            region,
            availability_zone: field("availabilityZone"),
            account_id: field("accountId"),
            instance_type: field("instanceType"),
            architecture: field("architecture"),
            image_id: field("imageId"),
            pending_time: field("pendingTime").and_then(|time| humantime::parse_rfc3339(&time).ok()),
        })
    }
}

fn string_of(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether it can be part of a host name: what is made of it goes into URLs.
fn is_region(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_proper_instance_ids_pass() {
        for good in ["i-12345678", "i-0123456789abcdef0"] {
            assert_eq!(good.parse::<InstanceId>().map(|id| id.to_string()).as_deref(), Ok(good));
        }
        let bad =
            ["", "i-", "i-1234567", "i-0123456789abcdef01", "i-0123456G", "I-12345678", "mi-12345678", "i-1234567 "];
        for bad in bad {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn what_is_optional_may_be_null_or_strange() {
        let text = r#"{"instanceId":"i-12345678","region":"us-west-2","accountId":5,"imageId":null,"pendingTime":"x"}"#;
        let identity = Identity::of_document(text).map(|id| (id.account_id, id.image_id, id.pending_time));
        assert_eq!(identity, Ok((None, None, None)));
    }

    proptest! {
        #[test]
        fn any_document_gives_a_proper_id_or_an_error(id in "(i-)?[0-9a-g]{0,19}", region in ".{0,12}") {
            let text = serde_json::json!({ "instanceId": id, "region": region }).to_string();
            if let Ok(identity) = Identity::of_document(&text) {
                prop_assert!((10..=19).contains(&identity.instance_id.as_str().len()));
                prop_assert!(!identity.region.contains(['/', '.', '@', ' ']) && !identity.region.is_empty());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Identity::of_document(&text);
        }
    }
}
