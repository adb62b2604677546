//! What this kernel can do, found out once per ring by asking it.
#![allow(unsafe_code)]

use std::io;

use io_uring::types::IOU_PBUF_RING_INC;
use io_uring::{IoUring, Probe};

use super::facts::kernel_version;
use super::kick::has_messages;
use super::pages::Pages;

/// The group of the trial registration; gone again before anybody could meet it.
const TRIAL_GROUP: u16 = u16::MAX;

/// What differs between the kernels that a ring can be built on.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// Buffer rings whose buffers are consumed piece by piece. Since 6.12.
    pub(crate) incremental: bool,
    /// A waiting ring does not count as waiting for a disk. Since 6.15.
    pub(crate) no_iowait: bool,
    /// Who has no ring can send a message to one. Used since 6.16.
    pub(crate) messages: bool,
    opcodes: [u64; 4],
}

impl Features {
    /// Whether the kernel knows an opcode. It says nothing about that opcode's flags.
    pub(crate) fn supports(&self, code: u8) -> bool {
        self.opcodes[usize::from(code / 64)] >> (code % 64) & 1 != 0
    }

    /// What a simulated kernel can do.
    #[cfg(feature = "sim")]
    pub(super) fn simulated(incremental: bool, known: &[u8]) -> Features {
        let mut opcodes = [0; 4];
        for code in known {
            opcodes[usize::from(code / 64)] |= 1 << (code % 64);
        }
        Features {
            incremental,
            no_iowait: true,
            messages: false,
            opcodes,
        }
    }

    pub(super) fn probe(ring: &IoUring) -> io::Result<Features> {
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let mut opcodes = [0; 4];
        for code in (0..=u8::MAX).filter(|&code| probe.is_supported(code)) {
            opcodes[usize::from(code / 64)] |= 1 << (code % 64);
        }
        Ok(Features {
            incremental: has_incremental_buffers(ring)?,
            no_iowait: ring.params().is_feature_no_iowait(),
            messages: has_messages(),
            opcodes,
        })
    }
}

/// Registers a ring of one such buffer and takes it back.
fn has_incremental_buffers(ring: &IoUring) -> io::Result<bool> {
    let pages = Pages::new(1)?;
    let address = pages.as_ptr().expose_provenance() as u64;
    let submitter = ring.submitter();
    let flags = IOU_PBUF_RING_INC as u16;
    // SAFETY: the page is ours, and is unmapped only after the group was unregistered; if that
    // failed it is leaked.
    match unsafe { submitter.register_buf_ring_with_flags(address, 1, TRIAL_GROUP, flags) } {
        Ok(()) => match submitter.unregister_buf_ring(TRIAL_GROUP) {
            Ok(()) => Ok(true),
            Err(error) => {
                pages.leak();
                Err(error)
            }
        },
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        // Not an answer to the question (locked memory is used up): the version has to do.
        Err(_) => Ok(kernel_version() >= (6, 12)),
    }
}
