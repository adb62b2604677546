//! How a file is opened.

use std::io;
use std::path::Path;

use super::asking::c_string;
use super::ops::Open;
use crate::op;

/// How a file is opened, as in [`std::fs::OpenOptions`].
///
/// # Examples
///
/// ```
/// use corering::fs::OpenOptions;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("log");
/// # corering::Runtime::new()?.block_on(async {
/// let log = OpenOptions::new().write(true).create_new(true).open(&path).await?;
/// log.write_at("first", 0).await.0?;
/// log.sync_all().await
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    custom_flags: i32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// All switched off.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom_flags: 0,
        }
    }

    /// Opens for reading.
    pub fn read(&mut self, on: bool) -> &mut Self {
        self.read = on;
        self
    }

    /// Opens for writing.
    pub fn write(&mut self, on: bool) -> &mut Self {
        self.write = on;
        self
    }

    /// Opens for writing at the end of the file, wherever that is by then: see [`File::append`].
    ///
    /// Every write goes there, also a [`File::write_at`]: Linux ignores its offset on such a file.
    ///
    /// [`File::append`]: super::File::append
    /// [`File::write_at`]: super::File::write_at
    pub fn append(&mut self, on: bool) -> &mut Self {
        self.append = on;
        self
    }

    /// Empties the file.
    pub fn truncate(&mut self, on: bool) -> &mut Self {
        self.truncate = on;
        self
    }

    /// Makes the file if there is none.
    pub fn create(&mut self, on: bool) -> &mut Self {
        self.create = on;
        self
    }

    /// Makes the file, and fails if there is one.
    pub fn create_new(&mut self, on: bool) -> &mut Self {
        self.create_new = on;
        self
    }

    /// The permissions of a file that is made, less the process's umask. 0o666 by default.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// More flags of `open(2)`, such as `O_DIRECT`. Those of the access mode are ignored.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.custom_flags = flags;
        self
    }

    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`, `EEXIST`, `EMFILE`, and others as in the source. `InvalidInput` for a
    /// path with a NUL, and for options that ask for nothing. `NotConnected`: no runtime runs on
    /// this thread.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the file if it is opened all the same. A file that was made or
    /// emptied stays so.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT`, since 5.6.
    ///
    /// # Source
    ///
    /// [`open(2)`](https://man7.org/linux/man-pages/man2/open.2.html)
    #[doc(alias = "IORING_OP_OPENAT")]
    pub fn open(&self, path: impl AsRef<Path>) -> Open {
        Open::new(self.asked(path.as_ref()))
    }

    fn asked(&self, path: &Path) -> io::Result<op::Open> {
        Ok(op::Open {
            path: c_string(path)?,
            flags: self.flags()?,
            mode: self.mode,
        })
    }

    fn flags(&self) -> io::Result<i32> {
        let write = self.write || self.append;
        let access = match (self.read, write) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => return Err(invalid("neither read nor write was asked for")),
        };
        if !write && (self.truncate || self.create || self.create_new) {
            return Err(invalid(
                "a file is made or emptied only when it is opened for writing",
            ));
        }
        if self.append && self.truncate && !self.create_new {
            return Err(invalid("a file that is appended to is not emptied"));
        }
        let append = if self.append { libc::O_APPEND } else { 0 };
        let creation = match (self.create, self.create_new, self.truncate) {
            (_, true, _) => libc::O_CREAT | libc::O_EXCL,
            (true, _, true) => libc::O_CREAT | libc::O_TRUNC,
            (true, _, false) => libc::O_CREAT,
            (false, _, true) => libc::O_TRUNC,
            (false, _, false) => 0,
        };
        Ok(access | append | creation | self.custom_flags & !libc::O_ACCMODE)
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
