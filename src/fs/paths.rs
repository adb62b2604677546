//! What is done to names: files and directories are renamed, removed and made.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::asking::{Asking, c_string};
use crate::io::{Operation, Sealed};
use crate::op;

/// Gives a file or directory another path. What was at `to` is replaced: whoever opens `to` finds
/// the old one or the new one, and never none.
///
/// A crash may undo it until the directory of `to` is synced (and that of `from`, if it is another
/// one): see [`File::sync_all`](super::File::sync_all).
///
/// # Errors
///
/// `ENOENT`: there is no `from`, or no directory for `to`. `EXDEV`: the two are not on the same
/// file system. `EACCES`, `EPERM`: a directory may not be written to, or is sticky. `EISDIR`,
/// `ENOTDIR`: one is a directory, the other is not. `ENOTEMPTY`, `EEXIST`: `to` is a directory with
/// something in it. `EINVAL`: a directory would be moved into itself. `EBUSY`: one is a mount
/// point. `ENOSPC`, `EDQUOT`: the directory of `to` cannot grow. `ENAMETOOLONG`, `ELOOP`, `EROFS`,
/// `EIO`. `InvalidInput`: a path with a NUL. `NotConnected`: no runtime runs on this thread.
///
/// # Cancellation
///
/// Dropping the future cancels the rename unless a worker thread of the kernel has begun it: it has
/// happened then or not, and is not undone.
///
/// # Kernel
///
/// `IORING_OP_RENAMEAT`, since 5.11.
///
/// # Source
///
/// [`rename(2)`](https://man7.org/linux/man-pages/man2/rename.2.html)
///
/// # Examples
///
/// A file that is replaced as a whole:
///
/// ```
/// use corering::fs::{self, File};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let (path, new) = (dir.path().join("settings"), dir.path().join("settings.new"));
/// # corering::Runtime::new()?.block_on(async {
/// let file = File::create(&new).await?;
/// file.write_at("verbose = true", 0).await.0?;
/// file.sync_all().await?; // before it has the name that others look for
/// fs::rename(&new, &path).await?;
/// # assert_eq!(std::fs::read(&path)?, b"verbose = true");
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "IORING_OP_RENAMEAT")]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Rename {
    let paths = || {
        let (from, to) = (c_string(from.as_ref())?, c_string(to.as_ref())?);
        Ok(op::Rename { from, to })
    };
    Rename(Asking::new(paths()))
}

/// Removes a file's name. Its bytes are freed when nobody has it open any more.
///
/// A crash may bring it back until its directory is synced: see
/// [`File::sync_all`](super::File::sync_all).
///
/// # Errors
///
/// `ENOENT`: there is none. `EISDIR`: it is a directory. `EACCES`, `EPERM`: its directory may not
/// be written to, or is sticky; the file is immutable. `EBUSY`: it is a mount point, or in use by
/// the system. `ENOTDIR`, `ENAMETOOLONG`, `ELOOP`, `EROFS`, `EIO`. `InvalidInput`: a path with a
/// NUL. `NotConnected`: no runtime runs on this thread.
///
/// # Cancellation
///
/// Dropping the future cancels the removal unless a worker thread of the kernel has begun it: it
/// has happened then or not, and is not undone.
///
/// # Kernel
///
/// `IORING_OP_UNLINKAT`, since 5.11.
///
/// # Source
///
/// [`unlink(2)`](https://man7.org/linux/man-pages/man2/unlink.2.html)
///
/// # Examples
///
/// ```
/// use corering::fs;
/// use std::io::ErrorKind;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("segment");
/// # std::fs::write(&path, "x")?;
/// # corering::Runtime::new()?.block_on(async {
/// fs::remove_file(&path).await?;
/// let again = fs::remove_file(&path).await;
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "IORING_OP_UNLINKAT")]
#[doc(alias = "unlink")]
pub fn remove_file(path: impl AsRef<Path>) -> Remove {
    Remove::new(path.as_ref(), false)
}

