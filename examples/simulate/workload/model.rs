//! What a file must hold: bytes that are sure, and changes that were made or not.
//!
//! A change is unsure when its outcome is not known: it has failed, or its future was dropped, or
//! the power went before it was synced. It may have been made in part. Whoever reads one of its
//! bytes finds the new one or an older one.

use std::rc::Rc;

/// Something that was done to a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(u64, Rc<[u8]>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// The bytes, if no unsure change was made.
    bytes: Vec<u8>,
    unsure: Vec<Change>,
    /// The same on the disk, for certain.
    durable: Vec<u8>,
    unsure_on_disk: Vec<Change>,
    /// Since the last sync that succeeded, and whether they were made for sure: those that were are
    /// what `durable` lacks of `bytes`.
    since: Vec<(Change, bool)>,
    /// A sync has failed: what the disk has of what was written before is anybody's guess.
    is_doomed: bool,
}

/// Bytes that are compared at once.
const PIECE: usize = 256;

impl Model {
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// How long it may be.
    pub(crate) fn lens(&self) -> (u64, u64) {
        let (mut least, mut most) = (self.len(), self.len());
        for change in &self.unsure {
            match change {
                Change::Write(at, bytes) => most = most.max(at + bytes.len() as u64),
                Change::SetLen(len) => {
                    least = least.min(*len);
                    most = most.max(*len);
                }
            }
        }
        (least, most)
    }

    /// A change that was made for sure, and made last.
    pub(crate) fn made(&mut self, change: Change) {
        if let Change::Write(at, bytes) = &change
            && !self.unsure.is_empty()
        {
            let end = at + bytes.len() as u64;
            let unsure = std::mem::take(&mut self.unsure);
            self.unsure = unsure
                .into_iter()
                .flat_map(|change| without(change, *at, end))
                .collect();
        }
        if let Change::SetLen(len) = change {
            // What one before it may have cut off reads as zeros.
            for before in &mut self.unsure {
                if let Change::SetLen(cut) = *before {
                    let zeros = vec![0; len.saturating_sub(cut) as usize];
                    *before = Change::Write(cut.min(len), zeros.into());
                }
            }
        }
        apply(&mut self.bytes, &change);
        self.since.push((change, true));
    }

    /// A change that was made or not, or in part, or will be.
    pub(crate) fn tried(&mut self, change: Change) {
        self.unsure.push(change.clone());
        self.since.push((change, false));
    }

    /// All that was changed is on the disk.
    pub(crate) fn synced(&mut self) {
        if !self.is_doomed {
            for (change, is_sure) in self.since.drain(..) {
                if is_sure {
                    apply(&mut self.durable, &change);
                }
            }
            self.unsure_on_disk.clone_from(&self.unsure);
        }
    }

    pub(crate) fn sync_failed(&mut self) {
        self.is_doomed = true;
    }

    /// The power was off. False if nothing is known of it any more.
    pub(crate) fn crashed(&mut self) -> bool {
        self.bytes.clone_from(&self.durable);
        self.unsure = std::mem::take(&mut self.unsure_on_disk);
        let since = self.since.drain(..).map(|(change, _)| change);
        self.unsure.extend(since);
        // What the disk has now it has for ever, but which it is nobody knows.
        self.unsure_on_disk.clone_from(&self.unsure);
        !self.is_doomed
    }

    /// What `read` bytes at `at` have shown that cannot be.
    pub(crate) fn wrong(&self, at: u64, read: &[u8]) -> Option<String> {
        let (_, most) = self.lens();
        let end = at + read.len() as u64;
        if end > most && !read.is_empty() {
            return Some(format!("byte {end} is beyond the end, {most}"));
        }
        let mut pieces = (at..).step_by(PIECE).zip(read.chunks(PIECE));
        pieces.find_map(|(at, piece)| self.wrong_piece(at, piece))
    }

    fn wrong_piece(&self, at: u64, piece: &[u8]) -> Option<String> {
        let sure = usize::try_from(at).ok();
        let sure = sure.and_then(|at| self.bytes.get(at..)).unwrap_or(&[]);
        // Most of it is as it is for sure.
        if sure.get(..piece.len()) == Some(piece) {
            return None;
        }
        // What the file was longer by than it was for sure reads as zeros.
        let mut fine = [false; PIECE];
        let zeros = !self.unsure.is_empty();
        for (fine, byte) in fine.iter_mut().zip(piece) {
            *fine = *byte == 0 && zeros;
        }
        allow(&mut fine, at, piece, at, sure);
        for change in &self.unsure {
            if let Change::Write(from, bytes) = change {
                allow(&mut fine, at, piece, *from, bytes);
            }
        }
        let wrong = fine.iter().zip(piece).position(|(fine, _)| !fine)?;
        let (place, byte, sure) = (at + wrong as u64, piece[wrong], sure.get(wrong));
        Some(format!("byte {place} is {byte}, and not {sure:?}"))
    }
}

/// Marks what of the piece at `at` is as in `bytes`, which stand at `from`.
fn allow(fine: &mut [bool; PIECE], at: u64, piece: &[u8], from: u64, bytes: &[u8]) {
    let end = (at + piece.len() as u64).min(from + bytes.len() as u64);
    let begin = at.max(from);
    if begin >= end {
        return;
    }
    let range = (begin - at) as usize..(end - at) as usize;
    let (fine, read) = (&mut fine[range.clone()], &piece[range]);
    let bytes = &bytes[(begin - from) as usize..(end - from) as usize];
    for ((fine, read), byte) in fine.iter_mut().zip(read).zip(bytes) {
        *fine |= read == byte;
    }
}

/// What is left of an unsure change below a write that came after it.
fn without(change: Change, from: u64, to: u64) -> Vec<Change> {
    let Change::Write(at, bytes) = change else {
        return vec![change];
    };
    let end = at + bytes.len() as u64;
    let mut left = Vec::new();
    if at < from {
        let len = (from.min(end) - at) as usize;
        left.push(Change::Write(at, bytes[..len].into()));
    }
    if end > to {
        let start = to.max(at);
        let rest = &bytes[(start - at) as usize..];
        left.push(Change::Write(start, rest.into()));
    }
    left
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, written) => {
            let (at, end) = (*at as usize, *at as usize + written.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(written);
        }
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
    }
}
