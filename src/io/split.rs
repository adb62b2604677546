//! The two directions of any stream, apart.

use std::fmt;
use std::io;
use std::rc::Rc;

use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};

use super::{AsyncBufRead, AsyncRead, AsyncWrite};

/// The two directions of a stream, for two tasks of this core.
///
/// For streams that can be used by reference, `&S`. Those of this crate have an `into_split` of
/// their own, whose halves end their direction when they are dropped; these do not: the stream is
/// there until both are gone.
///
/// # Examples
///
/// ```
/// use corering::io::{AsyncRead, AsyncWrite, duplex, split};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (near, mut far) = duplex(64);
/// let (mut reader, mut writer) = split(near);
/// corering::spawn(async move { writer.write_all("ping").await.0 });
/// let (result, bytes) = far.read_exact(Box::new([0; 4])).await;
/// result?;
/// far.write_all(bytes).await.0?;
/// assert_eq!(&*reader.read_exact(Box::new([0; 4])).await.1, b"ping");
/// # Ok(()) })
/// # }
/// ```
pub fn split<S>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let stream = Rc::new(stream);
    (ReadHalf(Rc::clone(&stream)), WriteHalf(stream))
}

/// The read direction of a stream, made by [`split`].
pub struct ReadHalf<S>(Rc<S>);

/// The write direction of a stream, made by [`split`].
pub struct WriteHalf<S>(Rc<S>);

impl<S> ReadHalf<S> {
    /// The stream again.
    ///
    /// # Errors
    ///
    /// The halves, if they are not of the same stream.
    pub fn unsplit(self, write: WriteHalf<S>) -> Result<S, (ReadHalf<S>, WriteHalf<S>)> {
        if !Rc::ptr_eq(&self.0, &write.0) {
            return Err((self, write));
        }
        drop(write);
        Rc::try_unwrap(self.0).map_err(|_| unreachable!("there are two halves of a stream"))
    }
}

impl<S> AsyncRead for ReadHalf<S>
where
    for<'a> &'a S: AsyncRead,
{
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        (&mut &*self.0).read(buf).await
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        (&mut &*self.0).read_exact(buf).await
    }

    async fn read_to_end(&mut self, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        (&mut &*self.0).read_to_end(buf, limit).await
    }
}

impl<S> AsyncBufRead for ReadHalf<S>
where
    for<'a> &'a S: AsyncBufRead,
{
    async fn fill_buf(&mut self) -> io::Result<Lease> {
        (&mut &*self.0).fill_buf().await
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        (&mut &*self.0).fill_more().await
    }

    fn consume(&mut self, n: usize) {
        (&mut &*self.0).consume(n);
    }

    async fn fill_to(&mut self, n: usize) -> io::Result<Lease> {
        (&mut &*self.0).fill_to(n).await
    }

    async fn recv(&mut self) -> io::Result<Option<Lease>> {
        (&mut &*self.0).recv().await
    }
}

impl<S> AsyncWrite for WriteHalf<S>
where
    for<'a> &'a S: AsyncWrite,
{
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (&mut &*self.0).write(buf).await
    }

    async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
        (&mut &*self.0).write_vectored(bufs).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        (&mut &*self.0).flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        (&mut &*self.0).shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        (&mut &*self.0).write_all(buf).await
    }
}

impl<S> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").finish_non_exhaustive()
    }
}
