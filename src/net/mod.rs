//! Sockets.

mod listener;
mod lookup;
mod stream;
mod tcp;
mod waiters;

pub use self::lookup::{ToSocketAddrs, lookup_host};
pub use self::stream::{
    FillBuf, FillMore, Read, Recv, Write, WriteAll, WriteVectored, WriteZeroCopy,
};
pub use self::tcp::{
    Accept, OwnedReadHalf, OwnedWriteHalf, ReuniteError, TcpListener, TcpSocket, TcpStream,
};
