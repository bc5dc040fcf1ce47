//! Exit codes of `sysexits.h`.

/// A promise is broken: `mayfly doctor`.
pub const BROKEN: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// No agent answers.
pub const UNAVAILABLE: u8 = 69;
/// Something in here failed.
pub const SOFTWARE: u8 = 70;
/// Another process is at work; try again later.
pub const TEMPORARY: u8 = 75;
/// Something is possible that must not be.
pub const PERMISSION: u8 = 77;
/// The configuration is not valid.
pub const CONFIG: u8 = 78;
