//! The kernel's questions, answered.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::Shared;
use super::files::{Files, directory, file, is_directory, is_file};

/// Nobody but the kernel changes anything.
const VALID: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Server(pub(super) Arc<Mutex<Shared>>);

impl Server {
    /// For a question that changes something: the moment before it is one at which the power may go.
    fn change(&self) -> MutexGuard<'_, Shared> {
        let mut shared = self.0.lock().unwrap();
        shared.note();
        shared
    }

    fn make(&self, parent: INodeNo, name: &OsStr, mode: u32) -> FileAttr {
        let files = &mut self.change().files;
        let number = files.make(mode);
        files.link(parent.0, text(name), number);
        attributes(files, number)
    }
}

fn text(name: &OsStr) -> &str {
    name.to_str().unwrap()
}

fn attributes(files: &mut Files, number: u64) -> FileAttr {
    let node = files.get(number);
    let kind = match node.mode {
        mode if is_directory(mode) => FileType::Directory,
        mode if is_file(mode) => FileType::RegularFile,
        _ => FileType::Socket,
    };
    FileAttr {
        ino: INodeNo(number),
        size: node.content.len() as u64,
        blocks: node.content.len().div_ceil(512) as u64,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind,
        perm: u16::try_from(node.mode & 0o7777).unwrap(),
        nlink: node.links.max(1),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let files = &mut self.0.lock().unwrap().files;
        match files.look_up(parent.0, text(name)) {
            Some(number) => reply.entry(&VALID, &attributes(files, number), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&VALID, &attributes(&mut self.0.lock().unwrap().files, ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let files = &mut self.change().files;
        let node = files.get(ino.0);
        if let Some(mode) = mode {
            node.mode = node.mode & !0o7777 | mode & 0o7777;
        }
        if let Some(size) = size {
            node.content.resize(usize::try_from(size).unwrap(), 0);
        }
        reply.attr(&VALID, &attributes(files, ino.0));
    }

    fn mknod(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        reply.entry(&VALID, &self.make(parent, name, mode & !umask), Generation(0));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        reply.entry(&VALID, &self.make(parent, name, directory(mode & !umask)), Generation(0));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.make(parent, name, file(mode & !umask));
        reply.created(&VALID, &made, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.change().files.unlink(parent.0, text(name)) {
            Some(_) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let empty = {
            let files = &mut self.0.lock().unwrap().files;
            files.look_up(parent.0, text(name)).is_none_or(|number| files.get(number).entries.is_empty())
        };
        if empty { self.unlink(request, parent, name, reply) } else { reply.error(Errno::ENOTEMPTY) }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let files = &mut self.change().files;
        let Some(number) = files.look_up(parent.0, text(name)) else { return reply.error(Errno::ENOENT) };
        files.link(new_parent.0, text(new_name), number);
        files.unlink(parent.0, text(name));
        reply.ok();
    }

    fn link(&self, _: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let files = &mut self.change().files;
        if files.look_up(new_parent.0, text(new_name)).is_some() {
            return reply.error(Errno::EEXIST);
        }
        files.link(new_parent.0, text(new_name), ino.0);
        reply.entry(&VALID, &attributes(files, ino.0), Generation(0));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let shared = &mut self.0.lock().unwrap();
        let content = &shared.files.get(ino.0).content;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let to = (from + size as usize).min(content.len());
        reply.data(&content[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let shared = &mut self.change();
        let content = &mut shared.files.get(ino.0).content;
        let from = usize::try_from(offset).unwrap();
        content.resize(content.len().max(from + data.len()), 0);
        content[from..from + data.len()].copy_from_slice(data);
        reply.written(u32::try_from(data.len()).unwrap());
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let shared = &mut self.change();
        let content = &mut shared.files.get(ino.0).content;
        content.resize(content.len().max(usize::try_from(offset + length).unwrap()), 0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.change().files.sync(ino.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.change().files.sync(ino.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let files = &mut self.0.lock().unwrap().files;
        let entries = files.get(ino.0).entries.clone();
        for (at, (name, number)) in (1..).zip(entries).skip(usize::try_from(offset).unwrap()) {
            if reply.add(INodeNo(number), at, attributes(files, number).kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = 16 * 1024 * 1024; // blocks of 4 KiB
        reply.statfs(free, free, free, free, free, 4096, 255, 4096);
    }
}
