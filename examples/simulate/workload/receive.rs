//! Receiving one direction of a conversation, in every form.

use std::collections::VecDeque;
use std::convert::identity;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use corering::IoBufMut;
use corering::buffers::{BufResult, Lease};
use corering::net::{FillBuf, FillMore, Read, Recv};
use corering::time::sleep;

use super::books::{Connection, Side};
use super::fate::{Fate, Fated};
use super::pattern::Pattern;
use super::random::Random;
use super::scene::{Failure, Scene};
use super::stream::{ReadHalf, Stream};

/// What can be read from.
pub(crate) enum Reader<'a> {
    Whole(&'a Stream),
    Half(ReadHalf),
}

impl Reader<'_> {
    fn recv(&self) -> Recv<'_> {
        match self {
            Reader::Whole(stream) => stream.recv(),
            Reader::Half(half) => half.recv(),
        }
    }

    fn read<B: IoBufMut>(&self, buf: B) -> Read<'_, B> {
        match self {
            Reader::Whole(stream) => stream.read(buf),
            Reader::Half(half) => half.read(buf),
        }
    }

    fn fill_buf(&self) -> FillBuf<'_> {
        match self {
            Reader::Whole(stream) => stream.fill_buf(),
            Reader::Half(half) => half.fill_buf(),
        }
    }

    fn fill_more(&self) -> FillMore<'_> {
        match self {
            Reader::Whole(stream) => stream.fill_more(),
            Reader::Half(half) => half.fill_more(),
        }
    }

    fn consume(&self, n: usize) {
        match self {
            Reader::Whole(stream) => stream.consume(n),
            Reader::Half(half) => half.consume(n),
        }
    }
}

pub(crate) struct Receiving<'a> {
    pub(crate) scene: Rc<Scene>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) side: Side,
    pub(crate) reader: Reader<'a>,
    pub(crate) pattern: Pattern,
    pub(crate) random: Random,
    /// Leases that a slow reader keeps, at most.
    pub(crate) hoards: usize,
}

impl Receiving<'_> {
    /// Receives to the end of the stream, or until the peer is gone.
    pub(crate) async fn run(mut self) {
        // They must not change while they are held.
        let mut held = VecDeque::new();
        loop {
            if self.random.one_in(32) {
                sleep(self.random.time(Duration::from_millis(4))).await;
            }
            let fate = Fate::random(&mut self.random, self.scene.style.ends);
            let on = match self.random.below(9) {
                0..3 => self.recv(fate, &mut held).await,
                3..5 => self.read(fate).await,
                5 => self.read_boxed(fate).await,
                6..8 => self.parse(fate).await,
                _ => self.parse_more(fate).await,
            };
            if !on {
                break;
            }
            if held.len() > self.hoards || self.random.one_in(8) {
                self.release(held.pop_front());
            }
        }
        for lease in held {
            self.release(Some(lease));
        }
    }

    async fn recv(&mut self, fate: Fate, held: &mut VecDeque<(u64, Lease)>) -> bool {
        match fate.of(self.reader.recv(), identity).await {
            Fated::Done(Ok(Some(lease))) => {
                let at = self.connection.half(self.side).get().received;
                self.take(&lease);
                if self.hoards > 0 && self.random.one_in(2) {
                    held.push_back((at, lease));
                }
                true
            }
            Fated::Done(Ok(None)) => self.end(),
            Fated::Done(Err(error)) => self.goes_on(fate, &error),
            _ => true,
        }
    }

    async fn read(&mut self, fate: Fate) -> bool {
        let room = self.random.size(self.scene.style.piece) as usize;
        let read = self.reader.read(Vec::with_capacity(room));
        let fated = fate.of(read, identity).await;
        if let Fated::Done((_, buf)) = &fated
            && buf.capacity() < room
        {
            self.scene.violation("a read gave another buffer back");
        }
        if let Fated::Done((Ok(n), buf)) = &fated
            && *n != buf.len()
        {
            let text = format!("{n} bytes read, {} there", buf.len());
            self.scene.violation(text);
        }
        self.was_read(fate, fated)
    }

    async fn read_boxed(&mut self, fate: Fate) -> bool {
        let room = self.random.size(self.scene.style.piece) as usize;
        let read = self.reader.read(vec![0; room].into_boxed_slice());
        let fated = fate.of(read, identity).await;
        if let Fated::Done((_, buf)) = &fated
            && buf.len() != room
        {
            self.scene.violation("a read gave another buffer back");
        }
        self.was_read(fate, fated)
    }

    fn was_read<B: AsRef<[u8]>>(&self, fate: Fate, fated: Fated<BufResult<usize, B>>) -> bool {
        match fated {
            Fated::Done((Ok(0), _)) => self.end(),
            Fated::Done((Ok(n), buf)) => {
                self.take(&buf.as_ref()[..n]);
                true
            }
            Fated::Done((Err(error), _)) => self.goes_on(fate, &error),
            _ => true,
        }
    }

    /// Looks at the inbox and takes a part of it.
    async fn parse(&mut self, fate: Fate) -> bool {
        match fate.of(self.reader.fill_buf(), identity).await {
            Fated::Done(Ok(piece)) if piece.is_empty() => self.end(),
            Fated::Done(Ok(piece)) => {
                let part = self.random.size(self.scene.style.piece);
                let part = part.min(piece.len() as u64) as usize;
                match &self.reader {
                    Reader::Whole(stream) if self.random.one_in(2) => {
                        self.take(&stream.consume_to_vec(part));
                    }
                    reader => {
                        reader.consume(part);
                        self.take(&piece[..part]);
                    }
                }
                true
            }
            Fated::Done(Err(error)) => self.goes_on(fate, &error),
            _ => true,
        }
    }

    /// Waits for more than the inbox holds in one piece. Takes nothing.
    async fn parse_more(&mut self, fate: Fate) -> bool {
        match fate.of(self.reader.fill_more(), identity).await {
            // What came before the error is still there.
            Fated::Done(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                self.goes_on(fate, &error);
                true
            }
            _ => true,
        }
    }

    fn take(&self, bytes: &[u8]) {
        check(
            (&self.scene, &self.connection),
            self.side,
            self.pattern,
            bytes,
        );
    }

    fn release(&self, held: Option<(u64, Lease)>) {
        if let Some((at, lease)) = held
            && let Some(wrong) = self.pattern.wrong(at, &lease)
        {
            let text = format!("byte {wrong} has changed while its lease was held");
            self.scene.violation(text);
        }
    }

    fn end(&self) -> bool {
        self.connection.note(self.side, |half| half.saw_end = true);
        false
    }

    fn goes_on(&self, fate: Fate, error: &io::Error) -> bool {
        let connection = Some(&*self.connection);
        let failure = self
            .scene
            .failed("read", error, fate.may_end_it(), connection);
        failure == Failure::Ended
    }
}

/// Compares what came next, and counts it.
pub(crate) fn check(
    (scene, connection): (&Scene, &Connection),
    side: Side,
    pattern: Pattern,
    bytes: &[u8],
) {
    let at = connection.half(side).get().received;
    if let Some(wrong) = pattern.wrong(at, bytes) {
        let (id, len) = (connection.id, bytes.len());
        scene.violation(format!(
            "connection {id:x}, {side:?}: byte {wrong} is wrong, in {len} bytes from {at}"
        ));
    }
    connection.note(side, |half| half.received += bytes.len() as u64);
}
