//! The calls to AWS: the JIT configuration's parameter, the instance's own tags and end, and its logs.
//!
//! What all of them hold to:
//!
//! - nothing is asked before it is needed, but by who asked for a way to AWS soon ([`Aws::soon`]); all services share the
//!   credentials;
//! - the SDK repeats nothing: [`parameter`] does at the schedule of waiting agents, the rest inside a caller's deadline, so
//!   that every request is one that this code has counted;
//! - every attempt is bounded ([`CONNECT_TIMEOUT`], [`ATTEMPT_TIMEOUT`]);
//! - proxy variables apply to AWS and never to the metadata service;
//! - errors say what was tried, on what and what came back, and never a parameter's value or a credential; what the SDK
//!   logs by itself is capped: [`LOG_CAPS`].

mod call;
mod connect;
mod counts;
mod credentials;
mod failure;
pub mod group;
pub mod instance;
pub mod logs;
pub mod parameter;
pub mod polling;
mod settings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_autoscaling as autoscaling;
use aws_sdk_cloudwatchlogs as cloudwatchlogs;
use aws_sdk_ec2 as ec2;
use aws_sdk_ssm as ssm;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use ssm::config::SharedCredentialsProvider;
use thiserror::Error;

use super::clock::Clock;
use counts::Counts;
use mayfly_core::metrics::Registry;

pub use call::CallError;
pub use failure::Class;
pub use settings::{ATTEMPT_TIMEOUT, AwsSettings, CONNECT_TIMEOUT, DENIED_TIMEOUT, Endpoints};

/// Directives that cap what the SDK logs, in the syntax of `tracing_subscriber::EnvFilter`.
///
/// They belong into a filter of their own beside the one that people may change: in one and the same filter a longer
/// target, such as `aws_smithy_runtime::client=trace`, would win. The first covers `aws_smithy_runtime_api` too. By
/// itself the SDK hides the bodies that carry parameters and credentials, but the variable `LOG_SENSITIVE_BODIES=true`
/// makes it log them at the level TRACE; the other two log whole requests and frames.
pub const LOG_CAPS: [&str; 3] = ["aws_smithy_runtime=info", "aws_sigv4=info", "h2=info"];

/// How long one search for credentials may take: shorter than an attempt, so that the error tells what was missing.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(4);

/// The behaviour this code was written and tested with; newer SDK releases keep it.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Why no client could be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The metadata endpoint is no URL.
    #[error("the metadata endpoint {0:?} is not a URL")]
    BadImdsEndpoint(String),
}

/// What takes long and needs no region: credentials and certificates, on their way.
#[derive(Debug)]
pub struct Soon {
    credentials: SharedCredentialsProvider,
    http: SharedHttpClient,
}

