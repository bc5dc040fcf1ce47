//! `mayfly probe`: tries what no job may be able to do. Run as the job's user.

use super::{exit, fail};
use crate::platform::probe;

pub(super) fn run() -> u8 {
    match probe::metadata() {
        Ok(()) => 0,
        Err(reached) => fail(exit::PERMISSION, reached),
    }
}
