//! Ops on files, directories and eventfds.

use super::disk::{Directory, File, Node};
use super::kernel::{Args, HostId, Kernel};
use super::object::{DiskFile, Object, OpenFile};
use super::ops::Tried;
use super::table::Id;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

/// The offset that stands for the file's position.
const POSITION: u64 = u64::MAX;
const NAME_MAX: usize = 255;

/// Where a path leads: the directory, the last name, and what it names now.
struct Place {
    directory: Id,
    name: Vec<u8>,
    inode: Option<Id>,
}

impl Kernel {
    pub(super) fn try_read(&mut self, op: Id, object: Id, sqe: &RawSqe) -> Tried {
        let Some(Args::Memory(lent)) = self.ops.find(op).map(|op| &op.args) else {
            return Tried::failed(libc::EFAULT);
        };
        let lent = *lent;
        let Some(file) = self.objects.find_mut(object).map(|object| &mut object.file) else {
            return Tried::failed(libc::EBADF);
        };
        match file {
            OpenFile::Event(0) => Tried::Wait,
            OpenFile::Event(_) if lent.len() < 8 => Tried::failed(libc::EINVAL),
            OpenFile::Event(count) => {
                lent.fill(&std::mem::take(count).to_ne_bytes());
                Tried::Done(8, 0)
            }
            OpenFile::Disk(file) if !file.reads => Tried::failed(libc::EBADF),
            OpenFile::Disk(_) => Tried::of(self.read_file(object, lent, sqe.off)),
            OpenFile::Socket(_) | OpenFile::Ring(_) => Tried::failed(libc::EINVAL),
        }
    }

