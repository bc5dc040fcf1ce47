//! What lists say. A list is older than its answer, and may lack what was just made: nothing is ended by one list alone, and what a
//! list does not show is gone only when it was missing twice, long after it was made.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{InstanceState, InstanceView, RunnerView};
use super::names::instance_of_runner;
use super::signal::{JobId, JobStatus};
use super::world::{Instance, Left, Provision, Settings};
use super::{Action, Moment, Scope, World, ending};
use crate::lifecycle::Outcome;

/// The list of this launcher's instances.
pub(super) fn instances(
    settings: &Settings,
    world: &mut World,
    now: Moment,
    asked_at: Moment,
    views: Vec<InstanceView>,
    actions: &mut Vec<Action>,
) {
    // Once a minute, what could not be removed is asked for again.
    world.removing.clear();
    let listed: BTreeMap<String, InstanceView> = views.into_iter().map(|view| (view.id.clone(), view)).collect();
    for view in listed.values() {
        if let Some(class) = settings.classes.iter().position(|class| class.name == view.class) {
            shown(world, now, view, class);
        }
    }
    count(world);
    for (id, instance) in &mut world.instances {
        if !listed.contains_key(id) && asked_at >= instance.launched_at.plus(settings.list_lag) {
            instance.absent = instance.absent.saturating_add(1);
            if instance.absent >= 2 {
                instance.state = Some(InstanceState::Terminated);
            }
        }
    }
    world.listed_at = world.listed_at.max(Some(asked_at));
    sweep(settings, world, now, asked_at);
    gone(world, now, asked_at, settings.list_lag, actions);
}

/// What the list says of one instance.
fn shown(world: &mut World, now: Moment, view: &InstanceView, class: usize) {
    let known = world.instances.entry(view.id.clone()).or_insert_with(|| Instance::adopted(view, class));
    let (was_over, silent) = (known.is_over(), known.phase.is_none());
    known.absent = 0;
    // Terminated does not come back, whatever an older list says.
    if known.state != Some(InstanceState::Terminated) {
        known.state = Some(view.state);
    }
    if view.phase.is_some() {
        known.phase.clone_from(&view.phase);
    }
    known.used |= matches!(view.phase.as_deref(), Some("busy" | "closing" | "held"));
    let failure = if known.is_over() && !was_over { failure(view, !known.seen_online && !known.used) } else { None };
    let Some(state) = world.classes.get_mut(class) else { return };
    // Its first sign, and not each minute anew: else one long job would keep a class going of which every launch fails.
    if silent && matches!(view.phase.as_deref(), Some("idle" | "busy")) {
        state.breaker.succeeded();
    }
    if let Some(why) = failure {
        state.breaker.failed(now, &why, false);
        for job in world.jobs.values_mut().filter(|job| job.instance.as_deref() == Some(&*view.id)) {
            job.problem = Some(why.clone());
        }
    }
}

/// Why an instance that has just ended was of no use, if it was not: by its agent's word, or because it never gave one.
fn failure(view: &InstanceView, silent: bool) -> Option<String> {
    let outcome = view.outcome.as_ref().and_then(|code| Outcome::ALL.iter().find(|outcome| outcome.code() == code));
    match outcome {
        Some(outcome) if outcome.is_failure() => {
            Some(format!("{} ended with {}: {} {}", view.id, outcome.code(), outcome.meaning(), outcome.advice()))
        }
        Some(_) => None,
        None if view.phase.is_some() => None,
        None => silent.then(|| format!("{} ended without a sign of its agent", view.id)),
    }
}

/// Launches of earlier processes count for their jobs: the cap holds over restarts.
fn count(world: &mut World) {
    let World { jobs, instances, .. } = world;
    for (id, (made, instance)) in launches(instances) {
        if let Some(job) = jobs.get_mut(&id) {
            job.launches = job.launches.max(made);
            job.instance.get_or_insert_with(|| instance.clone());
        }
    }
}

