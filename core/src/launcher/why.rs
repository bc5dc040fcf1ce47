//! Why a job waits, in plain words: for the page, for `explain`, for whoever asks at 3 a.m.

use std::time::Duration;

use super::signal::JobStatus;
use super::world::{Job, Provision, Settings, Spent};
use super::{JobId, Moment, World};

/// Why this job waits, or what has become of it.
#[must_use]
pub fn why(settings: &Settings, world: &World, id: JobId, now: Moment) -> String {
    let Some(job) = world.jobs.get(&id) else {
        return if world.over.contains_key(&id) {
            "it is over".to_owned()
        } else {
            "nothing is known of it".to_owned()
        };
    };
    match job.status {
        JobStatus::Waiting => {
            return "GitHub holds it: a protection rule of its environment, or a concurrency group".to_owned();
        }
        JobStatus::InProgress => return format!("it runs on {}", job.runner.as_deref().unwrap_or("a runner")),
        JobStatus::Completed => return "it is over".to_owned(),
        JobStatus::Queued => {}
    }
    if job.spent != Spent::No {
        return format!("given up: {}", job.problem.as_deref().unwrap_or("no instance of it took the job"));
    }
    if job.launch.is_some() {
        return "an instance is being launched for it".to_owned();
    }
    on_its_instance(settings, world, job, now)
        .or_else(|| held_back(settings, world, job, now))
        .unwrap_or_else(|| "an instance is launched for it in a moment".to_owned())
}

fn on_its_instance(settings: &Settings, world: &World, job: &Job, now: Moment) -> Option<String> {
    let id = job.instance.as_ref()?;
    let instance = world.instances.get(id).filter(|instance| instance.may_serve(now, settings.list_lag))?;
    let age = now.since(instance.launched_at).as_secs();
    Some(match (&instance.provision, instance.phase.as_deref()) {
        (_, Some("idle")) => {
            format!("{id} listens for a job: GitHub should give it this one, or another of its labels")
        }
        (Provision::Wanted { .. } | Provision::Minting, _) => {
            format!("{id} is there; GitHub makes its JIT configuration")
        }
        (Provision::Minted { .. } | Provision::Storing { .. }, _) => {
            format!("{id} is there; its JIT configuration is being stored")
        }
        (Provision::Provided, None) => format!("{id} boots, since {age} s, with its JIT configuration"),
        _ => format!("{id} was launched for it {age} s ago"),
    })
}

fn held_back(settings: &Settings, world: &World, job: &Job, now: Moment) -> Option<String> {
    let class = settings.classes.get(job.class)?;
    if world.listed_at.is_none() {
        return Some("AWS has not listed the instances yet: nothing is launched before that".to_owned());
    }
    if let Some((until, why)) = world.classes.get(job.class)?.breaker.open()
        && now < until
    {
        return Some(format!("class {} is stopped for another {} s: {why}", class.name, until.since(now).as_secs()));
    }
    if now < job.next_try {
        let problem = job.problem.as_deref().unwrap_or("the last try failed");
        return Some(format!("tried again in {} s: {problem}", job.next_try.since(now).as_secs() + 1));
    }
    if world.live(job.class) >= class.max {
        return Some(format!("all {} instances of class {} are in use", class.max, class.name));
    }
    let all: u32 = (0..settings.classes.len()).map(|class| world.live(class)).sum();
    if all >= settings.max {
        return Some(format!("all {} instances of this launcher are in use", settings.max));
    }
    let jit = world.jit.get(class.app)?.next(now);
    if jit > now {
        return Some(format!("GitHub makes no more JIT configurations for another {} s", jit.since(now).as_secs() + 1));
    }
    let relied_on = world.started_at.max(job.queued_at).plus(settings.list_lag);
    let own = job.live && job.queued_at.plus(Duration::from_secs(1)) >= world.started_at;
    (!own && world.listed_at < Some(relied_on))
        .then(|| "it was found later than it happened: first a list must show that it has no instance yet".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::class::tests::{class, queued};
    use super::super::event::{Event, Problem, ProblemKind};
    use super::super::{Action, Settings, World, step};
    use super::*;

    #[test]
    fn a_job_that_waits_says_what_for() {
        let settings = Settings::new(vec![super::super::Class { max: 1, ..class("ec2", &["ec2"]) }], 1, 10);
        let now = Moment(1_000_000);
        let mut world = World::new(&settings, now);
        let mut signal = queued(1, &["ec2"]);
        signal.created_at = now;
        let said = |world: &World, id: u64| why(&settings, world, JobId(id), now);
        step(&settings, &mut world, now, Event::Signal { signal: signal.clone(), live: true });
        assert!(said(&world, 1).contains("not listed"), "{}", said(&world, 1));
        let actions = step(&settings, &mut world, now, Event::Instances { asked_at: now, instances: Vec::new() });
        let launched = actions.iter().find_map(|action| match action {
            Action::Launch { token, .. } => Some(token.clone()),
            _ => None,
        });
        let token = launched.unwrap_or_default();
        assert!(said(&world, 1).contains("being launched"));
        signal.job = JobId(2);
        step(&settings, &mut world, now, Event::Signal { signal, live: true });
        assert_eq!(said(&world, 2), "all 1 instances of class ec2 are in use");
        let problem = Problem::new(ProblemKind::Permanent, "UnauthorizedOperation");
        step(&settings, &mut world, now, Event::LaunchFailed { token, problem });
        assert!(said(&world, 1).contains("is stopped for another 600 s: UnauthorizedOperation"), "{}", said(&world, 1));
    }
}
