//! Which AWS call a request is.

use hyper::HeaderMap;

use crate::http::decode;

/// The three wire formats that matter here; they differ in how errors look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// JSON with an `X-Amz-Target` header (Systems Manager, CloudWatch Logs).
    Json,
    /// Forms and XML in EC2's own dialect.
    Ec2,
    /// Forms and XML as the other old services have them (Auto Scaling, STS).
    #[default]
    Query,
}

impl Protocol {
    /// The one of three that belongs to this format.
    pub(crate) fn pick<T>(self, json: T, ec2: T, query: T) -> T {
        match self {
            Self::Json => json,
            Self::Ec2 => ec2,
            Self::Query => query,
        }
    }
}

/// What a request says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Such as `GetParameter`; empty if the request names none.
    pub action: String,
    /// The service in the credential scope, such as `ssm`; empty if unsigned.
    pub service: String,
    /// The region in the credential scope; empty if unsigned.
    pub region: String,
    /// The access key that signed it; empty if unsigned.
    pub access_key: String,
    /// Whether a session token came along, as with credentials of a role.
    pub session_token: bool,
    /// How the service speaks.
    pub protocol: Protocol,
}

/// The fields of a form, decoded.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (decode(key, true), decode(value, true)))
        .collect()
}

impl Call {
    pub(crate) fn of(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut call = Self { session_token: headers.contains_key("x-amz-security-token"), ..Self::default() };
        let scope = header("authorization")
            .and_then(|value| value.split_once("Credential="))
            .and_then(|(_, rest)| rest.split([',', ' ']).next());
        if let Some(scope) = scope {
            let mut parts = scope.split('/');
            let mut next = || parts.next().unwrap_or_default().to_owned();
            call.access_key = next();
            next();
            call.region = next();
            call.service = next();
        }
        if let Some(target) = header("x-amz-target") {
            call.protocol = Protocol::Json;
            target.rsplit('.').next().unwrap_or_default().clone_into(&mut call.action);
            return call;
        }
        let is_form = header("content-type").is_some_and(|kind| kind.contains("form-urlencoded"));
        let fields = form(match (is_form, query) {
            (true, _) => body,
            (false, query) => query.unwrap_or_default().as_bytes(),
        });
        let field = |name: &str| fields.iter().find(|(key, _)| key == name);
        if let Some((_, action)) = field("Action") {
            call.action.clone_from(action);
        }
        if call.service == "ec2" || field("Version").is_some_and(|(_, v)| v == "2016-11-15") {
            call.protocol = Protocol::Ec2;
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn names_json_and_form_calls() {
        let mut headers = HeaderMap::new();
        let auth = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/ssm/aws4_request, Signed";
        headers.insert("authorization", HeaderValue::from_static(auth));
        headers.insert("x-amz-target", HeaderValue::from_static("AmazonSSM.GetParameter"));
        let call = Call::of(&headers, None, b"{}");
        assert_eq!((&*call.service, &*call.region, &*call.action), ("ssm", "eu-west-1", "GetParameter"));
        assert_eq!((&*call.access_key, call.protocol), ("AKID", Protocol::Json));

        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert("content-type", kind);
        let body = b"Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1";
        let call = Call::of(&headers, None, body);
        assert_eq!((&*call.action, call.protocol), ("TerminateInstances", Protocol::Ec2));
    }
}
