//! Sending one direction of a conversation, in every form.

use std::convert::identity;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use corering::buffers::BufResult;
use corering::net::{Write, WriteAll, WriteVectored, WriteZeroCopy};
use corering::time::sleep;
use corering::{IoBuf, IoBufs};

use super::books::{Connection, Half, Side};
use super::fate::{Fate, Fated};
use super::pattern::Pattern;
use super::random::Random;
use super::scene::{Failure, Scene};
use super::stream::{Stream, WriteHalf};

/// What can be written to.
pub(crate) enum Writer<'a> {
    Whole(&'a Stream),
    Half(WriteHalf),
}

impl Writer<'_> {
    fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        match self {
            Writer::Whole(stream) => stream.write_all(buf),
            Writer::Half(half) => half.write_all(buf),
        }
    }

    fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        match self {
            Writer::Whole(stream) => stream.write(buf),
            Writer::Half(half) => half.write(buf),
        }
    }

    fn write_vectored<B: IoBufs>(&self, bufs: B) -> WriteVectored<'_, B> {
        match self {
            Writer::Whole(stream) => stream.write_vectored(bufs),
            Writer::Half(half) => half.write_vectored(bufs),
        }
    }

    fn write_zero_copy<B: IoBuf>(&self, buf: B) -> Result<WriteZeroCopy<'_, B>, B> {
        match self {
            Writer::Whole(stream) => stream.write_zero_copy(buf),
            Writer::Half(half) => half.write_zero_copy(buf),
        }
    }
}