/// How many launches there were for each job, and an instance of the last one. The instances of a launch for several jobs all name
/// all of them: that is one launch for each.
pub(super) fn launches(instances: &BTreeMap<String, Instance>) -> BTreeMap<JobId, (u32, &String)> {
    let mut batches: BTreeSet<&[JobId]> = BTreeSet::new();
    let mut made: BTreeMap<JobId, (u32, &String)> = BTreeMap::new();
    for (id, instance) in instances {
        if instance.jobs.len() > 1 && !batches.insert(&instance.jobs) {
            continue;
        }
        for job in &instance.jobs {
            let (count, last) = made.entry(*job).or_insert((0, id));
            (*count, *last) = (*count + 1, id);
        }
    }
    made
}

/// Ends what is past its lifetime, and what never gave a sign: no tag of its agent, and no connection that GitHub saw.
fn sweep(settings: &Settings, world: &mut World, now: Moment, asked_at: Moment) {
    let mut ends = Vec::new();
    for (id, instance) in &world.instances {
        let Some(class) = settings.classes.get(instance.class) else { continue };
        if instance.is_over() || instance.state.is_none() || instance.absent > 0 {
            continue;
        }
        let age = asked_at.since(instance.launched_at);
        // Two sources: its tags, and GitHub's list. While GitHub does not answer, nobody knows.
        let heard = instance.launched_at.plus(class.phone_in);
        let asked_both = world.runners_at.get(&class.scope).is_some_and(|at| *at >= heard);
        let silent = asked_both && instance.phase.is_none() && !instance.seen_online && !instance.used;
        if age >= class.lifetime {
            ends.push((
                id.clone(),
                format!("it is past its lifetime of {} minutes", class.lifetime.as_secs() / 60),
                true,
            ));
        } else if silent && age >= class.phone_in + settings.list_lag {
            let why = format!("it gave no sign within {} minutes of its launch", class.phone_in.as_secs() / 60);
            ends.push((id.clone(), why, false));
        }
    }
    for (id, why, overdue) in ends {
        let class = world.instances.get(&id).map(|instance| instance.class);
        if overdue {
            world.mended.overdue += 1;
        } else {
            world.mended.silent += 1;
            if let Some(state) = class.and_then(|class| world.classes.get_mut(class)) {
                state.breaker.failed(now, &why, false);
            }
        }
        for job in world.jobs.values_mut().filter(|job| job.instance.as_deref() == Some(&*id)) {
            job.problem = Some(why.clone());
        }
        if overdue {
            ending::end_now(world, now, &id, &why);
        } else {
            ending::end(world, now, &id, &why);
        }
    }
}

/// Instances that are over: the job that one had is asked for, and after an hour it is forgotten.
fn gone(world: &mut World, now: Moment, asked_at: Moment, lag: std::time::Duration, actions: &mut Vec<Action>) {
    let World { jobs, instances, looking, .. } = world;
    for (id, instance) in instances.iter().filter(|(_, instance)| instance.is_gone()) {
        let had = jobs.values().find(|job| {
            job.status == JobStatus::InProgress
                && job.runner.as_deref().and_then(instance_of_runner) == Some(id.as_str())
                && now.since(job.known_at) > lag
        });
        if let Some(job) = had
            && looking.insert(job.run)
        {
            let (class, repository, run) = (instance.class, job.repository.clone(), job.run);
            actions.push(Action::LookAtRun { class, repository, run });
        }
    }
    let kept: Vec<&String> = jobs.values().filter_map(|job| job.instance.as_ref()).collect();
    let forget: Vec<String> = instances
        .iter()
        .filter(|(id, instance)| {
            instance.is_gone()
                && instance.left.is_empty()
                && asked_at.since(instance.launched_at) > super::world::REMEMBERED
                && !kept.contains(id)
        })
        .map(|(id, _)| id.clone())
        .collect();
    for id in forget {
        instances.remove(&id);
    }
}

