//! One side of a conversation: both directions at once, and how it ends.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corering::net::TcpStream;
use corering::spawn;
use corering::time::timeout;
use futures_util::join;
use socket2::SockRef;

use crate::counts::{Half, Shared};
use crate::fate::Failure;
use crate::pattern::Pattern;
use crate::random::Random;
use crate::receive::{Receiving, check};
use crate::send::Sending;

/// Bytes of one direction, at most.
const TOTAL_MAX: u64 = 1 << 20;
/// Who cuts a connection does so within this time.
const CUT_MAX: Duration = Duration::from_millis(400);
/// A conversation in which nothing moves for longer has lost something.
const PATIENCE: Duration = Duration::from_secs(40);

/// Of whom a conversation is seen.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// How a side ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// After everything was said and heard.
    Orderly,
    /// In the middle, by dropping the stream.
    Dropped,
    /// In the middle, with what was not read yet.
    Closed,
    /// In the middle, by giving the socket away.
    GivenAway,
    /// In the middle, with a reset.
    Reset,
    /// In the middle, by aborting the task that has the stream.
    Aborted,
}

pub(crate) struct Talk {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) random: Random,
    pub(crate) shared: Arc<Shared>,
}

impl Talk {
    /// Talks until the end, and enters this side's half in the ledger.
    pub(crate) async fn run(mut self, stream: TcpStream) {
        let half = Rc::new(Cell::new(Half::default()));
        let end = self.end();
        let talking = Both {
            half: Rc::clone(&half),
            patterns: self.patterns(),
            random: self.random.fork(),
            shared: Arc::clone(&self.shared),
        };
        let cut = if end == End::Aborted {
            let mut task = spawn(async move { talking.run(&stream).await });
            let cut = self.talk(end, &mut task, &half).await;
            task.abort();
            if cut && task.await.is_err_and(|error| error.is_panic()) {
                self.shared.fault("a task has panicked");
            }
            cut
        } else {
            let cut = self.talk(end, pin!(talking.run(&stream)), &half).await;
            self.let_go(end, cut, stream, &half).await;
            cut
        };
        self.shared.cuts.add(cut.into());
        self.shared.post(self.id, half.get());
    }

    fn end(&mut self) -> End {
        match self.random.below(20) {
            0 => End::Dropped,
            1 => End::Closed,
            2 => End::GivenAway,
            3 => End::Reset,
            4 => End::Aborted,
            _ => End::Orderly,
        }
    }

    /// What this side sends, and what it receives.
    fn patterns(&self) -> (Pattern, Pattern) {
        let (up, down) = (Pattern::new(self.id, 0), Pattern::new(self.id, 1));
        match self.side {
            Side::Client => (up, down),
            Side::Server => (down, up),
        }
    }

    /// Talks until both directions are over or the connection is to be cut. True if it is.
    async fn talk<F: Future + Unpin>(&mut self, end: End, mut both: F, half: &Cell<Half>) -> bool {
        let (mut moved, mut before) = (Instant::now(), half.get());
        while moved.elapsed() < PATIENCE {
            let time = match end {
                End::Orderly => PATIENCE / 4,
                _ => self.random.time(CUT_MAX),
            };
            if timeout(time, &mut both).await.is_ok() {
                return false;
            }
            // The server has to know who it is first.
            let known = self.side == Side::Server || half.get().received > 0;
            if end != End::Orderly && known {
                return true;
            }
            if half.get() != before {
                (moved, before) = (Instant::now(), half.get());
            }
        }
        let text = format!("{:x}: nothing moves in {PATIENCE:?}: {before:?}", self.id);
        self.shared.fault(text);
        true
    }

    async fn let_go(&self, end: End, cut: bool, stream: TcpStream, half: &Cell<Half>) {
        let unread = match end {
            End::Orderly | End::Dropped | End::Aborted => return,
            End::Reset => {
                if cut {
                    self.shared.resets.add(1);
                    if let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
                        self.shared.fault(format!("SO_LINGER: {error}"));
                    }
                }
                return;
            }
            End::Closed => stream.close().await,
            End::GivenAway => stream.into_std().await.map(|(_, unread)| unread),
        };
        match unread {
            Ok(unread) => {
                let (_, pattern) = self.patterns();
                for lease in unread {
                    check(half, pattern, &lease, &self.shared);
                }
            }
            Err(error) => {
                Failure::of(&error, "close", &self.shared);
            }
        }
    }
}

/// Both directions at once.
struct Both {
    half: Rc<Cell<Half>>,
    patterns: (Pattern, Pattern),
    random: Random,
    shared: Arc<Shared>,
}

impl Both {
    async fn run(mut self, stream: &TcpStream) {
        let (up, down) = self.patterns;
        let total = self.random.size(TOTAL_MAX);
        let random = self.random.fork();
        let sending = Sending::new(stream, &self.half, up, random, &self.shared);
        let receiving = Receiving {
            stream,
            half: &self.half,
            pattern: down,
            random: self.random.fork(),
            shared: &self.shared,
        };
        join!(sending.run(total), receiving.run());
    }
}