pub(crate) struct Sending<'a> {
    pub(crate) scene: Rc<Scene>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) side: Side,
    pub(crate) writer: Writer<'a>,
    pub(crate) pattern: Pattern,
    pub(crate) random: Random,
    /// Bytes that were sent, or are going to be.
    at: u64,
    /// A write whose future was dropped may still be in flight.
    is_committed: bool,
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
        (scene, connection): (&Rc<Scene>, &Rc<Connection>),
        side: Side,
        writer: Writer<'a>,
        pattern: Pattern,
        random: Random,
    ) -> Sending<'a> {
        Sending {
            scene: Rc::clone(scene),
            connection: Rc::clone(connection),
            side,
            writer,
            pattern,
            random,
            at: 0,
            is_committed: false,
        }
    }

    /// Sends `total` bytes and closes the write side.
    pub(crate) async fn run(mut self, total: u64) {
        let piece = self.scene.style.piece;
        while self.at < total {
            let len = self.random.size(piece).min(total - self.at);
            self.note(|half, at| half.sent_most = at + len);
            match self.write(len).await {
                Next::More => {}
                Next::Torn => {
                    let (refused, _) = self.writer.write_all("more").await;
                    if !refused.is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
                        self.scene.violation("a write followed one that was torn");
                    }
                    break;
                }
                Next::Gone => return,
            }
            if self.random.one_in(16) {
                sleep(self.random.time(Duration::from_millis(4))).await;
            }
        }
        self.finish().await;
    }

    async fn finish(self) {
        let Sending {
            scene,
            connection,
            side,
            at,
            ..
        } = &self;
        let shut = || {
            connection.note(*side, |half| {
                (half.sent_least, half.sent_most, half.shut) = (*at, *at, true);
            });
        };
        match &self.writer {
            Writer::Whole(stream) => match stream.shutdown(Shutdown::Write).await {
                Ok(()) => shut(),
                Err(error) => {
                    scene.failed("shutdown", &error, false, Some(connection));
                }
            },
            // It is shut down when it is dropped, after the write that is in flight.
            Writer::Half(_) if self.is_committed => {
                connection.note(*side, |half| {
                    (half.sent_most, half.shut, half.is_unsure) = (*at, true, true);
                });
            }
            Writer::Half(_) => shut(),
        }
    }

    async fn write(&mut self, len: u64) -> Next {
        let fate = match self.is_committed {
            // Whether the next one had its turn when it was dropped would not be known.
            true => Fate::Awaited,
            false => Fate::random(&mut self.random, self.scene.style.ends),
        };
        let buf = self.pattern.bytes(self.at, len);
        let start = self.at;
        match self.random.below(10) {
            0 => {
                let fate = fate.or_await();
                let fated = fate.of(self.writer.write(buf), identity).await;
                self.written(fate, fated, start, len, false)
            }
            1 => {
                let mut rest = buf;
                let tail = rest.split_off(self.random.below(len) as usize);
                let fate = fate.or_await();
                let fated = fate.of(self.writer.write_vectored(vec![rest, tail]), identity);
                let fated = joined(fated.await);
                self.written(fate, fated, start, len, false)
            }
            2 => {
                let fate = fate.or_await();
                let fated = match self.writer.write_zero_copy(buf) {
                    Ok(write) => fate.of(write, identity).await,
                    Err(buf) => fate.of(self.writer.write(buf), identity).await,
                };
                self.written(fate, fated, start, len, false)
            }
            3 => {
                let buf = buf.into_boxed_slice();
                let fated = fate.of(self.writer.write_all(buf), sent_whole).await;
                self.written(fate, fated, start, len, true)
            }
            _ => {
                let fated = fate.of(self.writer.write_all(buf), sent_whole).await;
                self.written(fate, fated, start, len, true)
            }
        }
    }

    /// What a write of `len` bytes has come to; of `all` of them, if it was not cut.
    fn written<B: IoBuf + AsRef<[u8]>>(
        &mut self,
        fate: Fate,
        fated: Fated<BufResult<usize, B>>,
        start: u64,
        len: u64,
        all: bool,
    ) -> Next {
        match fated {
            Fated::Done((result, buf)) => {
                let buf = buf.as_ref();
                if buf.len() as u64 != len || self.pattern.wrong(start, buf).is_some() {
                    self.scene.violation("a write gave another buffer back");
                }
                match result {
                    Ok(n) => self.sent(n as u64, len, all),
                    Err(error) => self.failed(fate, &error),
                }
            }
            Fated::Unpolled => {
                self.note(|half, at| half.sent_most = at);
                Next::More
            }
            // It had its turn at once, so it goes on to its end.
            Fated::Dropped => {
                self.at += len;
                self.is_committed = true;
                Next::More
            }
        }
    }

    fn sent(&mut self, n: u64, len: u64, all: bool) -> Next {
        if n > len {
            self.scene
                .violation(format!("{n} bytes were sent of {len}"));
        }
        self.at += n;
        self.is_committed = false;
        self.note(|half, at| (half.sent_least, half.sent_most) = (at, at));
        if all && n < len {
            Next::Torn
        } else {
            Next::More
        }
    }

    fn failed(&mut self, fate: Fate, error: &io::Error) -> Next {
        let connection = Some(&*self.connection);
        match self
            .scene
            .failed("write", error, fate.may_end_it(), connection)
        {
            Failure::Ended => {
                self.note(|half, at| half.sent_most = at);
                Next::More
            }
            Failure::Gone => Next::Gone,
        }
    }

    fn note(&self, change: impl FnOnce(&mut Half, u64)) {
        self.connection
            .note(self.side, |half| change(half, self.at));
    }
}

fn sent_whole<B: AsRef<[u8]>>((result, buf): BufResult<(), B>) -> BufResult<usize, B> {
    (result.map(|()| buf.as_ref().len()), buf)
}

/// The buffers of a vectored write as one.
fn joined(fated: Fated<BufResult<usize, Vec<Vec<u8>>>>) -> Fated<BufResult<usize, Vec<u8>>> {
    match fated {
        Fated::Done((result, bufs)) => Fated::Done((result, bufs.concat())),
        Fated::Unpolled => Fated::Unpolled,
        Fated::Dropped => Fated::Dropped,
    }
}
