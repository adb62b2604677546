//! Streams on their way from one core to another.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use super::TcpStream;
use super::stream::{Parts, Socket, StreamSocket};
use crate::driver::Driver;

/// A stream that belongs to no core, made by [`TcpStream::detach`] and
/// [`UnixStream::detach`](super::UnixStream::detach): it is `Send`, and becomes a stream of the
/// core that attaches it.
///
/// What was received and not read goes along, and so does how either side has ended. Dropped, it
/// closes the connection.
///
/// # Examples
///
/// ```
/// use corering::Runtime;
/// use corering::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut client, detached) = Runtime::new()?.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = std::net::TcpStream::connect(listener.local_addr()?)?;
///     let (stream, _peer) = listener.accept().await?;
///     std::io::Result::Ok((client, stream.detach().await))
/// })?;
/// let other_core = std::thread::spawn(move || {
///     Runtime::new()?.block_on(async {
///         let stream: TcpStream = detached.attach()?;
///         stream.write_all("hello from here").await.0
///     })
/// });
/// # use std::io::Read;
/// let mut text = String::new();
/// client.read_to_string(&mut text)?;
/// assert_eq!(text, "hello from here");
/// # other_core.join().unwrap()
/// # }
/// ```
pub struct Detached<S = TcpStream> {
    parts: Parts,
    /// It has no `S` yet, which need not be `Send`.
    _becomes: PhantomData<fn() -> S>,
}

/// Takes a stream off its core. `handle` is the user's.
pub(super) async fn detach<S: StreamSocket>(handle: S) -> Detached<S> {
    let socket = Rc::clone(handle.socket());
    let parts = socket.detach(handle).await;
    let _becomes = PhantomData;
    Detached { parts, _becomes }
}

impl<S: StreamSocket> Detached<S> {
    /// Makes it a stream of this core.
    ///
    /// # Errors
    ///
    /// `NotConnected`: no runtime runs on this thread. The connection is closed then.
    pub fn attach(self) -> io::Result<S> {
        let driver = Driver::current()?;
        Ok(S::of(Socket::attach(self.parts, driver)))
    }
}

impl<S> fmt::Debug for Detached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}
