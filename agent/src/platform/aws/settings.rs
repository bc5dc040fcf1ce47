//! Where AWS is and with which timeouts it is asked.

use std::time::Duration;

use aws_sdk_ssm::config::Credentials;

use crate::platform::imds::ImdsSettings;

/// How long connecting may take, the TLS handshake included. A lost first packet is sent again after one second and
/// after three: this leaves room for one loss, and an unreachable endpoint is known soon enough for another attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one attempt may take, from looking for credentials to the last byte. These calls take 10 to 100 ms, a
/// second at bad times; a termination method has time for several.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long refusals in a row are borne before a fetch gives up: permissions of a role that was made a moment ago take
/// some seconds to be known everywhere, hardly ever a minute.
pub const DENIED_TIMEOUT: Duration = Duration::from_secs(60);

/// Endpoints that replace the ones that follow from the region, such as `http://127.0.0.1:5000`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `AWS_ENDPOINT_URL`: for every service without one of its own.
    pub every: Option<String>,
    /// `AWS_ENDPOINT_URL_SSM`.
    pub ssm: Option<String>,
    /// `AWS_ENDPOINT_URL_EC2`.
    pub ec2: Option<String>,
    /// `AWS_ENDPOINT_URL_AUTO_SCALING`.
    pub autoscaling: Option<String>,
    /// `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`.
    pub logs: Option<String>,
}

/// Where AWS is and with which timeouts it is asked. Start from [`AwsSettings::new`] and change fields.
///
/// Files such as `~/.aws/config` are never read: an agent must not depend on who the image's maker was.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Endpoints that replace the usual ones.
    pub endpoints: Endpoints,
    /// Whether the FIPS endpoints are used (`AWS_USE_FIPS_ENDPOINT`).
    pub fips: bool,
    /// Whether the dual-stack endpoints are used (`AWS_USE_DUALSTACK_ENDPOINT`).
    pub dual_stack: bool,
    /// Fixed credentials; without them those of the instance role are used. Their secrets do not show in `Debug`.
    pub credentials: Option<Credentials>,
    /// The base URL of the instance metadata service, for the role's credentials.
    pub imds_endpoint: String,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`ATTEMPT_TIMEOUT`].
    pub attempt_timeout: Duration,
    /// See [`DENIED_TIMEOUT`].
    pub denied_timeout: Duration,
    /// Every pause between two attempts is multiplied by this: 1, or less in tests.
    pub pause_scale: f64,
}

impl AwsSettings {
    /// The defaults for a region, with the credentials of the role that this metadata service tells.
    #[must_use]
    pub fn new(region: &str, imds: &ImdsSettings) -> Self {
        Self {
            region: region.to_owned(),
            endpoints: Endpoints::default(),
            fips: false,
            dual_stack: false,
            credentials: None,
            imds_endpoint: imds.endpoint.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            denied_timeout: DENIED_TIMEOUT,
            pause_scale: 1.0,
        }
    }

    /// The same with what this process's environment says: `AWS_REGION`, `AWS_ENDPOINT_URL` and its four kin,
    /// `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`, and `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`. (Proxy variables are read where connections are made.)
    #[must_use]
    pub fn from_environment(region: &str, imds: &ImdsSettings) -> Self {
        Self::from_variables(region, imds, |name| std::env::var(name).ok())
    }

    /// The same for any source of variables. An empty variable counts as unset.
    #[must_use]
    pub fn from_variables(region: &str, imds: &ImdsSettings, variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let on = |name| value(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let region = value("AWS_REGION").unwrap_or_else(|| region.to_owned());
        let keys = value("AWS_ACCESS_KEY_ID").zip(value("AWS_SECRET_ACCESS_KEY"));
        Self {
            endpoints: Endpoints {
                every: value("AWS_ENDPOINT_URL"),
                ssm: value("AWS_ENDPOINT_URL_SSM"),
                ec2: value("AWS_ENDPOINT_URL_EC2"),
                autoscaling: value("AWS_ENDPOINT_URL_AUTO_SCALING"),
                logs: value("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
            },
            fips: on("AWS_USE_FIPS_ENDPOINT"),
            dual_stack: on("AWS_USE_DUALSTACK_ENDPOINT"),
            credentials: keys
                .map(|(id, secret)| Credentials::new(id, secret, value("AWS_SESSION_TOKEN"), None, "environment")),
            ..Self::new(&region, imds)
        }
    }

    pub(super) fn scaled(&self, pause: Duration) -> Duration {
        pause.mul_f64(self.pause_scale.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_identity_document_and_its_secrets_do_not_show() {
        let variables = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", " "),
            ("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:1"),
            ("AWS_USE_FIPS_ENDPOINT", "True"),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_SESSION_TOKEN", "t0ken"),
        ];
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = AwsSettings::from_variables("us-east-1", &ImdsSettings::default(), find);
        assert_eq!(settings.region, "eu-west-1");
        let expected = Endpoints { ec2: Some("http://127.0.0.1:1".to_owned()), ..Endpoints::default() };
        assert_eq!((&settings.endpoints, settings.fips, settings.dual_stack), (&expected, true, false));
        let shown = format!("{settings:?}");
        assert!(shown.contains("AKIDTEST") && !shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
        let settings = AwsSettings::from_variables("us-east-1", &ImdsSettings::default(), |_| None);
        assert!(settings.region == "us-east-1" && settings.credentials.is_none());
    }
}
