#![allow(unsafe_code)]
//! The queues of the ring that a raw server is driven by.

use std::io;
use std::time::{Duration, Instant};

use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, squeue};

use crate::peers::SQ_ENTRIES;

const CQ_ENTRIES: u32 = SQ_ENTRIES * 8;

/// As in the runtime whose limit this is.
const SPIN: Duration = Duration::from_micros(50);

/// A ring as every raw server has it.
pub(super) fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(CQ_ENTRIES);
    let plain = builder.clone();
    match builder.setup_no_sqarray().build(SQ_ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => plain.build(SQ_ENTRIES),
        ring => ring,
    }
}

/// All of a ring but its completions.
pub(super) struct Queues<'ring> {
    pub(super) submitter: Submitter<'ring>,
    pub(super) queue: SubmissionQueue<'ring>,
}

impl Queues<'_> {
    #[inline]
    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entries name lives until they complete: both servers own it for ever.
        while unsafe { self.queue.push(entry) }.is_err() {
            self.queue.sync();
            self.submitter
                .submit()
                .expect("a full queue can be submitted");
            self.queue.sync();
        }
    }

    /// Submits what is staged and returns when something has completed.
    pub(super) fn enter(
        &mut self,
        completions: &mut CompletionQueue<'_>,
        spin: bool,
    ) -> io::Result<()> {
        if spin && self.queue.is_empty() {
            let since = Instant::now();
            loop {
                completions.sync();
                if !CompletionQueue::is_empty(completions) {
                    return Ok(());
                }
                if self.queue.taskrun() || since.elapsed() > SPIN {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        self.queue.sync();
        // Publishes how far we have read: the kernel would not wait while it sees completions.
        completions.sync();
        let staged = self.queue.len() as u32;
        // SAFETY: there is no argument that the kernel could read.
        let entered = unsafe {
            let flags = EnterFlags::GETEVENTS.bits();
            self.submitter
                .enter::<libc::sigset_t>(staged, 1, flags, None)
        };
        self.queue.sync();
        completions.sync();
        match entered {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }
}
