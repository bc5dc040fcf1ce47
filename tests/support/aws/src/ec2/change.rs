//! `TerminateInstances` and `CreateTags`.

use std::time::Instant;

use super::instance::state_of;
use super::list::not_found;
use super::{Outcome, State, World};
use crate::proxy::error::REQUEST_ID;
use crate::proxy::fields::Fields;

impl World {
    /// Fails if one of the instances is not listed any more, or never was.
    fn all_known(&self, state: &State, ids: &[&str], now: Instant) -> Result<(), crate::proxy::AwsError> {
        let known = |id: &str| state.held(id).is_some_and(|held| held.state(now, &self.options).is_some());
        ids.iter().find(|id| !known(id)).map_or(Ok(()), |id| Err(not_found(id)))
    }

    /// Ends all of the instances, or none if one is unknown; one that has ended already is no error.
    pub(super) fn terminate_instances(&self, state: &mut State, fields: &Fields, now: Instant) -> Outcome {
        let ids = fields.list("InstanceId");
        self.all_known(state, &ids, now)?;
        let mut items = String::new();
        for id in ids {
            let seen = |state: &State| state.held(id).and_then(|held| held.state(now, &self.options));
            let before = seen(state).unwrap_or("terminated");
            state.end(id, now);
            let after = seen(state).unwrap_or("terminated");
            items.push_str(&format!(
                "<item><instanceId>{id}</instanceId>{}{}</item>",
                state_of("currentState", after),
                state_of("previousState", before)
            ));
        }
        Ok(format!(
            "<TerminateInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
             <requestId>{REQUEST_ID}</requestId><instancesSet>{items}</instancesSet></TerminateInstancesResponse>"
        ))
    }

    pub(super) fn create_tags(&self, state: &mut State, fields: &Fields, now: Instant) -> Outcome {
        let ids = fields.list("ResourceId");
        self.all_known(state, &ids, now)?;
        let added = fields.pairs("Tag");
        for id in ids {
            let place = state.places.get(id).copied();
            let Some(held) = place.and_then(|place| state.instances.get_mut(place)) else {
                continue;
            };
            let mut tags = held.tags(now).cloned().unwrap_or_default();
            tags.extend(added.clone());
            held.tags.push((now, tags));
        }
        Ok(format!(
            "<CreateTagsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
             <requestId>{REQUEST_ID}</requestId><return>true</return></CreateTagsResponse>"
        ))
    }
}
