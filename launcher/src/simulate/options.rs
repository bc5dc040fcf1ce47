//! How a simulation is set up.

/// What goes wrong, in thousandths of what could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Webhooks that never come.
    pub lost_webhooks: u32,
    /// Webhooks that come twice.
    pub doubled_webhooks: u32,
    /// Answers that are lost although the call was carried out.
    pub lost_answers: u32,
    /// Instances that never give a sign.
    pub dead_instances: u32,
    /// Spot instances that are taken back in the middle of a job.
    pub interruptions: u32,
    /// How often a day GitHub is away for ten minutes, and spot capacity for twenty.
    pub outages: u32,
    /// How often a day the launcher is killed and started again.
    pub crashes: u32,
}

impl Faults {
    /// All of them at once.
    #[must_use]
    pub const fn storm() -> Self {
        Self {
            lost_webhooks: 10,
            doubled_webhooks: 20,
            lost_answers: 5,
            dead_instances: 5,
            interruptions: 20,
            outages: 24,
            crashes: 48,
        }
    }
}

/// How the simulation is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the randomness begins.
    pub seed: u64,
    /// How many Apps, and accounts' worth of quotas, there are.
    pub apps: u32,
    /// The most instances at once.
    pub max: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// An instance's price for an hour, on demand, in dollars.
    pub price: f64,
    /// The spot price, in percent of that.
    pub spot_percent: u32,
}
