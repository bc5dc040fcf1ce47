//! Jobs of which no webhook told: deliveries that were lost or came before the start, and repositories that are asked because their
//! App has no webhook at all.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use mayfly_core::launcher::{JobSignal, Moment, Problem, Scope};

use super::perform::Performer;

/// How far back deliveries are read at the start.
const BACK: Duration = Duration::from_secs(3600);

/// The most deliveries that are read in one pass; the rest in the next.
const MOST: usize = 500;

/// The most repositories that are asked in one pass, one after the other in turn: a message that GitHub never sent is found so.
const REPOSITORIES: usize = 10;

/// What was seen already.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// Repositories of which there was a message, with their App; the next one to ask is in front.
    repositories: VecDeque<(usize, String)>,
    /// Deliveries that were taken, by GUID: by the endpoint, or here.
    seen: HashSet<String>,
    /// Up to when each App's deliveries were read.
    read_to: Vec<Option<Moment>>,
}

impl Discovery {
    /// A webhook was taken.
    pub(super) fn taken(&mut self, guid: &str, app: usize, repository: &str) {
        self.noted(guid);
        self.knows(app, repository);
    }

    fn knows(&mut self, app: usize, repository: &str) {
        if !self.repositories.iter().any(|(_, known)| known == repository) && self.repositories.len() < 10_000 {
            self.repositories.push_front((app, repository.to_owned()));
        }
    }

    fn noted(&mut self, guid: &str) {
        // Two hours' worth at any rate that one launcher can serve; what is read twice does no harm.
        if self.seen.len() >= 100_000 {
            self.seen.clear();
        }
        self.seen.insert(guid.to_owned());
    }

    /// Looks once: messages of jobs, and what did not answer.
    pub(super) async fn look(&mut self, performer: &Performer, now: Moment) -> (Vec<JobSignal>, Vec<Problem>) {
        let (mut signals, mut problems) = (Vec::new(), Vec::new());
        self.read_to.resize(performer.config.apps.len(), None);
        for class in &performer.config.settings.classes {
            match &class.scope {
                Scope::Repository(name) => self.knows(class.app, name),
                Scope::Organization(_) => {
                    let named = class.repositories.iter().filter(|name| !name.contains('*'));
                    named.for_each(|name| self.knows(class.app, name));
                }
            }
        }
        for (index, app) in performer.config.apps.iter().enumerate() {
            if app.webhook_secret.is_none() {
                continue;
            }
            let found = self.deliveries(performer, index, now).await;
            signals.extend(found.0);
            problems.extend(found.1);
        }
        let found = self.waiting(performer).await;
        signals.extend(found.0);
        problems.extend(found.1);
        (signals, problems)
    }

    /// Asks the next repositories what waits there. For an App without webhooks this is the only source.
    async fn waiting(&mut self, performer: &Performer) -> (Vec<JobSignal>, Vec<Problem>) {
        let (mut signals, mut problems) = (Vec::new(), Vec::new());
        for _ in 0..REPOSITORIES.min(self.repositories.len()) {
            let Some((app, repository)) = self.repositories.pop_front() else { break };
            match performer.github.waiting_jobs(app, &repository).await {
                Ok(found) => signals.extend(found),
                Err(error) => problems.push(error.problem()),
            }
            self.repositories.push_back((app, repository));
        }
        (signals, problems)
    }

    async fn deliveries(&mut self, performer: &Performer, app: usize, now: Moment) -> (Vec<JobSignal>, Vec<Problem>) {
        let read_to = self.read_to.get(app).copied().flatten();
        // Some overlap: a delivery is listed when it was tried, not when it happened.
        let since = read_to.unwrap_or_else(|| Moment(now.0.saturating_sub(millis(BACK))));
        let since = Moment(since.0.saturating_sub(millis(BACK / 30)));
        let deliveries = match performer.github.deliveries(app, since).await {
            Ok(deliveries) => deliveries,
            Err(error) => return (Vec::new(), vec![error.problem()]),
        };
        let (mut signals, mut problems, mut whole) = (Vec::new(), Vec::new(), true);
        let jobs = deliveries.iter().rev().filter(|delivery| delivery.event.starts_with("workflow_job."));
        for delivery in jobs {
            if self.seen.contains(&delivery.guid) {
                continue;
            }
            if signals.len() >= MOST {
                whole = false;
                break;
            }
            match performer.github.delivery(app, delivery.id).await {
                Ok(signal) => {
                    self.noted(&delivery.guid);
                    if let Some(signal) = &signal {
                        self.knows(app, &signal.repository);
                    }
                    signals.extend(signal);
                }
                Err(error) => {
                    whole = false;
                    problems.push(error.problem());
                    break;
                }
            }
        }
        if whole && let Some(read_to) = self.read_to.get_mut(app) {
            *read_to = Some(now);
        }
        (signals, problems)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
