//! Files, read and written at offsets or at their end, and the names that they have.
//!
//! # How it is done
//!
//! A [`File`] has no position: each read and write names its offset, so any number of them may be
//! in flight at once. Reads of cached bytes are done in the system call that submits them; what has
//! to wait for the disk goes on in the kernel, and the core does other things meanwhile. Buffered
//! writes, syncs and what is done to names are the work of worker threads of the kernel, at most
//! four at a time for a runtime.
//!
//! A write, sync or `set_len` whose future is dropped runs to its end, and its error is not lost:
//! the next sync or close of the file reports it.
//!
//! For what is not here yet, such as the entries of a directory and links, call `std::fs` in
//! [`spawn_blocking`](crate::task::spawn_blocking).
//!
//! # Examples
//!
//! Two reads at once:
//!
//! ```
//! use corering::fs::File;
//!
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("table");
//! # std::fs::write(&path, "key=value")?;
//! # corering::Runtime::new()?.block_on(async {
//! let file = File::open(&path).await?;
//! let ((n, key), (m, value)) = futures_lite::future::zip(
//!     file.read_at(Vec::with_capacity(3), 0),
//!     file.read_at(Vec::with_capacity(5), 4),
//! )
//! .await;
//! assert_eq!((n?, &key[..]), (3, &b"key"[..]));
//! assert_eq!((m?, &value[..]), (5, &b"value"[..]));
//! # Ok(()) })
//! # }
//! ```

mod asking;
mod cursor;
mod file;
mod metadata;
mod open_options;
mod ops;
mod paths;
#[cfg(test)]
mod tests;
mod whole;

pub use self::cursor::FileCursor;
pub use self::file::File;
pub use self::metadata::{Metadata, ReadMetadata, metadata};
pub use self::open_options::OpenOptions;
pub use self::ops::{Open, ReadAt, SetLen, Sync, WriteAt};
pub use self::paths::{CreateDir, Remove, Rename, create_dir, remove_dir, remove_file, rename};
pub use self::whole::{read, write};
