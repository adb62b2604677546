#![allow(unsafe_code)]
//! raw, for datagrams: one multishot receive per socket, which brings the sender's address with
//! each; what came goes back from where the kernel put it, to the address that lies beside it. One
//! enter per turn submits all sends and reaps all that is done. Answers of one turn that follow
//! each other to one address are one message, which the kernel cuts.
//!
//! With trains, the kernel hands over a train of datagrams as one, with their common length in a
//! control message, and cuts one send into as many as that. The length is an option of the socket,
//! set when it changes: so that a send needs no control message of its own.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use io_uring::types::{Fd, RecvMsgOut};
use io_uring::{cqueue, opcode};

use crate::raw::answers::{Datagram, Message, together};
use crate::raw::buffers::{Buffers, GROUP};
use crate::raw::queues::{Queues, build};
use crate::server::{ServeOptions, echoed};
use crate::sys;

const RECV: u64 = 1;
const SEND: u64 = 2;
const SEND_TOGETHER: u64 = 3;

/// `struct io_uring_recvmsg_out`.
const HEADER: u32 = 16;
const NAME: u32 = size_of::<libc::sockaddr_in>() as u32;
/// Of a cmsghdr and an int behind it, aligned as the kernel does it.
const CONTROL: usize = size_of::<libc::cmsghdr>() + 8;
/// Both are powers of two: as many as can be on the way to 64 sockets, and in trains.
const BUFFERS: u16 = 2048;
const TRAINS: u16 = 128;

/// Echoes datagrams.
pub(crate) fn serve(sockets: Vec<UdpSocket>, options: &ServeOptions) -> io::Result<()> {
    run(sockets, BUFFERS, HEADER + NAME + options.buffer as u32, 0)
}

/// Echoes trains of datagrams.
pub(crate) fn serve_trains(sockets: Vec<UdpSocket>, options: &ServeOptions) -> io::Result<()> {
    for socket in &sockets {
        sys::set_udp_gro(socket.as_fd())?;
    }
    let size = HEADER + NAME + CONTROL as u32 + options.buffer as u32;
    run(sockets, TRAINS, size, CONTROL)
}

fn run(sockets: Vec<UdpSocket>, count: u16, size: u32, control: usize) -> io::Result<()> {
    let mut ring = build()?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    // An odd number of cache lines, or the beginnings of all of them would share a few sets.
    let lines = size.div_ceil(64) | 1;
    let buffers = Buffers::whole(&submitter, count, lines * 64)?;
    // SAFETY: a msghdr is integers and pointers, of which zero is a value.
    let mut template: libc::msghdr = unsafe { std::mem::zeroed() };
    template.msg_namelen = NAME;
    template.msg_controllen = control;
    let mut server = Server {
        queues: Queues { submitter, queue },
        buffers,
        // The kernel reads it when a receive is armed, and it is armed for as long as we live.
        template: Box::leak(Box::new(template)),
        sockets: sockets.into_iter().map(Socket::new).collect(),
        starved: Vec::new(),
        answering: Vec::new(),
        messages: Vec::new(),
        free: Vec::new(),
    };
    for index in 0..server.sockets.len() {
        server.receive(index as u32);
    }
    loop {
        server.send_answers();
        server.buffers.publish();
        server.queues.enter(&mut completions, false)?;
        for cqe in completions.by_ref() {
            let index = cqe.user_data() as u32;
            match cqe.user_data() >> 48 {
                RECV => server.received(index, cqe.result(), cqe.flags())?,
                SEND_TOGETHER => server.sent_together(index, cqe.result())?,
                _ => server.sent((cqe.user_data() >> 32) as u16, cqe.result())?,
            }
        }
    }
}

struct Socket {
    socket: UdpSocket,
    /// The option's value.
    segment: u16,
    /// What has come in this turn and goes back.
    answers: Vec<Datagram>,
}

impl Socket {
    fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            segment: 0,
            answers: Vec::new(),
        }
    }
}

struct Server<'ring> {
    queues: Queues<'ring>,
    buffers: Buffers,
    template: &'static libc::msghdr,
    sockets: Vec<Socket>,
    /// Sockets whose receive found no buffer.
    starved: Vec<u32>,
    /// Sockets that have answers.
    answering: Vec<u32>,
    /// Messages of several datagrams, and those that are not on their way. Boxed: the kernel reads
    /// them where they are.
    #[expect(clippy::vec_box, reason = "they may not move when the list grows")]
    messages: Vec<Box<Message>>,
    free: Vec<u32>,
}