/// The way to AWS. Clones share connections, credentials and everything else.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    settings: AwsSettings,
    shared: SdkConfig,
    clock: Clock,
    counts: Counts,
    ssm: OnceLock<ssm::Client>,
    ec2: OnceLock<ec2::Client>,
    autoscaling: OnceLock<autoscaling::Client>,
    logs: OnceLock<cloudwatchlogs::Client>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Aws {
    /// Makes the way to AWS; nothing is asked and nothing is connected yet.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn new(settings: AwsSettings) -> Result<Self, SettingsError> {
        let credentials = credentials::of(&settings)?;
        Ok(Self::over(settings, credentials, connect::to_aws()))
    }

    /// Begins with what takes long, while others find out which region this is. The settings' region does not matter yet.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn soon(settings: &AwsSettings) -> Result<Soon, SettingsError> {
        let credentials = credentials::asked_for(credentials::of(settings)?);
        Ok(Soon { credentials, http: connect::to_aws_soon(settings.connect_timeout) })
    }

    /// The way to AWS with what was begun.
    #[must_use]
    pub fn from_soon(settings: AwsSettings, soon: Soon) -> Self {
        Self::over(settings, soon.credentials, soon.http)
    }

    fn over(settings: AwsSettings, credentials: SharedCredentialsProvider, http: SharedHttpClient) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .operation_attempt_timeout(settings.attempt_timeout);
        let mut shared = SdkConfig::builder()
            .behavior_version(behavior())
            .region(Region::new(settings.region.clone()))
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build())
            .http_client(http)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::disabled())
            // The attempt's own bound covers this; answers are a few kilobytes.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .use_fips(settings.fips)
            .use_dual_stack(settings.dual_stack);
        // So that CloudTrail tells these calls from those of other programs with the same role.
        shared.set_app_name(AppName::new("mayfly").ok());
        let shared = shared.build();
        let (clock, counts, ssm, ec2, autoscaling, logs) = Default::default();
        Self { inner: Arc::new(Inner { settings, shared, clock, counts, ssm, ec2, autoscaling, logs }) }
    }

    /// The same way over connections of its own: those belong to the runtime in which they were made. The credentials are
    /// shared.
    #[must_use]
    pub fn of_another_thread(&self) -> Self {
        let inner = &self.inner;
        let shared = inner.shared.to_builder().http_client(connect::to_aws()).build();
        let (ssm, ec2, autoscaling, logs) = Default::default();
        let (settings, clock, counts) = (inner.settings.clone(), inner.clock.clone(), inner.counts.clone());
        Self { inner: Arc::new(Inner { settings, shared, clock, counts, ssm, ec2, autoscaling, logs }) }
    }

    /// AWS's clock minus this machine's in whole seconds, by the last answer; exact to a second and the time that the
    /// answer took. `None` before the first one.
    #[must_use]
    pub fn clock_difference(&self) -> Option<i64> {
        self.inner.clock.difference()
    }

    /// How often what was called, and how it failed.
    pub fn figures(&self, registry: &mut Registry) {
        self.inner.counts.write(registry);
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &AwsSettings {
        &self.inner.settings
    }

    fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    fn ssm(&self) -> &ssm::Client {
        self.inner.ssm.get_or_init(|| {
            let mut config = ssm::config::Builder::from(&self.inner.shared).interceptor(self.inner.clock.clone());
            config.set_endpoint_url(self.endpoint(|endpoints| &endpoints.ssm));
            ssm::Client::from_conf(config.build())
        })
    }

    fn ec2(&self) -> &ec2::Client {
        self.inner.ec2.get_or_init(|| {
            let mut config = ec2::config::Builder::from(&self.inner.shared).interceptor(self.inner.clock.clone());
            config.set_endpoint_url(self.endpoint(|endpoints| &endpoints.ec2));
            ec2::Client::from_conf(config.build())
        })
    }

    fn autoscaling(&self) -> &autoscaling::Client {
        self.inner.autoscaling.get_or_init(|| {
            let mut config =
                autoscaling::config::Builder::from(&self.inner.shared).interceptor(self.inner.clock.clone());
            config.set_endpoint_url(self.endpoint(|endpoints| &endpoints.autoscaling));
            autoscaling::Client::from_conf(config.build())
        })
    }

    fn logs(&self) -> &cloudwatchlogs::Client {
        self.inner.logs.get_or_init(|| {
            let mut config =
                cloudwatchlogs::config::Builder::from(&self.inner.shared).interceptor(self.inner.clock.clone());
            config.set_endpoint_url(self.endpoint(|endpoints| &endpoints.logs));
            cloudwatchlogs::Client::from_conf(config.build())
        })
    }

    fn endpoint(&self, of_service: impl Fn(&Endpoints) -> &Option<String>) -> Option<String> {
        let endpoints = &self.inner.settings.endpoints;
        of_service(endpoints).clone().or_else(|| endpoints.every.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;
    use crate::platform::imds::ImdsSettings;

    /// Notes where requests would go, and goes nowhere.
    #[derive(Clone, Debug, Default)]
    struct Nowhere(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Nowhere {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let scope = request.headers().get("authorization").and_then(|text| text.split('/').nth(2));
            self.0.lock().unwrap().push(format!("{} {}", request.uri(), scope.unwrap_or_default()));
            HttpConnectorFuture::ready(Err(ConnectorError::io("nowhere".into())))
        }
    }

    async fn targets(region: &str, change: impl FnOnce(&mut AwsSettings)) -> Vec<String> {
        let mut settings = AwsSettings::new(region, &ImdsSettings::default());
        settings.pause_scale = 1000.0; // so that there is one attempt each
        settings.credentials = Some(ssm::config::Credentials::new("AKIDTEST", "x", None, None, "test"));
        change(&mut settings);
        let nowhere = Nowhere::default();
        let connector = SharedHttpConnector::new(nowhere.clone());
        let credentials = credentials::of(&settings).unwrap();
        let aws = Aws::over(settings, credentials, http_client_fn(move |_, _| connector.clone()));
        let id = "i-0123456789abcdef0".parse().unwrap();
        let last = parameter::LastAnswer::default();
        // Long enough for a busy machine; nobody waits for it, since each call is left once it was made.
        let long = Duration::from_secs(30);
        let ends = tokio::time::Instant::now() + long;
        let made = async |calls: usize| {
            while nowhere.0.lock().unwrap().len() < calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { _ = parameter::fetch(&aws, "/x", &last, ends) => {}, () = made(1) => {} }
        tokio::select! { _ = instance::terminate(&aws, &id, long) => {}, () = made(2) => {} }
        tokio::select! { _ = group::terminate_in_group(&aws, &id, true, long) => {}, () = made(3) => {} }
        nowhere.0.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn the_endpoints_follow_from_the_region() {
        for (region, domain) in [
            ("eu-central-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
            // One that is newer than this code.
            ("eu-north-9", "amazonaws.com"),
        ] {
            let expected =
                ["ssm", "ec2", "autoscaling"].map(|name| format!("https://{name}.{region}.{domain}/ {region}"));
            assert_eq!(targets(region, |_| ()).await, expected);
        }
    }

    #[tokio::test]
    async fn the_settings_replace_them() {
        let found = targets("us-gov-west-1", |settings| settings.fips = true).await;
        assert_eq!(found[0], "https://ssm.us-gov-west-1.amazonaws.com/ us-gov-west-1");
        let found = targets("us-east-1", |settings| settings.fips = true).await;
        assert_eq!(found[1], "https://ec2-fips.us-east-1.amazonaws.com/ us-east-1");
        let found = targets("eu-west-1", |settings| settings.dual_stack = true).await;
        assert_eq!(found[1], "https://ec2.eu-west-1.api.aws/ eu-west-1");
        let [every, ec2] = ["http://127.0.0.1:1/", "http://127.0.0.1:2/"].map(str::to_owned);
        let (of_all, of_ec2) = (every.clone(), ec2.clone());
        let found = targets("eu-west-1", |settings| {
            settings.endpoints = Endpoints { every: Some(of_all), ec2: Some(of_ec2), ..Endpoints::default() };
        })
        .await;
        assert_eq!(found, [&every, &ec2, &every].map(|url| format!("{url} eu-west-1")));
    }
}
