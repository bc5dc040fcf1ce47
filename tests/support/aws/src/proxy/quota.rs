//! Token buckets, with which AWS throttles: on requests, and on what requests start or end.

use std::time::{Duration, Instant};

use super::call::Call;
use super::fields::Fields;
use super::rule::Match;

/// A bucket of tokens: how many it holds, and how many come in each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The most that it holds; it begins full.
    pub size: u32,
    /// What is refilled in a second.
    pub per_second: f64,
}

/// What takes tokens out of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Each request takes one.
    Requests,
    /// Each instance that a request asks to launch or to end takes one. A launch that is asked for again under its
    /// client token takes none.
    Instances,
}

/// The buckets of a new account as AWS documents them: `RunInstances` 5 requests and 2 a second, 1,000 instances and
/// 2 a second; `TerminateInstances` 1,000 instances and 20 a second; lists 100 and 20 a second; `PutParameter` 3 a
/// second. For `CreateFleet` AWS names no figure: users report low single digits a second.
pub const OF_A_NEW_ACCOUNT: [(&str, Counts, Bucket); 8] = [
    ("RunInstances", Counts::Requests, Bucket { size: 5, per_second: 2.0 }),
    ("RunInstances", Counts::Instances, Bucket { size: 1000, per_second: 2.0 }),
    ("CreateFleet", Counts::Requests, Bucket { size: 5, per_second: 2.0 }),
    ("CreateFleet", Counts::Instances, Bucket { size: 1000, per_second: 2.0 }),
    ("TerminateInstances", Counts::Requests, Bucket { size: 100, per_second: 5.0 }),
    ("TerminateInstances", Counts::Instances, Bucket { size: 1000, per_second: 20.0 }),
    ("DescribeInstances", Counts::Requests, Bucket { size: 100, per_second: 20.0 }),
    ("PutParameter", Counts::Requests, Bucket { size: 3, per_second: 3.0 }),
];

#[derive(Debug)]
struct Quota {
    matching: Match,
    counts: Counts,
    bucket: Bucket,
    tokens: f64,
    filled: Instant,
}

/// Every bucket in force.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Vec<Quota>);

impl Quota {
    fn refill(&mut self, now: Instant) {
        let since: Duration = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + since.as_secs_f64() * self.bucket.per_second).min(f64::from(self.bucket.size));
    }
}

impl Quotas {
    pub(crate) fn add(&mut self, matching: Match, counts: Counts, bucket: Bucket) {
        let (tokens, filled) = (f64::from(bucket.size), Instant::now());
        self.0.push(Quota { matching, counts, bucket, tokens, filled });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes what a call costs out of every bucket that it falls under, or nothing; false if one has too little.
    pub(crate) fn take(&mut self, call: &Call, body: &[u8], repeated: bool) -> bool {
        let now = Instant::now();
        let mut of_call: Vec<(&mut Quota, f64)> = Vec::new();
        for quota in self.0.iter_mut().filter(|quota| quota.matching.fits(call, body)) {
            quota.refill(now);
            let cost = match quota.counts {
                Counts::Requests => 1,
                Counts::Instances if repeated => 0,
                Counts::Instances => instances(call, body),
            };
            of_call.push((quota, f64::from(cost)));
        }
        // What is refilled is a fraction: a bucket that is full again but for rounding has its token.
        let enough = of_call.iter().all(|(quota, cost)| quota.tokens + 1e-9 >= *cost);
        if enough {
            of_call.iter_mut().for_each(|(quota, cost)| quota.tokens -= *cost);
        }
        enough
    }
}

/// How many instances a request asks to launch or to end.
fn instances(call: &Call, body: &[u8]) -> u32 {
    let fields = Fields::of(body);
    match call.action.as_str() {
        "RunInstances" => fields.number("MaxCount").unwrap_or(1),
        "CreateFleet" => fields.number("TargetCapacitySpecification.TotalTargetCapacity").unwrap_or(1),
        "TerminateInstances" => u32::try_from(fields.list("InstanceId").len()).unwrap_or(u32::MAX),
        _ => 1,
    }
}
