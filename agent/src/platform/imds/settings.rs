//! Where the metadata service is and with which timeouts it is asked.

use std::time::Duration;

use reqwest::Url;

use super::ImdsError;
use crate::base::backoff;

/// Where the service answers on every instance.
pub const IPV4_ENDPOINT: &str = "http://169.254.169.254";

/// Where it answers too, if the launch said `HttpProtocolIpv6=enabled`.
pub const IPV6_ENDPOINT: &str = "http://[fd00:ec2::254]";

/// The longest life of a session token that the service grants: six hours.
pub const LONGEST_TOKEN: Duration = Duration::from_secs(21_600);

/// The environment variable that replaces the endpoint, as in AWS's own SDKs.
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// The environment variable that chooses between the two standard endpoints: `IPv4` or `IPv6`, in any case.
const ENDPOINT_MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";

/// Where the metadata service is and with which timeouts it is asked. Start from the default and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImdsSettings {
    /// The base URL, plain HTTP, without `/latest`; a slash at the end is tolerated.
    pub endpoint: String,
    /// How long one request may take, from connecting to the last byte. A [`poll`](super::ImdsClient::poll) as a whole
    /// takes no longer.
    pub attempt_timeout: Duration,
    /// The life that is asked for a session token, in whole seconds between 1 s and [`LONGEST_TOKEN`].
    pub token_ttl: Duration,
    /// The pause after the first failure; it doubles with every further one. A random half of each pause is left out.
    pub first_pause: Duration,
    /// What pauses grow to.
    pub longest_pause: Duration,
    /// The longest body that is accepted, in bytes.
    pub max_body: usize,
}

impl Default for ImdsSettings {
    fn default() -> Self {
        Self {
            endpoint: IPV4_ENDPOINT.to_owned(),
            attempt_timeout: Duration::from_secs(1),
            token_ttl: LONGEST_TOKEN,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            max_body: 1024 * 1024,
        }
    }
}

impl ImdsSettings {
    /// The defaults with the endpoint that this process's environment names.
    ///
    /// # Errors
    /// [`ImdsError::BadEndpoint`] for a mode that is neither IPv4 nor IPv6.
    pub fn from_environment() -> Result<Self, ImdsError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same for any source of variables. An empty variable counts as unset.
    ///
    /// # Errors
    /// [`ImdsError::BadEndpoint`] for a mode that is neither IPv4 nor IPv6.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ImdsError> {
        let value = |name| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let endpoint = match (value(ENDPOINT), value(ENDPOINT_MODE)) {
            (Some(endpoint), _) => endpoint,
            (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => IPV6_ENDPOINT.to_owned(),
            (None, Some(mode)) if !mode.eq_ignore_ascii_case("ipv4") => {
                return Err(ImdsError::BadEndpoint { endpoint: mode, reason: "the mode is neither IPv4 nor IPv6" });
            }
            _ => IPV4_ENDPOINT.to_owned(),
        };
        Ok(Self { endpoint, ..Self::default() })
    }

    /// The base URL, checked, without a slash at the end.
    pub(super) fn base(&self) -> Result<String, ImdsError> {
        let url = Url::parse(&self.endpoint).map_err(|_| self.refuse("it is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not shown: what stands there is meant to be secret.
            let endpoint = "(hidden)".to_owned();
            return Err(ImdsError::BadEndpoint { endpoint, reason: "it carries a user name or a password" });
        }
        if url.scheme() != "http" || !url.has_host() {
            return Err(self.refuse("the metadata service speaks plain http:// only"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.refuse("it carries a query or a fragment"));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn refuse(&self, reason: &'static str) -> ImdsError {
        ImdsError::BadEndpoint { endpoint: self.endpoint.clone(), reason }
    }

    /// The token's life in the whole seconds that the service accepts.
    pub(super) fn token_seconds(&self) -> u64 {
        self.token_ttl.as_secs().clamp(1, LONGEST_TOKEN.as_secs())
    }

    /// The pause before attempt number `failures + 1`.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let whole = backoff::exponential(self.first_pause, failures, self.longest_pause);
        backoff::equal_jitter(whole, fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(variables: &[(&str, &str)]) -> Result<String, ImdsError> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ImdsSettings::from_variables(find)?.base()
    }

    #[test]
    fn the_endpoint_goes_before_the_mode_and_the_mode_before_the_default() {
        assert_eq!(endpoint(&[]).unwrap(), "http://169.254.169.254");
        assert_eq!(endpoint(&[(ENDPOINT, ""), (ENDPOINT_MODE, "IPv4")]).unwrap(), "http://169.254.169.254");
        assert_eq!(endpoint(&[(ENDPOINT_MODE, "ipv6")]).unwrap(), "http://[fd00:ec2::254]");
        let both = [(ENDPOINT, "http://127.0.0.1:1338/"), (ENDPOINT_MODE, "IPv6")];
        assert_eq!(endpoint(&both).unwrap(), "http://127.0.0.1:1338");
    }

    #[test]
    fn unusable_endpoints_are_refused_and_no_password_is_shown() {
        for bad in ["169.254.169.254", "https://169.254.169.254", "http://", "http://a/?b", "file:///etc", "mailto:x"] {
            assert!(matches!(endpoint(&[(ENDPOINT, bad)]), Err(ImdsError::BadEndpoint { .. })), "{bad:?} was accepted");
        }
        assert!(endpoint(&[(ENDPOINT_MODE, "IPv5")]).unwrap_err().to_string().contains("IPv5"));
        let error = endpoint(&[(ENDPOINT, "http://me:s3cret@127.0.0.1")]).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let settings = ImdsSettings::default();
        for (failures, millis) in [(0, 100), (1, 100), (2, 200), (4, 800), (6, 2000), (u32::MAX, 2000)] {
            let (pause, whole) = (settings.pause(failures), Duration::from_millis(millis));
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} after {failures} failures");
        }
    }
}
