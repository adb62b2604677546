//! Paths, and the ops that make, move and remove what they name.
//!
//! The order in which Linux looks at what may be wrong with a path is kept: parents before last
//! names, `.` and `..` before what is there, and a slash at the end as a request for a directory.

use super::disk::{Directory, File, Node};
use super::kernel::{HostId, Kernel};
use super::object::{DiskFile, Object, OpenFile};
use super::table::Id;
use crate::ring::sqe::RawSqe;

const NAME_MAX: usize = 255;
/// What processes leave out of the permissions of what they make, unless they say otherwise.
const UMASK: u32 = 0o022;
/// When a world begins, in seconds since 1970.
const BEGIN_S: u64 = 1_700_000_000;

/// Where a path leads.
struct Place<'a> {
    /// The directory in which the last name is looked up.
    directory: Id,
    /// Those above it, the root first.
    above: Vec<Id>,
    last: Last<'a>,
    /// A directory is asked for: the path ends in a slash.
    slash: bool,
}

/// The end of a path.
enum Last<'a> {
    Name(&'a [u8]),
    Dot,
    DotDot,
}

impl Kernel {
    pub(super) fn open(&mut self, host: HostId, path: &[u8], sqe: &RawSqe) -> Result<i32, i32> {
        let flags = sqe.op_flags.cast_signed();
        let creates = flags & libc::O_CREAT != 0;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        if unnamed && !writes || creates && flags & libc::O_DIRECTORY != 0 {
            return Err(libc::EINVAL);
        }
        // The descriptor comes before the path.
        self.has_free_descriptor(host)?;
        let place = self.walk(host, path)?;
        let inode = if unnamed {
            let directory = self.find(host, &place)?;
            self.hosts[host].disk.directory(directory)?;
            self.new_inode(host, Node::File(File::default()), sqe.len)
        } else if creates {
            self.find_or_create(host, &place, flags & libc::O_EXCL != 0, sqe.len)?
        } else {
            self.find(host, &place)?
        };
        let disk = &mut self.hosts[host].disk;
        let is_directory = disk.directory(inode).is_ok();
        if is_directory && (writes || creates) {
            return Err(libc::EISDIR);
        }
        let is_socket = disk.is_socket(inode);
        if !is_directory && !unnamed && flags & libc::O_DIRECTORY != 0 {
            return Err(libc::ENOTDIR);
        }
        if is_socket {
            return Err(libc::ENXIO);
        }
        if flags & libc::O_TRUNC != 0 && !is_directory {
            self.resize_file(host, inode, 0)?;
        }
        self.hosts[host].disk.open(inode);
        let file = DiskFile {
            inode,
            position: 0,
            appends: flags & libc::O_APPEND != 0,
            reads: flags & libc::O_ACCMODE != libc::O_WRONLY,
            writes,
        };
        let object = Object::new(host, OpenFile::Disk(file));
        let object = self.objects.insert(object);
        self.install(host, object)
    }

    fn find_or_create(
        &mut self,
        host: HostId,
        place: &Place<'_>,
        exclusive: bool,
        mode: u32,
    ) -> Result<Id, i32> {
        let Last::Name(name) = &place.last else {
            return Err(if exclusive {
                libc::EEXIST
            } else {
                libc::EISDIR
            });
        };
        if place.slash {
            return Err(libc::EISDIR);
        }
        match self.look_up(host, place.directory, name)? {
            Some(_) if exclusive => Err(libc::EEXIST),
            Some(inode) => Ok(inode),
            None => {
                let inode = self.new_inode(host, Node::File(File::default()), mode);
                self.name(host, place.directory, name, Some(inode));
                Ok(inode)
            }
        }
    }

    fn new_inode(&mut self, host: HostId, node: Node, mode: u32) -> Id {
        let mode = mode & 0o7777 & !UMASK;
        let now_ns = self.now_ns;
        self.hosts[host].disk.create(node, mode, now_ns)
    }

    /// Changes one name of a directory.
    fn name(&mut self, host: HostId, directory: Id, name: &[u8], inode: Option<Id>) {
        let disk = &mut self.hosts[host].disk;
        let change = disk.next_change();
        disk.link(change, directory, name, inode);
        disk.touch(directory, self.now_ns);
    }

