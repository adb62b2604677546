//! Files that are read or written as a whole.

use std::io;
use std::path::Path;

use corering_buffers::{BufResult, IoBuf, IoBufExt};

use super::file::File;

/// Room for what a file has grown by, and for those that say nothing of their length, bytes.
const MORE: usize = 64 * 1024;

/// Reads a whole file: its bytes, as long as they come.
///
/// Memory is taken for the length that the file has, and for more while there is more. A file that
/// grows without end is read without end: give it a [`timeout`](crate::time::timeout), or read it
/// with [`File::read_at`].
///
/// # Errors
///
/// As [`File::open`], [`File::metadata`] and [`File::read_at`]. `EISDIR`: it is a directory.
/// `OutOfMemory`: there is no room for it.
///
/// # Cancellation
///
/// Dropping the future closes the file; nothing is lost.
///
/// # Examples
///
/// ```
/// use corering::fs;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("settings");
/// # corering::Runtime::new()?.block_on(async {
/// fs::write(&path, "verbose = true").await.0?;
/// assert_eq!(fs::read(&path).await?, b"verbose = true");
/// # Ok(()) })
/// # }
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let len = file.metadata().await?.len();
    let mut bytes = Vec::new();
    // The byte more has room for the end, so that the last read finds it without more memory.
    bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1))?;
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(MORE)?;
        }
        let offset = bytes.len() as u64;
        let (n, spare) = file.read_at(bytes.spare(), offset).await;
        bytes = spare.into_inner();
        if n? == 0 {
            return Ok(bytes);
        }
    }
}

/// Writes a whole file: makes it or empties it, writes all of `buf`, and closes it. `buf` comes
/// back in every case.
///
/// Nothing is durable by that; [`File::sync_all`] shows what is. Whoever reads the file meanwhile
/// finds a part of it, and so does everybody after an error.
///
/// # Errors
///
/// As [`File::create`], [`File::write_at`] and [`File::close`]. `WriteZero`: the file takes no more
/// bytes.
///
/// # Cancellation
///
/// Dropping the future leaves the file made or emptied, with a part of the bytes or all of them:
/// a write that has been asked for runs to its end.
///
/// # Examples
///
/// ```
/// use corering::fs;
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("settings");
/// # corering::Runtime::new()?.block_on(async {
/// let (written, buf) = fs::write(&path, b"verbose = true".to_vec()).await;
/// written?;
/// # assert_eq!(std::fs::read(&path)?, buf);
/// # Ok(()) })
/// # }
/// ```
pub async fn write<B: IoBuf>(path: impl AsRef<Path>, buf: B) -> BufResult<(), B> {
    let file = match File::create(path).await {
        Ok(file) => file,
        Err(error) => return (Err(error), buf),
    };
    let (written, buf) = write_all(&file, buf).await;
    let closed = file.close().await;
    (written.and(closed), buf)
}

async fn write_all<B: IoBuf>(file: &File, mut buf: B) -> BufResult<(), B> {
    let (mut written, len) = (0, buf.as_init().len());
    while written < len {
        let (n, rest) = file.write_at(buf.slice(written..), written as u64).await;
        buf = rest.into_inner();
        match n {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
            Ok(n) => written += n,
            Err(error) => return (Err(error), buf),
        }
    }
    (Ok(()), buf)
}
