//! The model: launchers, what is real, and what may happen next.

use std::collections::BTreeSet;
use std::time::Duration;

use mayfly_core::launcher::signal::JobView;
use mayfly_core::launcher::{
    Action, Class, Event, JobId, JobSignal, JobStatus, Moment, Problem, ProblemKind, RunId, Scope, Settings, WhenSpent,
    World, step,
};
use stateright::{Model, Property};

use crate::reality::Reality;

/// How much may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budgets {
    pub(crate) crashes: u8,
    pub(crate) lost_answers: u8,
    pub(crate) failures: u8,
    pub(crate) doubled: u8,
    pub(crate) lists: u8,
    /// Passages of time.
    pub(crate) ticks: u8,
}

/// A mistake that the model must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A store of which nobody knows is repeated.
    StoresAgain,
    /// Launches of a job are not counted.
    ForgetsTheCap,
    /// An instance whose runner has a job is ended all the same.
    EndsTheBusy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    now: Moment,
    launchers: Vec<(u8, World)>,
    calls: Vec<(usize, u8, Action)>,
    heard: BTreeSet<(usize, JobId, JobStatus)>,
    reality: Reality,
    left: Budgets,
    /// The list as it was before time passed last.
    old: Vec<mayfly_core::launcher::event::InstanceView>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happens {
    /// A message arrives; again if it did before.
    Hears(usize, JobId),
    /// A call takes effect and is answered.
    Answered(usize),
    /// It takes effect, and nobody hears of it.
    AnswerLost(usize),
    /// It fails without effect.
    Fails(usize),
    /// A list arrives: as it is now, or as it was.
    Lists(usize, bool),
    /// Time passes.
    Passes,
    /// The launcher dies and begins again. What it had sent may take effect later, or never.
    Dies(usize),
    /// What a dead launcher had sent takes effect.
    LateEffect(usize),
    /// An instance reads its JIT configuration and connects.
    Connects(String),
    /// GitHub gives it a job.
    Assigned(String, JobId),
    /// The job is over.
    Completes(String),
}

pub(crate) struct Launching {
    settings: Settings,
    jobs: u64,
    launchers: usize,
    budgets: Budgets,
    planted: Option<Planted>,
}

const CAP: u32 = 2;

impl Launching {
    pub(crate) fn new(jobs: u64, launchers: usize, budgets: Budgets) -> Self {
        let seconds = Duration::from_secs;
        let class = Class {
            max: 3,
            launches: CAP,
            patience: seconds(1_000_000),
            when_spent: WhenSpent::Log,
            phone_in: seconds(100),
            lifetime: seconds(1_000_000),
            ..Class::new("ec2", &["ec2"], Scope::Organization("acme".to_owned()))
        };
        let mut settings = Settings::new(vec![class], 1, 3);
        (settings.jit_per_minute, settings.stores_per_minute, settings.launches_per_minute) = (6000, 6000, 6000);
        Self { settings, jobs, launchers, budgets, planted: None }
    }

    /// The same with a mistake in it.
    pub(crate) fn with(self, planted: Planted) -> Self {
        let mut model = Self { planted: Some(planted), ..self };
        if planted == Planted::ForgetsTheCap
            && let Some(class) = model.settings.classes.first_mut()
        {
            class.launches = 2 * CAP;
        }
        model
    }

    fn tell(&self, state: &mut State, launcher: usize, event: &Event) {
        let now = state.now;
        let Some((life, world)) = state.launchers.get_mut(launcher) else { return };
        let life = *life;
        match (self.planted, event) {
            (Some(Planted::StoresAgain), Event::StoreFailed { instance, problem })
                if problem.kind == ProblemKind::Unclear =>
            {
                let again = Problem::new(ProblemKind::Throttled, "planted");
                let event = Event::StoreFailed { instance: instance.clone(), problem: again };
                let actions = step(&self.settings, world, now, event);
                state.calls.extend(actions.into_iter().map(|action| (launcher, life, action)));
                return;
            }
            (Some(Planted::EndsTheBusy), Event::RunnerKept { runner, .. }) => {
                let actions = step(&self.settings, world, now, Event::RunnerDeleted { runner: *runner });
                state.calls.extend(actions.into_iter().map(|action| (launcher, life, action)));
                return;
            }
            _ => {}
        }
        let actions = step(&self.settings, world, now, event.clone());
        state.calls.extend(actions.into_iter().map(|action| (launcher, life, action)));
    }

