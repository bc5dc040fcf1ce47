//! Plain HTTP, to the metadata service and to Docker's socket.

use reqwest::{Client, ClientBuilder};

/// The beginning of every client. What is spoken is plain, but where another crate of the same build has turned TLS on in the
/// library, as the launcher does, it wants to know which: the one of the AWS SDK.
pub fn client() -> ClientBuilder {
    // Somebody may have been here before; it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}
