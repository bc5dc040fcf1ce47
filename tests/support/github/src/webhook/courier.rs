//! Sends webhooks, and keeps the book of deliveries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use mayfly_fake_aws::record::lock;
use mayfly_fake_aws::rules::{Fate, Rules};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::{Event, HOOK_ID, USER_AGENT, WebhookFault, WebhookMatch, payload, signature};
use crate::auth::APP_ID;
use crate::clock::Time;
use crate::options::WebhookTarget;
use crate::shared::Shared;

/// A receiver that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many are on their way at once.
const AT_ONCE: usize = 64;

/// One try to deliver a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: u64,
    pub(crate) at: Time,
    pub(crate) redelivery: bool,
    pub(crate) duration: Duration,
    pub(crate) status: String,
    pub(crate) status_code: u16,
    pub(crate) url: String,
    pub(crate) response: String,
    pub(crate) signature: String,
    pub(crate) parcel: Parcel,
}

/// What is delivered.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) guid: String,
    pub(crate) event: String,
    pub(crate) action: Option<&'static str>,
    pub(crate) job: Option<u64>,
    pub(crate) installation: Option<u64>,
    pub(crate) repository: Option<u64>,
    pub(crate) body: Bytes,
}

/// Webhooks on their way, and those that were.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    pub(crate) target: Option<WebhookTarget>,
    pub(crate) rules: Rules<WebhookMatch, WebhookFault>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) held: Vec<Parcel>,
    after_next: Option<Parcel>,
    /// Parcels that have not arrived or failed yet.
    pub(crate) under_way: usize,
    /// How many events were looked at.
    pub(crate) handled: u64,
    made: u64,
}

type Http = Client<HttpConnector, Full<Bytes>>;

/// Delivers what happens, until the double is dropped. The webhooks of a job come one after the other.
pub(crate) async fn deliver(shared: Arc<Shared>, mut events: UnboundedReceiver<Event>) {
    let client: Http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut last: HashMap<u64, JoinHandle<()>> = HashMap::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(event) = events.recv().await {
        let packed = pack(&shared, &event);
        let delay = packed.as_ref().map_or(Duration::ZERO, |(_, fate)| fate.delay);
        let planned = packed.and_then(|(parcel, fate)| plan(&shared, parcel, fate.fault));
        lock(&shared.courier).handled += 1;
        shared.changed.notify_all();
        let Some(parcels) = planned else { continue };
        let (due, late) = (event.at + delay, !delay.is_zero());
        let before = if late { None } else { last.remove(&event.job.id.0) };
        let places = places.clone();
        let (task_shared, client, fails) = (shared.clone(), client.clone(), parcels.fails);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            if late {
                task_shared.clock.sleep_until(due).await;
            }
            let _place = places.acquire().await;
            for parcel in parcels.parcels {
                send(&task_shared, &client, parcel, false, fails.clone()).await;
            }
        });
        if !late {
            last.insert(event.job.id.0, task);
        }
        last.retain(|_, task| !task.is_finished());
    }
}

/// What a fault makes of one parcel.
struct Planned {
    parcels: Vec<Parcel>,
    fails: Option<WebhookFault>,
}

fn pack(shared: &Shared, event: &Event) -> Option<(Parcel, Fate<WebhookFault>)> {
    let made = shared.world(|world| {
        let repo = world.repo(&event.job.repo)?;
        let owner = world.owner(&repo.owner)?;
        Some((payload(world, event)?, owner.installation, repo.id))
    });
    let (payload, installation, repository) = made?;
    if let Err(problem) = shared.judge.webhook(&payload) {
        shared.violated(crate::schema::Side::Answer, "workflow_job", problem);
    }
    let mut courier = lock(&shared.courier);
    courier.target.as_ref()?;
    let fate = courier.rules.fate(shared.clock.instant(), |matching| matching.fits(event));
    courier.made += 1;
    let parcel = Parcel {
        guid: guid(courier.made),
        event: "workflow_job".to_owned(),
        action: Some(event.action.as_str()),
        job: Some(event.job.id.0),
        installation: Some(installation),
        repository: Some(repository),
        body: Bytes::from(match &fate.fault {
            Some(WebhookFault::NullJob) => without_job(payload).to_string(),
            Some(WebhookFault::Body(text)) => text.clone(),
            _ => payload.to_string(),
        }),
    };
    Some((parcel, fate))
}

fn without_job(mut payload: Value) -> Value {
    payload["workflow_job"] = Value::Null;
    payload
}

fn plan(shared: &Shared, parcel: Parcel, fault: Option<WebhookFault>) -> Option<Planned> {
    let mut courier = lock(&shared.courier);
    let before = courier.after_next.take();
    let mut parcels = match fault {
        Some(WebhookFault::Lose) => Vec::new(),
        Some(WebhookFault::Hold) => {
            courier.held.push(parcel);
            Vec::new()
        }
        Some(WebhookFault::AfterNext) => {
            courier.after_next = Some(parcel);
            Vec::new()
        }
        Some(WebhookFault::Double) => vec![parcel.clone(), parcel],
        Some(WebhookFault::Twice) => {
            courier.made += 1;
            let other = Parcel { guid: guid(courier.made), ..parcel.clone() };
            vec![parcel, other]
        }
        _ => vec![parcel],
    };
    parcels.extend(before);
    courier.under_way += parcels.len();
    let fails = fault.filter(|fault| matches!(fault, WebhookFault::Fail | WebhookFault::Forge));
    (!parcels.is_empty()).then_some(Planned { parcels, fails })
}