/// Removes an empty directory.
///
/// A crash may bring it back until the directory that it was in is synced: see
/// [`File::sync_all`](super::File::sync_all).
///
/// # Errors
///
/// `ENOENT`: there is none. `ENOTDIR`: it is no directory. `ENOTEMPTY`, `EEXIST`: something is in
/// it. `EBUSY`: it is a mount point, or in use by the system. `EINVAL`: its last part is `.`.
/// `EACCES`, `EPERM`: the directory that it is in may not be written to, or is sticky.
/// `ENAMETOOLONG`, `ELOOP`, `EROFS`, `EIO`. `InvalidInput`: a path with a NUL. `NotConnected`: no
/// runtime runs on this thread.
///
/// # Cancellation
///
/// As [`remove_file`].
///
/// # Kernel
///
/// `IORING_OP_UNLINKAT` with `AT_REMOVEDIR`, since 5.11.
///
/// # Source
///
/// [`rmdir(2)`](https://man7.org/linux/man-pages/man2/rmdir.2.html)
///
/// # Examples
///
/// ```
/// use corering::fs;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("segments");
/// # corering::Runtime::new()?.block_on(async {
/// fs::create_dir(&path).await?;
/// fs::remove_dir(&path).await?;
/// # assert!(!path.exists());
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "rmdir")]
pub fn remove_dir(path: impl AsRef<Path>) -> Remove {
    Remove::new(path.as_ref(), true)
}

/// Makes an empty directory, with the permissions 0o777 less the process's umask.
///
/// A crash may undo it until the directory that it is in is synced: see
/// [`File::sync_all`](super::File::sync_all).
///
/// # Errors
///
/// `EEXIST`: there is something by that name. `ENOENT`: there is no directory to make it in.
/// `EACCES`: that may not be written to. `ENOSPC`, `EDQUOT`: that cannot grow. `EMLINK`: that has
/// too many. `ENOTDIR`, `ENAMETOOLONG`, `ELOOP`, `EROFS`, `EIO`. `InvalidInput`: a path with a NUL.
/// `NotConnected`: no runtime runs on this thread.
///
/// # Cancellation
///
/// Dropping the future cancels it unless a worker thread of the kernel has begun it: the directory
/// is there then or not, and stays.
///
/// # Kernel
///
/// `IORING_OP_MKDIRAT`, since 5.15.
///
/// # Source
///
/// [`mkdir(2)`](https://man7.org/linux/man-pages/man2/mkdir.2.html)
///
/// # Examples
///
/// ```
/// use corering::fs;
/// use std::io::ErrorKind;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("segments");
/// # corering::Runtime::new()?.block_on(async {
/// fs::create_dir(&path).await?;
/// let again = fs::create_dir(&path).await;
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "IORING_OP_MKDIRAT")]
#[doc(alias = "mkdir")]
pub fn create_dir(path: impl AsRef<Path>) -> CreateDir {
    let path = c_string(path.as_ref());
    CreateDir(Asking::new(
        path.map(|path| op::Mkdir { path, mode: 0o777 }),
    ))
}

/// The future of [`rename`].
///
/// # Cancellation
///
/// Dropped, it cancels the rename, which has happened then or not.
#[must_use = "futures do nothing unless polled"]
pub struct Rename(Asking<op::Rename>);

impl Future for Rename {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Sealed for Rename {}

impl Operation for Rename {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

/// The future of [`remove_file`] and [`remove_dir`].
///
/// # Cancellation
///
/// Dropped, it cancels the removal, which has happened then or not.
#[must_use = "futures do nothing unless polled"]
pub struct Remove(Asking<op::Unlink>);

impl Remove {
    fn new(path: &Path, directory: bool) -> Remove {
        let path = c_string(path);
        Remove(Asking::new(path.map(|path| op::Unlink { path, directory })))
    }
}

impl Future for Remove {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Sealed for Remove {}

impl Operation for Remove {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

/// The future of [`create_dir`].
///
/// # Cancellation
///
/// Dropped, it cancels the making of the directory, which is there then or not.
#[must_use = "futures do nothing unless polled"]
pub struct CreateDir(Asking<op::Mkdir>);

impl Future for CreateDir {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Sealed for CreateDir {}

impl Operation for CreateDir {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx)
    }
}

impl fmt::Debug for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rename").finish_non_exhaustive()
    }
}

impl fmt::Debug for Remove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remove").finish_non_exhaustive()
    }
}

impl fmt::Debug for CreateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateDir").finish_non_exhaustive()
    }
}