    fn read_file(
        &mut self,
        object: Id,
        lent: super::memory::Lent,
        offset: u64,
    ) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        let at = if offset == POSITION {
            file.position
        } else {
            offset
        };
        let content = &self.hosts[host].disk.file(file.inode)?.now;
        let left = (content.len() as u64).saturating_sub(at);
        let n = (lent.len() as u64).min(left) as usize;
        let n = self.shortened(opcode::READ, n);
        let content = &self.hosts[host].disk.file(file.inode)?.now;
        if n > 0 {
            lent.fill(&content[at as usize..at as usize + n]);
        }
        if offset == POSITION {
            self.set_position(object, at + n as u64);
        }
        Ok(n as i32)
    }

    pub(super) fn try_write(&mut self, op: Id, object: Id, sqe: &RawSqe) -> Tried {
        let Some(Args::Memory(lent)) = self.ops.find(op).map(|op| &op.args) else {
            return Tried::failed(libc::EFAULT);
        };
        let lent = *lent;
        let n = self.shortened(opcode::WRITE, lent.len());
        let Some(file) = self.objects.find_mut(object).map(|object| &mut object.file) else {
            return Tried::failed(libc::EBADF);
        };
        match file {
            OpenFile::Event(_) if lent.len() < 8 => Tried::failed(libc::EINVAL),
            OpenFile::Event(count) => {
                let added = lent.read(8).try_into().map_or(0, u64::from_ne_bytes);
                *count = count.saturating_add(added);
                self.stir(object);
                Tried::Done(8, 0)
            }
            OpenFile::Disk(file) if !file.writes => Tried::failed(libc::EBADF),
            OpenFile::Disk(_) => Tried::of(self.write_file(object, &lent.read(n), sqe.off)),
            OpenFile::Socket(_) | OpenFile::Ring(_) => Tried::failed(libc::EINVAL),
        }
    }

    fn write_file(&mut self, object: Id, bytes: &[u8], offset: u64) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        let disk = &mut self.hosts[host].disk;
        let at = match offset {
            _ if file.appends => disk.file(file.inode)?.now.len() as u64,
            POSITION => file.position,
            offset => offset,
        };
        let n = disk.write(file.inode, at, bytes)?;
        if offset == POSITION {
            self.set_position(object, at + n as u64);
        }
        Ok(n as i32)
    }

    fn disk_file(&self, object: Id) -> Result<(HostId, DiskFile), i32> {
        let object = self.objects.find(object).ok_or(libc::EBADF)?;
        match &object.file {
            OpenFile::Disk(file) => Ok((object.host, file.clone())),
            _ => Err(libc::EINVAL),
        }
    }

    fn set_position(&mut self, object: Id, position: u64) {
        if let Some(object) = self.objects.find_mut(object)
            && let OpenFile::Disk(file) = &mut object.file
        {
            file.position = position;
        }
    }

    pub(super) fn fsync(&mut self, object: Id) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        self.hosts[host].disk.sync(file.inode);
        Ok(0)
    }

    /// A sync of the object has failed.
    pub(super) fn doom(&mut self, object: Id) {
        if let Ok((host, file)) = self.disk_file(object) {
            let disk = &mut self.hosts[host].disk;
            disk.fail_sync(file.inode, &mut self.adversary);
        }
    }

    pub(super) fn truncate(&mut self, object: Id, len: u64) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        if !file.writes || i64::try_from(len).is_err() {
            return Err(libc::EINVAL);
        }
        self.hosts[host].disk.resize(file.inode, len).map(|()| 0)
    }

    /// The ops that work on a path.
    pub(super) fn path_op(&mut self, op: Id, host: HostId, sqe: &RawSqe) -> Result<i32, i32> {
        let op = self.ops.find_mut(op).ok_or(libc::EBADF)?;
        // Those that fail are not tried again, and neither are those that succeed.
        let args = std::mem::replace(&mut op.args, Args::None);
        if let Args::Status(path, into) = args {
            return self.status(host, sqe, &path, into);
        }
        let Args::Paths(path, second) = args else {
            return Err(libc::EFAULT);
        };
        match sqe.opcode {
            opcode::OPENAT => self.open(host, &path, sqe.op_flags.cast_signed()),
            opcode::RENAMEAT => self.rename(host, &path, &second, sqe.op_flags),
            opcode::UNLINKAT => {
                let directory = sqe.op_flags & libc::AT_REMOVEDIR.cast_unsigned() != 0;
                self.unlink(host, &path, directory)
            }
            opcode::MKDIRAT => self.make_directory(host, &path),
            _ => Err(libc::EINVAL),
        }
    }

    fn open(&mut self, host: HostId, path: &[u8], flags: i32) -> Result<i32, i32> {
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            return Err(libc::EOPNOTSUPP);
        }
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let place = self.walk(host, path)?;
        let exclusive = flags & libc::O_EXCL != 0 && flags & libc::O_CREAT != 0;
        let disk = &mut self.hosts[host].disk;
        let inode = match place.inode {
            Some(_) if exclusive => return Err(libc::EEXIST),
            Some(inode) => {
                let is_directory = disk.directory(inode).is_ok();
                if is_directory && (writes || flags & libc::O_CREAT != 0) {
                    return Err(libc::EISDIR);
                }
                if !is_directory && flags & libc::O_DIRECTORY != 0 {
                    return Err(libc::ENOTDIR);
                }
                inode
            }
            None if flags & libc::O_CREAT == 0 => return Err(libc::ENOENT),
            None => {
                let inode = disk.create(Node::File(File::default()));
                let change = disk.next_change();
                disk.link(change, place.directory, &place.name, Some(inode));
                inode
            }
        };
        disk.open(inode);
        let object = self.objects.insert(Object::new(
            host,
            OpenFile::Disk(DiskFile {
                inode,
                position: 0,
                appends: flags & libc::O_APPEND != 0,
                reads: flags & libc::O_ACCMODE != libc::O_WRONLY,
                writes,
            }),
        ));
        match self.install(host, object) {
            Ok(fd) => {
                if flags & libc::O_TRUNC != 0 && writes {
                    self.hosts[host].disk.resize(inode, 0)?;
                }
                Ok(fd)
            }
            Err(errno) => {
                self.objects.remove(object);
                self.hosts[host].disk.close(inode);
                Err(errno)
            }
        }
    }

    fn rename(&mut self, host: HostId, from: &[u8], to: &[u8], flags: u32) -> Result<i32, i32> {
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(libc::EINVAL);
        }
        let from = self.walk(host, from)?;
        let to = self.walk(host, to)?;
        let moved = from.inode.ok_or(libc::ENOENT)?;
        let disk = &mut self.hosts[host].disk;
        let moves_directory = disk.directory(moved).is_ok();
        if let Some(replaced) = to.inode {
            if replaced == moved {
                return Ok(0);
            }
            if flags & libc::RENAME_NOREPLACE != 0 {
                return Err(libc::EEXIST);
            }
            match (moves_directory, disk.directory(replaced)) {
                (true, Ok(directory)) if !directory.now.is_empty() => return Err(libc::ENOTEMPTY),
                (true, Err(_)) => return Err(libc::ENOTDIR),
                (false, Ok(_)) => return Err(libc::EISDIR),
                _ => {}
            }
        }
        if moves_directory && (to.directory == moved || self.is_below(host, moved, to.directory)) {
            return Err(libc::EINVAL);
        }
        let disk = &mut self.hosts[host].disk;
        let change = disk.next_change();
        disk.link(change, to.directory, &to.name, Some(moved));
        disk.link(change, from.directory, &from.name, None);
        Ok(0)
    }

    fn is_below(&self, host: HostId, directory: Id, inode: Id) -> bool {
        let Ok(directory) = self.hosts[host].disk.directory(directory) else {
            return false;
        };
        let mut entries = directory.now.values();
        entries.any(|entry| *entry == inode || self.is_below(host, *entry, inode))
    }

    fn unlink(&mut self, host: HostId, path: &[u8], directory: bool) -> Result<i32, i32> {
        let place = self.walk(host, path)?;
        let inode = place.inode.ok_or(libc::ENOENT)?;
        let disk = &mut self.hosts[host].disk;
        match (directory, disk.directory(inode)) {
            (true, Ok(entries)) if !entries.now.is_empty() => return Err(libc::ENOTEMPTY),
            (true, Err(_)) => return Err(libc::ENOTDIR),
            (false, Ok(_)) => return Err(libc::EISDIR),
            _ => {}
        }
        let change = disk.next_change();
        disk.link(change, place.directory, &place.name, None);
        Ok(0)
    }

    fn make_directory(&mut self, host: HostId, path: &[u8]) -> Result<i32, i32> {
        let place = self.walk(host, path)?;
        if place.inode.is_some() {
            return Err(libc::EEXIST);
        }
        let disk = &mut self.hosts[host].disk;
        let inode = disk.create(Node::Directory(Directory::default()));
        let change = disk.next_change();
        disk.link(change, place.directory, &place.name, Some(inode));
        Ok(0)
    }

    fn status(
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
            self.walk(host, path)?.inode.ok_or(libc::ENOENT)?
        };
        let disk = &self.hosts[host].disk;
        let found = disk.inodes.find(inode).ok_or(libc::EIO)?;
        let (kind, len) = match &found.node {
            Node::File(file) => (libc::S_IFREG | 0o644, file.now.len()),
            Node::Directory(_) => (libc::S_IFDIR | 0o755, 4096),
        };
        super::memory::Status {
            mode: kind as u16,
            links: found.links,
            len: len as u64,
        }
        .write(into);
        Ok(0)
    }

    /// Follows a path from the root: every process works there.
    fn walk(&self, host: HostId, path: &[u8]) -> Result<Place, i32> {
        let disk = &self.hosts[host].disk;
        if path.is_empty() {
            return Err(libc::ENOENT);
        }
        let mut place = Place {
            directory: disk.root,
            name: Vec::new(),
            inode: Some(disk.root),
        };
        let mut above = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            if name.len() > NAME_MAX {
                return Err(libc::ENAMETOOLONG);
            }
            let directory = place.inode.ok_or(libc::ENOENT)?;
            if name == b".." {
                place.inode = Some(above.pop().unwrap_or(disk.root));
                continue;
            }
            let entries = disk.directory(directory)?;
            above.push(directory);
            place = Place {
                directory,
                name: name.to_vec(),
                inode: entries.now.get(name).copied(),
            };
        }
        Ok(place)
    }
}
