//! What is spliced: a byte that has left one stream gets to the other, and no other byte has left.

use std::cell::RefCell;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpStream, splice};
use corering::time::{sleep, timeout};
use futures_lite::future::or;

use crate::cell::{Attempt, End, Got, How, Scene, State, Way};
use crate::common::pattern;
use crate::peer::{Peer, rest_in, stuff};

const LEN: usize = 3_000;

type Streams = Rc<(TcpStream, TcpStream)>;

/// One that waits for its source, or one that waits for its sink.
pub(crate) struct Splice<const SINK: bool> {
    streams: RefCell<Option<Streams>>,
    source: Peer,
    sink: Peer,
    before: Vec<u8>,
}

fn message() -> Vec<u8> {
    pattern(5, LEN)
}

impl<const SINK: bool> Splice<SINK> {
    fn streams(&self) -> Streams {
        Rc::clone(self.streams.borrow().as_ref().expect("they are there"))
    }

    /// Whether the bytes have left their source, or may have.
    fn left(end: &End) -> (bool, bool) {
        match end.state {
            // It goes on until then.
            _ if end.way == Way::Timeout => (false, true),
            // Ready, and asked for nothing since.
            _ if !SINK => (false, false),
            State::Unpolled => (false, false),
            _ => (true, true),
        }
    }

    /// Checks what the sink got, and what the source still had for others.
    fn check(&self, got: &[u8], rest: &[u8], end: &End, whole: bool) {
        let got = got.strip_prefix(&self.before[..]);
        let got = got.expect("what was sent before");
        let all = [got, rest].concat();
        assert!(message().starts_with(&all), "other bytes");
        let (least, most) = Self::left(end);
        assert!(most || got.is_empty(), "it was taken and not asked for");
        if whole {
            assert!(!least || !got.is_empty(), "what was taken has not come");
            assert_eq!(all.len(), LEN, "bytes are lost");
        }
    }
}

impl<const SINK: bool> Scene for Splice<SINK> {
    const NAME: &'static str = if SINK {
        "splice, full"
    } else {
        "splice, empty"
    };
    const FILES: &'static [&'static str] = &["readable.rs", "splice_out.rs"];
    /// The first poll asks the source.
    const PRELUDE: usize = SINK as usize;

    async fn warm() {
        // One pipe of the core's is kept.
        let ((a, b), (c, d)) = (Peer::pair(false), Peer::pair(false));
        let streams = [a, c].map(|stream| TcpStream::from_std(stream).expect("a runtime"));
        b.send(b"warm").expect("a connection");
        b.end();
        let moved = splice(&streams[0], &streams[1]).await;
        assert_eq!(moved.expect("bytes"), 4);
        drop((streams, d));
    }

    async fn set(_: State) -> Self {
        let (ours, source) = Peer::pair(true);
        let (theirs, sink) = Peer::pair(true);
        theirs.set_nonblocking(true).expect("a socket");
        let before = if SINK { stuff(&theirs) } else { Vec::new() };
        if SINK {
            source.send(&message()).expect("a connection");
        }
        let from = TcpStream::from_std(ours).expect("a runtime");
        let to = TcpStream::from_std(theirs).expect("a runtime");
        Splice {
            streams: RefCell::new(Some(Rc::new((from, to)))),
            source,
            sink,
            before,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let streams = self.streams();
        Box::pin(async move {
            // It has no end: what comes first is all that is asked for.
            let moved = async {
                let moved = splice(&streams.0, &streams.1).await;
                Got::of(moved, |n| Got::Count(n as usize))
            };
            how.end_plain(moved).await
        })
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        let cancels = matches!(way, Way::Cancel | Way::CancelDropped);
        cancels.then_some("it is no operation: there is no cancel()")
    }

    fn happen(&self) {
        if SINK {
            for _ in 0..4 {
                self.sink.drain();
                std::thread::sleep(Duration::from_micros(200));
            }
        } else {
            // Nobody is there any more where the streams were dropped.
            let _ = self.source.send(&message());
        }
    }

    fn let_go(&self) {
        self.streams.take();
    }

    async fn after(&self, end: End) {
        if let Some(got) = &end.got {
            assert!(matches!(got, Got::TimedOut), "an end that is none: {got:?}");
        }
        let mut rest = Vec::new();
        let whole = end.way != Way::Resource;
        if whole {
            let (from, to) = &*self.streams();
            let drain = async {
                loop {
                    self.sink.drain();
                    sleep(Duration::from_micros(100)).await;
                }
            };
            let finish = async {
                while let Ok(Ok(Some(bytes))) = timeout(Duration::from_millis(4), from.recv()).await
                {
                    rest.extend_from_slice(&bytes);
                }
                to.shutdown(Shutdown::Write).await.expect("a connection");
            };
            or(finish, drain).await;
        }
        let got = self.sink.all().await;
        self.check(&got, &rest, &end, whole);
    }

    fn after_runtime(&self, end: End) {
        let rest = rest_in(&self.streams().0);
        self.let_go();
        let got = self.sink.all_now();
        // What was committed ends with its runtime.
        self.check(&got, &rest, &end, false);
    }
}
