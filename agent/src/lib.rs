//! Mayfly: one instance, one job, gone.

pub mod lifecycle;
