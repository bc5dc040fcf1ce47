//! `mayfly unit`: called by systemd around the runner's unit, with full privileges.

use super::agent::places;
use super::{environment, exit, fail};
use crate::config::{DEFAULT_PATH, load};
use crate::runner::guard;

/// Which end of the unit.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Moment {
    /// `ExecStartPre=`
    Prepare,
    /// `ExecStopPost=`
    Stopped,
}

pub(super) fn run(moment: Moment) -> u8 {
    let config = match load(std::path::Path::new(DEFAULT_PATH), environment(), &[]) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    match moment {
        Moment::Prepare => match guard::prepare(&places(&config, true)) {
            Ok(()) => 0,
            Err(refused) => fail(exit::TEMPORARY, refused.detail),
        },
        Moment::Stopped => {
            guard::stopped(&config.state_directory, &config.runner.directory);
            0
        }
    }
}
