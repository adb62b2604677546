//! The futures of what is done to files.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, IoBuf, IoBufMut};

use super::asking::Asking;
use super::file::{File, Handle};
use crate::driver::{Driver, Op, Submit};
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};
use crate::op;
use crate::ring::Fd;

/// The future of [`OpenOptions::open`](super::OpenOptions::open), [`File::open`] and
/// [`File::create`].
///
/// # Cancellation
///
/// Dropped, it cancels the open; a file that is opened all the same is closed. One that was made or
/// emptied stays so.
#[must_use = "futures do nothing unless polled"]
pub struct Open(Asking<op::Open>);

impl Open {
    pub(super) fn new(open: io::Result<op::Open>) -> Open {
        Open(Asking::new(open))
    }

    fn poll_with(
        &mut self,
        poll: impl FnOnce(&mut Submit<op::Open>) -> Poll<io::Result<Fd>>,
    ) -> Poll<io::Result<File>> {
        self.0.poll_with(|submit, driver| {
            let fd = ready!(poll(submit))?;
            Poll::Ready(Ok(File::new(fd, Rc::clone(driver))))
        })
    }
}

impl Future for Open {
    type Output = io::Result<File>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(|submit| Pin::new(submit).poll(cx))
    }
}

impl Sealed for Open {}

impl Operation for Open {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.poll_with(|submit| submit.poll_cancel(cx))
    }
}

/// The future of [`File::read_at`].
///
/// # Cancellation
///
/// Dropped, it cancels the read; what was read is still in the file.
#[must_use = "futures do nothing unless polled"]
pub struct ReadAt<'a, B: IoBufMut> {
    state: Reading<B>,
    _file: &'a File,
}

enum Reading<B: IoBufMut> {
    NoRoom(B),
    Asked(Submit<op::Read<Handle, B>>),
    Taken,
}

// The buffer is never pinned here: what is lent to the kernel lives in a slot.
impl<B: IoBufMut> Unpin for ReadAt<'_, B> {}

impl<'a, B: IoBufMut> ReadAt<'a, B> {
    pub(super) fn new(file: &'a File, mut buf: B, offset: u64) -> Self {
        let state = if buf.parts_mut().1 == 0 {
            Reading::NoRoom(buf)
        } else {
            let (file, driver) = file.parts();
            Reading::Asked(op::Read { file, buf, offset }.submit(driver))
        };
        ReadAt { state, _file: file }
    }

    fn poll_with(
        &mut self,
        poll: impl FnOnce(&mut Submit<op::Read<Handle, B>>) -> Poll<BufResult<usize, B>>,
    ) -> Poll<BufResult<usize, B>> {
        match &mut self.state {
            Reading::Asked(submit) => poll(submit),
            refused => match mem::replace(refused, Reading::Taken) {
                Reading::NoRoom(buf) => {
                    let text = "the buffer has no room: give it a capacity";
                    let error = io::Error::new(io::ErrorKind::InvalidInput, text);
                    Poll::Ready((Err(error), buf))
                }
                _ => panic!("polled after completion"),
            },
        }
    }
}

impl<B: IoBufMut> Future for ReadAt<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(|submit| Pin::new(submit).poll(cx))
    }
}

impl<B: IoBufMut> Sealed for ReadAt<'_, B> {}

impl<B: IoBufMut> Operation for ReadAt<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.poll_with(|submit| submit.poll_cancel(cx))
    }
}

/// The future of [`File::write_at`] and [`File::append`].
///
/// # Cancellation
///
/// Dropped before its first poll, it writes nothing. Dropped later, it runs to its end, and an
/// error is reported by the next sync or `close`.
#[must_use = "futures do nothing unless polled"]
pub struct WriteAt<'a, B: IoBuf> {
    write: Committed<op::Write<Handle, B>>,
    _file: &'a File,
}

impl<B: IoBuf> Unpin for WriteAt<'_, B> {}

impl<'a, B: IoBuf> WriteAt<'a, B> {
    pub(super) fn new(of: &'a File, buf: B, offset: u64) -> Self {
        let (file, driver) = of.parts();
        let write = op::Write::new(file, buf, offset);
        WriteAt {
            write: Committed::new(write, of.parts().0, driver),
            _file: of,
        }
    }
}

impl<B: IoBuf> Future for WriteAt<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.write.poll_with(|submit| Pin::new(submit).poll(cx))
    }
}

impl<B: IoBuf> Sealed for WriteAt<'_, B> {}

impl<B: IoBuf> Operation for WriteAt<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.write.poll_with(|submit| submit.poll_cancel(cx))
    }
}

