//! The core's pipes: what passes bytes on between two streams, and is empty in between.
//!
//! A pipe is taken for as long as there are bytes in it, which mostly is not beyond one call. So a
//! few of them do for any number of streams, and their pages stay in the cache.

use std::io;

use super::Driver;
use crate::ring::{Fd, Ring};

/// So many that are not in use are kept.
const SPARE_PIPES: usize = 8;

/// A pipe for splicing.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: Fd,
    pub(crate) writer: Fd,
}

impl Pipe {
    /// Moves up to `len` bytes of those in the pipe to a stream, as many as that has room for.
    ///
    /// # Errors
    ///
    /// What a send reports.
    pub(crate) fn pour(&self, to: &Fd, len: usize) -> io::Result<usize> {
        match self.reader.splice(to, len) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(e) if is_transient(&e) => Ok(0),
            result => result,
        }
    }
}

/// Whether it says nothing of the stream, and is tried again.
fn is_transient(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Driver {
    /// An empty pipe.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`. `ECANCELED` once the core has ended.
    pub(crate) fn pipe(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.pipes.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (reader, writer) = self.with_ring(Ring::pipe)?;
        Ok(Pipe { reader, writer })
    }

    /// Gives a pipe back that is empty again.
    pub(crate) fn return_pipe(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() < SPARE_PIPES {
            pipes.push(pipe);
        }
    }
}
