//! What can be spliced: a stream, or one that is under deadlines.

use std::future::Future;
use std::io;
use std::rc::Rc;

use super::{Socket, StreamSocket};

/// An end of a [`splice`](crate::net::splice): a stream, or one under
/// [`Deadlines`](crate::net::Deadlines). Implemented by those of this crate and by nothing else.
pub trait SpliceEnd {
    #[doc(hidden)]
    fn end(&self) -> &Rc<Socket>;

    /// The output of `wait`, which waits for something to be received, unless that takes too long.
    #[doc(hidden)]
    fn until_received<F: Future>(&self, wait: F) -> impl Future<Output = io::Result<F::Output>>;

    /// The output of `wait`, which waits for something to be sent, unless that takes too long.
    #[doc(hidden)]
    fn until_sent<F: Future>(&self, wait: F) -> impl Future<Output = io::Result<F::Output>>;

    /// So many bytes were taken from here.
    #[doc(hidden)]
    fn took(&self, n: usize);
}

impl<S: StreamSocket> SpliceEnd for S {
    fn end(&self) -> &Rc<Socket> {
        self.socket()
    }

    async fn until_received<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        Ok(wait.await)
    }

    async fn until_sent<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        Ok(wait.await)
    }

    fn took(&self, _: usize) {}
}
