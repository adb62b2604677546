//! Sources and sinks that lie in memory. They are always ready, and never have to be awaited twice.

use std::io::{self, Cursor};

use bytes::{Buf, Bytes};
use corering_buffers::{BufResult, Fill, IoBuf, IoBufExt, IoBufMut, IoBufs, IoBufsExt, Lease};

use super::{AsyncBufRead, AsyncRead, AsyncWrite, no_room};

/// Takes bytes off the front.
impl AsyncRead for &[u8] {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        copy_out(self, buf)
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        copy_out_exactly(self, buf)
    }
}

/// Takes bytes off the front.
impl AsyncRead for Bytes {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        let (result, buf) = copy_out(&mut &self[..], buf);
        self.advance(result.as_ref().copied().unwrap_or(0));
        (result, buf)
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        let mut left = &self[..];
        let (result, buf) = copy_out_exactly(&mut left, buf);
        let taken = self.len() - left.len();
        self.advance(taken);
        (result, buf)
    }
}

/// Shows all that is left, without a copy.
impl AsyncBufRead for Bytes {
    async fn fill_buf(&mut self) -> io::Result<Lease> {
        Ok(Lease::from(self.clone()))
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn consume(&mut self, n: usize) {
        self.advance(n);
    }
}

/// Takes what lies behind the position, and moves that.
impl<T: AsRef<[u8]>> AsyncRead for Cursor<T> {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        let (result, buf) = copy_out(&mut behind(self), buf);
        self.set_position(self.position() + result.as_ref().copied().unwrap_or(0) as u64);
        (result, buf)
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        let mut left = behind(self);
        let before = left.len();
        let (result, buf) = copy_out_exactly(&mut left, buf);
        let taken = before - left.len();
        self.set_position(self.position() + taken as u64);
        (result, buf)
    }
}

/// Appends. It grows by what is written to it, and refuses nothing.
impl AsyncWrite for Vec<u8> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let bytes = buf.as_init();
        self.extend_from_slice(bytes);
        (Ok(bytes.len()), buf)
    }

    async fn write_vectored<B: IoBufs>(&mut self, bufs: B) -> BufResult<usize, B> {
        let before = self.len();
        bufs.each_slice(|bytes| self.extend_from_slice(bytes));
        (Ok(self.len() - before), bufs)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Overwrites from the position on, and appends where that is the end.
impl AsyncWrite for Cursor<Vec<u8>> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (io::Write::write(self, buf.as_init()), buf)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn behind<T: AsRef<[u8]>>(cursor: &Cursor<T>) -> &[u8] {
    let all = cursor.get_ref().as_ref();
    let start = usize::try_from(cursor.position()).map_or(all.len(), |at| at.min(all.len()));
    &all[start..]
}

/// Moves the first bytes of `from` into `buf`, as many as fit.
fn copy_out<B: IoBufMut>(from: &mut &[u8], mut buf: B) -> BufResult<usize, B> {
    let mut out = Fill::new(&mut buf);
    if out.room() == 0 {
        return (Err(no_room()), buf);
    }
    let n = out.put(from);
    out.finish();
    *from = &from[n..];
    (Ok(n), buf)
}

/// The same, all that fit or none.
fn copy_out_exactly<B: IoBufMut>(from: &mut &[u8], mut buf: B) -> BufResult<(), B> {
    let mut out = Fill::new(&mut buf);
    if out.room() > from.len() {
        return (Err(io::ErrorKind::UnexpectedEof.into()), buf);
    }
    let n = out.put(from);
    out.finish();
    *from = &from[n..];
    (Ok(()), buf)
}
