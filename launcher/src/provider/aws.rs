//! One region's clients, and what a failed call means. The SDK repeats nothing: what is repeated, and when, is decided elsewhere.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use mayfly_core::launcher::{Problem, ProblemKind};

/// What one attempt may take. A fleet of several instances takes some seconds.
const ATTEMPT: Duration = Duration::from_secs(25);

/// The clients of a region.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) ssm: aws_sdk_ssm::Client,
}

impl Aws {
    /// Credentials come from where AWS's own tools find them: environment, profile, container, instance.
    pub async fn new(region: &str) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::rustls(CryptoMode::Ring)).build_https();
        let timeouts =
            TimeoutConfig::builder().connect_timeout(Duration::from_secs(4)).operation_attempt_timeout(ATTEMPT);
        let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build());
        if let Ok(name) = AppName::new("mayfly-launcher") {
            config = config.app_name(name);
        }
        let config = config.load().await;
        Self { ec2: aws_sdk_ec2::Client::new(&config), ssm: aws_sdk_ssm::Client::new(&config) }
    }
}

/// What a code of EC2 or SSM means.
pub(super) fn kind(code: &str, status: u16) -> ProblemKind {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "UnfulfillableCapacity"
        | "MaxSpotInstanceCountExceeded"
        | "SpotMaxPriceTooLow"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "InsufficientFreeAddressesInSubnet"
        | "MaxIOPSLimitExceeded"
        | "VolumeLimitExceeded"
        | "Unsupported"
        | "ParameterLimitExceeded"
        | "ParameterMaxVersionLimitExceeded" => ProblemKind::Capacity,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "EC2ThrottledException"
        | "TooManyUpdates"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ResourceCountExceeded" => ProblemKind::Throttled,
        "ParameterAlreadyExists" | "IdempotentParameterMismatch" => ProblemKind::Taken,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "Unavailable"
        | "RequestTimeout" => ProblemKind::Unclear,
        _ if status == 429 => ProblemKind::Throttled,
        _ if status >= 500 || status == 0 => ProblemKind::Unclear,
        _ => ProblemKind::Permanent,
    }
}

/// A failed call: what was tried, on what, what came back. Bodies and headers are never part of it.
pub(super) fn problem<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Problem
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let meta = context.err().meta();
            let code = meta.code().unwrap_or("no error code");
            let status = context.raw().status().as_u16();
            let message: String = meta.message().unwrap_or_default().chars().take(600).collect();
            Problem::new(kind(code, status), format!("{what}: {code}: {message}"))
        }
        SdkError::ConstructionFailure(_) => {
            Problem::new(ProblemKind::Permanent, format!("{what}: the request cannot be made"))
        }
        SdkError::TimeoutError(_) => Problem::new(ProblemKind::Unclear, format!("{what}: no answer in time")),
        SdkError::DispatchFailure(failure) => {
            let mut reason = failure.as_connector_error().map_or_else(|| "not sent".to_owned(), ToString::to_string);
            let mut inner = failure.as_connector_error().and_then(std::error::Error::source);
            while let Some(error) = inner {
                reason = format!("{reason}: {error}");
                inner = error.source();
            }
            Problem::new(ProblemKind::Unclear, format!("{what}: {reason}"))
        }
        _ => Problem::new(ProblemKind::Unclear, format!("{what}: the answer is not complete")),
    }
}
