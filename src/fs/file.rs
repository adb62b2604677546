//! A file, read and written at offsets.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corering_buffers::{BufResult, IoBuf, IoBufMut};

use super::OpenOptions;
use crate::driver::{Driver, Op, Submit};
use crate::op::{self, Settle};
use crate::ring::Fd;

/// An open file.
///
/// Reads and writes name their offset, so several may be in flight at once.
///
/// # Cancellation
///
/// A write or sync whose future is dropped runs to its end. Its error is kept and reported by the
/// next [`sync_all`](File::sync_all), [`sync_data`](File::sync_data) or [`close`](File::close),
/// which also wait for such writes. Dropping the file closes it when the last of them has ended.
///
/// # Examples
///
/// ```
/// use corering::fs::File;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("table");
/// # corering::Runtime::new()?.block_on(async {
/// let file = File::create(&path).await?;
/// let (n, _) = file.write_at("hello, disk", 0).await;
/// assert_eq!(n?, 11);
/// file.sync_data().await?;
///
/// let file = File::open(&path).await?;
/// let (n, buf) = file.read_at(Vec::with_capacity(64), 7).await;
/// assert_eq!((n?, &buf[..]), (4, &b"disk"[..]));
/// # Ok(()) })
/// # }
/// ```
pub struct File {
    handle: Rc<Handle>,
    driver: Rc<Driver>,
}

struct Handle {
    fd: Fd,
    /// The errno of a write or sync that nobody waited for. Reported once.
    late: Cell<Option<i32>>,
    /// Writes and syncs in flight that nobody waits for any more.
    unsettled: Cell<usize>,
    /// Who waits for those.
    waiting: RefCell<Vec<Waker>>,
}

impl File {
    pub(super) fn new(fd: Fd, driver: Rc<Driver>) -> File {
        let handle = Rc::new(Handle {
            fd,
            late: Cell::new(None),
            unsettled: Cell::new(0),
            waiting: RefCell::default(),
        });
        File { handle, driver }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing: makes it, or empties it.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .await
    }

    /// Reads at `offset` into `buf` from its start: the number of bytes, which may be less than
    /// there is room for; 0 at the end of the file. `buf` comes back in every case.
    ///
    /// # Errors
    ///
    /// `EBADF`: not opened for reading. `EINVAL`: `O_DIRECT` and not aligned. `EIO`.
    /// `InvalidInput`: `buf` has no room.
    ///
    /// # Cancellation
    ///
    /// Dropping the future discards what is read: it is still in the file.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_READ`, since 5.6.
    ///
    /// # Source
    ///
    /// [`pread(2)`](https://man7.org/linux/man-pages/man2/pread.2.html)
    #[doc(alias = "IORING_OP_READ")]
    pub async fn read_at<B: IoBufMut>(&self, mut buf: B, offset: u64) -> BufResult<usize, B> {
        if buf.parts_mut().1 == 0 {
            let text = "the buffer has no room: give it a capacity";
            return (Err(io::Error::new(io::ErrorKind::InvalidInput, text)), buf);
        }
        let file = Rc::clone(&self.handle);
        op::Read { file, buf, offset }.submit(&self.driver).await
    }

    /// Writes `buf` at `offset`: the number of bytes, which may be less than there are. `buf` comes
    /// back in every case.
    ///
    /// # Errors
    ///
    /// `EBADF`: not opened for writing. `EINVAL`: `O_DIRECT` and not aligned. `ENOSPC`, `EDQUOT`,
    /// `EFBIG`, `EIO`.
    ///
    /// # Cancellation
    ///
    /// Before the first poll nothing is written. After it the write runs to its end; see [`File`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE`, since 5.6.
    ///
    /// # Source
    ///
    /// [`pwrite(2)`](https://man7.org/linux/man-pages/man2/pwrite.2.html)
    #[doc(alias = "IORING_OP_WRITE")]
    pub async fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        let file = Rc::clone(&self.handle);
        self.run(op::Write { file, buf, offset }).await
    }

    /// Makes the file's bytes and its metadata durable.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOSPC`, `EDQUOT`: something was not written. The error of a write that was dropped.
    ///
    /// # Cancellation
    ///
    /// Dropping the future lets the sync run to its end; see [`File`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FSYNC`, since 5.1.
    ///
    /// # Source
    ///
    /// [`fsync(2)`](https://man7.org/linux/man-pages/man2/fsync.2.html)
    #[doc(alias = "IORING_OP_FSYNC")]
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// Makes the file's bytes durable, and of its metadata only what is needed to read them.
    ///
    /// # Errors
    ///
    /// As [`sync_all`](File::sync_all).
    ///
    /// # Cancellation
    ///
    /// As [`sync_all`](File::sync_all).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        self.handle.settle().await;
        let file = Rc::clone(&self.handle);
        let synced = self.run(op::Fsync { file, data_only }).await;
        self.handle.take_late().and(synced)
    }

    fn run<T: Op>(&self, op: T) -> Committed<T> {
        Committed {
            submit: op.submit(&self.driver),
            handle: Rc::clone(&self.handle),
            in_flight: false,
        }
    }

    /// Waits for writes that were dropped, then closes the file.
    ///
    /// # Errors
    ///
    /// The error of a write that was dropped; `EIO`, `ENOSPC`, `EDQUOT` from the close itself.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the file all the same.
    ///
    /// # Source
    ///
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html)
    #[doc(alias = "IORING_OP_CLOSE")]
    pub async fn close(self) -> io::Result<()> {
        let File { handle, driver } = self;
        handle.settle().await;
        let late = handle.take_late();
        let closed = match Rc::try_unwrap(handle) {
            Ok(handle) => op::Close(handle.fd).submit(&driver).await,
            Err(_) => Ok(()), // a read that was dropped has it, and closes it when it ends
        };
        late.and(closed)
    }
}

impl Handle {
    /// Waits until no dropped write or sync is in flight.
    async fn settle(&self) {
        std::future::poll_fn(|cx| {
            if self.unsettled.get() == 0 {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            self.waiting.borrow_mut().push(waker);
            Poll::Pending
        })
        .await;
    }

    fn take_late(&self) -> io::Result<()> {
        self.late
            .take()
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

/// A write or a sync, which its file counts if it is dropped in flight.
struct Committed<T: Op> {
    submit: Submit<T>,
    handle: Rc<Handle>,
    in_flight: bool,
}

impl<T: Op> Future for Committed<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.submit).poll(cx);
        self.in_flight = polled.is_pending();
        polled
    }
}

impl<T: Op> Drop for Committed<T> {
    // Before `submit` is dropped, which may already settle it.
    fn drop(&mut self) {
        let unsettled = self.handle.unsettled.get();
        self.handle
            .unsettled
            .set(unsettled + usize::from(self.in_flight));
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.as_fd()).finish()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.fd.as_fd()
    }
}

impl Settle for Handle {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn settled(&self, result: io::Result<()>) {
        if let Err(e) = result {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            self.late.set(self.late.get().or(Some(errno)));
        }
        self.unsettled.set(self.unsettled.get() - 1);
        if self.unsettled.get() == 0 {
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
    }
}
