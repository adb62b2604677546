//! Guarded streams as ends of a splice, whose bytes come by none of their reads and writes.

use std::future::Future;
use std::io;
use std::rc::Rc;

use super::Guarded;
use super::watch::Side;
use crate::net::stream::{Socket, SpliceEnd, StreamSocket};

impl<S: StreamSocket> SpliceEnd for Guarded<S> {
    fn end(&self) -> &Rc<Socket> {
        self.socket()
    }

    async fn until_received<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        self.in_time(Side::Read, wait).await
    }

    async fn until_sent<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        self.in_time(Side::Write, wait).await
    }

    fn took(&self, n: usize) {
        self.watch.took(n);
    }
}
