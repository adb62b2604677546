//! One host's disk: what programs see, and what is left of it after a power failure.
//!
//! Every file and directory exists twice: as it is *now*, and as it is on the *medium*. What was
//! changed since the last sync stands between the two. At a power failure each of these changes
//! may have reached the medium or not, whatever the order they were made in, and a write may have
//! reached it in part, sector by sector. A sync that fails decides at once: what did not get
//! through by then will never do, though reads still show it, as on Linux.

use std::collections::{BTreeMap, BTreeSet};

use super::adversary::Adversary;
use super::table::{Id, Table};

/// What the medium writes in one piece, bytes.
const SECTOR: usize = 512;
/// The longest file: holes take memory here.
const FILE_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) inodes: Table<Inode>,
    pub(super) root: Id,
    /// Bytes of all files at most.
    pub(super) capacity: u64,
    used: u64,
    changes: u64,
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    /// Open descriptions and ops on them.
    opens: usize,
    /// Entries of directories that name it now.
    pub(super) links: u32,
    /// Its permissions.
    pub(super) mode: u32,
    pub(super) modified_ns: u64,
}

#[derive(Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
    /// The name of a Unix socket.
    Socket,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) now: Vec<u8>,
    medium: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) now: BTreeMap<Vec<u8>, Id>,
    medium: BTreeMap<Vec<u8>, Id>,
    /// The number of the change, which a rename shares between its two names.
    changes: Vec<(u64, Vec<u8>, Option<Id>)>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let mut inodes = Table::default();
        let root = inodes.insert(Inode {
            node: Node::Directory(Directory::default()),
            opens: 0,
            links: 1,
            mode: 0o755,
            modified_ns: 0,
        });
        Disk {
            inodes,
            root,
            capacity: u64::MAX,
            used: 0,
            changes: 0,
        }
    }

    pub(super) fn file(&mut self, inode: Id) -> Result<&mut File, i32> {
        match self.inodes.find_mut(inode).map(|inode| &mut inode.node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(libc::EISDIR),
            Some(Node::Socket) => Err(libc::EINVAL),
            None => Err(libc::EIO),
        }
    }

    pub(super) fn is_socket(&self, inode: Id) -> bool {
        let node = self.inodes.find(inode).map(|inode| &inode.node);
        matches!(node, Some(Node::Socket))
    }

    pub(super) fn directory(&self, inode: Id) -> Result<&Directory, i32> {
        match self.inodes.find(inode).map(|inode| &inode.node) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_) | Node::Socket) => Err(libc::ENOTDIR),
            None => Err(libc::EIO),
        }
    }

    pub(super) fn create(&mut self, node: Node, mode: u32, modified_ns: u64) -> Id {
        self.inodes.insert(Inode {
            node,
            opens: 0,
            links: 0,
            mode,
            modified_ns,
        })
    }

    /// An inode's content has changed.
    pub(super) fn touch(&mut self, inode: Id, now_ns: u64) {
        if let Some(inode) = self.inodes.find_mut(inode) {
            inode.modified_ns = now_ns;
        }
    }

    pub(super) fn open(&mut self, inode: Id) {
        if let Some(inode) = self.inodes.find_mut(inode) {
            inode.opens += 1;
        }
    }

    pub(super) fn close(&mut self, id: Id) {
        if let Some(inode) = self.inodes.find_mut(id) {
            inode.opens -= 1;
        }
        self.drop_unused(id);
    }

    /// Frees what has no name and is not open. What the medium may still have a name for after a
    /// power failure stays: its bytes come back with that name.
    fn drop_unused(&mut self, id: Id) {
        let unused = |inode: &&mut Inode| inode.opens == 0 && inode.links == 0;
        let Some(inode) = self.inodes.find_mut(id).filter(unused) else {
            return;
        };
        if let Node::File(file) = &mut inode.node {
            self.used -= std::mem::take(&mut file.now).len() as u64;
        }
        let names = |inode: &Inode| match &inode.node {
            Node::Directory(directory) => directory.may_name(id),
            Node::File(_) | Node::Socket => false,
        };
        if !self.inodes.iter().any(|(_, inode)| names(inode)) {
            self.inodes.remove(id);
        }
    }

    /// Numbers a change of names.
    pub(super) fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// Names `inode` (or nothing) `name` in a directory, as part of a change.
    pub(super) fn link(&mut self, change: u64, dir: Id, name: &[u8], inode: Option<Id>) {
        let Some(Node::Directory(directory)) = self.inodes.find_mut(dir).map(|dir| &mut dir.node)
        else {
            return;
        };
        let before = match inode {
            Some(inode) => directory.now.insert(name.to_vec(), inode),
            None => directory.now.remove(name),
        };
        directory.changes.push((change, name.to_vec(), inode));
        if let Some(inode) = inode.and_then(|inode| self.inodes.find_mut(inode)) {
            inode.links += 1;
        }
        if let Some(before) = before {
            if let Some(inode) = self.inodes.find_mut(before) {
                inode.links -= 1;
            }
            self.drop_unused(before);
        }
    }

    /// Writes at `offset`, as much as there is room for.
    pub(super) fn write(
        &mut self,
        inode: Id,
        offset: u64,
        mut bytes: Vec<u8>,
    ) -> Result<usize, i32> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let free = self.capacity.saturating_sub(self.used);
        let file = self.file(inode)?;
        let end = offset.checked_add(bytes.len() as u64).ok_or(libc::EFBIG)?;
        let len = file.now.len() as u64;
        if offset >= FILE_MAX {
            return Err(libc::EFBIG);
        }
        let room = (len + free).min(FILE_MAX).saturating_sub(offset);
        let n = (bytes.len() as u64).min(room) as usize;
        if n == 0 {
            return Err(libc::ENOSPC);
        }
        bytes.truncate(n);
        let end = end.min(offset + n as u64);
        put(&mut file.now, offset, &bytes);
        file.changes.push(Change::Write(offset, bytes));
        self.used += end.saturating_sub(len);
        Ok(n)
    }

    pub(super) fn resize(&mut self, inode: Id, len: u64) -> Result<(), i32> {
        let free = self.capacity.saturating_sub(self.used);
        let file = self.file(inode)?;
        let before = file.now.len() as u64;
        if len > FILE_MAX {
            return Err(libc::EFBIG);
        }
        if len.saturating_sub(before) > free {
            return Err(libc::ENOSPC);
        }
        file.now.resize(len as usize, 0);
        file.changes.push(Change::Resize(len));
        self.used = self.used + len - before;
        Ok(())
    }

    /// Makes everything about an inode durable.
    pub(super) fn sync(&mut self, inode: Id) {
        match self.inodes.find_mut(inode).map(|inode| &mut inode.node) {
            Some(Node::File(file)) => {
                for change in file.changes.drain(..) {
                    change.apply(&mut file.medium);
                }
            }
            Some(Node::Directory(directory)) => {
                let mut unnamed = Vec::new();
                for (_, name, inode) in directory.changes.drain(..) {
                    unnamed.extend(inode);
                    unnamed.extend(set(&mut directory.medium, name, inode));
                }
                for inode in unnamed {
                    self.drop_unused(inode);
                }
            }
            Some(Node::Socket) | None => {}
        }
    }

    /// A sync has failed: what of the changes has got through is decided now.
    pub(super) fn fail_sync(&mut self, inode: Id, adversary: &mut Adversary) {
        if let Ok(file) = self.file(inode) {
            for change in std::mem::take(&mut file.changes) {
                change.apply_in_part(&mut file.medium, adversary);
            }
        }
    }

    /// The power fails.
    pub(super) fn crash(&mut self, adversary: &mut Adversary) {
        let mut lost = BTreeSet::new();
        let mut decided = BTreeSet::new();
        let all: Vec<Id> = self.inodes.iter().map(|(id, _)| id).collect();
        for id in &all {
            let Some(inode) = self.inodes.find_mut(*id) else {
                continue;
            };
            inode.opens = 0;
            inode.links = 0;
            match &mut inode.node {
                Node::File(file) => {
                    for change in std::mem::take(&mut file.changes) {
                        change.apply_in_part(&mut file.medium, adversary);
                    }
                    file.now.clone_from(&file.medium);
                }
                Node::Socket => {}
                Node::Directory(directory) => {
                    for (change, name, inode) in std::mem::take(&mut directory.changes) {
                        if decided.insert(change) && adversary.below("change of names lost", 2) == 1
                        {
                            lost.insert(change);
                        }
                        if !lost.contains(&change) {
                            set(&mut directory.medium, name, inode);
                        }
                    }
                    directory.now.clone_from(&directory.medium);
                }
            }
        }
        self.sweep(&all);
    }

    /// Counts names anew, from the root on, and drops what has none.
    fn sweep(&mut self, all: &[Id]) {
        let mut reached = vec![self.root];
        // No directory names the root, which must not go when it is closed.
        if let Some(root) = self.inodes.find_mut(self.root) {
            root.links = 1;
        }
        let mut at = 0;
        while at < reached.len() {
            let names: Vec<Id> = match self.directory(reached[at]) {
                Ok(directory) => directory.now.values().copied().collect(),
                Err(_) => Vec::new(),
            };
            for id in names {
                if let Some(inode) = self.inodes.find_mut(id) {
                    inode.links += 1;
                    if inode.links == 1 {
                        reached.push(id);
                    }
                }
            }
            at += 1;
        }
        for id in all {
            if *id != self.root && self.inodes.find(*id).is_some_and(|inode| inode.links == 0) {
                self.inodes.remove(*id);
            }
        }
        let lens = self.inodes.iter().map(|(_, inode)| match &inode.node {
            Node::File(file) => file.now.len() as u64,
            Node::Directory(_) | Node::Socket => 0,
        });
        self.used = lens.sum();
    }
}

