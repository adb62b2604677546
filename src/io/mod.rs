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

mod operation;
pub(crate) mod waiters;

pub use self::operation::{Cancel, Operation, WithTimeout};
pub(crate) use self::operation::{Sealed, cancelled};
