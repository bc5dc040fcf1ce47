//! `mayfly-launcher launch`: the same calls, by hand, one after the other.

use std::process::ExitCode;

use mayfly_core::launcher::names::client_token;
use mayfly_core::launcher::{Action, Event, JobId};

use super::{connect, failed, print};
use crate::clock;
use crate::config::Config;
use crate::serve::carry_out;

pub(super) async fn run(config: Config, name: String) -> ExitCode {
    let Some(index) = config.settings.classes.iter().position(|class| class.name == name) else {
        let known: Vec<&str> = config.settings.classes.iter().map(|class| class.name.as_str()).collect();
        return failed(64, &format!("there is no class {name:?}; there are: {}", known.join(", ")));
    };
    let (github, providers) = match connect(&config).await {
        Ok(both) => both,
        Err(code) => return code,
    };
    let Some(class) = config.settings.classes.get(index).cloned() else { return ExitCode::from(70) };
    let labels: Vec<String> = class.labels.first().map(|set| set.iter().cloned().collect()).unwrap_or_default();
    // Of no job: the moment makes the token one of its own.
    let token = client_token(&class.name, &[JobId(clock::now().0)], 0, 0, 0);
    let act = carry_out(config, github, providers);
    let launch = Action::Launch {
        token,
        class: index,
        candidate: 0,
        labels: labels.join(","),
        repository: String::new(),
        jobs: vec![JobId(0)],
    };
    let instance = match act(launch).await {
        Event::Launched { instances, problems, .. } => match instances.into_iter().next() {
            Some(instance) => instance,
            None => return failed(69, &problems.first().map_or("no instance was made", |problem| &problem.message)),
        },
        Event::LaunchFailed { problem, .. } => return failed(69, &problem.message),
        _ => return ExitCode::from(70),
    };
    print(&format!("launched {instance}"));
    let name = mayfly_core::launcher::names::runner_name(&class.name, &instance, 1);
    let given_up = |why: String| {
        let end = act(Action::Terminate { instance: instance.clone(), class: index, why: why.clone() });
        async move {
            let ended = matches!(end.await, Event::Terminated { .. });
            let then = if ended { "it was ended" } else { "AND IT COULD NOT BE ENDED: end it by hand" };
            failed(69, &format!("{why}; {then}"))
        }
    };
    let (runner, length) =
        match act(Action::Mint { instance: instance.clone(), class: index, name: name.clone(), labels }).await {
            Event::Minted { runner, length, .. } => (runner, length),
            Event::MintFailed { problem, .. } => return given_up(problem.message).await,
            _ => return ExitCode::from(70),
        };
    print(&format!("runner {name} (record {runner})"));
    let advanced = length >= mayfly_core::launcher::provide::ADVANCED_FROM;
    match act(Action::Store { instance: instance.clone(), class: index, advanced }).await {
        Event::Stored { .. } => {
            print("its JIT configuration is stored: it takes the next job of its labels");
            ExitCode::SUCCESS
        }
        Event::StoreFailed { problem, .. } => given_up(problem.message).await,
        _ => ExitCode::from(70),
    }
}
