#![allow(unsafe_code)]
//! Answers of a turn that go to one address: one message, which the kernel cuts into datagrams
//! again (GSO).

use std::ptr;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fd;

/// Datagrams that the kernel cuts one message into at most, before 6.9.
const DATAGRAMS_MAX: usize = 64;
/// The longest message: a datagram by IPv4.
const BYTES_MAX: usize = 65_507;

/// A datagram in a buffer of the ring, and the name of who has sent it beside it.
#[derive(Clone, Copy)]
pub(super) struct Datagram {
    pub(super) bid: u16,
    pub(super) name: (*const u8, usize),
    pub(super) payload: (*const u8, usize),
}

impl Datagram {
    fn name(&self) -> &[u8] {
        // SAFETY: the name lies in the datagram's buffer, which is the server's until it is
        // released.
        unsafe { std::slice::from_raw_parts(self.name.0, self.name.1) }
    }

    pub(super) fn send(&self, fd: Fd) -> Entry {
        opcode::Send::new(fd, self.payload.0, self.payload.1 as u32)
            .dest_addr(self.name.0.cast())
            .dest_addr_len(self.name.1 as libc::socklen_t)
            .build()
    }
}

/// How many of `answers` can go together: those to the first one's address, all of its length but
/// for the last, which may be shorter.
pub(super) fn together(answers: &[Datagram]) -> usize {
    let first = &answers[0];
    let segment = first.payload.1;
    let mut count = 1;
    for next in &answers[1..answers.len().min(DATAGRAMS_MAX)] {
        let length = next.payload.1;
        let fits = (count + 1) * segment <= BYTES_MAX;
        if !fits || length > segment || length == 0 || next.name() != first.name() {
            break;
        }
        count += 1;
        if length < segment {
            break;
        }
    }
    count
}

/// What the kernel reads of a message of several datagrams. It is used again and again.
pub(super) struct Message {
    header: libc::msghdr,
    vectors: [libc::iovec; DATAGRAMS_MAX],
    control: Control,
    /// The buffers that are sent.
    pub(super) bids: Vec<u16>,
}

#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

impl Message {
    pub(super) fn new() -> Box<Self> {
        // SAFETY: all of these are integers and pointers, of which zero is a value.
        let (header, control) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let vector = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Box::new(Self {
            header,
            vectors: [vector; DATAGRAMS_MAX],
            control,
            bids: Vec::with_capacity(DATAGRAMS_MAX),
        })
    }

    /// The send of `answers`. `self` stays where it is until that has ended.
    pub(super) fn send(&mut self, fd: Fd, answers: &[Datagram]) -> Entry {
        self.bids.clear();
        for (vector, answer) in self.vectors.iter_mut().zip(answers) {
            vector.iov_base = answer.payload.0.cast_mut().cast();
            vector.iov_len = answer.payload.1;
            self.bids.push(answer.bid);
        }
        let first = &answers[0];
        self.control.header.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<u16>();
        self.control.header.cmsg_level = libc::SOL_UDP;
        self.control.header.cmsg_type = libc::UDP_SEGMENT;
        self.control.segment = first.payload.1 as u16;
        self.header.msg_name = first.name.0.cast_mut().cast();
        self.header.msg_namelen = first.name.1 as libc::socklen_t;
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = answers.len();
        self.header.msg_control = (&raw mut self.control).cast();
        self.header.msg_controllen = size_of::<Control>();
        opcode::SendMsg::new(fd, &raw const self.header).build()
    }
}
