//! What the tests of the calls to AWS share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mayfly::platform::aws::{Aws, AwsSettings};
use mayfly::platform::imds::{ImdsSettings, InstanceId};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::moto::{InstanceSpec, Moto};
use mayfly_fake_aws::proxy::{AwsProxy, AwsRequest, Fault, Match};

pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const KEY: &str = "AKIDTEST";

/// One emulator for all tests of a file; it ends with the process.
pub(crate) fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| Moto::start_in(REGION).unwrap())
}

/// A way to AWS, and what stands in that way.
pub(crate) struct Cloud {
    pub(crate) proxy: AwsProxy,
    pub(crate) aws: Aws,
}

/// Settings that are quick enough for tests, with an environment's credentials.
pub(crate) fn settings(proxy: &AwsProxy) -> AwsSettings {
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(proxy.url()),
        "AWS_ACCESS_KEY_ID" => Some(KEY.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("not+a+real/secret".to_owned()),
        _ => None,
    };
    AwsSettings {
        attempt_timeout: Duration::from_millis(400),
        denied_patience: Duration::from_millis(300),
        pause_scale: 0.02,
        ..AwsSettings::from_variables(REGION, &ImdsSettings::default(), variable)
    }
}

pub(crate) fn cloud() -> Cloud {
    let proxy = AwsProxy::start(moto().address()).unwrap();
    let aws = Aws::new(settings(&proxy)).unwrap();
    Cloud { proxy, aws }
}

/// A cloud in which one action fails so many times.
pub(crate) fn failing(action: &str, times: Option<u32>, fault: &str) -> Cloud {
    let cloud = cloud();
    cloud.fail(action, times, fault);
    cloud
}

impl Cloud {
    pub(crate) fn fail(&self, action: &str, times: Option<u32>, fault: &str) {
        let fault: Fault = fault.parse().unwrap();
        self.proxy.fault(Match::action(action), Limit { times, ..Limit::default() }, fault);
    }

    pub(crate) fn asked(&self, action: &str) -> Vec<AwsRequest> {
        self.proxy.requests_of(action)
    }
}

/// A name that no other test uses.
pub(crate) fn parameter() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("/mayfly/runners/{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn instance() -> InstanceId {
    moto().run_instance(&InstanceSpec::default()).unwrap().parse().unwrap()
}
