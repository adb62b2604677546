//! Ops on files, directories and eventfds.

use super::kernel::{Args, HostId, Kernel};
use super::object::{DiskFile, OpenFile};
use super::ops::Tried;
use super::table::Id;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

/// The offset that stands for the file's position.
const POSITION: u64 = u64::MAX;

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
            OpenFile::PipeReader(_) => self.read_pipe(object, lent),
            OpenFile::PipeWriter(_) => Tried::failed(libc::EBADF),
            OpenFile::Socket(_) | OpenFile::Unix(_) | OpenFile::Messages(_) | OpenFile::Ring(_) => {
                Tried::failed(libc::EINVAL)
            }
        }
    }

    pub(super) fn add_to_event(&mut self, id: Id, added: u64) {
        if let Some(object) = self.objects.find_mut(id)
            && let OpenFile::Event(count) = &mut object.file
        {
            *count = count.saturating_add(added);
            self.stir(id);
        }
    }

    fn read_file(
        &mut self,
        object: Id,
        lent: super::memory::Lent,
        offset: u64,
    ) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        let at = place_of(offset, lent.len(), file.position)?;
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
            OpenFile::Event(_) => {
                let added = lent.read(8).try_into().map_or(0, u64::from_ne_bytes);
                self.add_to_event(object, added);
                Tried::Done(8, 0)
            }
            OpenFile::Disk(file) if !file.writes => Tried::failed(libc::EBADF),
            OpenFile::Disk(_) => Tried::of(self.write_file(object, lent.read(n), sqe.off)),
            OpenFile::PipeWriter(_) => self.write_pipe(object, lent),
            OpenFile::PipeReader(_) => Tried::failed(libc::EBADF),
            OpenFile::Socket(_) | OpenFile::Unix(_) | OpenFile::Messages(_) | OpenFile::Ring(_) => {
                Tried::failed(libc::EINVAL)
            }
        }
    }

    fn write_file(&mut self, object: Id, bytes: Vec<u8>, offset: u64) -> Result<i32, i32> {
        let (host, file) = self.disk_file(object)?;
        let disk = &mut self.hosts[host].disk;
        let at = match offset {
            _ if file.appends => disk.file(file.inode)?.now.len() as u64,
            _ => place_of(offset, bytes.len(), file.position)?,
        };
        let n = disk.write(file.inode, at, bytes)?;
        if n > 0 {
            disk.touch(file.inode, self.now_ns);
        }
        if offset == POSITION {
            self.set_position(object, at + n as u64);
        }
        Ok(n as i32)
    }

    pub(super) fn disk_file(&self, object: Id) -> Result<(HostId, DiskFile), i32> {
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
        self.resize_file(host, file.inode, len).map(|()| 0)
    }

    pub(super) fn resize_file(&mut self, host: HostId, inode: Id, len: u64) -> Result<(), i32> {
        let disk = &mut self.hosts[host].disk;
        disk.resize(inode, len)?;
        disk.touch(inode, self.now_ns);
        Ok(())
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
            opcode::OPENAT => self.open(host, &path, sqe),
            opcode::RENAMEAT => self.rename(host, &path, &second, sqe.op_flags),
            opcode::UNLINKAT => {
                let directory = sqe.op_flags & libc::AT_REMOVEDIR.cast_unsigned() != 0;
                self.unlink(host, &path, directory)
            }
            opcode::MKDIRAT => self.make_directory(host, &path, sqe.len),
            _ => Err(libc::EINVAL),
        }
    }
}

/// Where a read or write of `len` bytes begins. Its end must be an offset, too.
fn place_of(offset: u64, len: usize, position: u64) -> Result<u64, i32> {
    let at = if offset == POSITION { position } else { offset };
    match at.checked_add(len as u64).map(i64::try_from) {
        Some(Ok(_)) => Ok(at),
        _ => Err(libc::EINVAL),
    }
}
