//! Sending one direction of a conversation.

use std::cell::Cell;
use std::convert::identity;
use std::io;
use std::net::Shutdown;

use corering::net::TcpStream;

use crate::counts::{Half, Shared};
use crate::fate::{Failure, Fate, Fated};
use crate::pattern::Pattern;
use crate::random::Random;

const WRITE_MAX: u64 = 256 * 1024;

pub(crate) struct Sending<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) half: &'a Cell<Half>,
    pub(crate) pattern: Pattern,
    pub(crate) random: Random,
    pub(crate) shared: &'a Shared,
    /// Bytes that were sent, or are going to be.
    at: u64,
    /// A write whose future was dropped may still be in flight.
    committed: bool,
}

/// How it goes on after a write.
#[derive(Eq, PartialEq)]
enum Next {
    More,
    /// A write was cut: nothing may follow it.
    Torn,
    Gone,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        stream: &'a TcpStream,
        half: &'a Cell<Half>,
        pattern: Pattern,
        random: Random,
        shared: &'a Shared,
    ) -> Sending<'a> {
        Sending {
            stream,
            half,
            pattern,
            random,
            shared,
            at: 0,
            committed: false,
        }
    }

    /// Sends `total` bytes and closes the write side.
    pub(crate) async fn run(mut self, total: u64) {
        while self.at < total {
            let len = self.random.size(WRITE_MAX).min(total - self.at);
            self.note(|half, at| half.sent_most = at + len);
            match self.write(len).await {
                Next::More => {}
                Next::Torn => {
                    self.shared.torn.add(1);
                    let refused = self.stream.write_all("more").await.0;
                    let fine = refused.is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
                    if !fine {
                        self.shared.fault("a write followed one that was torn");
                    }
                    break;
                }
                Next::Gone => return,
            }
        }
        match self.stream.shutdown(Shutdown::Write).await {
            Ok(()) => {
                self.shared.half_closes.add(1);
                self.note(|half, at| {
                    (half.sent_least, half.sent_most, half.shut) = (at, at, true);
                });
            }
            Err(error) => {
                Failure::of(&error, "shutdown", self.shared);
            }
        }
    }

    async fn write(&mut self, len: u64) -> Next {
        let fate = match self.committed {
            // Whether the next one had its turn when it was dropped would not be known.
            true => Fate::Awaited,
            false => Fate::random(&mut self.random),
        };
        let (stream, shared) = (self.stream, self.shared);
        let buf = self.pattern.bytes(self.at, len);
        match self.random.below(10) {
            0 => {
                let fated = fate.or_await().of(stream.write(buf), identity, shared);
                self.written(fated.await, len, false)
            }
            1 => {
                let (head, tail) = buf.split_at(self.random.below(len) as usize);
                let bufs = vec![head.to_vec(), tail.to_vec()];
                let fated = fate
                    .or_await()
                    .of(stream.write_vectored(bufs), identity, shared);
                self.written(fated.await, len, false)
            }
            2 => {
                let fated = fate
                    .or_await()
                    .of(stream.write_zero_copy(buf), identity, shared);
                self.written(fated.await, len, false)
            }
            _ => {
                let outcome = |(result, buf): (io::Result<()>, Vec<u8>)| {
                    let sent = result.map(|()| buf.len());
                    (sent, buf)
                };
                let fated = fate.of(stream.write_all(buf), outcome, shared).await;
                self.written(fated, len, true)
            }
        }
    }

    /// What a write of `len` bytes has come to; of `all` of them, if it was not cut.
    fn written<B>(&mut self, fated: Fated<(io::Result<usize>, B)>, len: u64, all: bool) -> Next {
        match fated {
            Fated::Done((Ok(n), _)) => {
                self.at += n as u64;
                self.committed = false;
                self.note(|half, at| (half.sent_least, half.sent_most) = (at, at));
                if all && (n as u64) < len {
                    return Next::Torn;
                }
            }
            Fated::Done((Err(error), _)) => match Failure::of(&error, "write", self.shared) {
                Failure::Ended => self.note(|half, at| half.sent_most = at),
                _ => return Next::Gone,
            },
            Fated::Unpolled => self.note(|half, at| half.sent_most = at),
            // It had its turn at once, so it goes on to its end.
            Fated::Dropped => {
                self.at += len;
                self.committed = true;
            }
        }
        Next::More
    }

    fn note(&self, change: impl FnOnce(&mut Half, u64)) {
        let mut half = self.half.get();
        change(&mut half, self.at);
        self.half.set(half);
    }
}