/// Sends any text as an event, signed.
pub(crate) fn send_any(shared: &Arc<Shared>, event: &str, body: &str) {
    let parcel = {
        let mut courier = lock(&shared.courier);
        courier.made += 1;
        courier.under_way += 1;
        Parcel {
            guid: guid(courier.made),
            event: event.to_owned(),
            action: None,
            job: None,
            installation: None,
            repository: None,
            body: Bytes::from(body.to_owned()),
        }
    };
    send_alone(shared, vec![parcel], false);
}

/// Sends something again that is counted as under way.
pub(crate) fn redeliver(shared: &Arc<Shared>, parcel: Parcel) {
    send_alone(shared, vec![parcel], true);
}

/// Sends what is counted as under way, one after the other.
pub(crate) fn send_alone(shared: &Arc<Shared>, parcels: Vec<Parcel>, redelivery: bool) {
    let sending = shared.clone();
    shared.spawn(async move {
        let client: Http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        for parcel in parcels {
            send(&sending, &client, parcel, redelivery, None).await;
        }
    });
}

async fn send(shared: &Arc<Shared>, client: &Http, parcel: Parcel, redelivery: bool, fault: Option<WebhookFault>) {
    let began = Instant::now();
    let target = lock(&shared.courier).target.clone();
    let Some(target) = target else {
        lock(&shared.courier).under_way -= 1;
        return;
    };
    let secret = if fault == Some(WebhookFault::Forge) { "not the secret" } else { &target.secret };
    let signature = signature(secret, &parcel.body);
    let (status, status_code, response) = match fault {
        Some(WebhookFault::Fail) => ("failed to connect to host".to_owned(), 502, String::new()),
        _ => post(client, &target.url, &parcel, &signature).await,
    };
    let mut courier = lock(&shared.courier);
    let id = 120_000_000_001 + courier.deliveries.len() as u64;
    courier.under_way -= 1;
    let (at, duration) = (shared.clock.elapsed(), began.elapsed());
    let url = target.url;
    courier.deliveries.push(Delivery {
        id,
        at,
        redelivery,
        duration,
        status,
        status_code,
        url,
        response,
        signature,
        parcel,
    });
    drop(courier);
    shared.changed.notify_all();
}

async fn post(client: &Http, url: &str, parcel: &Parcel, signature: &str) -> (String, u16, String) {
    let mut request = Request::post(url);
    for (name, value) in headers(parcel, signature) {
        request = request.header(name, value);
    }
    let request = match request.body(Full::new(parcel.body.clone())) {
        Ok(request) => request,
        Err(error) => return (error.to_string(), 0, String::new()),
    };
    let asking = async {
        let response = client.request(request).await.map_err(|_| ())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|_| ())?.to_bytes();
        Ok::<_, ()>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok((status, body))) if status.is_success() => ("OK".to_owned(), status.as_u16(), body),
        Ok(Ok((status, body))) => (format!("Invalid HTTP Response: {}", status.as_u16()), status.as_u16(), body),
        Ok(Err(())) => ("failed to connect to host".to_owned(), 502, String::new()),
        Err(_) => ("timed out".to_owned(), 504, String::new()),
    }
}

/// The headers of a webhook, as they are sent and as they are told of later.
pub(crate) fn headers(parcel: &Parcel, signature: &str) -> [(&'static str, String); 9] {
    [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", USER_AGENT.to_owned()),
        ("X-GitHub-Delivery", parcel.guid.clone()),
        ("X-GitHub-Event", parcel.event.clone()),
        ("X-GitHub-Hook-ID", HOOK_ID.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", APP_ID.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
        ("X-Hub-Signature-256", signature.to_owned()),
    ]
}

impl Courier {
    pub(crate) fn new(target: Option<WebhookTarget>) -> Self {
        Self { target, ..Self::default() }
    }
}

impl Delivery {
    /// As the list shows it.
    pub(crate) fn summary(&self, date: &str) -> Value {
        json!({
            "id": self.id, "guid": self.parcel.guid, "delivered_at": date, "redelivery": self.redelivery,
            "duration": self.duration.as_secs_f64(), "status": self.status, "status_code": self.status_code,
            "event": self.parcel.event, "action": self.parcel.action, "installation_id": self.parcel.installation,
            "repository_id": self.parcel.repository, "throttled_at": null,
        })
    }

    /// With what was sent and answered.
    pub(crate) fn whole(&self, date: &str) -> Value {
        let mut whole = self.summary(date);
        let sent = headers(&self.parcel, &self.signature).map(|(name, value)| (name.to_owned(), Value::String(value)));
        let payload = serde_json::from_slice::<Value>(&self.parcel.body).unwrap_or_default();
        whole["url"] = self.url.clone().into();
        whole["request"] = json!({ "headers": Value::Object(sent.into_iter().collect()), "payload": payload });
        whole["response"] = json!({ "headers": {}, "payload": self.response });
        whole
    }
}

fn guid(number: u64) -> String {
    format!("{:08x}-{:04x}-11f1-8000-{number:012x}", number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff, number & 0xffff)
}
