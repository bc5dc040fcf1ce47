//! The credentials of the instance role.

use std::time::{Duration, Instant, SystemTime};

use super::common::{instance, moto, parameter, settings};
use mayfly::platform::aws::instance::terminate;
use mayfly::platform::aws::parameter::{LastAnswer, fetch};
use mayfly::platform::aws::{Aws, AwsSettings, Class, SettingsError};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::{Credentials, Fault, ImdsDouble, Instance};
use mayfly_fake_aws::proxy::AwsProxy;

const DEADLINE: Duration = Duration::from_secs(2);

fn with_role(imds: &ImdsDouble) -> (AwsProxy, AwsSettings) {
    let proxy = AwsProxy::start(moto().address()).unwrap();
    let settings = AwsSettings { credentials: None, imds_endpoint: imds.url(), ..settings(&proxy) };
    (proxy, settings)
}

#[tokio::test]
async fn all_services_share_three_requests_for_credentials() {
    let imds = ImdsDouble::start(Instance::default()).unwrap();
    let (proxy, settings) = with_role(&imds);
    let (aws, name) = (Aws::new(settings).unwrap(), parameter());
    moto().put_parameter(&name, "v").unwrap();
    assert!(imds.requests().is_empty(), "nothing is asked before it is needed");
    fetch(&aws, &name, &LastAnswer::default()).await.unwrap();
    terminate(&aws, &instance(), DEADLINE).await.unwrap();
    let paths: Vec<_> = imds.requests().into_iter().map(|request| (request.method, request.path)).collect();
    let role = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert_eq!(paths[0], ("PUT".to_owned(), "/latest/api/token".to_owned()));
    assert!(paths[1].1 == role && paths[2].1.len() > role.len(), "{paths:?}");
    assert!(proxy.requests().iter().all(|r| r.call.session_token && r.call.access_key == "ASIADOUBLEMAYFLY0001"));
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn new_credentials_are_looked_for_when_the_old_ones_end() {
    let imds = ImdsDouble::start(Instance::default()).unwrap();
    let (proxy, settings) = with_role(&imds);
    let role = Instance::default().role.unwrap().0;
    let in_a_second = SystemTime::now() + Duration::from_secs(1);
    imds.set_credentials(&role, &Credentials { expiration: in_a_second, ..Credentials::default() });
    let aws = Aws::new(settings).unwrap();
    terminate(&aws, &instance(), DEADLINE).await.unwrap();
    imds.set_credentials(&role, &Credentials { access_key_id: "ASIANEXT".to_owned(), ..Credentials::default() });
    terminate(&aws, &instance(), DEADLINE).await.unwrap();
    assert_eq!(proxy.requests()[1].call.access_key, "ASIANEXT");
}

#[tokio::test]
async fn an_instance_without_a_role_says_so() {
    let imds = ImdsDouble::start(Instance { role: None, ..Instance::default() }).unwrap();
    let (proxy, settings) = with_role(&imds);
    let aws = Aws::new(settings).unwrap();
    let error = terminate(&aws, &instance(), DEADLINE).await.unwrap_err();
    assert_eq!((error.class, error.attempts), (Class::Credentials, 1));
    assert!(error.to_string().contains("there are no credentials: received 404 from IMDS"), "{error}");
    let error = fetch(&aws, "/mayfly/x", &LastAnswer::default()).await.unwrap_err();
    assert_eq!(error.class, Class::Credentials);
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn hiccups_of_the_metadata_service_are_borne_and_its_silence_is_bounded() {
    let imds = ImdsDouble::start(Instance::default()).unwrap();
    imds.fault("/latest/api/token", Limit::times(1), Fault::Status(503));
    imds.fault("/latest/meta-data/iam", Limit::times(1), Fault::Reset);
    let (_proxy, settings) = with_role(&imds);
    let settings = AwsSettings { attempt_timeout: Duration::from_secs(2), ..settings };
    let aws = Aws::new(settings.clone()).unwrap();
    terminate(&aws, &instance(), DEADLINE).await.unwrap();

    imds.black_hole(None).unwrap();
    let (aws, begun) = (Aws::new(settings).unwrap(), Instant::now());
    let error = terminate(&aws, &instance(), Duration::from_millis(300)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(1), "{error}");
}

#[test]
fn a_metadata_endpoint_that_is_no_url_is_refused() {
    let proxy = AwsProxy::start(moto().address()).unwrap();
    let settings = AwsSettings { credentials: None, imds_endpoint: "http://a b".to_owned(), ..settings(&proxy) };
    assert_eq!(Aws::new(settings).unwrap_err(), SettingsError::BadImdsEndpoint("http://a b".to_owned()));
}
