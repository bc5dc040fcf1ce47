//! The run: one queue of what happens when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use mayfly_core::launcher::names::instance_of_runner;
use mayfly_core::launcher::step::wake_at;
use mayfly_core::launcher::{
    Class, Event, JobId, JobSignal, JobStatus, Moment, RunId, Scope, Settings, WhenSpent, World, step,
};
use mayfly_core::lifecycle;

use super::agent::{Agent, Does};
use super::aws::Aws;
use super::github::Github;
use super::history::Arrival;
use super::options::Options;
use super::report::Report;

/// What happens.
#[derive(Debug)]
pub(super) enum What {
    Arrives(usize),
    Hears { process: u32, event: Event },
    Lists,
    Asks,
    Boots(String),
    Agent { instance: String, event: lifecycle::Event },
    Listens(String),
    Ends(String),
    Over { job: usize, instance: String },
    Outage,
    Crash,
}

struct Entry(Moment, u64, What);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    arrivals: &'a [Arrival],
    pub(super) settings: Settings,
    pub(super) rng: fastrand::Rng,
    pub(super) now: Moment,
    last: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    pub(super) world: World,
    /// Which launcher process it is: answers to an earlier one go nowhere.
    process: u32,
    ticking: bool,
    pub(super) aws: Aws,
    pub(super) github: Github,
    pub(super) agents: BTreeMap<String, Agent>,
    pub(super) github_away_until: Moment,
    over: usize,
    steps: u64,
}

const LABELS: &[&str] = &["ec2", "self-hosted"];

fn class(max: u32) -> Class {
    Class {
        max,
        launches: 10,
        patience: Duration::from_secs(24 * 3600),
        when_spent: WhenSpent::Log,
        candidates: 2,
        ..Class::new("ec2", LABELS, Scope::Organization("acme".to_owned()))
    }
}

/// Runs until every job is over and everything that was made for them is gone, or for so long that something must be wrong.
#[must_use]
pub fn run(options: &Options, arrivals: &[Arrival]) -> Report {
    let mut settings = Settings::new(vec![class(options.max)], 1, options.max);
    settings.jit_per_minute *= options.apps;
    settings.stores_per_minute *= options.apps;
    settings.launches_per_minute *= options.apps;
    let mut run = Run {
        options,
        arrivals,
        world: World::new(&settings, Moment(0)),
        settings,
        rng: fastrand::Rng::with_seed(options.seed),
        now: Moment(0),
        last: 0,
        heap: BinaryHeap::new(),
        process: 0,
        ticking: false,
        aws: Aws::new(options.apps),
        github: Github::new(options.apps),
        agents: BTreeMap::new(),
        github_away_until: Moment(0),
        over: 0,
        steps: 0,
    };
    run.everything()
}

