//! Waiting for the parameter and deleting it, with everything that may come between.

use std::time::{Duration, Instant};

use super::common::{Cloud, KEY, REGION, cloud, failing, moto, parameter};
use mayfly::platform::aws::parameter::{Fetched, LastAnswer, delete, fetch};
use mayfly::platform::aws::{CallError, Class};
use secrecy::ExposeSecret;
use tokio::time::{sleep, timeout};

const SHORT: Duration = Duration::from_millis(250);

async fn fetched(cloud: &Cloud, name: &str) -> Result<Fetched, CallError> {
    timeout(Duration::from_secs(3), fetch(&cloud.aws, name, &LastAnswer::default())).await.unwrap()
}

#[tokio::test]
async fn what_is_there_takes_one_signed_request() {
    let (cloud, name) = (cloud(), parameter());
    moto().put_parameter(&name, "the value").unwrap();
    let fetched = fetched(&cloud, &name).await.unwrap();
    assert_eq!((fetched.value.expose_secret(), fetched.attempts), ("the value", 1));
    assert!(!format!("{fetched:?}").contains("the value"));
    let requests = cloud.proxy.requests();
    let [request] = &requests[..] else { panic!("one request, not {requests:?}") };
    assert_eq!((&*request.call.access_key, &*request.call.region, &*request.call.service), (KEY, REGION, "ssm"));
    assert_eq!(
        (request.json()["Name"].as_str(), request.json()["WithDecryption"].as_bool()),
        (Some(&*name), Some(true))
    );
}

#[tokio::test]
async fn what_comes_later_is_waited_for() {
    let (cloud, name) = (cloud(), parameter());
    let later = async {
        sleep(SHORT).await;
        moto().put_parameter(&name, "v").unwrap();
    };
    let (fetched, ()) = tokio::join!(fetched(&cloud, &name), later);
    let fetched = fetched.unwrap();
    assert!(fetched.attempts > 1 && fetched.elapsed >= SHORT, "{fetched:?}");
    assert_eq!(cloud.asked("GetParameter").len(), fetched.attempts as usize);
}

#[tokio::test]
async fn a_task_of_its_own_can_wait_and_be_dropped() {
    let (cloud, last) = (cloud(), LastAnswer::default());
    let (aws, said) = (cloud.aws.clone(), last.clone());
    let task = tokio::spawn(async move { fetch(&aws, &parameter(), &said).await });
    sleep(SHORT).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The proxy may still be reading the last request.
    sleep(Duration::from_millis(50)).await;
    let asked = cloud.asked("GetParameter").len();
    sleep(SHORT).await;
    assert_eq!((cloud.asked("GetParameter").len(), last.class()), (asked, Some(Class::NotFound)));
}

#[tokio::test]
async fn whoever_waits_in_vain_learns_why() {
    let (cloud, last) = (cloud(), LastAnswer::default());
    assert_eq!((last.to_string(), last.class()), ("no answer yet".to_owned(), None));
    assert!(timeout(SHORT, fetch(&cloud.aws, &parameter(), &last)).await.is_err());
    assert_eq!(last.class(), Some(Class::NotFound));
    assert!(last.to_string().starts_with("not there yet (asked "), "{last}");

    cloud.fail("GetParameter", None, "throttled");
    let last = LastAnswer::default();
    assert!(timeout(SHORT, fetch(&cloud.aws, &parameter(), &last)).await.is_err());
    let (text, asked) = (last.to_string(), cloud.asked("GetParameter").len());
    assert!(text.starts_with("ThrottlingException: Rate exceeded (HTTP status 400, request "), "{text}");
    assert!(text.ends_with("of them throttled)") && asked > 2, "{text}");
}

#[tokio::test]
async fn refusals_are_borne_for_a_while_and_then_told_in_full() {
    for (fault, class, words) in [
        ("access-denied", Class::Denied, "not authorized to perform: ssm:GetParameter on resource: arn:aws:ssm:eu-"),
        ("kms-denied", Class::Denied, "AccessDeniedException: The ciphertext refers to a customer master key"),
        ("validation:1 is bad", Class::Invalid, "ValidationException: 1 is bad (HTTP status 400"),
        ("expired", Class::Credentials, "ExpiredTokenException: The security token included in the request is exp"),
        ("code:400:NewException:so what", Class::Other, "NewException: so what (HTTP status 400, request "),
        ("ok", Class::Other, "the answer carries no value"),
    ] {
        let (cloud, name) = (failing("GetParameter", None, fault), parameter());
        moto().put_parameter(&name, "s3cret").unwrap();
        let error = fetched(&cloud, &name).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.class, class, "{text}");
        assert!(text.starts_with(&format!("ssm:GetParameter on {name} failed: ")) && text.contains(words), "{text}");
        assert!(error.attempts > 2 && error.elapsed >= cloud.aws.settings().denied_patience, "{error:?}");
        assert_eq!(cloud.asked("GetParameter").len(), error.attempts as usize);
    }
}

