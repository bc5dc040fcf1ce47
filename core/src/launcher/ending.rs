//! What the launcher ends, and what it removes behind an instance. The agent ends its own instance; the launcher ends what never
//! gave a sign, what is past its lifetime, and what it launched and could not provide for.

use super::event::{InstanceState, Problem, ProblemKind};
use super::step::AGAIN;
use super::world::{Ending, EndingStage, Instance, Left, Provision};
use super::{Action, Moment, World};

/// Ends an instance. Where it has a runner record, that goes first: GitHub refuses to remove one that has a job, and then there was
/// no doubt that mattered.
pub(super) fn end(world: &mut World, now: Moment, id: &str, why: &str) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    if instance.ending.is_none() {
        let stage =
            if instance.record().is_some() { EndingStage::RemoveRunner(now) } else { EndingStage::Terminate(now) };
        instance.ending = Some(Ending { why: why.to_owned(), stage });
    }
}

/// Ends an instance whatever its runner does: its lifetime is over.
pub(super) fn end_now(world: &mut World, now: Moment, id: &str, why: &str) {
    if let Some(instance) = world.instances.get_mut(id) {
        instance.ending = Some(Ending { why: why.to_owned(), stage: EndingStage::Terminate(now) });
    }
}

/// Asks for what is due: ends, removals, and words to people.
pub(super) fn proceed(world: &mut World, now: Moment, actions: &mut Vec<Action>) {
    for (id, instance) in &mut world.instances {
        let class = instance.class;
        let runner = instance.record();
        let Some(ending) = &mut instance.ending else { continue };
        match (ending.stage, runner) {
            (EndingStage::RemoveRunner(at), Some(runner)) if now >= at => {
                ending.stage = EndingStage::RemovingRunner;
                actions.push(Action::DeleteRunner { class, runner });
            }
            (EndingStage::RemoveRunner(at), None) | (EndingStage::Terminate(at), _) if now >= at => {
                ending.stage = EndingStage::Terminating;
                actions.push(Action::Terminate { instance: id.clone(), class, why: ending.why.clone() });
            }
            _ => {}
        }
    }
    let leaving = |state| matches!(state, Some(InstanceState::Ending | InstanceState::Terminated));
    for (id, instance) in world.instances.iter().filter(|(_, instance)| leaving(instance.state)) {
        for left in &instance.left {
            if !world.removing.insert((id.clone(), *left)) {
                continue;
            }
            actions.push(match *left {
                Left::Runner(runner) => Action::DeleteRunner { class: instance.class, runner },
                Left::Parameter => Action::DeleteParameter { instance: id.clone() },
            });
        }
    }
}

impl Instance {
    /// A runner record that it has left, or may be using.
    fn record(&self) -> Option<u64> {
        self.left.iter().find_map(|left| match left {
            Left::Runner(id) => Some(*id),
            Left::Parameter => None,
        })
    }
}

/// Whether an instance waits for its moment here.
pub(super) fn waits(instance: &Instance) -> bool {
    let stage = instance.ending.as_ref().map(|ending| ending.stage);
    matches!(stage, Some(EndingStage::RemoveRunner(_) | EndingStage::Terminate(_)))
}

/// EC2 has taken it. The list says when it is over; until then it counts as there.
pub(super) fn terminated(world: &mut World, id: &str) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    if instance.state != Some(InstanceState::Terminated) {
        instance.state = Some(InstanceState::Ending);
    }
}

pub(super) fn terminate_failed(world: &mut World, now: Moment, id: &str, problem: &Problem) {
    let Some(instance) = world.instances.get_mut(id) else { return };
    if let Some(ending) = &mut instance.ending {
        // A denial too: nothing but a person can help, and an instance that is forgotten costs money for ever.
        let wait = if problem.kind == ProblemKind::Permanent { AGAIN * 12 } else { AGAIN };
        ending.stage = EndingStage::Terminate(problem.retry_at.unwrap_or(now).max(now.plus(wait)));
    }
}

pub(super) fn runner_deleted(world: &mut World, now: Moment, runner: u64) {
    let Some(id) = owner(world, runner) else { return };
    removed(world, &id, Left::Runner(runner));
    let Some(instance) = world.instances.get_mut(&id) else { return };
    instance.runner.take_if(|own| *own == runner);
    // One record after the other: any of them may be the one whose JIT configuration it has.
    let stage = if instance.record().is_some() { EndingStage::RemoveRunner(now) } else { EndingStage::Terminate(now) };
    if let Some(ending) = &mut instance.ending
        && ending.stage == EndingStage::RemovingRunner
    {
        ending.stage = stage;
    }
}

pub(super) fn runner_kept(world: &mut World, now: Moment, runner: u64, problem: &Problem) {
    let Some(id) = owner(world, runner) else { return };
    // What is kept stays in `removing` until the next list: it is asked for once a minute.
    let Some(instance) = world.instances.get_mut(&id) else { return };
    let Some(ending) = &mut instance.ending else { return };
    if ending.stage != EndingStage::RemovingRunner {
        return;
    }
    match problem.kind {
        // It has a job: its JIT configuration did arrive. A job that runs is left alone.
        ProblemKind::Taken => {
            instance.ending = None;
            instance.provision = Provision::Provided;
            (instance.used, instance.seen_online) = (true, true);
        }
        // Not ours to remove any more; whether it has a job, nobody can say, so that only its lifetime ends it.
        ProblemKind::Permanent => {
            instance.ending = None;
            instance.provision = Provision::Adopted;
        }
        _ => ending.stage = EndingStage::RemoveRunner(problem.retry_at.unwrap_or(now).max(now.plus(AGAIN))),
    }
}

/// Something that an instance had left is gone.
pub(super) fn removed(world: &mut World, id: &str, left: Left) {
    world.removing.remove(&(id.to_owned(), left));
    if let Some(instance) = world.instances.get_mut(id) {
        instance.left.remove(&left);
        if left == Left::Parameter {
            instance.has_parameter = false;
        }
    }
}

fn owner(world: &World, runner: u64) -> Option<String> {
    let has = |left: &Left| *left == Left::Runner(runner);
    world.instances.iter().find(|(_, instance)| instance.left.iter().any(has)).map(|(id, _)| id.clone())
}
