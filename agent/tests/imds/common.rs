//! What the tests of the metadata client share.

use std::time::Duration;

use mayfly::platform::imds::{ImdsClient, ImdsSettings};
use mayfly_fake_aws::imds::{ImdsDouble, Instance};

pub(crate) const ID: &str = "meta-data/instance-id";
pub(crate) const BUDGET: Duration = Duration::from_secs(5);

/// Settings that are patient enough for a busy machine and quick enough for tests.
pub(crate) fn settings(endpoint: &str) -> ImdsSettings {
    ImdsSettings {
        endpoint: endpoint.to_owned(),
        attempt_timeout: Duration::from_millis(400),
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_millis(100),
        ..ImdsSettings::default()
    }
}

pub(crate) fn start(instance: Instance) -> (ImdsDouble, ImdsClient) {
    let imds = ImdsDouble::start(instance).unwrap();
    let client = ImdsClient::new(settings(&imds.url())).unwrap();
    (imds, client)
}

/// How many session tokens were asked for. Also checks that nothing else came without one.
pub(crate) fn tokens(imds: &ImdsDouble) -> usize {
    let requests = imds.requests();
    assert!(requests.iter().all(|r| r.with_token != (r.method == "PUT")), "IMDSv1, or worse: {requests:?}");
    requests.iter().filter(|r| r.method == "PUT").count()
}
