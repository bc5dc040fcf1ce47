//! The identity of the instance, in good and in bad times.

use std::time::{Duration, Instant};

use super::common::{BUDGET, start, tokens};
use mayfly::platform::imds::{Details, Identity, ImdsError, LifeCycle};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::{Fault, Instance, LifeCycle as Bought};

const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";

fn member() -> Instance {
    Instance { life_cycle: Bought::Spot, auto_scaling_group: Some("runners".to_owned()), ..Instance::default() }
}

#[tokio::test]
async fn the_identity_takes_two_requests_and_the_details_two_more() {
    let instance = member();
    let (imds, client) = start(instance.clone());
    let identity = Identity::fetch(&client, BUDGET).await.unwrap();
    assert_eq!((tokens(&imds), imds.requests().len()), (1, 2));
    assert_eq!(identity.instance_id.as_str(), instance.id);
    assert_eq!((identity.region, identity.availability_zone), (instance.region, Some(instance.availability_zone)));
    assert_eq!(identity.account_id, Some(instance.account_id));
    assert_eq!((identity.instance_type, identity.image_id), (Some(instance.instance_type), Some(instance.image_id)));
    assert_eq!(identity.architecture, Some(instance.architecture));
    let seconds = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(identity.pending_time.map(seconds), Some(seconds(instance.pending_time)));
    let details = Details::fetch(&client, BUDGET).await;
    assert_eq!(details, Details { life_cycle: Some(LifeCycle::Spot), group: Some("runners".to_owned()) });
    assert_eq!((tokens(&imds), imds.requests().len()), (1, 4));
}

#[tokio::test]
async fn details_that_are_absent_refused_or_slow_are_none() {
    let (imds, client) = start(Instance { tags_enabled: false, ..Instance::default() });
    imds.remove("meta-data/instance-life-cycle");
    assert_eq!(Details::fetch(&client, BUDGET).await, Details::default());
    let (imds, client) = start(member());
    imds.fault("/latest/meta-data/instance-life-cycle", Limit::default(), Fault::Hang);
    imds.fault("/latest/meta-data/tags", Limit::default(), Fault::Status(403));
    let budget = Duration::from_millis(500);
    let begun = Instant::now();
    assert_eq!(Details::fetch(&client, budget).await, Details::default());
    assert!(begun.elapsed() <= budget.mul_f64(1.2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_document_that_cannot_be_relied_on_is_an_error() {
    let (imds, client) = start(Instance::default());
    for (document, why) in [
        ("", "not a JSON object"),
        ("<html>", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "no instanceId"),
        (r#"{"instanceId":"","region":"eu-west-1"}"#, "no instanceId"),
        (r#"{"instanceId":null,"region":"eu-west-1"}"#, "no instanceId"),
        (r#"{"instanceId":"i-../../etc","region":"eu-west-1"}"#, "not the id of an instance"),
        (r#"{"instanceId":"i-12345678"}"#, "no region"),
        (r#"{"instanceId":"i-12345678","region":"evil.example/"}"#, "not a region"),
    ] {
        imds.set(DOCUMENT, document);
        let error = Identity::fetch(&client, BUDGET).await.unwrap_err();
        assert!(matches!(error, ImdsError::BadIdentity { .. }), "{error:?} for {document:?}");
        assert!(error.to_string().contains(why) && error.to_string().contains(DOCUMENT), "{error} for {document:?}");
    }
    imds.remove(DOCUMENT);
    assert!(matches!(Identity::fetch(&client, BUDGET).await, Err(ImdsError::BadIdentity { .. })));
    imds.fault(DOCUMENT, Limit::default(), Fault::Status(503));
    let error = Identity::fetch(&client, Duration::from_millis(200)).await;
    assert!(matches!(error, Err(ImdsError::Unavailable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_document_cut_short_is_read_again() {
    let (imds, client) = start(Instance::default());
    imds.fault(DOCUMENT, Limit::times(2), Fault::HalfBody);
    assert_eq!(Identity::fetch(&client, BUDGET).await.unwrap().instance_id.as_str(), "i-0123456789abcdef0");
}
