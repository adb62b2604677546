//! Generic I/O with owned buffers, and what all operations have in common.
//!
//! # Sources and sinks
//!
//! [`AsyncRead`], [`AsyncBufRead`] and [`AsyncWrite`] are what std calls `Read`, `BufRead` and
//! `Write`: for code that does not care what it reads from. Streams implement them, also by
//! reference (`&TcpStream`) and for their halves; [`FileCursor`](crate::fs::FileCursor) for files;
//! `&[u8]`, `Bytes`, `Cursor` and `Vec<u8>` for what lies in memory, and [`duplex`] makes a stream
//! of memory for tests. [`BufReader`] and [`BufWriter`] are for those that hold nothing back
//! themselves: a stream has an inbox, and needs none.
//!
//! | for | see |
//! |---|---|
//! | so many bytes, all bytes | [`read_exact`](AsyncRead::read_exact), [`read_to_end`](AsyncRead::read_to_end) |
//! | lines | [`read_line`](AsyncBufRead::read_line), [`lines`](AsyncBufRead::lines), [`read_until`](AsyncBufRead::read_until) |
//! | messages | [`FramedRead`], [`FramedWrite`] with a [`LengthCodec`] or a [`LinesCodec`] |
//! | a parser of one's own | [`fill_buf`](AsyncBufRead::fill_buf) and [`consume`](AsyncBufRead::consume), or a [`Decoder`] |
//! | all that comes, to somewhere else | [`copy`], [`copy_bidirectional`] |
//! | the two directions for two tasks | [`split`], [`into_split`](crate::net::TcpStream::into_split) |
//!
//! ```
//! use corering::io::{AsyncBufRead, AsyncWrite};
//! use corering::net::UnixStream;
//!
//! /// Answers each line with its length, whatever it comes from and goes to.
//! async fn lengths<R: AsyncBufRead, W: AsyncWrite>(from: R, mut to: W) -> std::io::Result<()> {
//!     let mut lines = from.lines(4096);
//!     while let Some(line) = lines.next_line().await? {
//!         to.write_all(format!("{}\n", line.len())).await.0?;
//!     }
//!     to.shutdown().await
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! let (client, server) = UnixStream::pair()?;
//! corering::spawn(async move { lengths(&server, &server).await });
//! client.write_all("a\nline\n").await.0?;
//! let mut replies = client.lines(100);
//! assert_eq!(replies.next_line().await?.as_deref(), Some("1"));
//! assert_eq!(replies.next_line().await?.as_deref(), Some("4"));
//! # Ok(()) })
//! # }
//! ```
//!
//! # How this differs from readiness
//!
//! The traits of other runtimes are polled with a borrowed buffer: "is there something, and if so,
//! copy it here now". That suits a kernel that is asked when it is ready, and a buffer that is only
//! touched during the call. Here the kernel is given the buffer first and fills it later, so:
//!
//! * **A buffer goes in by value and comes back with the result**, also with an error. It may be a
//!   `Vec`, a box, a pooled buffer or a [`Lease`](crate::Lease) of received bytes: anything that
//!   [may be lent](crate::buffers).
//! * **Methods are asynchronous functions**, not polls. There is nothing to pin, and no `Send`:
//!   futures stay on their core.
//! * **What the source holds is shown as a handle on it**, a `Lease`, and not as a borrow: it can
//!   be kept, and written to another stream, without a copy.
//! * **What finishes takes, what is dropped takes nothing.** `read_exact`, `read_until`, `lines`
//!   and frames leave the bytes in the source until all that they want is there. So they may stand
//!   in a `select!` or under a [`timeout`](crate::time::timeout):
//!
//! ```
//! use std::time::Duration;
//!
//! use corering::io::AsyncRead;
//! use corering::net::UnixStream;
//! use corering::time::timeout;
//!
//! # fn main() -> std::io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! let (mut a, b) = UnixStream::pair()?;
//! b.write_all("see ").await.0?;
//! let seven = timeout(Duration::from_millis(5), a.read_exact(Box::new([0; 7]))).await;
//! assert!(seven.is_err());
//! b.write_all("you").await.0?;
//! let (result, seven) = a.read_exact(Box::new([0; 7])).await;
//! assert_eq!((result?, &*seven), ((), b"see you"));
//! # Ok(()) })
//! # }
//! ```
//!
//! What has to be whole is held whole, so it has a limit: lines and frames the one that they are
//! given, and all of it together [`PIECE_MAX`], 16 MiB. A peer that sends more gets an error, not
//! memory.
//!
//! Writes are as those of the stream: in order, and committed when it is their turn, so that a
//! `write_all` or a frame whose future is dropped arrives whole or not at all.
//!
//! # Ending an operation early
//!
//! Every method of a stream or a file that asks the kernel for something returns a future that is
//! an [`Operation`]. There are three ways to end one early:
//!
//! | | the outcome | the buffer |
//! |---|---|---|
//! | dropping it | goes to the stream, listener or file; nothing is lost | is freed when the kernel is done with it |
//! | [`cancel().await`](Operation::cancel) | is returned, exactly | comes back |
//! | [`timeout(duration).await`](Operation::timeout) | is returned, exactly; `TimedOut` if there is none | comes back |
//!
//! # Examples
//!
//! ```
//! use std::io::ErrorKind;
//! use std::time::Duration;
//!
//! use corering::io::Operation;
//! use corering::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = TcpStream::connect(listener.local_addr()?).await?;
//! let (server, _) = listener.accept().await?;
//!
//! let buf = Vec::with_capacity(64);
//! let (result, buf) = server.read(buf).timeout(Duration::from_millis(5)).await;
//! assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
//!
//! client.write_all("late").await.0?;
//! let (result, buf) = server.read(buf).await; // the same buffer, and every byte
//! assert_eq!((result?, &buf[..]), (4, &b"late"[..]));
//! # Ok(()) })
//! # }
//! ```

mod buf_read;
mod buffered;
mod by_reference;
mod copy;
mod duplex;
mod framed;
mod memory;
mod operation;
mod piece;
mod read;
mod split;
pub(crate) mod waiters;
mod write;

pub use self::buf_read::{AsyncBufRead, Lines};
pub(crate) use self::buffered::too_large;
pub use self::buffered::{BufReader, BufWriter};
pub(crate) use self::by_reference::by_reference;
pub(crate) use self::copy::both;
pub use self::copy::{copy, copy_bidirectional};
pub use self::duplex::{DuplexStream, duplex};
pub use self::framed::{Decoder, Encoder, FramedRead, FramedWrite, LengthCodec, LinesCodec};
pub use self::operation::{Cancel, Operation, WithTimeout};
pub(crate) use self::operation::{Fallible, Sealed, cancelled};
pub use self::piece::PIECE_MAX;
pub(crate) use self::piece::{growable, piece_full};
pub use self::read::AsyncRead;
pub(crate) use self::read::{no_room, too_much};
pub use self::split::{ReadHalf, WriteHalf, split};
pub use self::write::AsyncWrite;
