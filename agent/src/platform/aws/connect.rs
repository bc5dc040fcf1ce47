//! The two ways to the network: to AWS through the proxy that the environment names, if it names one, and to the
//! metadata service never through any.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

/// For AWS. `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (or in lower case) are honoured; the certificates
/// are the system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(super) fn to_aws() -> SharedHttpClient {
    client(Arc::default(), connector_to_aws)
}

/// The same, and the system's certificates are read at once, beside whatever else is done: there are a hundred and more.
pub(super) fn to_aws_soon(connect_timeout: Duration) -> SharedHttpClient {
    let made: Arc<OnceLock<SharedHttpConnector>> = Arc::default();
    let soon = Arc::clone(&made);
    tokio::task::spawn_blocking(move || {
        soon.get_or_init(|| {
            connector_to_aws(&HttpConnectorSettings::builder().connect_timeout(connect_timeout).build())
        });
    });
    client(made, connector_to_aws)
}

/// For the metadata service: link-local, plain HTTP. Its credentials must not pass through a proxy, and no certificate
/// is ever needed, so none is loaded.
pub(super) fn to_imds() -> SharedHttpClient {
    // Building fails for no input; the default is the same but for the certificates.
    let without_roots = || TlsContext::builder().with_trust_store(TrustStore::empty()).build().unwrap_or_default();
    client(Arc::default(), move |settings| connector(settings, ProxyConfig::disabled(), without_roots()))
}

/// One connector, made when it is first needed if it was not before, and shared by all services, so that their connections are kept in one
/// place. Its timeouts are those of the first client that asks: all have the same.
fn client(
    made: Arc<OnceLock<SharedHttpConnector>>,
    make: impl Fn(&HttpConnectorSettings) -> SharedHttpConnector + Send + Sync + 'static,
) -> SharedHttpClient {
    http_client_fn(move |settings, _| made.get_or_init(|| make(settings)).clone())
}

fn connector_to_aws(settings: &HttpConnectorSettings) -> SharedHttpConnector {
    connector(settings, ProxyConfig::from_env(), TlsContext::default())
}

fn connector(settings: &HttpConnectorSettings, proxies: ProxyConfig, tls: TlsContext) -> SharedHttpConnector {
    let mut builder = Connector::builder();
    builder.set_connector_settings(Some(settings.clone()));
    let builder = builder.proxy_config(proxies).tls_provider(Provider::rustls(CryptoMode::Ring));
    SharedHttpConnector::new(builder.tls_context(tls).build())
}
