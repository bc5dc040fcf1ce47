//! Whose credentials the calls are signed with, and how soon they are asked for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds::client::{Client as SdkImdsClient, ImdsResponseRetryClassifier};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{Result as Answer, future};
use aws_sdk_ssm::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::retries::classifiers::SharedRetryClassifier;
use tokio::task::JoinHandle;

use super::{AwsSettings, SettingsError, behavior, connect};

/// How long the metadata service may take to connect and to answer: it is one hop away, and answers in milliseconds.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Credentials that end sooner are asked for anew: the first call may come long after they were (a warm pool).
const STILL_GOOD: Duration = Duration::from_secs(15 * 60);

/// The settings' own credentials, or those of the instance role.
pub(super) fn of(settings: &AwsSettings) -> Result<SharedCredentialsProvider, SettingsError> {
    match &settings.credentials {
        Some(credentials) => Ok(SharedCredentialsProvider::new(credentials.clone())),
        None => of_role(&settings.imds_endpoint),
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

/// Asks at once. The first call gets that answer, if it is one and still good; others ask anew.
pub(super) fn asked_for(provider: SharedCredentialsProvider) -> SharedCredentialsProvider {
    let asked = provider.clone();
    let first = tokio::spawn(async move { asked.provide_credentials().await });
    SharedCredentialsProvider::new(AskedFor { provider, first: Mutex::new(Some(first)) })
}

struct AskedFor {
    provider: SharedCredentialsProvider,
    first: Mutex<Option<JoinHandle<Answer>>>,
}

impl fmt::Debug for AskedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedFor").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl ProvideCredentials for AskedFor {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        future::ProvideCredentials::new(async move {
            if let Some(first) = first
                && let Ok(Ok(credentials)) = first.await
                && is_still_good(&credentials)
            {
                return Ok(credentials);
            }
            self.provider.provide_credentials().await
        })
    }
}

fn is_still_good(credentials: &Credentials) -> bool {
    credentials.expiry().is_none_or(|end| end > SystemTime::now() + STILL_GOOD)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::Arc;

    use aws_credential_types::provider::error::CredentialsError;

    use super::*;

    /// Gives the answers one after the other, and counts how often it was asked.
    #[derive(Clone, Debug)]
    struct Scripted(Arc<Mutex<(usize, Vec<Option<Duration>>)>>);

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let (asked, answers) = &mut *self.0.lock().unwrap();
            *asked += 1;
            let good =
                |left| Credentials::new(format!("AKID{asked}"), "x", None, Some(SystemTime::now() + left), "test");
            let answer = answers[*asked - 1].map(good);
            future::ProvideCredentials::ready(answer.ok_or_else(|| CredentialsError::not_loaded("no role yet")))
        }
    }

    async fn keys(answers: &[Option<Duration>], calls: usize) -> Vec<String> {
        let scripted = Scripted(Arc::new(Mutex::new((0, answers.to_vec()))));
        let provider = asked_for(SharedCredentialsProvider::new(scripted));
        let mut keys = Vec::new();
        for _ in 0..calls {
            keys.push(provider.provide_credentials().await.unwrap().access_key_id().to_owned());
        }
        keys
    }

    const HOURS: Option<Duration> = Some(Duration::from_secs(6 * 3600));

    #[tokio::test]
    async fn what_was_asked_for_early_is_used_once() {
        assert_eq!(keys(&[HOURS, HOURS], 2).await, ["AKID1", "AKID2"]);
    }

    #[tokio::test]
    async fn what_did_not_come_or_has_aged_is_asked_for_anew() {
        assert_eq!(keys(&[None, HOURS], 1).await, ["AKID2"], "a role that came late is never seen");
        assert_eq!(keys(&[Some(Duration::from_secs(60)), HOURS], 1).await, ["AKID2"], "old credentials are used");
    }
}
