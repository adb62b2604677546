//! A file, read and written at offsets.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corering_buffers::{IoBuf, IoBufMut};

use super::OpenOptions;
use super::metadata::ReadMetadata;
use super::ops::{Open, ReadAt, SetLen, Sync, WriteAt};
use crate::driver::{Driver, Op};
use crate::io::waiters::{Place, Waiters};
use crate::op::{self, Settle};
use crate::ring::Fd;

/// To the ring, the file's own position instead of an offset.
const POSITION: u64 = u64::MAX;
/// Refused as all offsets from 2⁶³ on (`EINVAL`), whereas the next one is [`POSITION`].
const OFFSET_MAX: u64 = u64::MAX - 1;

/// An open file.
///
/// Reads and writes name their offset, so several may be in flight at once.
///
/// # Cancellation
///
/// A write, sync or `set_len` whose future is dropped runs to its end. Its error is kept and
/// reported by the next [`sync_all`](File::sync_all), [`sync_data`](File::sync_data) or
/// [`close`](File::close), which also wait for what was dropped. Dropping the file closes it when
/// the last of these has ended.
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

pub(super) struct Handle {
    fd: Fd,
    driver: Rc<Driver>,
    /// The errno of a write or sync that nobody waited for. Reported once.
    late: Cell<Option<i32>>,
    /// Writes and syncs in flight that nobody waits for any more.
    unsettled: Cell<usize>,
    /// Who waits for those.
    waiting: RefCell<Waiters>,
}

impl File {
    pub(super) fn new(fd: Fd, driver: Rc<Driver>) -> File {
        let handle = Rc::new(Handle {
            fd,
            driver: Rc::clone(&driver),
            late: Cell::new(None),
            unsettled: Cell::new(0),
            waiting: RefCell::default(),
        });
        File { handle, driver }
    }

    /// Opens a file for reading, or a directory to sync it: see [`sync_all`](File::sync_all).
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Open {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing: makes it, or empties it.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn create(path: impl AsRef<Path>) -> Open {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// Reads at `offset` into `buf` from its start: the number of bytes, which may be less than
    /// there is room for; 0 at the end of the file. `buf` comes back in every case.
    ///
    /// # Errors
    ///
    /// `EBADF`: not opened for reading. `EINVAL`: `O_DIRECT` and not aligned, or an offset of 2⁶³
    /// or more. `EISDIR`: it is a directory. `EIO`. `InvalidInput`: `buf` has no room.
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
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> ReadAt<'_, B> {
        ReadAt::new(self, buf, offset.min(OFFSET_MAX))
    }

    /// Writes `buf` at `offset`: the number of bytes, which may be less than there are. `buf` comes
    /// back in every case.
    ///
    /// # Errors
    ///
    /// `EBADF`: not opened for writing. `EINVAL`: `O_DIRECT` and not aligned, or an offset of 2⁶³
    /// or more. `ENOSPC`, `EDQUOT`, `EFBIG`, `EIO`.
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
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> WriteAt<'_, B> {
        WriteAt::new(self, buf, offset.min(OFFSET_MAX))
    }