    /// What a call does, and what is answered.
    fn effect(&self, state: &mut State, launcher: usize, action: &Action) -> Event {
        let reality = &mut state.reality;
        match action.clone() {
            Action::Launch { token, jobs, .. } => {
                let instances = reality.launch(&token, &jobs, state.now);
                Event::Launched { token, instances, problems: Vec::new() }
            }
            Action::Mint { instance, name, .. } => {
                if reality.records.contains_key(&name) {
                    return Event::MintFailed { instance, problem: Problem::new(ProblemKind::Taken, "taken") };
                }
                reality.registered += 1;
                let id = reality.registered;
                reality.records.insert(name.clone(), (id, false));
                reality.held.insert((launcher, instance.clone()), (name, id));
                Event::Minted { instance, runner: id, length: 4088 }
            }
            Action::Store { instance, .. } => {
                let held = reality.held.get(&(launcher, instance.clone())).cloned();
                if reality.parameters.contains_key(&instance) {
                    return Event::StoreFailed { instance, problem: Problem::new(ProblemKind::Taken, "there") };
                }
                if let (Some(runner), Some(machine)) = (held, reality.machines.get(&instance)) {
                    let has = machine.runner.as_ref().is_some_and(|runner| reality.is_good(runner));
                    reality.doubled |= has && !machine.ended;
                    reality.parameters.insert(instance.clone(), runner);
                }
                Event::Stored { instance }
            }
            Action::Terminate { instance, .. } => {
                reality.end(&instance, true);
                Event::Terminated { instance }
            }
            Action::DeleteRunner { runner, .. } => {
                let found = reality
                    .records
                    .iter()
                    .find(|(_, (id, _))| *id == runner)
                    .map(|(name, (_, busy))| (name.clone(), *busy));
                match found {
                    Some((_, true)) => Event::RunnerKept { runner, problem: Problem::new(ProblemKind::Taken, "busy") },
                    Some((name, false)) => {
                        reality.records.remove(&name);
                        // Its runner is no use any more: the agent ends the instance in its own time.
                        for machine in reality.machines.values_mut() {
                            if machine.runner.as_ref().is_some_and(|runner| runner.0 == name) {
                                machine.runner = None;
                            }
                        }
                        Event::RunnerDeleted { runner }
                    }
                    None => Event::RunnerDeleted { runner },
                }
            }
            Action::DeleteParameter { instance } => {
                reality.parameters.remove(&instance);
                Event::ParameterDeleted { instance }
            }
            Action::LookAtRun { run, .. } => {
                let job = JobId(run.0);
                let (status, runner) = reality.jobs.get(&job).cloned().unwrap_or((JobStatus::Completed, None));
                Event::RunLooked { run, jobs: vec![JobView { job, status, runner }] }
            }
            Action::Tell { job, .. } => {
                reality.told.insert(job);
                Event::Told { job }
            }
        }
    }

    fn unclear(action: &Action, kind: ProblemKind) -> Option<Event> {
        let problem = Problem::new(kind, "fault");
        Some(match action.clone() {
            Action::Launch { token, .. } => Event::LaunchFailed { token, problem },
            Action::Mint { instance, .. } => Event::MintFailed { instance, problem },
            Action::Store { instance, .. } => Event::StoreFailed { instance, problem },
            Action::Terminate { instance, .. } => Event::TerminateFailed { instance, problem },
            Action::DeleteRunner { runner, .. } => Event::RunnerKept { runner, problem },
            Action::DeleteParameter { .. } | Action::LookAtRun { .. } | Action::Tell { .. } => return None,
        })
    }

