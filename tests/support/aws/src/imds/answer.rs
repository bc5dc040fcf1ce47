//! One request to the metadata service and its answer.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, DATE, HeaderMap, HeaderValue, SERVER};
use hyper::{Method, Request, Response};

use super::fault::Fault;
use super::tokens::Tokens;
use super::{ImdsRequest, Shared};
use crate::dates::skewed_date;
use crate::http::decode;
use crate::record::lock;
use crate::serve::{Body, Conn, full, half};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// Versions that the service has had; all of them show the same values here.
const VERSIONS: &str = "1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 \
    2008-09-01 2009-04-04 2011-01-01 2011-05-01 2012-01-12 2014-02-25 2014-11-05 2015-10-20 \
    2016-04-19 2016-06-30 2016-09-02 2018-03-28 2018-08-17 2018-09-24 2019-10-01 2020-10-27 \
    2021-01-03 2021-03-23 2021-07-15 2022-07-09 2022-09-24 2024-04-11 latest";

/// An answer before it is dressed as HTTP.
struct Plain {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    ttl: Option<u64>,
}

impl Plain {
    fn status(status: u16) -> Self {
        let reason = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            _ => "Error",
        };
        let page = format!(
            "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" \
             lang=\"en\">\n <head>\n  <title>{status} - {reason}</title>\n </head>\n <body>\n  \
             <h1>{status} - {reason}</h1>\n </body>\n</html>\n"
        );
        Self { status, content_type: "text/html", body: page.into(), ttl: None }
    }
}

/// Records the request, lets faults befall it, and answers.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>, conn: Conn) -> Response<Body> {
    let path = decode(request.uri().path(), false);
    let place = shared.log.push(ImdsRequest {
        at: shared.started.elapsed(),
        method: request.method().to_string(),
        path: path.clone(),
        connection: conn.id,
        with_token: request.headers().contains_key(TOKEN),
        status: None,
    });
    let fate = lock(&shared.state).faults.fate(&path);
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    let plain = match fate.fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return conn.reset().await,
        Some(Fault::Status(status)) => Plain::status(status),
        _ => decide(&shared, request.method(), &path, request.headers()),
    };
    shared.log.update(place, |entry| entry.status = Some(plain.status));
    let body = plain.body.clone();
    let response = dress(&shared, plain);
    match fate.fault {
        Some(Fault::HalfBody) => half(response, &body, &conn),
        _ => response,
    }
}

fn decide(shared: &Shared, method: &Method, path: &str, headers: &HeaderMap) -> Plain {
    let mut state = lock(&shared.state);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (version, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    if rest == "api/token" {
        // Only the undated version has tokens, and never through a proxy.
        return match (method, Tokens::lifetime(header(TTL))) {
            _ if version != "latest" || headers.contains_key("x-forwarded-for") => Plain::status(403),
            (&Method::PUT, Some(seconds)) => Plain {
                status: 200,
                content_type: "text/plain",
                body: state.tokens.issue(seconds).into(),
                ttl: Some(seconds),
            },
            (&Method::PUT, None) => Plain::status(400),
            _ => Plain::status(405),
        };
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Plain::status(405);
    }
    // More than one token header is a client's mistake that must not pass.
    if headers.get_all(TOKEN).iter().count() > 1 {
        return Plain::status(400);
    }
    let Some(left) = header(TOKEN).and_then(|token| state.tokens.left(token)) else {
        return Plain::status(401);
    };
    let found = match version {
        "" => Some(VERSIONS.replace(' ', "\n").into()),
        version if VERSIONS.split(' ').any(|known| known == version) => state.tree.get(rest),
        _ => None,
    };
    let Some(body) = found else {
        return Plain { ttl: Some(left), ..Plain::status(404) };
    };
    let content_type = match rest {
        "user-data" => "application/octet-stream",
        _ => "text/plain",
    };
    Plain { status: 200, content_type, body, ttl: Some(left) }
}

fn dress(shared: &Shared, plain: Plain) -> Response<Body> {
    let mut response = full(plain.status, plain.content_type, plain.body);
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("EC2ws"));
    if let Some(ttl) = plain.ttl {
        headers.insert(TTL, HeaderValue::from(ttl));
    }
    let state = lock(&shared.state);
    if !state.keep_alive {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(date) = skewed_date(state.clock_skew) {
        headers.insert(DATE, date);
    }
    response
}
