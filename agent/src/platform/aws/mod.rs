//! The calls to AWS: the JIT configuration's parameter, and the instance's own tags and end.
//!
//! What all of them hold to:
//!
//! - nothing is asked before it is needed; credentials are looked for at the first call and shared by all services;
//! - the SDK repeats nothing: [`parameter`] does at the pace of waiting agents, the rest inside a caller's deadline, so
//!   that every request is one that this code has counted;
//! - every attempt is bounded ([`CONNECT_TIMEOUT`], [`ATTEMPT_TIMEOUT`]);
//! - proxy variables apply to AWS and never to the metadata service;
//! - errors say what was tried, on what and what came back, and never a parameter's value or a credential. The SDK's
//!   own logs do at their finest levels: [`LOG_CAPS`].

mod call;
mod clock;
mod connect;
mod failure;
pub mod group;
pub mod instance;
pub mod pace;
pub mod parameter;
mod settings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::imds::client::{Client as SdkImdsClient, ImdsResponseRetryClassifier};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_autoscaling as autoscaling;
use aws_sdk_ec2 as ec2;
use aws_sdk_ssm as ssm;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::retries::classifiers::SharedRetryClassifier;
use ssm::config::SharedCredentialsProvider;
use thiserror::Error;

pub use call::CallError;
use clock::Clock;
pub use failure::Class;
pub use settings::{ATTEMPT_TIMEOUT, AwsSettings, CONNECT_TIMEOUT, DENIED_PATIENCE, Endpoints};

/// Directives that a program's log filter must end with, whatever level people ask for: below these levels the SDK
/// logs requests, answers and the material of signatures.
pub const LOG_CAPS: [&str; 1] = ["aws_smithy_runtime=info"];

/// How long one look for credentials may take: shorter than an attempt, so that the error tells what was missing.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the metadata service may take to connect and to answer: it is one hop away, and answers in milliseconds.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

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

/// The way to AWS. Clones share connections, credentials and everything else.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    settings: AwsSettings,
    shared: SdkConfig,
    clock: Clock,
    ssm: OnceLock<ssm::Client>,
    ec2: OnceLock<ec2::Client>,
    autoscaling: OnceLock<autoscaling::Client>,
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
        Self::over(settings, connect::to_aws())
    }

    fn over(settings: AwsSettings, http: SharedHttpClient) -> Result<Self, SettingsError> {
        let credentials = match &settings.credentials {
            Some(credentials) => SharedCredentialsProvider::new(credentials.clone()),
            None => of_role(&settings.imds_endpoint)?,
        };
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
        let (clock, ssm, ec2, autoscaling) = Default::default();
        Ok(Self { inner: Arc::new(Inner { settings, shared, clock, ssm, ec2, autoscaling }) })
    }

    /// AWS's clock minus this machine's in whole seconds, by the last answer; exact to a second and the time that the
    /// answer took. `None` before the first one.
    #[must_use]
    pub fn clock_difference(&self) -> Option<i64> {
        self.inner.clock.difference()
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &AwsSettings {
        &self.inner.settings
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

    fn endpoint(&self, of_service: impl Fn(&Endpoints) -> &Option<String>) -> Option<String> {
        let endpoints = &self.inner.settings.endpoints;
        of_service(endpoints).clone().or_else(|| endpoints.every.clone())
    }
}

/// The credentials of the instance role: three requests to the metadata service, when they are first needed and again
/// before they end.
fn of_role(imds_endpoint: &str) -> Result<SharedCredentialsProvider, SettingsError> {
    let around =
        ProviderConfig::without_region().with_http_client(connect::to_imds()).with_behavior_version(Some(behavior()));
    let bad = |_| SettingsError::BadImdsEndpoint(imds_endpoint.to_owned());
    // By itself the SDK gives up at the first time-out; in an instance's first seconds they happen.
    let classifier = ImdsResponseRetryClassifier::default().with_retry_connect_timeouts(true);
    let imds = SdkImdsClient::builder()
        .configure(&around)
        .endpoint(imds_endpoint)
        .map_err(bad)?
        .connect_timeout(IMDS_TIMEOUT)
        .read_timeout(IMDS_TIMEOUT)
        .retry_classifier(SharedRetryClassifier::new(classifier))
        .build();
    let provider = ImdsCredentialsProvider::builder().configure(&around).imds_client(imds).build();
    Ok(SharedCredentialsProvider::new(provider))
}
