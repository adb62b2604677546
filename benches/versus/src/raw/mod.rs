#![allow(unsafe_code)]
//! raw: an echo server written by hand on the ring, the limit that the columns are measured
//! against. It has no tasks, no futures and no types for sockets: a completion is looked at once,
//! and what it asks for is pushed at once.
//!
//! One multishot accept and one multishot receive per connection; what a receive brings is sent
//! from where the kernel put it; one enter per turn submits all sends and reaps all that is done.
//! The receive buffers are incremental where the kernel has them (6.12): each is filled piece by
//! piece, and belongs to the kernel again when it is full and all its pieces have been sent.
//!
//! A connection is known by its descriptor, which is closed only after its receive has ended and
//! its last send is done: no completion can meet a descriptor that was given away anew.

mod answers;
mod buffers;
mod queues;
mod store;
mod udp;

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

pub(crate) use self::store::serve as serve_store;
pub(crate) use self::udp::{serve as serve_udp, serve_trains as serve_udp_trains};
use crate::raw::buffers::{Buffers, GROUP, Piece};
use crate::raw::queues::{Queues, build};
use crate::server::{ServeOptions, echoed};

const ACCEPT: u64 = 0;
const RECV: u64 = 1;
const SEND: u64 = 2;

fn user_data(kind: u64, bid: u16, fd: RawFd) -> u64 {
    kind << 48 | u64::from(bid) << 32 | u64::from(fd as u32)
}

/// Serves and sleeps in the kernel as soon as there is nothing to do.
pub(crate) fn serve(listener: TcpListener, _: &ServeOptions) -> io::Result<()> {
    run(&listener, false)
}

/// The same on a Unix socket: the ring does not know them apart.
pub(crate) fn serve_unix(listener: UnixListener, _: &ServeOptions) -> io::Result<()> {
    run(&listener, false)
}

/// Serves and looks at the completion queue for a while before it sleeps.
pub(crate) fn serve_spinning(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    run(&listener, !options.no_spin)
}

/// Sends what comes on either of two connections on the other, until both have ended.
pub(crate) fn serve_copy(a: TcpStream, b: TcpStream, _: &ServeOptions) -> io::Result<()> {
    run_ring(
        None,
        &[
            (a.as_raw_fd(), b.as_raw_fd()),
            (b.as_raw_fd(), a.as_raw_fd()),
        ],
        false,
    )
}

fn run(listener: &impl AsRawFd, spin: bool) -> io::Result<()> {
    run_ring(Some(listener.as_raw_fd()), &[], spin)
}

/// `connected` are open already, and what comes on the first of each pair is sent on the second.
fn run_ring(listener: Option<RawFd>, connected: &[(RawFd, RawFd)], spin: bool) -> io::Result<()> {
    let mut ring = build()?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let buffers = Buffers::new(&submitter)?;
    let mut server = Server {
        queues: Queues { submitter, queue },
        buffers,
        connections: Vec::new(),
        listener,
        passing: connected.len(),
        starved: Vec::new(),
        accepting: false,
    };
    if listener.is_some() {
        server.accept();
    }
    for &(from, to) in connected {
        server.connected(from, to);
    }
    while listener.is_some() || server.passing > 0 {
        server.buffers.publish();
        server.queues.enter(&mut completions, spin)?;
        for cqe in completions.by_ref() {
            let (flags, fd) = (cqe.flags(), cqe.user_data() as u32 as RawFd);
            match cqe.user_data() >> 48 {
                RECV => server.received(fd, cqe.result(), flags),
                SEND => server.sent(fd, (cqe.user_data() >> 32) as u16),
                _ => server.accepted(cqe.result(), flags),
            }
        }
    }
    Ok(())
}

#[derive(Default, PartialEq)]
enum Receive {
    #[default]
    Armed,
    /// There was no buffer: it will be armed when there is.
    Starved,
    /// The peer is gone, or done.
    Ended,
}

#[derive(Default)]
struct Connection {
    /// Where what comes is sent: back, or on.
    to: RawFd,
    receive: Receive,
    sending: bool,
    /// What came while a send was in flight.
    waiting: VecDeque<Piece>,
}