    /// Writes `buf` at the end of a file that was opened with [`OpenOptions::append`]: the number
    /// of bytes, which may be less than there are. `buf` comes back in every case.
    ///
    /// The kernel finds the end and writes there in one step, so appends never overwrite each
    /// other, whoever makes them. Several in flight are written in any order, and one that the
    /// kernel does in two steps may have the bytes of another in between: await each before the
    /// next where that matters.
    ///
    /// On a file that was not opened so, it writes at the file's own position, which begins at 0
    /// and moves with each of these writes; several in flight may overwrite each other there.
    ///
    /// # Errors
    ///
    /// As [`write_at`](File::write_at).
    ///
    /// # Cancellation
    ///
    /// Before the first poll nothing is written. After it the write runs to its end; see [`File`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE` at the offset −1, since 5.6.
    ///
    /// # Source
    ///
    /// [`open(2)`](https://man7.org/linux/man-pages/man2/open.2.html) on `O_APPEND`
    ///
    /// # Examples
    ///
    /// A record of a log, whole and on the disk:
    ///
    /// ```
    /// use corering::buffers::IoBufExt;
    /// use corering::fs::{File, OpenOptions};
    ///
    /// async fn log(file: &File, mut record: Vec<u8>) -> std::io::Result<()> {
    ///     let mut written = 0;
    ///     while written < record.len() {
    ///         let (n, rest) = file.append(record.slice(written..)).await;
    ///         record = rest.into_inner();
    ///         written += n?;
    ///     }
    ///     file.sync_data().await
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("log");
    /// # corering::Runtime::new()?.block_on(async {
    /// let file = OpenOptions::new().append(true).create(true).open(&path).await?;
    /// log(&file, b"first\n".to_vec()).await?;
    /// log(&file, b"second\n".to_vec()).await?;
    /// # assert_eq!(std::fs::read(&path)?, b"first\nsecond\n");
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "O_APPEND")]
    pub fn append<B: IoBuf>(&self, buf: B) -> WriteAt<'_, B> {
        WriteAt::new(self, buf, POSITION)
    }

    /// Makes the file's bytes and its metadata durable. Its name is no part of these: that belongs
    /// to its directory, which is opened and synced like a file.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOSPC`, `EDQUOT`: something was not written. `EINVAL`: this is nothing that can be
    /// synced, such as a pipe. The error of a write that was dropped.
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
    ///
    /// # Examples
    ///
    /// A file that is there after a crash, whole and under its name, once this has returned:
    ///
    /// ```
    /// use corering::fs::{self, File};
    /// use std::path::Path;
    ///
    /// async fn publish(directory: &Path, bytes: Vec<u8>) -> std::io::Result<()> {
    ///     let (new, path) = (directory.join("new"), directory.join("snapshot"));
    ///     let file = File::create(&new).await?;
    ///     let len = bytes.len();
    ///     let (n, _) = file.write_at(bytes, 0).await;
    ///     assert_eq!(n?, len, "this short example does not go on");
    ///     file.sync_all().await?; // the bytes
    ///     fs::rename(&new, &path).await?;
    ///     File::open(directory).await?.sync_all().await // the name
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let dir = tempfile::tempdir()?;
    /// # corering::Runtime::new()?.block_on(async {
    /// publish(dir.path(), b"state".to_vec()).await?;
    /// # assert_eq!(std::fs::read(dir.path().join("snapshot"))?, b"state");
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "IORING_OP_FSYNC")]
    pub fn sync_all(&self) -> Sync<'_> {
        Sync::new(self, false)
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
    pub fn sync_data(&self) -> Sync<'_> {
        Sync::new(self, true)
    }

    /// Cuts the file to `len` bytes, or makes it that long: what is added reads as zeros and takes
    /// no room on the disk.
    ///
    /// Its order among writes in flight is not said.
    ///
    /// # Errors
    ///
    /// `EBADF`, `EINVAL`: not opened for writing. `EINVAL`: no regular file, or a length of 2⁶³ or
    /// more. `EFBIG`: longer than files may be here. `EPERM`: it is append-only or immutable.
    /// `ETXTBSY`: it is a program that runs. `ENOSPC`, `EDQUOT`, `EIO`.
    ///
    /// # Cancellation
    ///
    /// Before the first poll nothing happens. After it the length is set all the same, as by a
    /// write; see [`File`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FTRUNCATE`, since 6.9. Before that it is a plain system call, for which the core
    /// waits: short, unless a large file is cut.
    ///
    /// # Source
    ///
    /// [`ftruncate(2)`](https://man7.org/linux/man-pages/man2/ftruncate.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::fs::File;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("log");
    /// # corering::Runtime::new()?.block_on(async {
    /// let log = File::create(&path).await?;
    /// log.write_at("whole record, half a rec", 0).await.0?;
    /// log.set_len(14).await?;
    /// # assert_eq!(std::fs::read(&path)?, b"whole record, ");
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "IORING_OP_FTRUNCATE")]
    #[doc(alias = "truncate")]
    pub fn set_len(&self, len: u64) -> SetLen<'_> {
        SetLen::new(self, len)
    }

    /// What is known of the file besides its bytes: its length, kind, permissions, and when it was
    /// last written to.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; `ESTALE` and others from a file system on a network.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels it; nothing is lost.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_STATX`, since 5.6.
    ///
    /// # Source
    ///
    /// [`statx(2)`](https://man7.org/linux/man-pages/man2/statx.2.html)
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::fs::File;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("table");
    /// # std::fs::write(&path, "key=value")?;
    /// # corering::Runtime::new()?.block_on(async {
    /// let metadata = File::open(&path).await?.metadata().await?;
    /// assert_eq!(metadata.len(), 9);
    /// assert!(metadata.is_file());
    /// # Ok(()) })
    /// # }
    /// ```
    #[doc(alias = "IORING_OP_STATX")]
    pub fn metadata(&self) -> ReadMetadata<'_> {
        ReadMetadata::of_file(self)
    }

    /// What an operation on it holds, and where it is submitted.
    pub(super) fn parts(&self) -> (Rc<Handle>, &Rc<Driver>) {
        (Rc::clone(&self.handle), &self.driver)
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
        Settled(&handle, None).await;
        let late = handle.take_late();
        let closed = match Rc::try_unwrap(handle) {
            Ok(handle) => op::Close(handle.fd).submit(&driver).await,
            Err(_) => Ok(()), // a read that was dropped has it, and closes it when it ends
        };
        late.and(closed)
    }
}

impl Handle {
    /// Waits in line until no dropped write or sync is in flight.
    pub(super) fn poll_settled(&self, place: &mut Option<Place>, cx: &mut Context<'_>) -> Poll<()> {
        if self.unsettled.get() == 0 {
            self.leave(place);
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let old = self.waiting.borrow_mut().wait(place, waker);
        drop(old);
        Poll::Pending
    }

    /// Leaves the line, and lets the next one go.
    pub(super) fn leave(&self, place: &mut Option<Place>) {
        let Some(place) = place.take() else {
            return;
        };
        let own = self.waiting.borrow_mut().leave(place);
        drop(own);
        self.wake_settled();
    }

    fn wake_settled(&self) {
        if self.unsettled.get() == 0 {
            let next = self.waiting.borrow_mut().next();
            if let Some(next) = next {
                next.wake();
            }
        }
    }

    /// A write or sync in flight is not waited for any more.
    pub(super) fn unsettle(&self) {
        self.unsettled.set(self.unsettled.get() + 1);
    }

    pub(super) fn take_late(&self) -> io::Result<()> {
        self.late
            .take()
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

/// Waits for the writes that were dropped.
struct Settled<'a>(&'a Handle, Option<Place>);

impl Future for Settled<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Settled(handle, place) = &mut *self;
        handle.poll_settled(place, cx)
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.0.leave(&mut self.1);
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

    fn go_on<T: Op>(&self, rest: T) {
        self.driver.submit_detached(rest);
    }

    fn settled(&self, result: io::Result<()>) {
        if let Err(e) = result {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            self.late.set(self.late.get().or(Some(errno)));
        }
        self.unsettled.set(self.unsettled.get() - 1);
        self.wake_settled();
    }
}
