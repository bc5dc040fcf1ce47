//! How an instance gets its JIT configuration: made at once after the launch, stored once, never over another one. Any doubt ends
//! the instance.

use std::time::Duration;

use super::ending::end;
use super::event::{Problem, ProblemKind};
use super::names::runner_name;
use super::step::AGAIN;
use super::world::{Instance, Left, Provision, Settings};
use super::{Action, Moment, World};

/// How long after the launch an instance may still be given a JIT configuration. The agent waits longer (`jit.wait`, 10 minutes),
/// so that it ends by the launcher's word and not by its own.
pub const PROVIDE_WITHIN: Duration = Duration::from_secs(240);

/// How often GitHub is asked for one instance.
const MOST_MINTS: u8 = 3;

/// From this length on, the advanced tier of SSM's parameters: standard ones hold 4,096 characters.
pub const ADVANCED_FROM: usize = 4_000;

/// SSM's advanced tier holds no more.
const LONGEST: usize = 8_192;

/// Asks for what the budgets allow, the oldest instances first.
pub(super) fn proceed(settings: &Settings, world: &mut World, now: Moment, actions: &mut Vec<Action>) {
    let mut waiting: Vec<(Moment, String)> = world
        .instances
        .iter()
        .filter(|(_, instance)| waits(instance))
        .map(|(id, instance)| (instance.launched_at, id.clone()))
        .collect();
    waiting.sort();
    for (launched_at, id) in waiting {
        if now >= launched_at.plus(PROVIDE_WITHIN) {
            let why = "no JIT configuration could be made and stored for it in time";
            failed(world, now, &id, why, false);
            continue;
        }
        let Some(instance) = world.instances.get_mut(&id) else { continue };
        let Some(class) = settings.classes.get(instance.class) else { continue };
        match instance.provision {
            Provision::Wanted { not_before }
                if now >= not_before && world.jit.get_mut(class.app).is_some_and(|budget| budget.take(now)) =>
            {
                instance.mints += 1;
                instance.provision = Provision::Minting;
                actions.push(Action::Mint {
                    class: instance.class,
                    name: runner_name(&class.name, &id, instance.mints),
                    labels: instance.labels.split(',').map(str::to_owned).collect(),
                    instance: id,
                });
            }
            Provision::Minted { length, not_before } if now >= not_before && world.stores.take(now) => {
                instance.provision = Provision::Storing { length };
                instance.left.insert(Left::Parameter);
                let advanced = length >= ADVANCED_FROM;
                actions.push(Action::Store { class: instance.class, instance: id, advanced });
            }
            _ => {}
        }
    }
}

/// Whether an instance waits for its moment here.
pub(super) fn waits(instance: &Instance) -> bool {
    !instance.is_over() && matches!(instance.provision, Provision::Wanted { .. } | Provision::Minted { .. })
}

pub(super) fn minted(world: &mut World, now: Moment, id: &str, runner: u64, length: usize) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    instance.runner = Some(runner);
    instance.left.insert(Left::Runner(runner));
    if instance.provision != Provision::Minting {
        return;
    }
    instance.provision = Provision::Minted { length, not_before: now };
    if length > LONGEST {
        let why = format!("its JIT configuration has {length} bytes, and SSM takes {LONGEST}");
        failed(world, now, id, &why, true);
    }
}

pub(super) fn mint_failed(settings: &Settings, world: &mut World, now: Moment, id: &str, problem: &Problem) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    if instance.provision != Provision::Minting {
        return;
    }
    let app = settings.classes.get(instance.class).map(|class| class.app);
    let again = problem.retry_at.unwrap_or(now).max(now.plus(AGAIN));
    match problem.kind {
        // The name is the instance's: another process of the launcher was here first, and will provide for it.
        ProblemKind::Taken if instance.mints <= 1 => instance.provision = Provision::Adopted,
        // It was not carried out: under the same name again, and slower.
        ProblemKind::Throttled => {
            instance.mints -= 1;
            instance.provision = Provision::Wanted { not_before: again };
            if let Some(budget) = app.and_then(|app| world.jit.get_mut(app)) {
                budget.block(again);
            }
        }
        ProblemKind::Permanent => {
            let why = format!("GitHub refuses to make a JIT configuration: {}", problem.message);
            failed(world, now, id, &why, true);
        }
        // A record of that name may be there now: under a fresh one. The record is nobody's, and reconcile removes it.
        _ if instance.mints < MOST_MINTS => instance.provision = Provision::Wanted { not_before: again },
        _ => {
            let why = format!("GitHub made no JIT configuration in {MOST_MINTS} tries: {}", problem.message);
            failed(world, now, id, &why, false);
        }
    }
}

pub(super) fn stored(world: &mut World, id: &str) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    if matches!(instance.provision, Provision::Storing { .. }) {
        instance.provision = Provision::Provided;
    }
}

pub(super) fn store_failed(world: &mut World, now: Moment, id: &str, problem: &Problem) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    let Provision::Storing { length } = instance.provision else { return };
    if problem.kind == ProblemKind::Throttled {
        let again = problem.retry_at.unwrap_or(now).max(now.plus(AGAIN / 5));
        instance.provision = Provision::Minted { length, not_before: again };
        world.stores.block(again);
        return;
    }
    let what = match problem.kind {
        ProblemKind::Taken => "a parameter of its name was there already",
        ProblemKind::Permanent | ProblemKind::Capacity => "SSM refuses its JIT configuration",
        _ => "nobody knows whether its JIT configuration was stored",
    };
    let why = format!("{what}: {}", problem.message);
    failed(world, now, id, &why, matches!(problem.kind, ProblemKind::Permanent | ProblemKind::Capacity));
}

/// An instance that could not be provided for is ended, and its jobs start over.
fn failed(world: &mut World, now: Moment, id: &str, why: &str, at_once: bool) {
    let Some(instance) = world.instances.get(id) else { return };
    if let Some(class) = world.classes.get_mut(instance.class) {
        class.breaker.failed(now, why, at_once);
    }
    for job in world.jobs.values_mut().filter(|job| job.instance.as_deref() == Some(id)) {
        job.problem = Some(why.to_owned());
        job.next_try = now.plus(AGAIN * job.launches.min(12));
    }
    end(world, now, id, why);
}
