//! The launcher at work: webhooks come in, decisions are carried out, lists mend what was missed.

mod discovery;
mod engine;
mod figures;
mod http;
mod page;
mod perform;

pub use engine::{Engine, Stop};
pub use http::{Front, serve};

use mayfly_core::launcher::{Action, Event};

use crate::config::Config;
use crate::github::Github;
use crate::provider::Providers;

/// Carries single actions out, for what is done by hand: each is answered by its event.
pub fn carry_out(config: Config, github: Github, providers: Providers) -> impl Fn(Action) -> Answer {
    let performer = perform::Performer::new(config, github, providers);
    move |action| {
        let performer = std::sync::Arc::clone(&performer);
        Box::pin(async move { performer.perform(action).await.into_iter().next().unwrap_or(Event::Tick) })
    }
}

/// What becomes of an action.
pub type Answer = std::pin::Pin<Box<dyn Future<Output = Event>>>;
