//! Ops that no public method sends, in the states and ways that make sense for them: the rest of
//! the catalogue is ended in `tests/ends.rs`.
//!
//! A receive into memory of its own is here because the core copies what it received long before
//! its last buffer is taken: a user cannot make it run out of them between two turns.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use super::*;
use crate::driver::Ticket;
use crate::op::{Accept, MsgRing, RecvOwned};

/// How an op is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Drop,
    Cancel,
    Shutdown,
}

const WAYS: [Way; 3] = [Way::Drop, Way::Cancel, Way::Shutdown];

/// When.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Staged,
    Submitted,
    /// The event has come, and nobody has entered the kernel.
    Completed,
    Reaped,
}

const STATES: [State; 4] = [
    State::Staged,
    State::Submitted,
    State::Completed,
    State::Reaped,
];

/// One op of the catalogue, with what it works on.
trait Scene {
    type Op: Op;
    /// The files of `src/op/` that it goes through.
    const FILES: &'static [&'static str];
    /// Whether it waits for [`happen`](Scene::happen), or is done by the call that submits it.
    const WAITS: bool = true;

    fn new(core: &Core) -> Self;
    fn op(&self, core: &Core) -> Self::Op;
    fn happen(&mut self);
    /// Checks that what came is somewhere, when nothing is in flight any more.
    fn check(self, core: &Core, way: Way, state: State);
}

/// Ends one op. Says how many cells there are: none if the op has no such state.
fn ended<S: Scene>(way: Way, state: State) -> usize {
    if !S::WAITS && matches!(state, State::Submitted | State::Completed) {
        return 0;
    }
    let core = Core::new();
    let mut scene = S::new(&core);
    let cx = Context::from_waker(Waker::noop());
    let ticket = core.submit(|| scene.op(&core), &cx);
    let Ok(ticket) = ticket else {
        panic!("the driver is open");
    };
    let has_happened = matches!(state, State::Completed | State::Reaped);
    if state != State::Staged {
        core.turn();
        assert_eq!(core.counts().in_flight, usize::from(S::WAITS));
    }
    if has_happened {
        scene.happen();
    }
    if state == State::Reaped {
        core.drain();
    }
    end(&core, ticket, way);
    if !has_happened {
        scene.happen();
    }
    if way != Way::Shutdown {
        core.turn_on();
    }
    scene.check(&core, way, state);
    let counts = core.counts();
    assert_eq!(
        (counts.in_flight, counts.orphans),
        (0, 0),
        "{way:?} {state:?}"
    );
    1
}

fn end<T: Op>(core: &Core, mut ticket: Ticket<T>, way: Way) {
    match way {
        Way::Drop => return drop(ticket),
        Way::Cancel => {
            ticket.cancel();
            core.drain();
        }
        Way::Shutdown => assert_eq!(core.shut_down(PATIENCE), 0),
    }
    let taken = ticket.poll(&Context::from_waker(Waker::noop()));
    assert!(taken.is_ready(), "it has ended");
}

fn table<S: Scene>(name: &str) {
    let mut cells = 0;
    for way in WAYS {
        for state in STATES {
            cells += ended::<S>(way, state);
        }
    }
    let all = WAYS.len() * STATES.len();
    println!(
        "{name} ({}): {cells} cells, {} n/a",
        S::FILES.join(" "),
        all - cells
    );
    assert!(cells >= WAYS.len() * 2);
}

struct SingleAccept {
    socket: TcpListener,
    listener: Rc<Resource>,
    clients: Vec<std::net::TcpStream>,
}

impl Scene for SingleAccept {
    type Op = Accept<Resource>;
    const FILES: &'static [&'static str] = &["accept.rs"];

    fn new(core: &Core) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Resource::new(core, socket.try_clone().unwrap());
        SingleAccept {
            socket,
            listener,
            clients: Vec::new(),
        }
    }

    fn op(&self, _: &Core) -> Self::Op {
        Accept(Rc::clone(&self.listener))
    }

    fn happen(&mut self) {
        let address = self.socket.local_addr().unwrap();
        self.clients
            .push(std::net::TcpStream::connect(address).unwrap());
    }

    fn check(self, _: &Core, way: Way, state: State) {
        let queued = self.listener.accepted.take();
        let peer = match queued.into_iter().next() {
            Some(fd) => std::net::TcpStream::from(fd.into_owned()).peer_addr(),
            None => {
                assert_ne!(state, State::Reaped, "{way:?}");
                self.socket.set_nonblocking(true).unwrap();
                self.socket.accept().map(|(_, peer)| peer)
            }
        };
        let client = self.clients[0].local_addr().unwrap();
        assert_eq!(peer.unwrap(), client, "{way:?} {state:?}");
    }
}

#[test]
fn a_single_accept_loses_no_connection_however_it_is_ended() {
    table::<SingleAccept>("single accept");
}

struct OwnedReceive {
    socket: Rc<Resource>,
    peer: UnixStream,
    copy: UnixStream,
}

impl Scene for OwnedReceive {
    type Op = RecvOwned<Resource>;
    const FILES: &'static [&'static str] = &["recv_owned.rs"];

    fn new(core: &Core) -> Self {
        let (ours, peer) = UnixStream::pair().unwrap();
        let copy = ours.try_clone().unwrap();
        OwnedReceive {
            socket: Resource::new(core, ours),
            peer,
            copy,
        }
    }

    fn op(&self, core: &Core) -> Self::Op {
        assert!(core.borrow_bytes(16), "there is memory");
        RecvOwned {
            socket: Rc::clone(&self.socket),
            driver: Rc::clone(core),
            buf: Vec::with_capacity(16),
        }
    }

    fn happen(&mut self) {
        self.peer.write_all(b"came").unwrap();
    }

    fn check(self, core: &Core, way: Way, state: State) {
        let notes = self.socket.notes();
        let mut rest = Vec::new();
        drop(self.peer);
        io::Read::read_to_end(&mut &self.copy, &mut rest).unwrap();
        match &notes[..] {
            [came] if came == "late ok came" => assert_eq!(rest, b""),
            [cut] if cut == "late err 125" && state != State::Reaped => assert_eq!(rest, b"came"),
            _ => panic!("{way:?} {state:?}: {notes:?}, {rest:?}"),
        }
        // The memory is back: all of it can be had.
        assert!(core.borrow_bytes(super::super::SPARE_BYTES));
    }
}

#[test]
fn a_receive_into_memory_of_its_own_loses_no_byte_however_it_is_ended() {
    table::<OwnedReceive>("recv, owned");
}

struct Message {
    other: Core,
}

impl Scene for Message {
    type Op = MsgRing;
    const FILES: &'static [&'static str] = &["msg_ring.rs"];
    const WAITS: bool = false;

    fn new(_: &Core) -> Self {
        Message { other: Core::new() }
    }

    fn op(&self, _: &Core) -> Self::Op {
        MsgRing {
            target: self.other.with_ring(|ring| Ok(ring.raw_fd())).unwrap(),
        }
    }

    fn happen(&mut self) {}

    fn check(self, _: &Core, way: Way, state: State) {
        self.other.turn();
        let came = self.other.counts().cqes;
        assert!(came <= 1, "{way:?} {state:?}");
        // Whoever was staged when the core ended was sent, and what was done is done.
        assert!(came == 1 || state == State::Staged && way != Way::Shutdown);
        assert_eq!(self.other.counts().in_flight, 0);
    }
}

#[test]
fn a_message_comes_once_or_never_however_it_is_ended() {
    table::<Message>("msg_ring");
}
