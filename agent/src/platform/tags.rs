//! The instance's tags: always the newest, one call after the other, and none takes the others down with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use super::ec2::Ec2;
use super::error::Ec2Error;
use mayfly_core::contract::TagKey;

/// Tags and their values.
pub(crate) type Tags = BTreeMap<TagKey, String>;

/// AWS's limit, in characters.
const LONGEST_VALUE: usize = 256;

/// The tag whose value a job has a say in.
const OF_THE_JOB: TagKey = TagKey::Run;

/// Whether AWS takes this for a tag's value: letters, digits, spaces and a few marks.
fn fits(value: &str) -> bool {
    value.chars().count() <= LONGEST_VALUE && value.chars().all(|c| c.is_alphanumeric() || " +-=._:/@".contains(c))
}

/// Applies tags one call after the other, always the newest, until its sender is gone.
pub(crate) fn tagger(machine: Arc<Ec2>) -> (watch::Sender<Tags>, JoinHandle<()>) {
    let (sender, wanted) = watch::channel(Tags::new());
    let task = tokio::spawn(async move { Tagger::default().apply(&machine, wanted).await });
    (sender, task)
}

#[derive(Default)]
struct Tagger {
    applied: Tags,
    /// Not asked for any more: no tag can have this value.
    given_up: BTreeSet<(TagKey, String)>,
}

impl Tagger {
    async fn apply(mut self, machine: &Ec2, mut wanted: watch::Receiver<Tags>) {
        while wanted.changed().await.is_ok() {
            let tags = wanted.borrow_and_update().clone();
            let new = self.new_of(&tags);
            let Err(all) = self.ask(machine, &new).await else { continue };
            // What a job had a say in is not worth an outcome or a notice.
            let own = new.get(&OF_THE_JOB).filter(|_| all.is_refusal() && new.len() > 1);
            let Some(value) = own else {
                warn!("the instance could not be tagged: {all}");
                continue;
            };
            warn!("the instance could not be tagged: {all}; once more without {}", OF_THE_JOB.name());
            self.given_up.insert((OF_THE_JOB, value.clone()));
            let new = self.new_of(&tags);
            if let Err(rest) = self.ask(machine, &new).await {
                warn!("the instance could not be tagged: {rest}");
            }
        }
    }

    async fn ask(&mut self, machine: &Ec2, new: &Tags) -> Result<(), Ec2Error> {
        machine.tag(new).await?;
        self.applied.extend(new.clone());
        Ok(())
    }

    /// What is not applied yet and can be.
    fn new_of(&mut self, tags: &Tags) -> Tags {
        for (key, value) in tags {
            if !fits(value) && self.given_up.insert((*key, value.clone())) {
                warn!("AWS takes no tag {} with a value like this, so it is left out", key.name());
            }
        }
        let new = tags.iter().filter(|(key, value)| self.applied.get(*key) != Some(*value));
        let new = new.map(|(key, value)| (*key, value.clone()));
        new.filter(|tag| !self.given_up.contains(tag)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_would_refuse_is_left_out_before_it_is_sent() {
        let long = "x".repeat(257);
        for (value, takes) in [
            ("o/r/1/1", true),
            ("2026-11-21T08:00:00Z", true),
            ("", true),
            ("naïve", true),
            (&long[..256], true),
            (&long, false),
            ("a\nb", false),
            ("a;b", false),
            ("<x>", false),
        ] {
            let mut tagger = Tagger::default();
            let tags = Tags::from([(TagKey::Outcome, "job-failed".to_owned()), (OF_THE_JOB, value.to_owned())]);
            let new = tagger.new_of(&tags);
            assert!(new.contains_key(&TagKey::Outcome), "a bad tag took the outcome down with it");
            assert_eq!(new.contains_key(&OF_THE_JOB), takes, "{value:?}");
        }
    }
}
