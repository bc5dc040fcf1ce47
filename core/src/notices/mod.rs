//! What EC2 and the Auto Scaling group announce: the bodies of the metadata service, and what of them is news.

mod bodies;
mod known;

pub use bodies::*;
pub use known::{Known, Reading, Source, at_start};
