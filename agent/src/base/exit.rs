//! Exit codes of `sysexits.h`.

/// A promise is broken: `mayfly doctor`.
pub const BROKEN: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// What was given to read is not what it should be.
pub const DATA: u8 = 65;
/// What was given to read is not there.
pub const NO_INPUT: u8 = 66;
/// No agent answers.
pub const UNAVAILABLE: u8 = 69;
/// Something in here failed.
pub const SOFTWARE: u8 = 70;
/// Something could not be written.
pub const IO: u8 = 74;
/// Another process is at work; try again later.
pub const TEMPORARY: u8 = 75;
/// Something is possible that must not be.
pub const PERMISSION: u8 = 77;
/// The configuration is not valid.
pub const CONFIG: u8 = 78;
