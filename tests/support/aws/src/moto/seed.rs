//! Putting things into the emulator and looking at them, unsigned.
//!
//! The emulator reads service and region from the credential scope and checks
//! no signature, so a made-up one is enough.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::{Moto, failed};
use crate::http::{self, Answer, encode};

/// What to launch.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// Whether powering off ends the instance (`terminate`) or not (`stop`).
    pub shutdown_behavior: String,
    /// The instance's tags.
    pub tags: BTreeMap<String, String>,
}

impl Default for InstanceSpec {
    fn default() -> Self {
        Self { instance_type: "m7i.large".to_owned(), shutdown_behavior: "terminate".to_owned(), tags: BTreeMap::new() }
    }
}

/// An Auto Scaling group with its one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Its instance.
    pub instance_id: String,
}

/// An image that moto knows from the start.
const IMAGE: &str = "ami-12c6146b";

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What stands between each pair of marks.
fn all_between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(before).skip(1);
    parts.filter_map(move |part| part.split_once(after).map(|(found, _)| found))
}

impl Moto {
    fn authorization(&self, service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=seeding/20260101/{}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0",
            self.region
        )
    }

    /// Calls a JSON service; the answer is given whatever its status.
    pub(super) fn json_call(&self, service: &str, target: &str, body: &Value) -> io::Result<Answer> {
        let headers = [
            ("authorization", &*self.authorization(service)),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
        ];
        http::post(self.address, "/", &headers, &body.to_string())
    }

    /// Calls a form service; anything but success is an error.
    fn form_call(&self, service: &str, fields: &[(&str, &str)]) -> io::Result<String> {
        let version = match service {
            "ec2" => "2016-11-15",
            _ => "2011-01-01",
        };
        let headers =
            [("authorization", &*self.authorization(service)), ("content-type", "application/x-www-form-urlencoded")];
        let body = fields
            .iter()
            .chain(&[("Version", version)])
            .map(|(key, value)| format!("{key}={}", encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let answer = http::post(self.address, "/", &headers, &body)?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(failed(format!("moto answered {status}: {}", answer.body))),
        }
    }

    /// Stores an advanced secure parameter, replacing an older value.
    pub fn put_parameter(&self, name: &str, value: &str) -> io::Result<()> {
        let body = json!({
            "Name": name, "Value": value, "Type": "SecureString", "Tier": "Advanced", "Overwrite": true,
        });
        let answer = self.json_call("ssm", "AmazonSSM.PutParameter", &body)?;
        match answer.status {
            200 => Ok(()),
            status => Err(failed(format!("moto answered {status}: {}", answer.body))),
        }
    }

    /// Whether a parameter exists.
    pub fn parameter_exists(&self, name: &str) -> io::Result<bool> {
        let body = json!({ "Name": name });
        let answer = self.json_call("ssm", "AmazonSSM.GetParameter", &body)?;
        match answer.status {
            200 => Ok(true),
            _ if answer.body.contains("ParameterNotFound") => Ok(false),
            status => Err(failed(format!("moto answered {status}: {}", answer.body))),
        }
    }

    /// Launches one instance and returns its id.
    pub fn run_instance(&self, spec: &InstanceSpec) -> io::Result<String> {
        let tags = tag_fields("TagSpecification.1.Tag", &spec.tags);
        let mut fields = vec![
            ("Action", "RunInstances"),
            ("ImageId", IMAGE),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("InstanceType", &spec.instance_type),
            ("InstanceInitiatedShutdownBehavior", &spec.shutdown_behavior),
        ];
        if !tags.is_empty() {
            fields.push(("TagSpecification.1.ResourceType", "instance"));
            fields.extend(tags.iter().map(|(key, value)| (&**key, &**value)));
        }
        let xml = self.form_call("ec2", &fields)?;
        between(&xml, "<instanceId>", "</instanceId>").map(str::to_owned).ok_or_else(|| failed("moto launched nothing"))
    }

    /// Makes a launch template and a group of minimum 0, maximum 5 and desired
    /// capacity 1 from it.
    pub fn run_group(&self, name: &str, spec: &InstanceSpec) -> io::Result<Group> {
        let template = format!("{name}-template");
        let template_tags = tag_fields("LaunchTemplateData.TagSpecification.1.Tag", &spec.tags);
        let mut fields = vec![
            ("Action", "CreateLaunchTemplate"),
            ("LaunchTemplateName", &*template),
            ("LaunchTemplateData.ImageId", IMAGE),
            ("LaunchTemplateData.InstanceType", &*spec.instance_type),
            ("LaunchTemplateData.InstanceInitiatedShutdownBehavior", &*spec.shutdown_behavior),
        ];
        if !template_tags.is_empty() {
            let kind = "LaunchTemplateData.TagSpecification.1.ResourceType";
            fields.push((kind, "instance"));
            let tags = template_tags.iter();
            fields.extend(tags.map(|(key, value)| (&**key, &**value)));
        }
        self.form_call("ec2", &fields)?;
        let zone = format!("{}a", self.region);
        self.form_call(
            "autoscaling",
            &[
                ("Action", "CreateAutoScalingGroup"),
                ("AutoScalingGroupName", name),
                ("LaunchTemplate.LaunchTemplateName", &*template),
                ("LaunchTemplate.Version", "$Latest"),
                ("MinSize", "0"),
                ("MaxSize", "5"),
                ("DesiredCapacity", "1"),
                ("AvailabilityZones.member.1", &zone),
                ("NewInstancesProtectedFromScaleIn", "true"),
            ],
        )?;
        let xml = self.describe_group(name)?;
        let instance_id =
            between(&xml, "<InstanceId>", "</InstanceId>").ok_or_else(|| failed("the group has no instance"))?;
        Ok(Group { name: name.to_owned(), instance_id: instance_id.to_owned() })
    }

    fn describe_group(&self, name: &str) -> io::Result<String> {
        let fields = [("Action", "DescribeAutoScalingGroups"), ("AutoScalingGroupNames.member.1", name)];
        self.form_call("autoscaling", &fields)
    }

    /// The group's desired capacity.
    pub fn desired_capacity(&self, group: &str) -> io::Result<u32> {
        let xml = self.describe_group(group)?;
        between(&xml, "<DesiredCapacity>", "</DesiredCapacity>")
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| failed(format!("there is no group {group}")))
    }

    fn describe_instance(&self, id: &str) -> io::Result<String> {
        let fields = [("Action", "DescribeInstances"), ("InstanceId.1", id)];
        self.form_call("ec2", &fields)
    }

    /// The instance's state, such as `running` or `terminated`.
    pub fn instance_state(&self, id: &str) -> io::Result<String> {
        let xml = self.describe_instance(id)?;
        between(&xml, "<instanceState>", "</instanceState>")
            .and_then(|state| between(state, "<name>", "</name>"))
            .map(str::to_owned)
            .ok_or_else(|| failed(format!("there is no instance {id}")))
    }

    /// The instance's tags.
    pub fn instance_tags(&self, id: &str) -> io::Result<BTreeMap<String, String>> {
        let fields = [("Action", "DescribeTags"), ("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", id)];
        let xml = self.form_call("ec2", &fields)?;
        let tags = all_between(&xml, "<item>", "</item>").filter_map(|item| {
            let key = between(item, "<key>", "</key>")?;
            // An empty value is written as an empty element.
            let value = between(item, "<value>", "</value>").unwrap_or_default();
            Some((unescape(key), unescape(value)))
        });
        Ok(tags.collect())
    }
}

fn tag_fields(prefix: &str, tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let numbered = tags.iter().zip(1..);
    numbered
        .flat_map(|((key, value), number)| {
            [(format!("{prefix}.{number}.Key"), key.clone()), (format!("{prefix}.{number}.Value"), value.clone())]
        })
        .collect()
}
