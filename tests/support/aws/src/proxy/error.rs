//! Errors in the words and the format of the service that they come from.

use serde_json::{Value, json};

use super::call::{Call, Protocol, form};

const ACCOUNT: &str = "123456789012";

/// An error that AWS answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsError {
    /// Too many calls: `ThrottlingException`, `RequestLimitExceeded` or `Throttling`.
    Throttled,
    /// The role lacks a permission: `AccessDeniedException`, `UnauthorizedOperation` or `AccessDenied`.
    AccessDenied,
    /// The role may read the parameter but not use its key.
    KmsDenied,
    /// The request is refused for its content, with this reason.
    Validation(String),
    /// The credentials are over: `ExpiredTokenException`, `RequestExpired` or `ExpiredToken`.
    ExpiredCredentials,
    /// The service has a fault of its own.
    Internal,
    /// The group would fall below its minimum (Auto Scaling).
    MinSize,
    /// The group is in the middle of something else (Auto Scaling).
    ScalingActivityInProgress,
    /// Another change of the group is pending (Auto Scaling).
    ResourceContention,
    /// Any other error.
    Code {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
        /// The sentence for people.
        message: String,
    },
}

/// Status, content type and body of an answer.
pub(crate) type Rendered = (u16, &'static str, String);

impl AwsError {
    /// The error as the called service would send it.
    pub(crate) fn render(&self, call: &Call, body: &[u8]) -> Rendered {
        let (status, code, message) = self.words(call, body);
        shape(call, status, &code, &message)
    }

    fn words(&self, call: &Call, body: &[u8]) -> (u16, String, String) {
        let protocol = call.protocol;
        let (status, code, message) = match self {
            Self::Code { status, code, message } => return (*status, code.clone(), message.clone()),
            Self::AccessDenied => {
                let (status, code) = protocol.pick(
                    (400, "AccessDeniedException"),
                    (403, "UnauthorizedOperation"),
                    (403, "AccessDenied"),
                );
                return (status, code.to_owned(), denial(call, body));
            }
            Self::Validation(reason) => {
                let code = protocol.pick("ValidationException", "InvalidParameterValue", "ValidationError");
                return (400, code.to_owned(), reason.clone());
            }
            Self::Throttled => protocol.pick(
                (400, "ThrottlingException", "Rate exceeded"),
                (503, "RequestLimitExceeded", "Request limit exceeded."),
                (400, "Throttling", "Rate exceeded"),
            ),
            Self::KmsDenied => (
                400,
                "AccessDeniedException",
                "The ciphertext refers to a customer master key that does not exist, does not \
                 exist in this region, or you are not allowed to access.",
            ),
            Self::ExpiredCredentials => protocol.pick(
                (400, "ExpiredTokenException", EXPIRED),
                (400, "RequestExpired", "Request has expired."),
                (403, "ExpiredToken", EXPIRED),
            ),
            Self::Internal => {
                let code = protocol.pick("InternalServerError", "InternalError", "InternalFailure");
                (500, code, "An internal error has occurred.")
            }
            Self::MinSize => (
                400,
                "ValidationError",
                "Currently, desiredSize equals minSize (1). Terminating instance without \
                 replacement will violate group's min size constraint. Either set \
                 shouldDecrementDesiredCapacity flag to false or lower group's min size.",
            ),
            Self::ScalingActivityInProgress => {
                (400, "ScalingActivityInProgress", "Scaling activity is in progress. Please try again later.")
            }
            Self::ResourceContention => {
                (500, "ResourceContention", "You already have a pending update to an Auto Scaling resource.")
            }
        };
        (status, code.to_owned(), message.to_owned())
    }
}

const EXPIRED: &str = "The security token included in the request is expired";

/// The sentence that names who may not do what to what.
fn denial(call: &Call, body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let fields = form(body);
    let field = |suffix: &str| {
        let found = fields.iter().find(|(key, _)| key.starts_with(suffix));
        found.map_or("*", |(_, value)| value.as_str())
    };
    let Call { service, region, action, .. } = call;
    let resource = match service.as_str() {
        "ssm" => {
            let name = json["Name"].as_str().unwrap_or("*");
            format!("parameter/{}", name.trim_start_matches('/'))
        }
        "ec2" => format!("instance/{}", field("InstanceId")),
        "autoscaling" => {
            let group = field("AutoScalingGroupName");
            format!("autoScalingGroup:*:autoScalingGroupName/{group}")
        }
        "logs" => {
            let group = json["logGroupName"].as_str().unwrap_or("*");
            format!("log-group:{group}:log-stream:")
        }
        _ => "*".to_owned(),
    };
    let permission = format!("{service}:{action}");
    let sentence = format!(
        "User: arn:aws:sts::{ACCOUNT}:assumed-role/mayfly-runner/i-0123456789abcdef0 is not \
         authorized to perform: {permission} on resource: arn:aws:{service}:{region}:{ACCOUNT}:{resource} \
         because no identity-based policy allows the {permission} action"
    );
    match call.protocol {
        Protocol::Ec2 => format!(
            "You are not authorized to perform this operation. {sentence}. \
             Encoded authorization failure message: bm90IGEgcmVhbCBtZXNzYWdl"
        ),
        Protocol::Json | Protocol::Query => sentence,
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(crate) const REQUEST_ID: &str = "0d0b1e00-0000-4000-8000-00006d61796c";

fn shape(call: &Call, status: u16, code: &str, message: &str) -> Rendered {
    let side = if status < 500 { "Sender" } else { "Receiver" };
    let text = escape(message);
    match call.protocol {
        Protocol::Json => {
            (status, "application/x-amz-json-1.1", json!({ "__type": code, "message": message }).to_string())
        }
        Protocol::Ec2 => (
            status,
            "text/xml;charset=UTF-8",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
                 <Message>{text}</Message></Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
            ),
        ),
        Protocol::Query => (
            status,
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"{}\">\n  <Error>\n    <Type>{side}</Type>\n    <Code>{code}</Code>\n    \
                 <Message>{text}</Message>\n  </Error>\n  <RequestId>{REQUEST_ID}</RequestId>\n</ErrorResponse>\n",
                namespace(call)
            ),
        ),
    }
}

fn namespace(call: &Call) -> &'static str {
    match call.service.as_str() {
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    }
}

/// The empty success of an action, in the format of its service.
pub(crate) fn empty_success(call: &Call) -> Rendered {
    let action = &call.action;
    match call.protocol {
        Protocol::Json => (200, "application/x-amz-json-1.1", "{}".to_owned()),
        Protocol::Ec2 => (
            200,
            "text/xml;charset=UTF-8",
            format!(
                "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
                 <requestId>{REQUEST_ID}</requestId><return>true</return></{action}Response>"
            ),
        ),
        Protocol::Query => (
            200,
            "text/xml",
            format!(
                "<{action}Response xmlns=\"{}\"><{action}Result/><ResponseMetadata>\
                 <RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>",
                namespace(call)
            ),
        ),
    }
}