    fn signal(state: &State, job: JobId) -> JobSignal {
        let (status, runner) = state.reality.jobs.get(&job).cloned().unwrap_or((JobStatus::Completed, None));
        JobSignal {
            job,
            run: RunId(job.0),
            repository: "acme/shop".to_owned(),
            private: Some(true),
            name: String::new(),
            labels: vec!["ec2".to_owned()],
            status,
            runner,
            created_at: BEGIN,
            head_sha: String::new(),
        }
    }
}

const BEGIN: Moment = Moment(1_000_000);

/// A passage of time: longer than lists lag.
const PASSAGE: Duration = Duration::from_secs(120);

impl Model for Launching {
    type State = State;
    type Action = Happens;

    fn init_states(&self) -> Vec<State> {
        let reality = Reality {
            jobs: (1..=self.jobs).map(|job| (JobId(job), (JobStatus::Queued, None))).collect(),
            ..Reality::default()
        };
        let mut state = State {
            now: BEGIN,
            launchers: (0..self.launchers).map(|_| (0, World::new(&self.settings, BEGIN))).collect(),
            calls: Vec::new(),
            heard: BTreeSet::new(),
            reality,
            left: self.budgets,
            old: Vec::new(),
        };
        for launcher in 0..self.launchers {
            self.tell(&mut state, launcher, &Event::Instances { asked_at: BEGIN, instances: Vec::new() });
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Happens>) {
        for job in state.reality.jobs.keys() {
            for launcher in 0..self.launchers {
                let status = state.reality.jobs[job].0;
                // GitHub tells one of them; a message that is told again may go to another.
                let first = !state.heard.iter().any(|(_, known, at)| known == job && *at == status);
                let again = state.left.doubled > 0 && !state.heard.contains(&(launcher, *job, JobStatus::Completed));
                if first || again {
                    actions.push(Happens::Hears(launcher, *job));
                }
            }
        }
        for (place, (launcher, life, action)) in state.calls.iter().enumerate() {
            if state.launchers.get(*launcher).is_some_and(|(now, _)| now == life) {
                actions.push(Happens::Answered(place));
                if state.left.lost_answers > 0 && Self::unclear(action, ProblemKind::Unclear).is_some() {
                    actions.push(Happens::AnswerLost(place));
                }
                if state.left.failures > 0 && Self::unclear(action, ProblemKind::Capacity).is_some() {
                    actions.push(Happens::Fails(place));
                }
            } else {
                actions.push(Happens::LateEffect(place));
            }
        }
        if state.left.ticks > 0 {
            actions.push(Happens::Passes);
        }
        for launcher in 0..self.launchers {
            if state.left.lists > 0 {
                actions.push(Happens::Lists(launcher, false));
                actions.push(Happens::Lists(launcher, true));
            }
            if state.left.crashes > 0 {
                actions.push(Happens::Dies(launcher));
            }
        }
        for (id, machine) in state.reality.machines.iter().filter(|(_, machine)| !machine.ended) {
            if machine.runner.is_none() && machine.job.is_none() && state.reality.parameters.contains_key(id) {
                actions.push(Happens::Connects(id.clone()));
            }
            if machine.runner.is_some() && machine.job.is_none() {
                let queued = state.reality.jobs.iter().filter(|(_, (status, _))| *status == JobStatus::Queued);
                actions.extend(queued.map(|(job, _)| Happens::Assigned(id.clone(), *job)));
            }
            if machine.job.is_some() {
                actions.push(Happens::Completes(id.clone()));
            }
        }
    }

    fn next_state(&self, before: &State, happens: Happens) -> Option<State> {
        let mut state = before.clone();
        match happens {
            Happens::Hears(launcher, job) => {
                let signal = Self::signal(&state, job);
                let key = (launcher, job, signal.status);
                if state.heard.iter().any(|(_, known, at)| *known == job && *at == signal.status) {
                    state.left.doubled = state.left.doubled.checked_sub(1)?;
                }
                state.heard.insert(key);
                self.tell(&mut state, launcher, &Event::Signal { signal, live: true });
            }
            Happens::Answered(place) => {
                let (launcher, _, action) = state.calls.remove(place);
                let event = self.effect(&mut state, launcher, &action);
                self.tell(&mut state, launcher, &event);
            }
            Happens::AnswerLost(place) => {
                let (launcher, _, action) = state.calls.remove(place);
                state.left.lost_answers -= 1;
                self.effect(&mut state, launcher, &action);
                let event = Self::unclear(&action, ProblemKind::Unclear)?;
                self.tell(&mut state, launcher, &event);
            }
            Happens::Fails(place) => {
                let (launcher, _, action) = state.calls.remove(place);
                state.left.failures -= 1;
                let kind = if matches!(action, Action::Launch { .. }) {
                    ProblemKind::Capacity
                } else {
                    ProblemKind::Throttled
                };
                let event = Self::unclear(&action, kind)?;
                self.tell(&mut state, launcher, &event);
            }
            Happens::Lists(launcher, stale) => {
                state.left.lists -= 1;
                let lag = u64::try_from(PASSAGE.as_millis()).unwrap_or(0);
                let (instances, asked_at) = if stale {
                    (state.old.clone(), Moment(state.now.0.saturating_sub(lag)))
                } else {
                    (state.reality.instances(), state.now)
                };
                self.tell(&mut state, launcher, &Event::Instances { asked_at, instances });
                let scope = Scope::Organization("acme".to_owned());
                let runners = state.reality.runners();
                let asked_at = state.now;
                self.tell(&mut state, launcher, &Event::Runners { asked_at, scope, runners });
                let instances = state.reality.parameters.keys().cloned().collect();
                self.tell(&mut state, launcher, &Event::Parameters { instances });
                // Reconcile asks GitHub what waits.
                let queued: Vec<JobId> = state
                    .reality
                    .jobs
                    .iter()
                    .filter(|(_, (status, _))| *status == JobStatus::Queued)
                    .map(|(job, _)| *job)
                    .collect();
                for job in queued {
                    let signal = Self::signal(&state, job);
                    self.tell(&mut state, launcher, &Event::Signal { signal, live: false });
                }
            }
            Happens::Passes => {
                state.left.ticks -= 1;
                state.old = state.reality.instances();
                state.now = state.now.plus(PASSAGE);
                for launcher in 0..self.launchers {
                    self.tell(&mut state, launcher, &Event::Tick);
                }
            }
            Happens::Dies(launcher) => {
                state.left.crashes -= 1;
                let (life, world) = state.launchers.get_mut(launcher)?;
                *life += 1;
                *world = World::new(&self.settings, state.now);
            }
            Happens::LateEffect(place) => {
                let (launcher, _, action) = state.calls.remove(place);
                self.effect(&mut state, launcher, &action);
            }
            Happens::Connects(id) => state.reality.connect(&id),
            Happens::Assigned(id, job) => state.reality.assign(&id, job),
            Happens::Completes(id) => state.reality.complete(&id),
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one JIT configuration for one instance", |_, state: &State| !state.reality.doubled),
            Property::always("no more launches than the cap", |model: &Self, state: &State| {
                // Two launchers that were told of the same job in the same moment may each have launched once.
                let cap = CAP as usize + model.launchers - 1;
                let launched =
                    |job: &JobId| state.reality.machines.values().filter(|machine| machine.jobs.contains(job)).count();
                state.reality.jobs.keys().all(|job| launched(job) <= cap)
            }),
            Property::always("no more instances than the maximum", |_, state: &State| state.reality.most_live <= 3),
            Property::always("an instance with a job is not ended", |_, state: &State| !state.reality.ended_busy),
            Property::sometimes("every job is served", |_, state: &State| {
                state.reality.jobs.values().all(|(status, _)| *status == JobStatus::Completed)
            }),
        ]
    }
}