impl Server<'_> {
    fn receive(&mut self, index: u32) {
        let fd = Fd(self.sockets[index as usize].socket.as_raw_fd());
        let recv = opcode::RecvMsgMulti::new(fd, self.template, GROUP).build();
        self.queues
            .push(&recv.user_data(RECV << 48 | u64::from(index)));
    }

    #[inline]
    fn received(&mut self, index: u32, result: i32, flags: u32) -> io::Result<()> {
        if result > 0 {
            self.answer(index, result as u32, flags)?;
        } else if -result != libc::ENOBUFS {
            return Err(io::Error::from_raw_os_error(-result));
        }
        if !cqueue::more(flags) {
            self.starved.push(index);
            self.feed();
        }
        Ok(())
    }

    #[inline]
    fn answer(&mut self, index: u32, length: u32, flags: u32) -> io::Result<()> {
        let bid = cqueue::buffer_select(flags).expect("a datagram comes in a buffer");
        let piece = self.buffers.take(bid, length, flags);
        // SAFETY: the kernel says that it has filled so many bytes of this buffer, which is mapped
        // for ever, and does not touch it before its piece is released.
        let filled = unsafe { std::slice::from_raw_parts(piece.address, length as usize) };
        let message = RecvMsgOut::parse(filled, self.template)
            .map_err(|()| io::Error::other("a datagram without its header"))?;
        if message.is_payload_truncated() {
            return Err(io::Error::other("a datagram is longer than a buffer"));
        }
        let socket = &mut self.sockets[index as usize];
        if let Some(segment) = segment(message.control_data()).filter(|&s| s != socket.segment) {
            sys::set_udp_segment(socket.socket.as_fd(), segment)?;
            socket.segment = segment;
        }
        let (name, payload) = (message.name_data(), message.payload_data());
        if socket.answers.is_empty() {
            self.answering.push(index);
        }
        socket.answers.push(Datagram {
            bid,
            name: (name.as_ptr(), name.len()),
            payload: (payload.as_ptr(), payload.len()),
        });
        Ok(())
    }

    /// Sends what has come in this turn. A train that the kernel has joined goes by itself.
    fn send_answers(&mut self) {
        for index in self.answering.drain(..) {
            let socket = &mut self.sockets[index as usize];
            let fd = Fd(socket.socket.as_raw_fd());
            let mut rest = &socket.answers[..];
            while !rest.is_empty() {
                let count = if socket.segment == 0 {
                    together(rest)
                } else {
                    1
                };
                let (answers, others) = rest.split_at(count);
                rest = others;
                let send = if let [answer] = answers {
                    let bid = u64::from(answer.bid);
                    answer.send(fd).user_data(SEND << 48 | bid << 32)
                } else {
                    let number = self.free.pop().unwrap_or_else(|| {
                        self.messages.push(Message::new());
                        self.messages.len() as u32 - 1
                    });
                    let send = self.messages[number as usize].send(fd, answers);
                    send.user_data(SEND_TOGETHER << 48 | u64::from(number))
                };
                self.queues.push(&send);
            }
            socket.answers.clear();
        }
    }

    fn sent_together(&mut self, number: u32, result: i32) -> io::Result<()> {
        self.free.push(number);
        for at in 0..self.messages[number as usize].bids.len() {
            let bid = self.messages[number as usize].bids[at];
            self.sent(bid, result)?;
        }
        Ok(())
    }

    #[inline]
    fn sent(&mut self, bid: u16, result: i32) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        self.buffers.release(bid);
        if !self.starved.is_empty() {
            self.feed();
        }
        echoed();
        Ok(())
    }

    /// Receives again where there was no buffer, or no room for a completion.
    #[cold]
    fn feed(&mut self) {
        if self.buffers.free > 0 {
            self.buffers.publish();
            for index in std::mem::take(&mut self.starved) {
                self.receive(index);
            }
        }
    }
}

/// The length of each datagram of a train, where the kernel says one.
#[inline]
fn segment(control: &[u8]) -> Option<u16> {
    let (header, data) = control.split_at_checked(size_of::<libc::cmsghdr>())?;
    // SAFETY: so many bytes are there, and every value of them is a cmsghdr.
    let header = unsafe { ptr::read_unaligned(header.as_ptr().cast::<libc::cmsghdr>()) };
    let is_it = header.cmsg_level == libc::SOL_UDP && header.cmsg_type == libc::UDP_GRO;
    let length = i32::from_ne_bytes(*data.first_chunk()?);
    is_it.then(|| u16::try_from(length).ok())?
}