/// The runner records of a scope. Those that look like ours and whose instance is gone are removed.
pub(super) fn runners(
    settings: &Settings,
    world: &mut World,
    asked_at: Moment,
    scope: &Scope,
    views: Vec<RunnerView>,
    actions: &mut Vec<Action>,
) {
    let newest = world.runners_at.entry(scope.clone()).or_default();
    *newest = asked_at.max(*newest);
    for view in views {
        let Some(id) = instance_of_runner(&view.name).map(str::to_owned) else { continue };
        let Some(instance) = world.instances.get_mut(&id) else { continue };
        let Some(class) = settings.classes.get(instance.class).filter(|class| class.scope == *scope) else { continue };
        if !view.name.starts_with(&format!("{}-", class.name)) {
            continue;
        }
        if view.online || view.busy {
            instance.seen_online = true;
            instance.used |= view.busy;
            continue;
        }
        let own = instance.runner == Some(view.id);
        if instance.runner.is_none() && instance.provision == Provision::Adopted {
            instance.runner = Some(view.id);
        }
        instance.left.insert(Left::Runner(view.id));
        // A record that lost its answer: nobody has its JIT configuration.
        let lost = !own
            && instance.provision == Provision::Provided
            && asked_at.since(instance.launched_at) > settings.list_lag;
        if (instance.is_gone() || lost) && world.removing.insert((id, Left::Runner(view.id))) {
            world.mended.runners += 1;
            actions.push(Action::DeleteRunner { class: instance.class, runner: view.id });
        }
    }
}

/// The instances for which there are parameters. One whose instance is gone is nobody's; one whose instance is not known here may be
/// another launcher's, and is left alone.
pub(super) fn parameters(world: &mut World, ids: &[String], actions: &mut Vec<Action>) {
    for id in ids {
        let Some(instance) = world.instances.get_mut(id) else { continue };
        instance.has_parameter = !instance.is_over();
        instance.left.insert(Left::Parameter);
        if instance.is_gone() && world.removing.insert((id.clone(), Left::Parameter)) {
            world.mended.parameters += 1;
            actions.push(Action::DeleteParameter { instance: id.clone() });
        }
    }
}

impl Instance {
    fn adopted(view: &InstanceView, class: usize) -> Self {
        let InstanceView { labels, repository, jobs, launched_at, .. } = view.clone();
        let adopted = Self::new(class, labels, repository, jobs, launched_at, Provision::Adopted);
        Self { state: Some(view.state), ..adopted }
    }
}

#[cfg(test)]
mod tests {
    use super::super::class::tests::{class, queued};
    use super::super::event::Event;
    use super::super::{Problem, ProblemKind, step};
    use super::*;

    const NOW: Moment = Moment(10_000_000);

    fn settings() -> Settings {
        Settings::new(vec![class("ec2", &["ec2"])], 1, 100)
    }

    fn view(number: u64, state: InstanceState) -> InstanceView {
        InstanceView {
            id: format!("i-{number:x}"),
            class: "ec2".to_owned(),
            labels: "ec2".to_owned(),
            repository: "acme/shop".to_owned(),
            jobs: vec![JobId(number)],
            launched_at: NOW,
            state,
            phase: None,
            outcome: None,
        }
    }

    fn listed(settings: &Settings, world: &mut World, now: Moment, instances: &[InstanceView]) -> Vec<Action> {
        step(settings, world, now, Event::Instances { asked_at: now, instances: instances.to_vec() })
    }

    #[test]
    fn a_launch_for_sixteen_jobs_is_one_launch_for_each_of_them_after_a_restart() {
        let (settings, mut world) = (settings(), World::new(&settings(), NOW));
        let jobs: Vec<JobId> = (1..=16).map(JobId).collect();
        let running = |number| InstanceView { jobs: jobs.clone(), ..view(number, InstanceState::Running) };
        let batch: Vec<InstanceView> = (1..=16).map(running).chain([view(1 << 8, InstanceState::Running)]).collect();
        listed(&settings, &mut world, NOW, &batch);
        for job in [1, 1 << 8] {
            step(&settings, &mut world, NOW, Event::Signal { signal: queued(job, &["ec2"]), live: false });
            assert_eq!(world.jobs[&JobId(job)].launches, 1, "job {job} is given up for launches that were others'");
        }
    }