impl Directory {
    /// Whether it names `inode` on the medium, or may do so after a power failure.
    fn may_name(&self, inode: Id) -> bool {
        let mut changes = self.changes.iter();
        self.medium.values().any(|named| *named == inode)
            || changes.any(|(_, _, named)| *named == Some(inode))
    }
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, written) => put(bytes, offset, &written),
            Change::Resize(len) => bytes.resize(len as usize, 0),
        }
    }

    /// What a power failure leaves of it: all, nothing, or some sectors.
    fn apply_in_part(self, bytes: &mut Vec<u8>, adversary: &mut Adversary) {
        match adversary.below("unsynced write", 3) {
            0 => self.apply(bytes),
            1 => {}
            _ => {
                let Change::Write(offset, written) = self else {
                    return;
                };
                for (offset, part) in sectors(offset, &written) {
                    if adversary.below("sector lost", 2) == 0 {
                        put(bytes, offset, part);
                    }
                }
            }
        }
    }
}

/// A write, cut where the medium's sectors end.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let size = SECTOR as u64;
    let first = offset / size;
    let last = (offset + bytes.len() as u64).div_ceil(size);
    (first..last).map(move |sector| {
        let from = (sector * size).max(offset);
        let to = ((sector + 1) * size).min(offset + bytes.len() as u64);
        let part = &bytes[(from - offset) as usize..(to - offset) as usize];
        (from, part)
    })
}

fn put(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    let (offset, end) = (offset as usize, offset as usize + written.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

/// Returns what had the name before.
fn set(names: &mut BTreeMap<Vec<u8>, Id>, name: Vec<u8>, inode: Option<Id>) -> Option<Id> {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(&name),
    }
}
