//! Control data of a message, `cmsg(3)`: what comes beside its bytes.
//!
//! Descriptors that came with it (`SCM_RIGHTS`) are owned from the moment that its completion is
//! looked at, so that whoever drops a message closes them.

use std::fmt;

use super::fd::Fd;

/// Everything in control data is aligned to this.
const ALIGN: usize = size_of::<usize>();
/// `struct cmsghdr`: length with the header, level, type.
const HEADER: usize = size_of::<libc::cmsghdr>().next_multiple_of(ALIGN);

/// The control data of one message.
#[derive(Default)]
pub(crate) struct ControlData {
    /// All but the descriptors, as the kernel has it.
    bytes: Vec<u8>,
    /// In the order in which they came, or are to be sent.
    pub(crate) descriptors: Vec<Fd>,
}

impl ControlData {
    /// What a kernel has just written: descriptors in it are new ones, and are owned from here on.
    pub(crate) fn received(written: &[u8]) -> ControlData {
        let mut data = ControlData::default();
        for (level, kind, content) in entries(written) {
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                data.descriptors.extend(descriptors(content));
            } else {
                data.push(level, kind, content);
            }
        }
        data
    }

    /// What a program has asked for, without its descriptors: they are not ours.
    #[cfg(feature = "sim")]
    pub(crate) fn of_sender(asked: &[u8]) -> ControlData {
        let mut data = ControlData::default();
        for (level, kind, content) in entries(asked) {
            if (level, kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                data.push(level, kind, content);
            }
        }
        data
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, level: i32, kind: i32, content: &[u8]) {
        let len = HEADER + content.len();
        self.bytes.reserve(len.next_multiple_of(ALIGN));
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(level.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(content);
        let end = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(end, 0);
    }

    /// The entries, but for descriptors: level, type, content.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (i32, i32, &[u8])> {
        entries(&self.bytes)
    }

    /// The content of the first entry of this level and type.
    pub(crate) fn find(&self, level: i32, kind: i32) -> Option<&[u8]> {
        let mut entries = self.entries();
        entries
            .find(|entry| (entry.0, entry.1) == (level, kind))
            .map(|entry| entry.2)
    }

    /// All of it as the kernel takes it, with the numbers of the descriptors, which stay open as
    /// long as `self`.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut all = ControlData {
            bytes: self.bytes.clone(),
            descriptors: Vec::new(),
        };
        if !self.descriptors.is_empty() {
            let numbers = self.descriptors.iter().map(|fd| fd.raw().to_ne_bytes());
            let content: Vec<u8> = numbers.flatten().collect();
            all.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, &content);
        }
        all.bytes
    }
}

impl fmt::Debug for ControlData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries())
            .entries(&self.descriptors)
            .finish()
    }
}

/// The entries of control data, up to its end or to the first that does not fit: level, type,
/// content.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from_ne_bytes(*rest.first_chunk()?);
        let level = i32::from_ne_bytes(*rest.get(ALIGN..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*rest.get(ALIGN + 4..)?.first_chunk()?);
        let content = rest.get(HEADER..len)?;
        // The last entry may end without its padding.
        let next = len.checked_next_multiple_of(ALIGN)?;
        rest = rest.get(next..).unwrap_or_default();
        Some((level, kind, content))
    })
}

fn descriptors(content: &[u8]) -> impl Iterator<Item = Fd> {
    let (numbers, _) = content.as_chunks();
    numbers
        .iter()
        .map(|&number| Fd::adopt(i32::from_ne_bytes(number)))
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn entries_lie_within_what_was_written(
            bytes in collection::vec(0_u8..40, 0..200),
        ) {
            let mut total = 0;
            for (_, _, content) in entries(&bytes) {
                prop_assert!(bytes.as_ptr_range().start <= content.as_ptr());
                prop_assert!(content.as_ptr_range().end <= bytes.as_ptr_range().end);
                total += HEADER + content.len();
            }
            prop_assert!(total <= bytes.len());
        }

        #[test]
        fn what_was_pushed_comes_out(
            pushed in collection::vec(
                (0_i32..9, 2_i32..9, collection::vec(0_u8..255, 0..40)),
                0..6,
            ),
        ) {
            let mut data = ControlData::default();
            for (level, kind, content) in &pushed {
                data.push(*level, *kind, content);
            }
            let data = ControlData::received(&data.encoded());
            let out: Vec<_> = data.entries().map(|(l, k, c)| (l, k, c.to_vec())).collect();
            prop_assert_eq!(out, pushed);
        }
    }
}
