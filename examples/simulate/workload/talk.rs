//! One side of a conversation: both directions at once, and how it ends.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corering::task::JoinHandle;
use corering::time::{Instant, timeout};
use futures_util::join;

use super::books::{Connection, Side};
use super::pattern::Pattern;
use super::random::Random;
use super::receive::{Reader, Receiving, check};
use super::scene::Core;
use super::send::{Sending, Writer};
use super::stream::Stream;

/// Who cuts a connection does so within this time.
const CUT_MAX: Duration = Duration::from_millis(16);
/// Who closes in order gives up after this time.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// A conversation in which nothing moves for longer has lost something, or its peer.
const PATIENCE: Duration = Duration::from_secs(150);

/// How a side ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// After everything was said and heard.
    Orderly,
    /// In the middle, by dropping the stream.
    Dropped,
    /// In the middle, with what was not read yet.
    Closed,
    /// In the middle, by aborting the task that has the stream.
    Aborted,
}

pub(crate) struct Talk {
    pub(crate) core: Rc<Core>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) side: Side,
    pub(crate) random: Random,
}

impl Talk {
    /// Talks until the end, and enters in the books what comes and goes.
    pub(crate) async fn run(mut self, stream: Stream) {
        self.connection
            .note(self.side, |half| half.has_begun = true);
        let end = self.end();
        if end == End::Aborted || self.random.one_in(3) {
            self.run_as_task(end, stream).await;
        } else {
            let both = self.both();
            let is_cut = self.talk(end, pin!(both.run(&stream))).await;
            self.let_go(end, is_cut, stream).await;
        }
        self.connection.note(self.side, |half| half.is_over = true);
    }

    /// In a task of its own, which may be aborted. The stream is whole, or in its halves.
    async fn run_as_task(&mut self, end: End, stream: Stream) {
        let both = self.both();
        let mut task = match self.random.one_in(2) {
            true => self.core.spawn(async move { both.run(&stream).await }),
            false => self.core.spawn(both.run_apart(stream)),
        };
        // Others only drop the handle: the task runs on, as if nobody had been there.
        let is_cut = self.talk(end, &mut task).await;
        if is_cut {
            task.abort();
            if task.await.is_err_and(|error| error.is_panic()) {
                self.core.scene.violation("a task has panicked");
            }
        }
    }

    fn end(&mut self) -> End {
        if !self.random.one_in(self.core.scene.style.cuts) {
            return End::Orderly;
        }
        self.random.pick(&[End::Dropped, End::Closed, End::Aborted])
    }

    /// What this side sends, and what it receives.
    fn patterns(&self) -> (Pattern, Pattern) {
        let id = self.connection.id;
        let (up, down) = (Pattern::new(id, 0), Pattern::new(id, 1));
        match self.side {
            Side::Client => (up, down),
            Side::Server => (down, up),
        }
    }

    fn both(&mut self) -> Both {
        Both {
            core: Rc::clone(&self.core),
            connection: Rc::clone(&self.connection),
            side: self.side,
            patterns: self.patterns(),
            random: self.random.fork(),
        }
    }

    /// Talks until both directions are over or the connection is to be cut. True if it is.
    async fn talk<F: Future + Unpin>(&mut self, end: End, mut both: F) -> bool {
        let half = self.connection.half(self.side);
        let (mut moved, mut before) = (Instant::now(), half.get());
        while moved.elapsed() < PATIENCE {
            let time = match end {
                End::Orderly => PATIENCE / 4,
                _ => self.random.time(CUT_MAX),
            };
            if timeout(time, &mut both).await.is_ok() {
                return false;
            }
            if end != End::Orderly {
                self.connection.excuse("cut by one side");
                return true;
            }
            if half.get() != before {
                (moved, before) = (Instant::now(), half.get());
            }
        }
        // A peer that has lost its power says nothing any more.
        if !self.connection.is_excused() && self.core.scene.is_quiet() {
            let (id, side) = (self.connection.id, self.side);
            self.core.scene.violation(format!(
                "connection {id:x}, {side:?}: nothing moves in {PATIENCE:?}: {before:?}"
            ));
        }
        self.connection.excuse("given up");
        true
    }

    async fn let_go(&self, end: End, is_cut: bool, stream: Stream) {
        // In order it makes no difference how: nothing is left.
        let closes = end == End::Closed || (!is_cut && self.connection.id.is_multiple_of(2));
        if !closes {
            return;
        }
        // It waits for its last write: for ever, if the peer reads no more.
        let Ok(closed) = timeout(CLOSE_MAX, stream.close()).await else {
            return;
        };
        match closed {
            Ok(unread) => {
                let (_, pattern) = self.patterns();
                for lease in unread {
                    check(
                        (&self.core.scene, &self.connection),
                        self.side,
                        pattern,
                        &lease,
                    );
                }
            }
            Err(error) => {
                let connection = Some(&*self.connection);
                self.core.scene.failed("close", &error, false, connection);
            }
        }
    }
}

/// Both directions at once.
struct Both {
    core: Rc<Core>,
    connection: Rc<Connection>,
    side: Side,
    patterns: (Pattern, Pattern),
    random: Random,
}

impl Both {
    async fn run(mut self, stream: &Stream) {
        let total = self.random.size(self.core.scene.style.total);
        let receiving = self.receiving(Reader::Whole(stream));
        let sending = self.sending(Writer::Whole(stream));
        join!(sending.run(total), receiving.run());
    }

    /// The two halves in tasks of their own.
    async fn run_apart(mut self, stream: Stream) {
        let total = self.random.size(self.core.scene.style.total);
        let (read, write) = stream.into_split();
        let receiving = self.receiving(Reader::Half(read));
        let sending = self.sending(Writer::Half(write));
        // Aborted with this one: nobody would take what its peer sends.
        let mut sent = Aborting(self.core.spawn(sending.run(total)));
        receiving.run().await;
        if (&mut sent.0).await.is_err() {
            self.core.scene.violation("a task has panicked");
        }
    }

    fn sending<'a>(&mut self, writer: Writer<'a>) -> Sending<'a> {
        let (scene, connection) = (&self.core.scene, &self.connection);
        let random = self.random.fork();
        Sending::new(
            (scene, connection),
            self.side,
            writer,
            self.patterns.0,
            random,
        )
    }

    fn receiving<'a>(&mut self, reader: Reader<'a>) -> Receiving<'a> {
        Receiving {
            scene: Rc::clone(&self.core.scene),
            connection: Rc::clone(&self.connection),
            side: self.side,
            reader,
            pattern: self.patterns.1,
            hoards: self.random.pick(&[0, 0, 3, 20]),
            random: self.random.fork(),
        }
    }
}

/// A task that does not outlive who waits for it.
struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
