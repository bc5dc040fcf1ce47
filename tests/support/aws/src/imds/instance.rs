//! The instance that the metadata describe, and the paths that follow from it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use serde_json::json;

use super::tree::Tree;

/// How the instance was bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifeCycle {
    /// At the list price, for as long as wanted.
    #[default]
    OnDemand,
    /// From spare capacity, which may be taken back.
    Spot,
}

/// Credentials of the instance role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// The session token.
    pub token: String,
    /// When they end.
    pub expiration: SystemTime,
    /// `Success`, or an error such as `AssumeRoleUnauthorizedAccess`.
    pub code: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            access_key_id: "ASIADOUBLEMAYFLY0001".to_owned(),
            secret_access_key: "not+a+real/secret0000000000000000000000".to_owned(),
            token: "session+token/of+a+double==".to_owned(),
            expiration: SystemTime::now() + Duration::from_secs(6 * 3600),
            code: "Success".to_owned(),
        }
    }
}

impl Credentials {
    pub(crate) fn document(&self) -> String {
        let document = json!({
            "Code": self.code,
            "LastUpdated": format_rfc3339_seconds(SystemTime::now()).to_string(),
            "Type": "AWS-HMAC",
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.token,
            "Expiration": format_rfc3339_seconds(self.expiration).to_string(),
        });
        format!("{document:#}")
    }
}

/// What the instance is. Start from [`Instance::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-` and hexadecimal digits.
    pub id: String,
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// Such as `eu-central-1`.
    pub region: String,
    /// Such as `eu-central-1a`.
    pub availability_zone: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// `amazonaws.com` or `amazonaws.com.cn`.
    pub domain: String,
    /// On demand or spot.
    pub life_cycle: LifeCycle,
    /// Whether the launch enabled tags in the metadata.
    pub tags_enabled: bool,
    /// The instance's tags.
    pub tags: BTreeMap<String, String>,
    /// The group it belongs to; shown as a tag and by its target state.
    pub auto_scaling_group: Option<String>,
    /// The image.
    pub image_id: String,
    /// The account's twelve digits.
    pub account_id: String,
    /// When EC2 started to make the instance.
    pub pending_time: SystemTime,
    /// The address inside the network.
    pub private_ip: String,
    /// The address outside, if it has one.
    pub public_ip: Option<String>,
    /// The hardware address.
    pub mac: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The role's name and credentials, if the instance has a role.
    pub role: Option<(String, Credentials)>,
    /// The user data as given, packed or not.
    pub user_data: Option<Vec<u8>>,
}

impl Default for Instance {
    fn default() -> Self {
        Self::new("i-0123456789abcdef0", "eu-central-1")
    }
}

impl Instance {
    /// An on-demand instance with a role and tags, in the first zone.
    pub fn new(id: &str, region: &str) -> Self {
        let (partition, domain) = if region.starts_with("cn-") {
            ("aws-cn", "amazonaws.com.cn")
        } else if region.starts_with("us-gov-") {
            ("aws-us-gov", "amazonaws.com")
        } else {
            ("aws", "amazonaws.com")
        };
        Self {
            id: id.to_owned(),
            instance_type: "m7i.large".to_owned(),
            region: region.to_owned(),
            availability_zone: format!("{region}a"),
            partition: partition.to_owned(),
            domain: domain.to_owned(),
            life_cycle: LifeCycle::default(),
            tags_enabled: true,
            tags: BTreeMap::new(),
            auto_scaling_group: None,
            image_id: "ami-0fedcba9876543210".to_owned(),
            account_id: "123456789012".to_owned(),
            pending_time: SystemTime::now() - Duration::from_secs(20),
            private_ip: "10.0.12.34".to_owned(),
            public_ip: None,
            mac: "06:12:34:56:78:9a".to_owned(),
            architecture: "x86_64".to_owned(),
            role: Some(("mayfly-runner".to_owned(), Credentials::default())),
            user_data: None,
        }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn tree(&self) -> io::Result<Tree> {
        let mut tree = Tree::default();
        self.basics(&mut tree);
        self.identity(&mut tree);
        if self.tags_enabled {
            for (key, value) in &self.all_tags() {
                check_tag_key(key)?;
                tree.set(&format!("meta-data/tags/instance/{key}"), value.clone());
            }
        }
        if let Some((role, credentials)) = &self.role {
            self.role_paths(&mut tree, role, credentials);
        }
        if let Some(user_data) = &self.user_data {
            tree.set("user-data", user_data.clone());
        }
        Ok(tree)
    }

    fn all_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        if let Some(group) = &self.auto_scaling_group {
            tags.insert("aws:autoscaling:groupName".to_owned(), group.clone());
        }
        tags
    }

