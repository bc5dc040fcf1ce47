//! What the machine stands on.

pub mod imds;