    pub(super) fn rename(
        &mut self,
        host: HostId,
        from: &[u8],
        to: &[u8],
        flags: u32,
    ) -> Result<i32, i32> {
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(libc::EINVAL);
        }
        let keeps = flags & libc::RENAME_NOREPLACE != 0;
        let (from, to) = (self.walk(host, from)?, self.walk(host, to)?);
        let Last::Name(old) = &from.last else {
            return Err(libc::EBUSY);
        };
        let Last::Name(new) = &to.last else {
            return Err(if keeps { libc::EEXIST } else { libc::EBUSY });
        };
        let moved = self.look_up(host, from.directory, old)?;
        let moved = moved.ok_or(libc::ENOENT)?;
        let replaced = self.look_up(host, to.directory, new)?;
        if replaced.is_some() && keeps {
            return Err(libc::EEXIST);
        }
        let disk = &mut self.hosts[host].disk;
        let moves_directory = disk.directory(moved).is_ok();
        if !moves_directory && (from.slash || to.slash) {
            return Err(libc::ENOTDIR);
        }
        if to.is_below(moved) {
            return Err(libc::EINVAL);
        }
        if let Some(replaced) = replaced {
            if from.is_below(replaced) {
                return Err(libc::ENOTEMPTY);
            }
            if replaced == moved {
                return Ok(0);
            }
            match (moves_directory, disk.directory(replaced)) {
                (true, Ok(directory)) if !directory.now.is_empty() => return Err(libc::ENOTEMPTY),
                (true, Err(_)) => return Err(libc::ENOTDIR),
                (false, Ok(_)) => return Err(libc::EISDIR),
                _ => {}
            }
        }
        let change = disk.next_change();
        disk.link(change, to.directory, new, Some(moved));
        disk.link(change, from.directory, old, None);
        disk.touch(to.directory, self.now_ns);
        disk.touch(from.directory, self.now_ns);
        Ok(0)
    }

    pub(super) fn unlink(
        &mut self,
        host: HostId,
        path: &[u8],
        directory: bool,
    ) -> Result<i32, i32> {
        let place = self.walk(host, path)?;
        let name = match (&place.last, directory) {
            (Last::Name(name), _) => name,
            (Last::Dot, true) => return Err(libc::EINVAL),
            (Last::DotDot, true) => return Err(libc::ENOTEMPTY),
            (_, false) => return Err(libc::EISDIR),
        };
        let inode = self.look_up(host, place.directory, name)?;
        let inode = inode.ok_or(libc::ENOENT)?;
        let disk = &mut self.hosts[host].disk;
        match (directory, disk.directory(inode)) {
            (true, Ok(entries)) if !entries.now.is_empty() => return Err(libc::ENOTEMPTY),
            (true, Err(_)) => return Err(libc::ENOTDIR),
            (false, Ok(_)) => return Err(libc::EISDIR),
            (false, Err(_)) if place.slash => return Err(libc::ENOTDIR),
            _ => {}
        }
        self.name(host, place.directory, name, None);
        Ok(0)
    }

    pub(super) fn make_directory(
        &mut self,
        host: HostId,
        path: &[u8],
        mode: u32,
    ) -> Result<i32, i32> {
        let place = self.walk(host, path)?;
        let Last::Name(name) = &place.last else {
            return Err(libc::EEXIST);
        };
        if self.look_up(host, place.directory, name)?.is_some() {
            return Err(libc::EEXIST);
        }
        let inode = self.new_inode(host, Node::Directory(Directory::default()), mode);
        self.name(host, place.directory, name, Some(inode));
        Ok(0)
    }

    pub(super) fn status(
        &mut self,
        host: HostId,
        sqe: &RawSqe,
        path: &[u8],
        into: super::memory::Lent,
    ) -> Result<i32, i32> {
        let empty = path.is_empty() && sqe.op_flags & libc::AT_EMPTY_PATH.cast_unsigned() != 0;
        let inode = if empty {
            self.disk_file(self.object_of(host, sqe.fd)?)?.1.inode
        } else {
            let place = self.walk(host, path)?;
            self.find(host, &place)?
        };
        let disk = &self.hosts[host].disk;
        let found = disk.inodes.find(inode).ok_or(libc::EIO)?;
        let (kind, len) = match &found.node {
            Node::File(file) => (libc::S_IFREG, file.now.len()),
            Node::Directory(_) => (libc::S_IFDIR, 4096),
            Node::Socket => (libc::S_IFSOCK, 0),
        };
        super::memory::Status {
            mode: (kind | found.mode) as u16,
            links: found.links,
            len: len as u64,
            modified_s: BEGIN_S + found.modified_ns / 1_000_000_000,
            modified_ns: (found.modified_ns % 1_000_000_000) as u32,
        }
        .write(into);
        Ok(0)
    }

    /// Makes the file that names a Unix socket.
    pub(super) fn make_socket_file(&mut self, host: HostId, path: &[u8]) -> Result<Id, i32> {
        let place = self.walk(host, path)?;
        let Last::Name(name) = &place.last else {
            return Err(libc::EADDRINUSE);
        };
        if self.look_up(host, place.directory, name)?.is_some() {
            return Err(libc::EADDRINUSE);
        }
        if place.slash {
            return Err(libc::ENOENT);
        }
        let inode = self.new_inode(host, Node::Socket, 0o777);
        self.name(host, place.directory, name, Some(inode));
        Ok(inode)
    }

    /// The file that a Unix socket is bound to, or was.
    pub(super) fn socket_file(&self, host: HostId, path: &[u8]) -> Result<Id, i32> {
        let inode = self.find(host, &self.walk(host, path)?)?;
        let is_socket = self.hosts[host].disk.is_socket(inode);
        is_socket.then_some(inode).ok_or(libc::ECONNREFUSED)
    }

    /// What a path names.
    fn find(&self, host: HostId, place: &Place<'_>) -> Result<Id, i32> {
        let inode = match &place.last {
            Last::Dot => place.directory,
            Last::DotDot => place.above.last().copied().unwrap_or(place.directory),
            Last::Name(name) => {
                let inode = self.look_up(host, place.directory, name)?;
                inode.ok_or(libc::ENOENT)?
            }
        };
        if place.slash {
            self.hosts[host].disk.directory(inode)?;
        }
        Ok(inode)
    }

    fn look_up(&self, host: HostId, directory: Id, name: &[u8]) -> Result<Option<Id>, i32> {
        let directory = self.hosts[host].disk.directory(directory)?;
        if name.len() > NAME_MAX {
            return Err(libc::ENAMETOOLONG);
        }
        Ok(directory.now.get(name).copied())
    }

    /// Follows a path from the root, where every process works, to its last name.
    fn walk<'a>(&self, host: HostId, path: &'a [u8]) -> Result<Place<'a>, i32> {
        let disk = &self.hosts[host].disk;
        if path.is_empty() {
            return Err(libc::ENOENT);
        }
        let names = path.split(|byte| *byte == b'/');
        let mut names = names.filter(|name| !name.is_empty()).peekable();
        let mut place = Place {
            directory: disk.root,
            above: Vec::new(),
            last: Last::Dot,
            slash: path.ends_with(b"/"),
        };
        while let Some(name) = names.next() {
            let last = match name {
                b"." => Last::Dot,
                b".." => Last::DotDot,
                name => Last::Name(name),
            };
            if names.peek().is_none() {
                place.last = last;
                break;
            }
            match last {
                Last::Dot => {}
                Last::DotDot => {
                    place.directory = place.above.pop().unwrap_or(disk.root);
                }
                Last::Name(name) => {
                    let next = self.look_up(host, place.directory, name)?;
                    let next = next.ok_or(libc::ENOENT)?;
                    disk.directory(next)?;
                    place.above.push(place.directory);
                    place.directory = next;
                }
            }
        }
        Ok(place)
    }
}

impl Place<'_> {
    /// Whether the last name is looked up in `inode` or somewhere below it.
    fn is_below(&self, inode: Id) -> bool {
        self.directory == inode || self.above.contains(&inode)
    }
}
