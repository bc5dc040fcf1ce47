//! What the machine stands on.

pub mod aws;
mod clock;
pub mod ec2;
pub mod error;
pub mod group;
pub mod imds;
mod name;
pub mod power;
pub mod probe;
pub mod tags;
