//! What is known of a file besides its bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::asking::{Asking, c_string};
use super::file::{File, Handle};
use crate::io::{Operation, Sealed};
use crate::op::{Stat, Statx, Target};

/// What is known of the file or directory at `path` besides its bytes. Links are followed.
///
/// # Errors
///
/// `ENOENT`: there is none, or a link leads nowhere. `EACCES`: a directory on the way may not be
/// searched. `ENOTDIR`, `ENAMETOOLONG`, `ELOOP`, `ENOMEM`, `EIO`. `InvalidInput`: a path with a
/// NUL. `NotConnected`: no runtime runs on this thread.
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
/// use corering::fs;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("table");
/// # std::fs::write(&path, "key=value")?;
/// # corering::Runtime::new()?.block_on(async {
/// assert_eq!(fs::metadata(&path).await?.len(), 9);
/// assert!(fs::metadata(dir.path()).await?.is_dir());
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "IORING_OP_STATX")]
#[doc(alias = "stat")]
pub fn metadata(path: impl AsRef<Path>) -> ReadMetadata<'static> {
    let path = c_string(path.as_ref());
    ReadMetadata {
        asking: Asking::new(path.map(|path| statx(Target::Path(path)))),
        _file: PhantomData,
    }
}

/// What [`metadata`] and [`File::metadata`] have found, as it was then.
#[derive(Clone, Debug)]
pub struct Metadata {
    len: u64,
    mode: u32,
    modified: SystemTime,
}

impl Metadata {
    /// The length of a regular file, bytes. Of others it says nothing.
    #[allow(
        clippy::len_without_is_empty,
        reason = "std's has none: a directory of length 0 is not empty"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// When its bytes were last changed, by the clock of the file system.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// Its kind and, in the low 12 bits, its permissions: `st_mode` of
    /// [`inode(7)`](https://man7.org/linux/man-pages/man7/inode.7.html).
    pub fn mode(&self) -> u32 {
        self.mode
    }
}

impl From<&Stat> for Metadata {
    fn from(stat: &Stat) -> Metadata {
        let seconds = Duration::from_secs(stat.modified_s.unsigned_abs());
        let second = if stat.modified_s < 0 {
            UNIX_EPOCH - seconds
        } else {
            UNIX_EPOCH + seconds
        };
        Metadata {
            len: stat.size,
            mode: stat.mode.into(),
            modified: second + Duration::from_nanos(stat.modified_ns.into()),
        }
    }
}

/// The future of [`metadata`] and [`File::metadata`].
///
/// # Cancellation
///
/// Dropped, it is cancelled; nothing is lost.
#[must_use = "futures do nothing unless polled"]
pub struct ReadMetadata<'a> {
    asking: Asking<Statx<Handle>>,
    _file: PhantomData<&'a File>,
}

impl<'a> ReadMetadata<'a> {
    pub(super) fn of_file(file: &'a File) -> Self {
        let (handle, driver) = file.parts();
        ReadMetadata {
            asking: Asking::of_file(statx(Target::File(handle)), driver),
            _file: PhantomData,
        }
    }
}

fn statx(of: Target<Handle>) -> Statx<Handle> {
    let stat = Box::default();
    Statx { of, stat }
}

impl Future for ReadMetadata<'_> {
    type Output = io::Result<Metadata>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stat = ready!(self.asking.poll(cx))?;
        Poll::Ready(Ok(Metadata::from(&*stat)))
    }
}

impl Sealed for ReadMetadata<'_> {}

impl Operation for ReadMetadata<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        let stat = ready!(self.asking.poll_cancel(cx))?;
        Poll::Ready(Ok(Metadata::from(&*stat)))
    }
}

impl fmt::Debug for ReadMetadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMetadata").finish_non_exhaustive()
    }
}
