//! What all operations have in common: how one is ended before it has completed.
//!
//! Every method that asks the kernel for something returns a future that is an [`Operation`].
//! There are three ways to end one early:
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
pub use self::copy::{copy, copy_bidirectional};
pub use self::duplex::{DuplexStream, duplex};
pub use self::framed::{Decoder, Encoder, FramedRead, FramedWrite, LengthCodec, LinesCodec};
pub use self::operation::{Cancel, Operation, WithTimeout};
pub(crate) use self::operation::{Sealed, cancelled};
pub use self::piece::PIECE_MAX;
pub(crate) use self::piece::{growable, piece_full};
pub use self::read::AsyncRead;
pub(crate) use self::read::{no_room, too_much};
pub use self::split::{ReadHalf, WriteHalf, split};
pub use self::write::AsyncWrite;
