//! What is really there: at GitHub, at AWS, on the instances.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_core::launcher::event::{InstanceState, InstanceView, RunnerView};
use mayfly_core::launcher::names::instance_of_runner;
use mayfly_core::launcher::{JobId, JobStatus, Moment};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) jobs: Vec<JobId>,
    pub(crate) launched_at: Moment,
    pub(crate) ended: bool,
    /// The runner whose JIT configuration it has: the name, and the record's id.
    pub(crate) runner: Option<(String, u64)>,
    pub(crate) job: Option<JobId>,
    pub(crate) phase: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reality {
    pub(crate) jobs: BTreeMap<JobId, (JobStatus, Option<String>)>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) tokens: BTreeMap<String, Vec<String>>,
    /// Runner records: name to id, and whether it has a job.
    pub(crate) records: BTreeMap<String, (u64, bool)>,
    /// Parameters: instance to the runner whose JIT configuration it holds.
    pub(crate) parameters: BTreeMap<String, (String, u64)>,
    /// JIT configurations that a launcher holds: (launcher, instance) to runner.
    pub(crate) held: BTreeMap<(usize, String), (String, u64)>,
    pub(crate) told: BTreeSet<JobId>,
    pub(crate) most_live: usize,
    /// How many records there ever were.
    pub(crate) registered: u64,
    /// An instance that has a JIT configuration that is good could read another one.
    pub(crate) doubled: bool,
    /// An instance with a job was ended by a launcher.
    pub(crate) ended_busy: bool,
}

impl Reality {
    pub(crate) fn live(&self) -> usize {
        self.machines.values().filter(|machine| !machine.ended).count()
    }

    pub(crate) fn launch(&mut self, token: &str, jobs: &[JobId], now: Moment) -> Vec<String> {
        if let Some(made) = self.tokens.get(token) {
            return made.clone();
        }
        let mut made = Vec::new();
        for job in jobs {
            let id = format!("i-{}", self.machines.len() + 1);
            let machine =
                Machine { jobs: vec![*job], launched_at: now, ended: false, runner: None, job: None, phase: None };
            self.machines.insert(id.clone(), machine);
            made.push(id);
        }
        self.tokens.insert(token.to_owned(), made.clone());
        self.most_live = self.most_live.max(self.live());
        made
    }

    pub(crate) fn end(&mut self, id: &str, by_launcher: bool) {
        if let Some(machine) = self.machines.get_mut(id).filter(|machine| !machine.ended) {
            self.ended_busy |= by_launcher && machine.job.is_some();
            machine.ended = true;
        }
    }

    /// Whether the record of a JIT configuration is still there: else it is of no use.
    pub(crate) fn is_good(&self, runner: &(String, u64)) -> bool {
        self.records.get(&runner.0).is_some_and(|(id, _)| *id == runner.1)
    }

    /// The instance takes what it can read and connects.
    pub(crate) fn connect(&mut self, id: &str) {
        let Some(runner) = self.parameters.remove(id) else { return };
        let good = self.is_good(&runner);
        if let Some(machine) = self.machines.get_mut(id)
            && good
        {
            (machine.runner, machine.phase) = (Some(runner), Some("idle"));
        }
    }

    /// GitHub gives a job to it.
    pub(crate) fn assign(&mut self, id: &str, job: JobId) {
        let Some(machine) = self.machines.get_mut(id) else { return };
        let Some((runner, _)) = machine.runner.clone() else { return };
        (machine.job, machine.phase) = (Some(job), Some("busy"));
        if let Some(record) = self.records.get_mut(&runner) {
            record.1 = true;
        }
        self.jobs.insert(job, (JobStatus::InProgress, Some(runner)));
    }

    /// The job is over, and the instance ends itself.
    pub(crate) fn complete(&mut self, id: &str) {
        let Some(machine) = self.machines.get_mut(id) else { return };
        let (Some(job), Some((runner, _))) = (machine.job.take(), machine.runner.clone()) else { return };
        machine.ended = true;
        self.records.remove(&runner);
        self.jobs.insert(job, (JobStatus::Completed, Some(runner)));
    }

    pub(crate) fn instances(&self) -> Vec<InstanceView> {
        let view = |(id, machine): (&String, &Machine)| InstanceView {
            id: id.clone(),
            class: "ec2".to_owned(),
            labels: "ec2".to_owned(),
            repository: "acme/shop".to_owned(),
            jobs: machine.jobs.clone(),
            launched_at: machine.launched_at,
            state: if machine.ended { InstanceState::Terminated } else { InstanceState::Running },
            phase: machine.phase.map(str::to_owned),
            outcome: None,
        };
        self.machines.iter().map(view).collect()
    }

    pub(crate) fn runners(&self) -> Vec<RunnerView> {
        let online = |name: &str| {
            let machine = instance_of_runner(name).and_then(|id| self.machines.get(id));
            machine
                .is_some_and(|machine| !machine.ended && machine.runner.as_ref().is_some_and(|runner| runner.0 == name))
        };
        let view = |(name, (id, busy)): (&String, &(u64, bool))| RunnerView {
            id: *id,
            name: name.clone(),
            online: online(name),
            busy: *busy,
        };
        self.records.iter().map(view).collect()
    }
}
