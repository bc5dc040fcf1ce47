//! The two ways to the network: to AWS through the proxy that the environment names, if it names one, and to the
//! metadata service never through any.

use std::sync::OnceLock;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};

/// For AWS. `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (or in lower case) are honoured; the certificates
/// are the system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(super) fn to_aws() -> SharedHttpClient {
    client(ProxyConfig::from_env(), TlsContext::default)
}

/// For the metadata service: link-local, plain HTTP. Its credentials must not pass through a proxy, and no certificate
/// is ever needed, so none is loaded.
pub(super) fn to_imds() -> SharedHttpClient {
    // Building fails for no input; the default is the same but for the certificates.
    let without_roots = || TlsContext::builder().with_trust_store(TrustStore::empty()).build().unwrap_or_default();
    client(ProxyConfig::disabled(), without_roots)
}

/// One connector, made when it is first needed and shared by all services, so that their connections are kept in one
/// place. Its timeouts are those of the first client that asks: all have the same.
fn client(proxies: ProxyConfig, tls: impl Fn() -> TlsContext + Send + Sync + 'static) -> SharedHttpClient {
    let connector = OnceLock::new();
    http_client_fn(move |settings, components| {
        let make = || {
            let mut builder = Connector::builder();
            builder.set_connector_settings(Some(settings.clone()));
            builder.set_sleep_impl(components.sleep_impl());
            let builder = builder.proxy_config(proxies.clone()).tls_provider(Provider::rustls(CryptoMode::Ring));
            SharedHttpConnector::new(builder.tls_context(tls()).build())
        };
        connector.get_or_init(make).clone()
    })
}
