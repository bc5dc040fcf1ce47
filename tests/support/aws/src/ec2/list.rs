//! `DescribeInstances`: filters, pages, and a list of some time ago.

use std::time::Instant;

use super::instance::Held;
use super::{Outcome, State, World, error};
use crate::proxy::error::REQUEST_ID;
use crate::proxy::fields::Fields;

/// A filter with its values.
struct Filter<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

/// Whether a text fits a pattern in which `*` stands for anything and `?` for one character.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if fits(rest, text) => true,
        (Some((b'*', _)), Some((_, left))) => fits(pattern, left),
        (Some((b'?', rest)), Some((_, left))) => fits(rest, left),
        (Some((wanted, rest)), Some((found, left))) => wanted == found && fits(rest, left),
        _ => false,
    }
}

impl Filter<'_> {
    fn passes(&self, held: &Held, state: &str, at: Instant) -> Option<bool> {
        let any = |text: &str| self.values.iter().any(|value| fits(value.as_bytes(), text.as_bytes()));
        let tags = held.tags(at);
        Some(match self.name {
            "instance-id" => any(&held.id),
            "instance-state-name" => any(state),
            "instance-type" => any(&held.pool.instance_type),
            "availability-zone" => any(&held.pool.zone),
            "instance-lifecycle" => held.pool.spot && any("spot"),
            "client-token" => held.client_token.as_deref().is_some_and(any),
            "tag-key" => tags.is_some_and(|tags| tags.keys().any(|key| any(key))),
            name => {
                let value = tags.and_then(|tags| tags.get(name.strip_prefix("tag:")?));
                if !name.starts_with("tag:") {
                    return None;
                }
                value.is_some_and(|value| any(value))
            }
        })
    }
}

impl World {
    pub(super) fn describe_instances(&self, state: &State, fields: &Fields, at: Instant) -> Outcome {
        let named = fields.list("InstanceId");
        let options = &self.options;
        let listed = |id: &&str| state.held(id).is_some_and(|held| held.state(at, options).is_some());
        if let Some(unknown) = named.iter().find(|id| !listed(id)) {
            return Err(not_found(unknown));
        }
        let most = fields.number("MaxResults");
        if most.is_some() && !named.is_empty() {
            let message = "The parameter instancesSet cannot be used with the parameter maxResults";
            return Err(error("InvalidParameterCombination", message));
        }
        if most.is_some_and(|most| !(5..=1000).contains(&most)) {
            let message = "Value for parameter maxResults is invalid. Expecting a value between 5 and 1000.";
            return Err(error("InvalidParameterValue", message));
        }
        let first = match fields.get("NextToken") {
            None => 0,
            Some(token) => place_of(token).ok_or_else(|| error("InvalidNextToken", "The token is not valid."))?,
        };
        let filters: Vec<Filter<'_>> = fields
            .groups("Filter")
            .iter()
            .map(|group| Filter {
                name: fields.get(&format!("{group}Name")).unwrap_or_default(),
                values: fields.list(&format!("{group}Value")),
            })
            .collect();
        let mut items = String::new();
        let mut count = 0;
        let mut next = String::new();
        for (place, held) in state.instances.iter().enumerate().skip(first) {
            let Some(of_instance) = held.state(at, options) else {
                continue;
            };
            if !named.is_empty() && !named.contains(&held.id.as_str()) {
                continue;
            }
            let mut passes = true;
            for filter in &filters {
                let unknown = || error("InvalidParameterValue", format!("The filter '{}' is invalid", filter.name));
                passes &= filter.passes(held, of_instance, at).ok_or_else(unknown)?;
            }
            if !passes {
                continue;
            }
            if most.is_some_and(|most| count == most) {
                next = format!("<nextToken>after-{place}</nextToken>");
                break;
            }
            count += 1;
            items.push_str(&format!(
                "<item><reservationId>r-{:017x}</reservationId><ownerId>123456789012</ownerId><groupSet/>\
                 <instancesSet>{}</instancesSet></item>",
                held.reservation,
                held.item(of_instance, at)
            ));
        }
        Ok(format!(
            "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
             <requestId>{REQUEST_ID}</requestId><reservationSet>{items}</reservationSet>{next}\
             </DescribeInstancesResponse>"
        ))
    }
}

fn place_of(token: &str) -> Option<usize> {
    token.strip_prefix("after-")?.parse().ok()
}

pub(super) fn not_found(id: &str) -> crate::proxy::AwsError {
    error("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in
            [("a*c", "abbc", true), ("a?c", "abc", true), ("a?c", "ac", false), ("*", "", true), ("ab", "abc", false)]
        {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
