//! TCP, UDP and Unix sockets, and name lookup.
//!
//! | sockets | of streams | of messages |
//! |---|---|---|
//! | of the internet | [`TcpListener`], [`TcpStream`] | [`UdpSocket`] |
//! | of this machine | [`UnixListener`], [`UnixStream`] | [`UnixDatagram`]; connected: [`UnixSeqpacketListener`], [`UnixSeqpacket`] |
//!
//! [`pipe`] makes pipes, and [`splice`] moves bytes between streams within the kernel.
//!
//! Unix sockets of all kinds pass descriptors along: [`Control::add_descriptor`],
//! [`UnixStream::write_with_descriptors`].
//!
//! # Three ways to read
//!
//! | call | gives | for |
//! |---|---|---|
//! | [`recv`](TcpStream::recv) | a [`Lease`](crate::Lease) of what the kernel has filled, without a copy | proxies, echoes, anything that takes bytes as they come |
//! | [`read`](TcpStream::read) | bytes in a buffer of yours | protocols with a buffer of their own, large messages |
//! | [`fill_buf`](TcpStream::fill_buf) and [`consume`](TcpStream::consume) | a look at what is there | parsers |
//!
//! They take from one inbox, in order, and may be mixed. [`into_split`](TcpStream::into_split)
//! gives the two directions to two tasks.
//!
//! # Examples
//!
//! A server that answers each line with its length:
//!
//! ```
//! use std::io;
//! use corering::net::{TcpListener, TcpStream};
//!
//! async fn serve(stream: TcpStream) -> io::Result<()> {
//!     loop {
//!         let bytes = stream.fill_buf().await?;
//!         if bytes.is_empty() {
//!             return Ok(()); // the end of the stream
//!         }
//!         match bytes.iter().position(|&byte| byte == b'\n') {
//!             Some(end) => {
//!                 stream.consume(end + 1);
//!                 stream.write_all(format!("{end}\n")).await.0?;
//!             }
//!             None => stream.fill_more().await?,
//!         }
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = TcpStream::connect(listener.local_addr()?).await?;
//! corering::spawn(serve(listener.accept().await?.0));
//! client.write_all("hello\n").await.0?;
//! assert_eq!(client.recv().await?.as_deref(), Some(&b"5\n"[..]));
//! # Ok(()) })
//! # }
//! ```

mod accept;
mod accept_within;
mod datagram;
mod detached;
mod generic;
mod guard;
mod halves;
mod limit;
mod listener;
mod lookup;
pub mod pipe;
mod stream;
mod tcp;
mod udp;
mod unix;

pub use self::accept::{Accept, Connection};
pub use self::accept_within::AcceptWithin;
pub use self::datagram::{
    Control, Datagram, DatagramSocket, PacketInfo, Peek, Received, RecvDatagram, RecvFrom,
    SendDatagram, SendMsg,
};
pub use self::detached::Detached;
pub use self::guard::{Deadline, DeadlineElapsed, Deadlines, Guarded};
pub use self::halves::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use self::limit::{Acquire, ConnectionLimit, ConnectionPermit};
pub use self::lookup::{ToSocketAddrs, lookup_host};
pub use self::stream::{
    FillBuf, FillMore, Read, Recv, SpliceEnd, StreamSocket, Write, WriteAll, WriteVectored,
    WriteWithDescriptors, WriteZeroCopy, splice, splice_bidirectional,
};
pub use self::tcp::{Connect, Keepalive, TcpListener, TcpSocket, TcpStream};
pub use self::udp::UdpSocket;
pub use self::unix::{
    RecvRecord, RecvRecordInto, UCred, UnixDatagram, UnixDescriptorReceiver, UnixListener,
    UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};