#[tokio::test]
async fn a_refusal_that_passes_costs_nothing() {
    let (cloud, name) = (failing("GetParameter", Some(2), "access-denied"), parameter());
    moto().put_parameter(&name, "v").unwrap();
    assert_eq!(fetched(&cloud, &name).await.unwrap().attempts, 3);
}

#[tokio::test]
async fn whatever_passes_is_repeated() {
    for (fault, times) in [
        ("throttled", 5),
        ("internal", 3),
        ("html:502", 3),
        ("code:400:TooManyUpdates:", 3),
        ("code:429::", 3),
        ("reset", 2),
        ("half", 2),
        ("lose-answer", 2),
        ("hang", 1),
    ] {
        let (cloud, name) = (failing("GetParameter", Some(times), fault), parameter());
        moto().put_parameter(&name, "v").unwrap();
        let attempts = fetched(&cloud, &name).await.unwrap().attempts;
        assert_eq!(attempts, times + 1, "{fault}");
        assert_eq!(cloud.asked("GetParameter").len(), attempts as usize, "{fault}: the SDK repeats nothing itself");
    }
}

#[tokio::test]
async fn a_port_that_is_silent_or_closed_is_waited_for() {
    let (cloud, name) = (cloud(), parameter());
    moto().put_parameter(&name, "v").unwrap();
    let begun = Instant::now();
    cloud.proxy.black_hole(Some(SHORT)).unwrap();
    assert_eq!(fetched(&cloud, &name).await.unwrap().value.expose_secret(), "v");
    cloud.proxy.refuse(Some(SHORT)).unwrap();
    let fetched = fetched(&cloud, &name).await.unwrap();
    assert!(fetched.attempts > 1 && begun.elapsed() >= SHORT, "{fetched:?}");
    cloud.proxy.refuse(None).unwrap();
    let last = LastAnswer::default();
    assert!(timeout(SHORT, fetch(&cloud.aws, &name, &last)).await.is_err());
    assert!(last.to_string().starts_with("no answer: ") && last.to_string().contains("refused"), "{last}");
}

#[tokio::test]
async fn throttled_deletion_happens_once() {
    let (cloud, name) = (failing("DeleteParameter", Some(20), "throttled"), parameter());
    moto().put_parameter(&name, "v").unwrap();
    let scale = mayfly::platform::aws::AwsSettings { pause_scale: 0.002, ..cloud.aws.settings().clone() };
    let aws = mayfly::platform::aws::Aws::new(scale).unwrap();
    let attempts = timeout(Duration::from_secs(3), delete(&aws, &name, &LastAnswer::default())).await.unwrap();
    assert_eq!(attempts, 21);
    let carried_out = cloud.asked("DeleteParameter").iter().filter(|request| request.status == Some(200)).count();
    assert_eq!((carried_out, cloud.asked("DeleteParameter").len()), (1, 21));
    assert!(!moto().parameter_exists(&name).unwrap());
}

#[tokio::test]
async fn what_is_gone_counts_as_deleted() {
    let (cloud, name) = (failing("DeleteParameter", Some(1), "lose-answer"), parameter());
    moto().put_parameter(&name, "v").unwrap();
    assert_eq!(delete(&cloud.aws, &name, &LastAnswer::default()).await, 2);
    assert!(!moto().parameter_exists(&name).unwrap());
}

#[tokio::test]
async fn a_denied_deletion_goes_on_until_it_is_dropped() {
    let (cloud, last) = (failing("DeleteParameter", None, "access-denied"), LastAnswer::default());
    assert!(timeout(SHORT, delete(&cloud.aws, "/mayfly/x", &last)).await.is_err());
    assert_eq!(last.class(), Some(Class::Denied));
    assert!(last.to_string().contains("ssm:DeleteParameter on resource"), "{last}");
}

#[tokio::test]
async fn the_clock_of_aws_is_seen() {
    let cloud = cloud();
    assert_eq!(cloud.aws.clock_difference(), None);
    cloud.proxy.clock_skew(-3600);
    let _ = timeout(SHORT, fetch(&cloud.aws, &parameter(), &LastAnswer::default())).await;
    let difference = cloud.aws.clock_difference().unwrap();
    assert!((-3602..=-3598).contains(&difference), "{difference}");
}