impl Run<'_> {
    pub(super) fn later(&mut self, after: Duration, what: What) {
        self.last += 1;
        self.heap.push(Reverse(Entry(self.now.plus(after), self.last, what)));
    }

    pub(super) fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.rng.u32(..1000) < thousandths
    }

    pub(super) fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(least..=most))
    }

    fn everything(&mut self) -> Report {
        self.later(Duration::ZERO, What::Lists);
        self.later(Duration::from_millis(100), What::Asks);
        if let Some(first) = self.arrivals.first() {
            let wait = first.at.since(self.now);
            self.later(wait, What::Arrives(0));
        }
        for (often, what) in [(self.options.faults.outages, What::Outage), (self.options.faults.crashes, What::Crash)] {
            if let Some(every) = (24 * 3600_u64).checked_div(u64::from(often)) {
                self.later(Duration::from_secs(every / 2), what);
            }
        }
        let last = self.arrivals.last().map_or(Moment(0), |arrival| arrival.at);
        let limit = last.plus(Duration::from_secs(48 * 3600));
        while let Some(Reverse(Entry(at, _, what))) = self.heap.pop() {
            self.now = at;
            if at > limit || self.is_over() {
                break;
            }
            self.happens(what);
        }
        Report::of(self.options, self.arrivals, &self.github, &self.aws, self.now, self.steps)
    }

    /// Every job is over, and nothing is left. Then an hour more, in which leftovers would show.
    fn is_over(&self) -> bool {
        self.over == self.arrivals.len()
            && self.aws.live == 0
            && self.aws.parameters.is_empty()
            && self.github.records() == 0
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Arrives(place) => self.arrives(place),
            What::Hears { process, event } => {
                if process == self.process {
                    if event == Event::Tick {
                        self.ticking = false;
                    }
                    self.tell(event);
                }
            }
            What::Lists => self.lists(),
            What::Asks => self.asks(),
            What::Boots(instance) => {
                let (agent, does) = Agent::boots(self.now);
                self.agents.insert(instance.clone(), agent);
                self.carry_on(&instance, does);
            }
            What::Agent { instance, event } => {
                let does =
                    self.agents.get_mut(&instance).map(|agent| agent.takes(self.now, &event)).unwrap_or_default();
                self.carry_on(&instance, does);
            }
            What::Listens(instance) => self.listens(&instance),
            What::Ends(instance) => self.ends(&instance),
            What::Over { job, instance } => self.job_over(job, &instance),
            What::Outage => {
                self.github_away_until = self.now.plus(Duration::from_secs(600));
                self.aws.no_spot_until = self.now.plus(Duration::from_secs(1200));
                let every = Duration::from_secs(
                    (24 * 3600_u64).checked_div(u64::from(self.options.faults.outages)).unwrap_or(86_400),
                );
                self.later(every, What::Outage);
            }
            What::Crash => {
                // Nothing of what was known is left; what is under way goes on at AWS and GitHub.
                self.process += 1;
                self.ticking = false;
                self.world = World::new(&self.settings, self.now);
                let every = Duration::from_secs(
                    (24 * 3600_u64).checked_div(u64::from(self.options.faults.crashes)).unwrap_or(86_400),
                );
                self.later(every, What::Crash);
            }
        }
    }

    fn signal(&self, place: usize, status: JobStatus) -> Option<JobSignal> {
        let job = self.github.jobs.get(place)?;
        Some(JobSignal {
            job: JobId(place as u64 + 1),
            run: RunId(place as u64 + 1),
            repository: self.arrivals.get(place)?.repository.clone(),
            private: Some(true),
            name: "build".to_owned(),
            labels: LABELS.iter().map(|label| (*label).to_owned()).collect(),
            status,
            runner: job.runner.clone(),
            created_at: job.queued_at,
            head_sha: String::new(),
        })
    }

    /// GitHub sends a webhook, which may be lost, or come twice and out of order.
    fn webhook(&mut self, place: usize, status: JobStatus) {
        let faults = self.options.faults;
        let copies = if self.chance(faults.lost_webhooks) {
            0
        } else if self.chance(faults.doubled_webhooks) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let Some(signal) = self.signal(place, status) else { return };
            let wait = self.between(150, 1500);
            // To whichever process there is then.
            let process = self.process;
            self.later(wait, What::Hears { process, event: Event::Signal { signal, live: true } });
        }
    }

    fn arrives(&mut self, place: usize) {
        let queued = self.github.queue(self.now);
        self.webhook(queued, JobStatus::Queued);
        if let Some(next) = self.arrivals.get(place + 1) {
            let wait = next.at.since(self.now);
            self.later(wait, What::Arrives(place + 1));
        }
        self.assign();
    }

    fn tell(&mut self, event: Event) {
        self.steps += 1;
        let actions = step(&self.settings, &mut self.world, self.now, event);
        for action in actions {
            self.act(action);
        }
        if !self.ticking
            && let Some(at) = wake_at(&self.world, self.now)
        {
            self.ticking = true;
            let (wait, process) = (at.since(self.now), self.process);
            self.later(wait, What::Hears { process, event: Event::Tick });
        }
    }

    pub(super) fn answer(&mut self, least: u64, most: u64, event: Event) {
        let (wait, process) = (self.between(least, most), self.process);
        self.later(wait, What::Hears { process, event });
    }

    /// An agent that waits for its JIT configuration finds it within its pace.
    pub(super) fn read(&mut self, instance: &str) {
        if self.agents.get(instance).is_some_and(Agent::waits_for_configuration)
            && self.aws.parameters.contains(instance)
        {
            let wait = self.between(100, 4000);
            self.later(wait, What::Agent { instance: instance.to_owned(), event: lifecycle::Event::JitConfigReady });
        }
    }

    fn carry_on(&mut self, instance: &str, does: Vec<Does>) {
        for what in does {
            match what {
                Does::Later(wait, event) => self.later(wait, What::Agent { instance: instance.to_owned(), event }),
                Does::WantsConfiguration => self.read(instance),
                Does::RemovesParameter => {
                    self.aws.parameters.remove(instance);
                }
                Does::Listens => {
                    let wait = self.between(1500, 2500);
                    self.later(wait, What::Listens(instance.to_owned()));
                }
                Does::RunnerGone => self.runner_gone(instance),
                Does::Tags(phase) => self.aws.tag(self.now, instance, phase),
                Does::Terminates => {
                    let wait = self.between(300, 1500);
                    self.later(wait, What::Ends(instance.to_owned()));
                }
            }
        }
    }

    fn listens(&mut self, instance: &str) {
        let Some(name) = self.github.runner_of(instance) else { return };
        if self.aws.machines.get(instance).is_none_or(|machine| machine.ended_at.is_some())
            || !self.github.online(&name)
        {
            return;
        }
        let listening = lifecycle::Event::Observed(lifecycle::Observation::Listening);
        let does = self.agents.get_mut(instance).map(|agent| {
            agent.online = true;
            agent.takes(self.now, &listening)
        });
        self.carry_on(instance, does.unwrap_or_default());
        self.assign();
    }

    fn runner_gone(&mut self, instance: &str) {
        if let Some(name) = self.github.runner_of(instance) {
            self.github.gone(&name);
        }
    }

    fn assign(&mut self) {
        while let Some((place, runner)) = self.github.assign(self.now) {
            self.webhook(place, JobStatus::InProgress);
            let Some(instance) = instance_of_runner(&runner).map(str::to_owned) else { continue };
            let takes = self.arrivals.get(place).map_or(Duration::ZERO, |arrival| arrival.takes);
            let spot = self.aws.machines.get(&instance).is_some_and(|machine| machine.spot);
            if spot && self.chance(self.options.faults.interruptions) {
                let half = takes / 2;
                self.later(half, What::Ends(instance.clone()));
            }
            let works = self.agents.get(&instance).map(|agent| agent.works(takes)).unwrap_or_default();
            for (wait, event) in works {
                self.later(wait, What::Agent { instance: instance.clone(), event });
            }
            self.later(takes, What::Over { job: place, instance });
        }
    }

    fn job_over(&mut self, place: usize, instance: &str) {
        // Its machine may have gone before.
        if self.github.stops_working(instance) == Some(place) {
            self.runner_gone(instance);
            self.github.complete(place);
            self.over += 1;
            self.webhook(place, JobStatus::Completed);
        }
    }

    /// An instance is gone: by its agent, by the launcher, or because EC2 took it back.
    pub(super) fn ends(&mut self, instance: &str) {
        if !self.aws.end(self.now, instance) {
            return;
        }
        self.agents.remove(instance);
        if let Some(place) = self.github.stops_working(instance) {
            self.runner_gone(instance);
            self.github.requeue(place, self.now);
        }
    }

    fn lists(&mut self) {
        let lag = self.between(0, 60_000);
        let instances = self.aws.list(self.now, lag);
        self.answer(200, 900, Event::Instances { asked_at: Moment(self.now.0.saturating_sub(60_000)), instances });
        if self.away().is_none() {
            let (runners, scope) = (self.github.runners(), Scope::Organization("acme".to_owned()));
            self.answer(200, 900, Event::Runners { asked_at: self.now, scope, runners });
        }
        let parameters = self.aws.parameters.iter().cloned().collect();
        self.answer(200, 900, Event::Parameters { instances: parameters });
        self.later(Duration::from_secs(60), What::Lists);
    }

    /// What waits at GitHub, for jobs of which no webhook told.
    fn asks(&mut self) {
        if self.away().is_none() {
            let waiting: Vec<usize> = self.github.waiting().take(500).collect();
            for place in waiting {
                if let Some(signal) = self.signal(place, JobStatus::Queued) {
                    self.answer(200, 900, Event::Signal { signal, live: false });
                }
            }
        }
        self.later(Duration::from_secs(60), What::Asks);
    }
}