    #[test]
    fn instances_that_end_as_failures_stop_their_class_although_another_one_is_at_work() {
        let (settings, mut world) = (settings(), World::new(&settings(), NOW));
        let at_work = InstanceView { phase: Some("busy".to_owned()), ..view(99, InstanceState::Running) };
        for number in 1..=5 {
            listed(&settings, &mut world, NOW, &[at_work.clone(), view(number, InstanceState::Running)]);
            let outcome = Some("runner-missing".to_owned());
            let ended =
                InstanceView { outcome, phase: Some("closing".to_owned()), ..view(number, InstanceState::Terminated) };
            listed(&settings, &mut world, NOW, &[at_work.clone(), ended]);
        }
        let open = world.classes[0].breaker.open();
        assert!(
            open.is_some_and(|(_, why)| why.contains("runner-missing")),
            "a bad image is launched for ever: {open:?}"
        );
    }

    #[test]
    fn the_parameter_of_an_instance_that_is_not_known_here_is_another_launchers() {
        let (settings, mut world) = (settings(), World::new(&settings(), NOW));
        listed(&settings, &mut world, Moment(NOW.0 + 3_600_000), &[view(1, InstanceState::Terminated)]);
        let instances = vec!["i-1".to_owned(), "i-foreign".to_owned()];
        let actions = step(&settings, &mut world, Moment(NOW.0 + 3_600_000), Event::Parameters { instances });
        assert_eq!(actions, [Action::DeleteParameter { instance: "i-1".to_owned() }]);
    }

    #[test]
    fn a_job_that_waits_for_its_turn_in_a_full_class_is_not_given_up() {
        let mut settings = settings();
        settings.classes[0].max = 1;
        let mut world = World::new(&settings, NOW);
        let busy = InstanceView { phase: Some("busy".to_owned()), ..view(1, InstanceState::Running) };
        listed(&settings, &mut world, NOW, &[busy]);
        step(&settings, &mut world, NOW, Event::Signal { signal: queued(2, &["ec2"]), live: true });
        let late = Moment(NOW.0 + 2 * 3_600_000);
        let actions = step(&settings, &mut world, late, Event::Tick);
        assert!(
            !actions.iter().any(|action| matches!(action, Action::Tell { .. })),
            "given up for a long queue: {actions:?}"
        );
        world.classes[0].breaker.failed(late, "UnauthorizedOperation", true);
        let actions = step(&settings, &mut world, late, Event::Tick);
        let told =
            |action: &Action| matches!(action, Action::Tell { why, .. } if why.contains("UnauthorizedOperation"));
        assert!(actions.iter().any(told), "a class that is stopped leaves its jobs in the queue for ever: {actions:?}");
    }

    #[test]
    fn a_launch_without_an_answer_counts_until_it_has_one() {
        let (settings, mut world) = (settings(), World::new(&settings(), NOW));
        listed(&settings, &mut world, NOW, &[]);
        let signal = super::super::JobSignal { created_at: NOW, ..queued(1, &["ec2"]) };
        let actions = step(&settings, &mut world, NOW, Event::Signal { signal, live: true });
        let tokens: Vec<String> = actions.iter().filter_map(token).collect();
        assert_eq!(tokens.len(), 1);
        let problem = Problem::new(ProblemKind::Unclear, "no answer");
        step(&settings, &mut world, NOW, Event::LaunchFailed { token: tokens[0].clone(), problem });
        let actions = step(&settings, &mut world, Moment(NOW.0 + 60_000), Event::Tick);
        assert_eq!(actions.iter().filter_map(token).collect::<Vec<_>>(), tokens, "asked again under another token");
    }

    fn token(action: &Action) -> Option<String> {
        match action {
            Action::Launch { token, .. } => Some(token.clone()),
            _ => None,
        }
    }
}
