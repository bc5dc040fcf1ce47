//! `mayfly unit`: called by systemd around the runner's unit, with full privileges.

use std::path::Path;

use super::agent::{paths, paths_in};
use super::{environment, exit, fail};
use crate::runner::guard;
use crate::runner::request::StartNote;
use mayfly_core::config::{DEFAULT_PATH, load};

/// Which end of the unit.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Moment {
    /// `ExecStartPre=`
    Prepare,
    /// `ExecStopPost=`
    Stopped,
}

pub(super) fn run(moment: Moment) -> u8 {
    // The stop reads no configuration if the start has left what is needed: it may be broken by now, or not the agent's.
    if matches!(moment, Moment::Stopped)
        && let Some(start) = StartNote::last(&paths_in(Path::new("")))
    {
        guard::stopped(&start);
        return 0;
    }
    let config = match load(Path::new(DEFAULT_PATH), environment(), &[]) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    match moment {
        Moment::Prepare => match guard::prepare(&paths(&config, true)) {
            Ok(()) => 0,
            Err(refused) => fail(exit::TEMPORARY, refused.detail),
        },
        Moment::Stopped => {
            let (state_directory, directory) = (config.state_directory, config.runner.directory);
            guard::stopped(&StartNote { state_directory, directory });
            0
        }
    }
}