    fn basics(&self, tree: &mut Tree) {
        let host = format!("ip-{}.{}.compute.internal", self.private_ip.replace('.', "-"), self.region);
        let life_cycle = match self.life_cycle {
            LifeCycle::OnDemand => "on-demand",
            LifeCycle::Spot => "spot",
        };
        let letter = self.availability_zone.bytes().last().unwrap_or(b'a');
        let zone_id = format!("{}-az{}", self.region, letter.wrapping_sub(b'a') + 1);
        for (path, value) in [
            ("ami-id", self.image_id.as_str()),
            ("ami-launch-index", "0"),
            ("ami-manifest-path", "(unknown)"),
            ("block-device-mapping/ami", "/dev/xvda"),
            ("block-device-mapping/root", "/dev/xvda"),
            ("events/maintenance/history", "[]"),
            ("events/maintenance/scheduled", "[]"),
            ("hostname", &host),
            ("instance-action", "none"),
            ("instance-id", &self.id),
            ("instance-life-cycle", life_cycle),
            ("instance-type", &self.instance_type),
            ("local-hostname", &host),
            ("local-ipv4", &self.private_ip),
            ("mac", &self.mac),
            ("placement/availability-zone", &self.availability_zone),
            ("placement/availability-zone-id", &zone_id),
            ("placement/region", &self.region),
            ("profile", "default-hvm"),
            ("reservation-id", "r-0a1b2c3d4e5f60718"),
            ("security-groups", "mayfly-runner"),
            ("services/domain", &self.domain),
            ("services/partition", &self.partition),
        ] {
            tree.set(&format!("meta-data/{path}"), value.to_owned());
        }
        let interface = format!("meta-data/network/interfaces/macs/{}", self.mac);
        for (item, value) in [
            ("device-number", "0"),
            ("interface-id", "eni-0a1b2c3d4e5f60718"),
            ("local-ipv4s", &self.private_ip),
            ("mac", &self.mac),
            ("owner-id", &self.account_id),
        ] {
            tree.set(&format!("{interface}/{item}"), value.to_owned());
        }
        if let Some(address) = &self.public_ip {
            tree.set("meta-data/public-ipv4", address.clone());
        }
        if self.auto_scaling_group.is_some() {
            tree.set("meta-data/autoscaling/target-lifecycle-state", "InService");
        }
    }

    fn identity(&self, tree: &mut Tree) {
        let document = json!({
            "accountId": self.account_id,
            "architecture": self.architecture,
            "availabilityZone": self.availability_zone,
            "billingProducts": null,
            "devpayProductCodes": null,
            "marketplaceProductCodes": null,
            "imageId": self.image_id,
            "instanceId": self.id,
            "instanceType": self.instance_type,
            "kernelId": null,
            "pendingTime": format_rfc3339_seconds(self.pending_time).to_string(),
            "privateIp": self.private_ip,
            "ramdiskId": null,
            "region": self.region,
            "version": "2017-09-30",
        });
        let identity = "dynamic/instance-identity";
        tree.set(&format!("{identity}/document"), format!("{document:#}"));
        // Not signatures of anything: only their place and alphabet are real.
        let filler = "VGhpcyBpcyBub3QgYSBzaWduYXR1cmU".repeat(4);
        tree.set(&format!("{identity}/pkcs7"), filler.clone());
        tree.set(&format!("{identity}/signature"), filler);
    }

    fn role_paths(&self, tree: &mut Tree, role: &str, credentials: &Credentials) {
        let info = json!({
            "Code": "Success",
            "LastUpdated": format_rfc3339_seconds(SystemTime::now()).to_string(),
            "InstanceProfileArn": format!(
                "arn:{}:iam::{}:instance-profile/{role}", self.partition, self.account_id
            ),
            "InstanceProfileId": "AIPADOUBLEMAYFLY0001",
        });
        tree.set("meta-data/iam/info", format!("{info:#}"));
        tree.set(&format!("meta-data/iam/security-credentials/{role}"), credentials.document());
    }
}

/// EC2 refuses to launch with tags in the metadata whose keys do not fit a path.
pub(crate) fn check_tag_key(key: &str) -> io::Result<()> {
    let fits = !key.is_empty()
        && !matches!(key, "." | ".." | "_index")
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c));
    if fits {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("EC2 refuses the tag key {key:?} while tags in the metadata are enabled"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_agrees_with_the_other_values() {
        let tree = Instance::default().tree().unwrap();
        let document = tree.get("dynamic/instance-identity/document").unwrap();
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        for (path, key) in [
            ("instance-id", "instanceId"),
            ("placement/region", "region"),
            ("placement/availability-zone", "availabilityZone"),
            ("ami-id", "imageId"),
            ("local-ipv4", "privateIp"),
        ] {
            let value = tree.get(&format!("meta-data/{path}")).unwrap();
            assert_eq!(document[key].as_str().unwrap().as_bytes(), value, "{key}");
        }
    }

    #[test]
    fn unfit_tag_keys_are_refused() {
        for key in ["a/b", "a b", "_index", ".."] {
            assert!(Instance::default().tag(key, "x").tree().is_err(), "{key}");
        }
    }
}
