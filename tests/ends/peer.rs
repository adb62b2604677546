//! The other end of a connection, a plain socket: what came there, and whether it has ended.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream as StdStream};
use std::time::{Duration, Instant};

use corering::time::sleep;
use futures_lite::future::{block_on, poll_once};
use socket2::{Domain, Socket, Type};

use crate::common::{localhost, pattern, without_signals};

const PATIENCE: Duration = Duration::from_secs(10);
/// Asked of each socket buffer, so that little fits between the two ends.
const NARROW: usize = 16 * 1024;

pub(crate) struct Peer {
    stream: StdStream,
    got: RefCell<Vec<u8>>,
    ended: Cell<bool>,
}

impl Peer {
    pub(crate) fn new(stream: StdStream) -> Peer {
        stream.set_nonblocking(true).expect("a socket");
        Peer {
            stream,
            got: RefCell::default(),
            ended: Cell::new(false),
        }
    }

    /// A connection, as its two ends.
    pub(crate) fn pair(narrow: bool) -> (StdStream, Peer) {
        let listener = TcpListener::bind(localhost()).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if narrow {
            let sized = socket.set_recv_buffer_size(NARROW);
            sized.expect("an option that all have");
        }
        without_signals(|| socket.connect(&address.into())).expect("a connection");
        let (ours, _) = listener.accept().expect("its other end");
        if narrow {
            let sized = socket2::SockRef::from(&ours).set_send_buffer_size(NARROW);
            sized.expect("an option that all have");
        }
        (ours, Peer::new(socket.into()))
    }

    pub(crate) fn stream(&self) -> &StdStream {
        &self.stream
    }

    /// Fails if nobody is there any more.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    pub(crate) fn end(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Takes what is there.
    pub(crate) fn drain(&self) {
        let mut part = vec![0; 64 * 1024];
        while !self.ended.get() {
            match (&self.stream).read(&mut part) {
                Ok(0) => self.ended.set(true),
                Ok(n) => self.got.borrow_mut().extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended.set(true),
            }
        }
    }

    /// How many bytes were taken.
    pub(crate) fn received(&self) -> usize {
        self.got.borrow().len()
    }

    /// All that has come until the end.
    pub(crate) async fn all(&self) -> Vec<u8> {
        let start = Instant::now();
        loop {
            self.drain();
            if self.ended.get() {
                return self.got.take();
            }
            assert!(start.elapsed() < PATIENCE, "no end of the stream");
            sleep(Duration::from_micros(200)).await;
        }
    }

    /// The same without a runtime.
    pub(crate) fn all_now(&self) -> Vec<u8> {
        let start = Instant::now();
        loop {
            self.drain();
            if self.ended.get() {
                return self.got.take();
            }
            assert!(start.elapsed() < PATIENCE, "no end of the stream");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Writes until nothing more fits. Returns what was written.
pub(crate) fn stuff(mut end: impl Write) -> Vec<u8> {
    let bytes = pattern(77, 8 << 20);
    let (mut done, mut idle) = (0, 0);
    // What the receiving side has room for may show a moment later.
    while idle < 6 {
        match end.write(&bytes[done..]) {
            Ok(n) => (done, idle) = (done + n, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(Duration::from_micros(500));
            }
        }
    }
    assert!(done < bytes.len(), "all fits");
    bytes[..done].to_vec()
}

/// What is left in a socket of which nobody reads any more.
pub(crate) fn rest_in(socket: impl std::os::fd::AsFd) -> Vec<u8> {
    let copy = socket.as_fd().try_clone_to_owned().expect("a descriptor");
    let copy = Peer::new(StdStream::from(copy));
    copy.drain();
    copy.got.take()
}

/// Polls a future of a runtime that is gone. `None`: it waits for ever.
pub(crate) fn without_runtime<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    // The first poll may be what tells it.
    (0..2).find_map(|_| block_on(poll_once(&mut future)))
}
