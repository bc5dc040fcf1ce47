//! Starting a program as another user, and with nothing of ours open. The one place with `unsafe`.
//!
//! The standard library can set user and group of a child but not its supplementary groups, and a runner without the
//! `docker` group cannot run container jobs. So the three are set between fork and exec.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{Gid, Uid, getgrouplist, setgid, setgroups, setuid};

/// A user a program can be started as.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its home directory.
    pub home: std::path::PathBuf,
    /// All its groups.
    groups: Vec<Gid>,
}

impl User {
    /// Looks a user up by name.
    ///
    /// # Errors
    /// The user does not exist, or the user database cannot be read.
    pub fn named(name: &str) -> io::Result<Self> {
        let user = nix::unistd::User::from_name(name)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name:?}")))?;
        let c_name = std::ffi::CString::new(name)?;
        let groups = getgrouplist(&c_name, user.gid)?;
        Ok(Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir, groups })
    }
}

/// Makes the command run as this user, with all its groups.
pub fn run_as(command: &mut Command, user: &User) {
    let (uid, gid, groups) = (user.uid, user.gid, user.groups.clone());
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. These three are bare system calls on
    // values prepared before the fork; nothing is allocated, locked or dropped.
    unsafe {
        command.pre_exec(move || {
            setgroups(&groups)?;
            setgid(gid)?;
            setuid(uid)?;
            Ok(())
        });
    }
}

/// Lets no descriptor but the three standard ones pass on to a program that is executed: whoever started the agent may
/// have left some open, and a job has no business with them.
///
/// # Errors
/// `/proc` is not readable.
pub fn close_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number > 2 {
            // SAFETY: the number was listed as open, this process has one thread, and the borrow ends with the call. For
            // the descriptor of the listing itself, which is closed later, the flag is set already.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
    Ok(())
}