struct Server<'ring> {
    queues: Queues<'ring>,
    buffers: Buffers,
    /// By descriptor.
    connections: Vec<Connection>,
    listener: Option<RawFd>,
    /// Connections that pass on what comes and have not ended.
    passing: usize,
    /// Connections whose receive found no buffer.
    starved: Vec<RawFd>,
    accepting: bool,
}

impl Server<'_> {
    #[cold]
    fn accept(&mut self) {
        self.accepting = true;
        let Some(listener) = self.listener else {
            return;
        };
        let accept = opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC);
        self.queues
            .push(&accept.build().user_data(user_data(ACCEPT, 0, 0)));
    }

    fn accepted(&mut self, result: i32, flags: u32) {
        if result >= 0 {
            self.connected(result, result);
        }
        if !cqueue::more(flags) {
            self.accepting = false;
            // Without a descriptor left it would fail again: the next close accepts again.
            if result >= 0 || -result != libc::EMFILE {
                self.accept();
            }
        }
    }

    fn connected(&mut self, fd: RawFd, to: RawFd) {
        if self.connections.len() <= fd as usize {
            self.connections
                .resize_with(fd as usize + 1, Connection::default);
        }
        self.connections[fd as usize] = Connection {
            to,
            ..Connection::default()
        };
        self.receive(fd);
    }

    fn receive(&mut self, fd: RawFd) {
        self.connections[fd as usize].receive = Receive::Armed;
        let recv = opcode::RecvMulti::new(Fd(fd), GROUP).build();
        self.queues.push(&recv.user_data(user_data(RECV, 0, fd)));
    }

    #[inline]
    fn received(&mut self, fd: RawFd, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        if result > 0 {
            let bid = cqueue::buffer_select(flags).expect("bytes come in a buffer");
            let piece = self.buffers.take(bid, result as u32, flags);
            let connection = &mut self.connections[fd as usize];
            if connection.sending {
                connection.waiting.push_back(piece);
            } else {
                connection.sending = true;
                self.send(fd, &piece);
            }
        }
        if !more {
            self.receive_ended(fd, result);
        }
    }

    /// At the end of the stream, an error, no buffer, or a full completion queue.
    #[cold]
    fn receive_ended(&mut self, fd: RawFd, result: i32) {
        if result > 0 {
            self.receive(fd);
        } else if -result == libc::ENOBUFS {
            self.connections[fd as usize].receive = Receive::Starved;
            self.starved.push(fd);
            self.feed();
        } else {
            self.connections[fd as usize].receive = Receive::Ended;
            self.end_when_done(fd);
        }
    }

    #[inline]
    fn send(&mut self, fd: RawFd, piece: &Piece) {
        // MSG_WAITALL: the kernel itself sends the rest after a short send.
        let to = Fd(self.connections[fd as usize].to);
        let send = opcode::Send::new(to, piece.address, piece.length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(user_data(SEND, piece.bid, fd));
        self.queues.push(&send);
    }

    /// A send that failed is left at that: the receive of its connection ends too.
    #[inline]
    fn sent(&mut self, fd: RawFd, bid: u16) {
        self.buffers.release(bid);
        if !self.starved.is_empty() {
            self.feed();
        }
        let connection = &mut self.connections[fd as usize];
        if let Some(piece) = connection.waiting.pop_front() {
            self.send(fd, &piece);
        } else {
            connection.sending = false;
            if connection.receive == Receive::Ended {
                self.end_when_done(fd);
            }
        }
        echoed();
    }

    /// Receives again where there was no buffer.
    #[cold]
    fn feed(&mut self) {
        if self.buffers.free > 0 {
            self.buffers.publish();
            for fd in std::mem::take(&mut self.starved) {
                self.receive(fd);
            }
        }
    }

    #[cold]
    fn end_when_done(&mut self, fd: RawFd) {
        let &Connection { sending, to, .. } = &self.connections[fd as usize];
        if sending {
            return;
        }
        if to != fd {
            // SAFETY: the call touches no memory; both descriptors are open until the process ends.
            unsafe { libc::shutdown(to, libc::SHUT_WR) };
            self.passing -= 1;
            return;
        }
        // SAFETY: the descriptor came from accept and is closed only here: its receive has ended,
        // its last send is done, and it is not looked at again before accept gives it anew.
        unsafe { libc::close(fd) };
        if !self.accepting {
            self.accept();
        }
    }
}
