//! What the machine stands on.

pub mod aws;
mod clock;
pub mod ec2;
pub mod imds;
pub mod power;
pub mod probe;
