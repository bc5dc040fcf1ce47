//! A call that arrives, on its way through the rules to the service.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request;

use super::Shared;
use super::call::Call;
use super::error::AwsError;
use super::fields::Fields;
use super::fleet;
use super::lifecycle::{Decided, termination};
use super::rule::Fault;
use super::service::Service;
use super::token::Claim;
use super::whole::Whole;
use crate::record::lock;

/// A request that is to be carried out, and what is to befall it there.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: request::Parts,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) fault: Option<Fault>,
    pub(crate) decided: Option<Decided>,
}

/// Carries a call out, once for each client token.
pub(crate) async fn carry_out(shared: Arc<Shared>, service: Service, asked: Asked) -> Arc<Whole> {
    if let Some((rendered, ended)) = &asked.decided {
        if let Some(instance) = ended {
            let (head, body) = termination(&asked.head, instance);
            service.answer(&head, &asked.call, body, Duration::ZERO).await;
        }
        return Whole::of(rendered.clone());
    }
    match shared.tokens.claim(&asked.call, &asked.body) {
        Claim::Free => perform(&shared, &service, &asked).await,
        Claim::Refused(error) => refused(&error, &asked),
        Claim::Held(held) => held.answer(perform(&shared, &service, &asked)).await,
    }
}

fn refused(error: &AwsError, asked: &Asked) -> Arc<Whole> {
    Whole::of(error.render(&asked.call, &asked.body))
}

async fn perform(shared: &Shared, service: &Service, asked: &Asked) -> Arc<Whole> {
    let Asked { head, call, body, fault, .. } = asked;
    let refusal = lock(&shared.state).parameters.refusal(call, body);
    if let Some(error) = refusal {
        return refused(&error, asked);
    }
    let whole = match fault {
        Some(Fault::FleetErrors { code, launched }) if call.action == "CreateFleet" => {
            short_fleet(shared, service, asked, code, *launched).await
        }
        Some(Fault::Stale(age)) if service.knows_past_of(call) => service.answer(head, call, body.clone(), *age).await,
        Some(Fault::Stale(age)) => {
            let fresh = service.answer(head, call, body.clone(), Duration::ZERO).await;
            let mut state = lock(&shared.state);
            state.history.note(call, body, &fresh);
            state.history.as_of(call, body, *age).unwrap_or(fresh)
        }
        _ => {
            let fresh = service.answer(head, call, body.clone(), Duration::ZERO).await;
            if !service.knows_past_of(call) {
                lock(&shared.state).history.note(call, body, &fresh);
            }
            fresh
        }
    };
    if whole.status.is_success() {
        lock(&shared.state).parameters.note(call, body);
    }
    whole
}

/// A fleet of which only a part is launched; the rest is told as errors.
async fn short_fleet(shared: &Shared, service: &Service, asked: &Asked, code: &str, launched: u32) -> Arc<Whole> {
    let (possible, shortages) = fleet::cut(&Fields::of(&asked.body), code, launched);
    let Some(possible) = possible else {
        let number = lock(&shared.state).next_fleet();
        return Whole::of(fleet::answer(&format!("fleet-{number:08x}-0000-4000-8000-00006d61796c"), &[], &shortages));
    };
    let body = fleet::reduced(&asked.body, possible);
    let whole = service.answer(&asked.head, &asked.call, body, Duration::ZERO).await;
    if !whole.status.is_success() {
        return whole;
    }
    whole.with_body(fleet::with_errors(&whole.body, &shortages))
}
