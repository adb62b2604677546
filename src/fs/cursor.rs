//! A file that is read and written from front to back.

use std::io;

use corering_buffers::{BufResult, IoBuf, IoBufMut};

use super::File;
use crate::io::{AsyncRead, AsyncWrite};

/// A file with a position, which reads and writes move: a source and a sink for generic code.
///
/// The position is the cursor's own, not the descriptor's; several cursors on one file do not know
/// of each other. Every read is an operation: wrap it in a
/// [`BufReader`](crate::io::BufReader) where parts are small.
///
/// # Cancellation
///
/// A read moves the position when it finishes: dropped, it has moved nothing, and the next one
/// reads the same bytes. So does a write; one that is dropped is committed, and the next one
/// overwrites what it has written.
///
/// # Examples
///
/// ```
/// use corering::fs::{File, FileCursor};
/// use corering::io::AsyncRead;
///
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("example");
/// # std::fs::write(&path, "head and body")?;
/// # corering::Runtime::new()?.block_on(async {
/// let mut file = FileCursor::new(File::open(&path).await?);
/// assert_eq!(&*file.read_exact(Box::new([0; 4])).await.1, b"head");
/// let mut rest = Vec::new();
/// file.read_to_end(&mut rest, 1024 * 1024).await?;
/// assert_eq!(rest, b" and body");
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct FileCursor {
    file: File,
    position: u64,
}

impl FileCursor {
    /// Starts at the first byte.
    pub fn new(file: File) -> FileCursor {
        FileCursor { file, position: 0 }
    }

    /// Where the next read or write begins, in bytes from the start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Changes that.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// The file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// The file.
    pub fn into_inner(self) -> File {
        self.file
    }

    fn moved(&mut self, result: &io::Result<usize>) {
        let n = result.as_ref().copied().unwrap_or(0);
        self.position = self.position.saturating_add(n as u64);
    }
}

impl AsyncRead for FileCursor {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        let (result, buf) = self.file.read_at(buf, self.position).await;
        self.moved(&result);
        (result, buf)
    }
}

/// Neither [`flush`](AsyncWrite::flush) nor [`shutdown`](AsyncWrite::shutdown) reaches the disk:
/// that is [`File::sync_all`].
impl AsyncWrite for FileCursor {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let (result, buf) = self.file.write_at(buf, self.position).await;
        self.moved(&result);
        (result, buf)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}
