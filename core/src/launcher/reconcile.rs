//! What lists say. A list is older than its answer, and may lack what was just made: nothing is ended by one list alone, and what a
//! list does not show is gone only when it was missing twice, long after it was made.

use std::collections::BTreeMap;

use super::event::{InstanceState, InstanceView, RunnerView};
use super::names::instance_of_runner;
use super::signal::{JobId, JobStatus};
use super::world::{Instance, Left, Provision, Runner, Settings};
use super::{Action, Moment, Scope, World, ending};

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
        let Some(class) = settings.classes.iter().position(|class| class.name == view.class) else { continue };
        let known = world.instances.entry(view.id.clone()).or_insert_with(|| Instance::adopted(view, class));
        known.absent = 0;
        // Terminated does not come back, whatever an older list says.
        if known.state != Some(InstanceState::Terminated) {
            known.state = Some(view.state);
        }
        if view.phase.is_some() && known.phase != view.phase {
            known.phase.clone_from(&view.phase);
        }
        if matches!(view.phase.as_deref(), Some("busy" | "closing" | "held")) {
            known.used = true;
        }
        if matches!(view.phase.as_deref(), Some("idle" | "busy"))
            && let Some(state) = world.classes.get_mut(class)
        {
            state.breaker.succeeded();
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

/// Launches of earlier processes count for their jobs: the cap holds over restarts.
fn count(world: &mut World) {
    let World { jobs, instances, .. } = world;
    let mut made: BTreeMap<JobId, (u32, &String)> = BTreeMap::new();
    for (id, instance) in instances.iter() {
        for job in &instance.jobs {
            made.entry(*job).or_insert((0, id)).0 += 1;
        }
    }
    for (id, (made, instance)) in made {
        if let Some(job) = jobs.get_mut(&id) {
            job.launches = job.launches.max(made);
            job.instance.get_or_insert_with(|| instance.clone());
        }
    }
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
            let (run, attempt) = (job.run, job.attempt);
            actions.push(Action::LookAtRun { class: instance.class, repository: job.repository.clone(), run, attempt });
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
        if !view.name.starts_with(&class.name.chars().take(8).collect::<String>()) {
            continue;
        }
        if view.online || view.busy {
            instance.seen_online = true;
            instance.used |= view.busy;
            continue;
        }
        let own = instance.runner.as_ref().is_some_and(|runner| runner.id == view.id);
        if instance.runner.is_none() && instance.provision == Provision::Adopted {
            instance.runner = Some(Runner { id: view.id, name: view.name.clone() });
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

/// The instances for which there are parameters. One whose instance is gone is nobody's.
pub(super) fn parameters(settings: &Settings, world: &mut World, ids: &[String], actions: &mut Vec<Action>) {
    for id in ids {
        match world.instances.get_mut(id) {
            Some(instance) => {
                instance.has_parameter = !instance.is_over();
                instance.left.insert(Left::Parameter);
                if !instance.is_gone() {
                    continue;
                }
            }
            // Of an instance that no list of two hours had.
            None if world.listed_at.is_some_and(|at| at.since(world.started_at) > settings.list_lag * 2) => {}
            None => continue,
        }
        if world.removing.insert((id.clone(), Left::Parameter)) {
            world.mended.parameters += 1;
            actions.push(Action::DeleteParameter { instance: id.clone() });
        }
    }
}

impl Instance {
    fn adopted(view: &InstanceView, class: usize) -> Self {
        Self {
            class,
            labels: view.labels.clone(),
            repository: view.repository.clone(),
            jobs: view.jobs.clone(),
            launched_at: view.launched_at,
            state: Some(view.state),
            phase: view.phase.clone(),
            provision: Provision::Adopted,
            mints: 0,
            runner: None,
            seen_online: false,
            used: false,
            has_parameter: false,
            absent: 0,
            ending: None,
            left: std::collections::BTreeSet::new(),
        }
    }
}
