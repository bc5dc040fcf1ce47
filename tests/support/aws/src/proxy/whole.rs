//! A whole answer, kept so that it can be looked at, cut, and given again.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::error::{REQUEST_ID, Rendered};
use crate::serve::Body;

/// An answer with all of its body.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Whole {
    /// An answer as the service writes it.
    pub(crate) fn of((status, content_type, text): Rendered) -> Arc<Self> {
        let mut whole = Self::plain(status, content_type, text);
        // SDKs take the request id of JSON services from here.
        let id = HeaderName::from_static("x-amzn-requestid");
        whole.headers.insert(id, HeaderValue::from_static(REQUEST_ID));
        Arc::new(whole)
    }

    /// An answer that bears no mark of the service.
    pub(crate) fn plain(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { status, headers, body: body.into() }
    }

    /// The same answer with another body.
    pub(crate) fn with_body(&self, body: impl Into<Bytes>) -> Arc<Self> {
        Arc::new(Self { status: self.status, headers: self.headers.clone(), body: body.into() })
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let body = Full::new(self.body.clone()).map_err(|never| match never {});
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}
