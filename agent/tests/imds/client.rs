//! The metadata client against the strict double: what is repeated, what is not, and for how long.

use std::time::{Duration, Instant};

use super::common::{BUDGET, ID, settings, start, tokens};
use mayfly::platform::imds::{ImdsClient, ImdsError, ImdsSettings, Poll};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::{Fault, ImdsDouble, Instance};

const TOKEN: &str = "/latest/api/token";
const GET_ID: &str = "/latest/meta-data/instance-id";
const ANSWER: &str = "i-0123456789abcdef0";

async fn id(client: &ImdsClient) -> Option<String> {
    client.get_text(ID, BUDGET).await.unwrap()
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection_and_a_token() {
    let (imds, client) = start(Instance::default());
    for _ in 0..5 {
        assert_eq!(id(&client).await.as_deref(), Some(ANSWER));
        assert_eq!(client.get("meta-data/spot/instance-action", BUDGET).await, Ok(None));
    }
    assert_eq!((imds.connections().opened, tokens(&imds), imds.requests().len()), (1, 1, 11));
}

#[tokio::test]
async fn many_callers_share_a_token_and_ask_four_at_a_time() {
    let (imds, client) = start(Instance::default());
    let delay = Duration::from_millis(50);
    imds.fault(GET_ID, Limit::default(), Fault::Delay(delay));
    let begun = Instant::now();
    let (a, b, c, d, e) = tokio::join!(id(&client), id(&client), id(&client), id(&client), id(&client));
    for answer in [a, b, c, d, e] {
        assert_eq!(answer.as_deref(), Some(ANSWER));
    }
    assert!(begun.elapsed() >= delay * 2, "five requests take two turns, not {:?}", begun.elapsed());
    assert_eq!(tokens(&imds), 1);
    assert!(imds.requests().iter().all(|request| request.status == Some(200)));
}

#[tokio::test]
async fn a_port_that_refuses_for_a_while_is_waited_for() {
    let (imds, client) = start(Instance::default());
    imds.refuse(Some(Duration::from_millis(300))).unwrap();
    let begun = Instant::now();
    assert_eq!(id(&client).await.as_deref(), Some(ANSWER));
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    // And again, with a connection and a token in hand.
    imds.refuse(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(id(&client).await.as_deref(), Some(ANSWER));
    assert_eq!(tokens(&imds), 1);
}

#[tokio::test]
async fn a_forgotten_token_costs_exactly_one_new_one() {
    let (imds, client) = start(Instance::default());
    id(&client).await;
    imds.invalidate_tokens();
    let mark = imds.mark();
    assert_eq!(id(&client).await.as_deref(), Some(ANSWER));
    let statuses: Vec<_> = imds.requests_since(mark).into_iter().map(|r| (r.method, r.status)).collect();
    let expected = [("GET", 401), ("PUT", 200), ("GET", 200)];
    assert_eq!(statuses, expected.map(|(method, status)| (method.to_owned(), Some(status))));

    imds.invalidate_tokens();
    let both = tokio::join!(id(&client), id(&client));
    assert_eq!(both, (Some(ANSWER.to_owned()), Some(ANSWER.to_owned())));
    assert_eq!(tokens(&imds), 3, "two callers with one stale token need one new one");
}

#[tokio::test]
async fn transient_answers_are_repeated_for_values_and_for_tokens() {
    for fault in
        [Fault::Status(503), Fault::Status(500), Fault::Status(429), Fault::Status(401), Fault::Reset, Fault::HalfBody]
    {
        for path in [TOKEN, GET_ID] {
            let (imds, client) = start(Instance::default());
            let rule = imds.fault(path, Limit::times(3), fault);
            assert_eq!(id(&client).await.as_deref(), Some(ANSWER), "{fault:?} at {path}");
            assert_eq!(imds.hits(rule), 3, "{fault:?} at {path}");
            tokens(&imds);
        }
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_given_up_and_repeated() {
    for path in [TOKEN, GET_ID] {
        let (imds, client) = start(Instance::default());
        imds.fault(path, Limit::times(1), Fault::Hang);
        let begun = Instant::now();
        assert_eq!(id(&client).await.as_deref(), Some(ANSWER), "{path}");
        assert!(begun.elapsed() >= Duration::from_millis(400), "{:?} at {path}", begun.elapsed());
        assert_eq!(imds.connections().opened, 2, "the connection that hangs is not used again");
    }
}

#[tokio::test]
async fn silence_ends_with_the_budget_and_a_report() {
    let hang: fn(&ImdsDouble) = |imds| _ = imds.fault("/", Limit::default(), Fault::Hang);
    let hole: fn(&ImdsDouble) = |imds| imds.black_hole(None).unwrap();
    let refuse: fn(&ImdsDouble) = |imds| imds.refuse(None).unwrap();
    let busy: fn(&ImdsDouble) = |imds| _ = imds.fault("/", Limit::default(), Fault::Status(503));
    let stale: fn(&ImdsDouble) = |imds| _ = imds.fault(GET_ID, Limit::default(), Fault::Status(401));
    let quiet = "no complete answer";
    let troubles = [(hang, quiet), (hole, quiet), (refuse, "refused"), (busy, "503"), (stale, "401")];
    let cases: Vec<_> = troubles.map(|(trouble, last)| tokio::spawn(spend_the_budget(trouble, last))).into();
    for case in cases {
        case.await.unwrap();
    }
}

async fn spend_the_budget(trouble: fn(&ImdsDouble), last: &str) {
    let budget = Duration::from_secs(1);
    let (imds, client) = start(Instance::default());
    trouble(&imds);
    let begun = Instant::now();
    let error = client.get(ID, budget).await.unwrap_err();
    let took = begun.elapsed();
    assert!(took >= budget && took <= budget.mul_f64(1.1), "{took:?} until {error}");
    let told = error.to_string();
    assert!(told.contains(last) && told.contains(&format!("{}{GET_ID}", imds.url())), "{told}");
    let ImdsError::Unavailable { attempts, elapsed, .. } = error else { panic!("{error:?}") };
    assert!(attempts >= 2 && elapsed >= budget, "{told}");
    // Pauses grow: no storm, whatever is wrong.
    assert!(imds.requests().len() <= 40, "{} requests: {told}", imds.requests().len());
    tokens(&imds);
}

#[tokio::test]
async fn final_answers_are_final_at_once() {
    for (path, status) in [(TOKEN, 403), (GET_ID, 403), (TOKEN, 400), (GET_ID, 400), (GET_ID, 405), (GET_ID, 302)] {
        let (imds, client) = start(Instance::default());
        let rule = imds.fault(path, Limit::default(), Fault::Status(status));
        let error = client.get(ID, BUDGET).await.unwrap_err();
        match &error {
            ImdsError::Forbidden { .. } => assert_eq!(status, 403),
            ImdsError::Status { status: told, .. } => assert_eq!(*told, status),
            _ => panic!("{error:?} for {status} at {path}"),
        }
        assert!(error.to_string().contains(&format!("{}{path}", imds.url())), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(imds.hits(rule), 1, "{status} at {path}");
    }
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends() {
    let imds = ImdsDouble::start(Instance::default()).unwrap();
    let short = ImdsSettings { token_ttl: Duration::from_secs(1), ..settings(&imds.url()) };
    let client = ImdsClient::new(short).unwrap();
    id(&client).await;
    id(&client).await;
    assert_eq!(tokens(&imds), 1);
    tokio::time::sleep(Duration::from_millis(950)).await;
    id(&client).await;
    assert_eq!(tokens(&imds), 2);
    assert!(imds.requests().iter().all(|request| request.status == Some(200)), "no 401 was needed for it");
}

#[tokio::test]
async fn bytes_come_as_they_are_and_text_is_never_repaired() {
    let gzip = vec![0x1f, 0x8b, 0x08, 0x00, 0xff, 0x00];
    let (imds, client) = start(Instance { user_data: Some(gzip.clone()), ..Instance::default() });
    assert_eq!(client.get("user-data", BUDGET).await, Ok(Some(gzip)));
    let error = client.get_text("user-data", BUDGET).await.unwrap_err();
    assert_eq!(error, ImdsError::NotText { request: format!("GET {}/latest/user-data", imds.url()), length: 6 });
    imds.remove("user-data");
    assert_eq!(client.get("user-data", BUDGET).await, Ok(None));

    let bounded = ImdsSettings { max_body: 100, ..settings(&imds.url()) };
    let bounded = ImdsClient::new(bounded).unwrap();
    for (length, fits) in [(100, true), (101, false)] {
        imds.set("user-data", vec![b'x'; length]);
        let answer = bounded.get("user-data", BUDGET).await;
        assert_eq!(matches!(answer, Err(ImdsError::TooLarge { limit: 100, .. })), !fits, "{answer:?}");
        assert_eq!(answer.is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.len() == length)), fits);
    }
}

#[tokio::test]
async fn tags_are_found_or_absent_and_impossible_keys_are_told() {
    let (imds, client) = start(Instance::default().tag("mayfly:class", "small"));
    assert_eq!(client.tag("mayfly:class", BUDGET).await, Ok(Some("small".to_owned())));
    assert_eq!(client.tag("other", BUDGET).await, Ok(None));
    let mark = imds.mark();
    for key in ["", "..", "a/b", "a b", "_index", "é"] {
        assert_eq!(client.tag(key, BUDGET).await, Err(ImdsError::BadTagKey(key.to_owned())));
    }
    assert_eq!(imds.mark(), mark, "nothing was asked for them");
    let (_imds, client) = start(Instance { tags_enabled: false, ..Instance::default().tag("mayfly:class", "small") });
    assert_eq!(client.tag("mayfly:class", BUDGET).await, Ok(None));
}

#[tokio::test]
async fn a_poll_says_present_absent_or_unknown_and_never_takes_long() {
    let path = "meta-data/spot/instance-action";
    let (imds, client) = start(Instance::default());
    assert_eq!(client.poll(path).await, Poll::Absent);
    imds.spot_action_at("terminate", "2026-01-01T00:02:00Z");
    assert!(matches!(client.poll(path).await, Poll::Present(text) if text.contains("terminate")));
    imds.invalidate_tokens();
    assert!(matches!(client.poll(path).await, Poll::Present(_)), "a stale token is replaced within the poll");
    imds.set(path, vec![0xff, 0xfe]);
    assert!(matches!(client.poll(path).await, Poll::Unknown(ImdsError::NotText { .. })));
    imds.remove(path);

    for fault in [Fault::Status(429), Fault::Status(503), Fault::Status(403), Fault::Reset, Fault::Hang] {
        let rule = imds.fault("/latest/", Limit::default(), fault);
        let begun = Instant::now();
        let answer = client.poll(path).await;
        assert!(matches!(answer, Poll::Unknown(_)), "{answer:?} for {fault:?}");
        assert!(begun.elapsed() < Duration::from_millis(600), "{:?} for {fault:?}", begun.elapsed());
        assert_eq!(imds.hits(rule), 1, "{fault:?}: one attempt");
        imds.clear(rule);
        assert_eq!(client.poll(path).await, Poll::Absent, "after {fault:?}");
    }
    imds.spot_action_at("terminate", "2026-01-01T00:02:00Z");
    imds.fault("/latest/meta-data/", Limit::times(1), Fault::HalfBody);
    assert!(matches!(client.poll(path).await, Poll::Unknown(_)), "half a notice is not taken for a notice");
    imds.fault("/latest/meta-data/", Limit::default(), Fault::Status(401));
    assert!(matches!(client.poll(path).await, Poll::Unknown(ImdsError::Unavailable { attempts: 2, .. })));
    assert_eq!(tokens(&imds), 3);
}

#[tokio::test]
async fn no_message_and_no_debug_output_shows_the_token() {
    let (imds, client) = start(Instance::default());
    imds.set("meta-data/x", "secret-body");
    id(&client).await;
    imds.fault(GET_ID, Limit::default(), Fault::Status(401));
    let error = client.get(ID, Duration::from_millis(100)).await.unwrap_err();
    let shown = format!("{client:?} {error:?} {error}");
    // The double's tokens all begin like this.
    assert!(!shown.contains("AQAEA"), "{shown}");
}
