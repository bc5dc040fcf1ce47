//! Answer bodies: whole ones, and one that stops in the middle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Sleep;

use super::Conn;

/// What every handler answers with.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A plain answer.
pub fn full(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Announces the whole length, sends the first half and closes the connection.
pub fn half(response: Response<Body>, whole: &Bytes, conn: &Conn) -> Response<Body> {
    let (head, _) = response.into_parts();
    let body = HalfBody {
        first: Some(whole.slice(..whole.len() / 2)),
        left: whole.len() as u64,
        linger: None,
        conn: conn.clone(),
    };
    Response::from_parts(head, body.boxed_unsync())
}

struct HalfBody {
    first: Option<Bytes>,
    left: u64,
    linger: Option<Pin<Box<Sleep>>>,
    conn: Conn,
}

impl hyper::body::Body for HalfBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            self.left -= first.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // A body that fails at once would be dropped before it is written; a
        // pending one is flushed. So the first half leaves before the cut.
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(20))));
        if linger.as_mut().poll(context).is_ready() {
            self.conn.close();
        }
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
