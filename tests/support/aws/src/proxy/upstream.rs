//! The way on to the emulator, over connections that are kept.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::{Request, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::whole::Whole;

/// A pool of connections to the emulator.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Headers that concern one connection only.
const OF_THE_HOP: [HeaderName; 4] =
    [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];

impl Upstream {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { address, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Passes a request on. In proxy form a loopback target is obeyed, so that
    /// other doubles can be reached; anything else would leave this machine and
    /// goes to the emulator.
    fn target(&self, uri: &Uri) -> SocketAddr {
        let asked = uri.authority().and_then(|authority| {
            let address: IpAddr = match authority.host() {
                "localhost" => [127, 0, 0, 1].into(),
                host => host.parse().ok()?,
            };
            let port = authority.port_u16().unwrap_or(80);
            address.is_loopback().then(|| (address, port).into())
        });
        asked.unwrap_or(self.address)
    }

    /// Passes a request on and reads the whole answer.
    pub(crate) async fn pass(&self, head: &request::Parts, body: Bytes) -> Whole {
        // The emulator has never heard of it, and nothing of the image depends on it.
        if body.starts_with(b"Action=EnableImageDeprecation&") {
            return answered("<EnableImageDeprecationResponse><return>true</return></EnableImageDeprecationResponse>");
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{}{path}", self.target(&head.uri));
        let mut onward = Request::new(Full::new(understood(body)));
        *onward.method_mut() = head.method.clone();
        *onward.headers_mut() = head.headers.clone();
        for name in OF_THE_HOP.into_iter().chain([CONTENT_LENGTH]) {
            onward.headers_mut().remove(name);
        }
        match uri.parse() {
            Ok(uri) => *onward.uri_mut() = uri,
            Err(_) => return failed("the request target makes no address"),
        }
        let (mut head, incoming) = match self.client.request(onward).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return failed(&format!("the emulator does not answer: {error}")),
        };
        let bytes = match incoming.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(&format!("the emulator broke off: {error}")),
        };
        clean(&mut head);
        Whole { status: head.status, headers: head.headers, body: bytes }
    }
}

/// An answer in the emulator's place.
fn answered(xml: &'static str) -> Whole {
    Whole::plain(200, "text/xml", xml)
}

/// The emulator fails on tags in `CreateImage` (it has none for snapshots), which Packer sends and sets again by `CreateTags`.
fn understood(body: Bytes) -> Bytes {
    if !body.starts_with(b"Action=CreateImage&") {
        return body;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let fields: Vec<&str> = text.split('&').filter(|field| !field.starts_with("TagSpecification.")).collect();
    Bytes::from(fields.join("&"))
}

fn clean(head: &mut response::Parts) {
    // The date is ours to give, so that a skewed clock shows everywhere.
    for name in OF_THE_HOP.into_iter().chain([CONTENT_LENGTH, DATE]) {
        head.headers.remove(name);
    }
}

fn failed(reason: &str) -> Whole {
    Whole::plain(502, "text/plain", format!("fake-aws: {reason}\n"))
}