/// The future of [`File::set_len`].
///
/// # Cancellation
///
/// Dropped before its first poll, it changes nothing. Dropped later, it runs to its end, and an
/// error is reported by the next sync or `close`.
#[must_use = "futures do nothing unless polled"]
pub struct SetLen<'a> {
    set: Committed<op::Ftruncate<Handle>>,
    _file: &'a File,
}

impl<'a> SetLen<'a> {
    pub(super) fn new(of: &'a File, len: u64) -> Self {
        let (file, driver) = of.parts();
        let set = op::Ftruncate { file, len };
        SetLen {
            set: Committed::new(set, of.parts().0, driver),
            _file: of,
        }
    }
}

impl Future for SetLen<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.set.poll_with(|submit| Pin::new(submit).poll(cx))
    }
}

impl Sealed for SetLen<'_> {}

impl Operation for SetLen<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.set.poll_with(|submit| submit.poll_cancel(cx))
    }
}

/// The future of [`File::sync_all`] and [`File::sync_data`].
///
/// # Cancellation
///
/// Dropped while it waits for writes that were dropped, it syncs nothing. Dropped later, it runs to
/// its end, and an error is reported by the next sync or `close`.
#[must_use = "futures do nothing unless polled"]
pub struct Sync<'a> {
    file: &'a File,
    data_only: bool,
    state: Syncing,
}

enum Syncing {
    /// Writes that were dropped come first.
    Settling(Option<Place>),
    Asked(Committed<op::Fsync<Handle>>),
}

impl<'a> Sync<'a> {
    pub(super) fn new(file: &'a File, data_only: bool) -> Self {
        let state = Syncing::Settling(None);
        Sync {
            file,
            data_only,
            state,
        }
    }

    /// The sync itself, once it is its turn.
    fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<&mut Committed<op::Fsync<Handle>>> {
        if let Syncing::Settling(place) = &mut self.state {
            let (file, driver) = self.file.parts();
            ready!(file.poll_settled(place, cx));
            let data_only = self.data_only;
            let handle = Rc::clone(&file);
            let sync = Committed::new(op::Fsync { file, data_only }, handle, driver);
            self.state = Syncing::Asked(sync);
        }
        match &mut self.state {
            Syncing::Asked(sync) => Poll::Ready(sync),
            Syncing::Settling(_) => unreachable!("it was asked for above"),
        }
    }

    fn synced(&self, synced: io::Result<()>) -> io::Result<()> {
        self.file.parts().0.take_late().and(synced)
    }
}

impl Future for Sync<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sync = ready!(self.poll_asked(cx));
        let synced = ready!(sync.poll_with(|submit| Pin::new(submit).poll(cx)));
        Poll::Ready(self.synced(synced))
    }
}

impl Sealed for Sync<'_> {}

impl Operation for Sync<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        let Syncing::Asked(sync) = &mut self.state else {
            self.leave();
            return Poll::Ready(Err(cancelled()));
        };
        match ready!(sync.poll_with(|submit| submit.poll_cancel(cx))) {
            // The next sync reports what a dropped write has left.
            Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => Poll::Ready(Err(e)),
            synced => Poll::Ready(self.synced(synced)),
        }
    }
}

impl Sync<'_> {
    fn leave(&mut self) {
        if let Syncing::Settling(place) = &mut self.state {
            self.file.parts().0.leave(place);
        }
    }
}

impl Drop for Sync<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What runs to its end: its file counts it if it is dropped in flight.
struct Committed<T: Op> {
    submit: Submit<T>,
    handle: Rc<Handle>,
    in_flight: bool,
}

impl<T: Op> Committed<T> {
    fn new(op: T, handle: Rc<Handle>, driver: &Rc<Driver>) -> Self {
        Committed {
            submit: op.submit(driver),
            handle,
            in_flight: false,
        }
    }

    fn poll_with(
        &mut self,
        poll: impl FnOnce(&mut Submit<T>) -> Poll<T::Output>,
    ) -> Poll<T::Output> {
        let polled = poll(&mut self.submit);
        self.in_flight = polled.is_pending();
        polled
    }
}

impl<T: Op> Drop for Committed<T> {
    // Before `submit` is dropped, which may already settle it.
    fn drop(&mut self) {
        if self.in_flight {
            self.handle.unsettle();
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl<B: IoBufMut> fmt::Debug for ReadAt<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAt").finish_non_exhaustive()
    }
}

impl<B: IoBuf> fmt::Debug for WriteAt<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAt").finish_non_exhaustive()
    }
}

impl fmt::Debug for SetLen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetLen").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sync<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sync").finish_non_exhaustive()
    }
}
