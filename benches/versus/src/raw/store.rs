#![allow(unsafe_code)]
//! A table behind GET and SET of the Redis protocol, by hand on the ring: what `examples/kv` could
//! cost at least. It knows no other command, no expiry and no limit, and runs on one core. What is
//! no command to it keeps its connection silent.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use super::buffers::{Buffers, GROUP};
use super::queues::{Queues, build};
use super::{ACCEPT, RECV, SEND, user_data};
use crate::server::ServeOptions;

/// Serves, and sleeps in the kernel as soon as there is nothing to do.
pub(crate) fn serve(listener: TcpListener, _: &ServeOptions) -> io::Result<()> {
    let mut ring = build()?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let buffers = Buffers::new(&submitter)?;
    let mut server = Server {
        queues: Queues { submitter, queue },
        buffers,
        connections: Vec::new(),
        table: Table::default(),
    };
    server.accept(listener.as_raw_fd());
    loop {
        server.buffers.publish();
        server.queues.enter(&mut completions, false)?;
        for cqe in completions.by_ref() {
            let (result, flags, fd) = (cqe.result(), cqe.flags(), cqe.user_data() as u32 as RawFd);
            match cqe.user_data() >> 48 {
                RECV => server.received(fd, result, flags),
                SEND => server.sent(fd, result),
                _ => {
                    if result >= 0 {
                        server.connected(result);
                    }
                    if !cqueue::more(flags) {
                        server.accept(listener.as_raw_fd());
                    }
                }
            }
        }
    }
}

type Table = HashMap<Vec<u8>, Vec<u8>, BuildHasherDefault<Fnv>>;

#[derive(Default)]
struct Connection {
    /// The beginning of a command whose rest has not come.
    begun: Vec<u8>,
    replies: Vec<u8>,
    /// What the kernel sends from.
    sending: Vec<u8>,
    is_sending: bool,
    has_ended: bool,
}

struct Server<'ring> {
    queues: Queues<'ring>,
    buffers: Buffers,
    /// By descriptor.
    connections: Vec<Connection>,
    table: Table,
}

impl Server<'_> {
    #[cold]
    fn accept(&mut self, listener: RawFd) {
        let accept = opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC);
        self.queues
            .push(&accept.build().user_data(user_data(ACCEPT, 0, 0)));
    }

    #[cold]
    fn connected(&mut self, fd: RawFd) {
        if self.connections.len() <= fd as usize {
            self.connections
                .resize_with(fd as usize + 1, Connection::default);
        }
        self.connections[fd as usize] = Connection::default();
        self.receive(fd);
    }

    #[cold]
    fn receive(&mut self, fd: RawFd) {
        let recv = opcode::RecvMulti::new(Fd(fd), GROUP).build();
        self.queues.push(&recv.user_data(user_data(RECV, 0, fd)));
    }

    #[inline]
    fn received(&mut self, fd: RawFd, result: i32, flags: u32) {
        let connection = &mut self.connections[fd as usize];
        if result > 0 {
            let bid = cqueue::buffer_select(flags).expect("bytes come in a buffer");
            let piece = self.buffers.take(bid, result as u32, flags);
            // SAFETY: the kernel has filled these bytes, and does not touch them before the piece
            // is released.
            let bytes = unsafe { std::slice::from_raw_parts(piece.address, piece.length as usize) };
            if connection.begun.is_empty() {
                let used = run(bytes, &mut self.table, &mut connection.replies);
                if used < bytes.len() {
                    connection.begun.extend_from_slice(&bytes[used..]);
                }
            } else {
                connection.begun.extend_from_slice(bytes);
                let used = run(&connection.begun, &mut self.table, &mut connection.replies);
                connection.begun.drain(..used);
            }
            self.buffers.release(bid);
            self.send(fd);
        } else {
            connection.has_ended = result != -libc::ENOBUFS;
        }
        if !cqueue::more(flags) {
            match self.connections[fd as usize].has_ended {
                true => self.end_when_done(fd),
                false => self.receive(fd),
            }
        }
    }

    #[inline]
    fn send(&mut self, fd: RawFd) {
        let connection = &mut self.connections[fd as usize];
        if connection.is_sending || connection.replies.is_empty() {
            return;
        }
        connection.is_sending = true;
        mem::swap(&mut connection.replies, &mut connection.sending);
        let (address, length) = (connection.sending.as_ptr(), connection.sending.len());
        let send = opcode::Send::new(Fd(fd), address, length as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(user_data(SEND, 0, fd));
        self.queues.push(&send);
    }

    #[inline]
    fn sent(&mut self, fd: RawFd, result: i32) {
        let connection = &mut self.connections[fd as usize];
        connection.is_sending = false;
        connection.sending.clear();
        if result < 0 {
            connection.replies.clear();
        }
        self.send(fd);
        if self.connections[fd as usize].has_ended {
            self.end_when_done(fd);
        }
    }

    #[cold]
    fn end_when_done(&mut self, fd: RawFd) {
        if !self.connections[fd as usize].is_sending {
            // SAFETY: the descriptor came from accept and is closed only here, when its receive
            // has ended and its last send is done.
            unsafe { libc::close(fd) };
        }
    }
}

/// Runs the commands that are there whole; how many bytes they had.
fn run(bytes: &[u8], table: &mut Table, replies: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while let Some((args, count, len)) = command(&bytes[used..]) {
        match (&args[..count], args[0]) {
            ([_, key], b"GET") => match table.get(*key) {
                Some(value) => {
                    replies.push(b'$');
                    number(value.len(), replies);
                    replies.extend_from_slice(value);
                    replies.extend_from_slice(b"\r\n");
                }
                None => replies.extend_from_slice(b"$-1\r\n"),
            },
            ([_, key, value], b"SET") => {
                match table.get_mut(*key) {
                    Some(old) => {
                        old.clear();
                        old.extend_from_slice(value);
                    }
                    None => {
                        table.insert(key.to_vec(), value.to_vec());
                    }
                }
                replies.extend_from_slice(b"+OK\r\n");
            }
            ([_], b"PING") => replies.extend_from_slice(b"+PONG\r\n"),
            _ => replies.extend_from_slice(b"-ERR unknown command\r\n"),
        }
        used += len;
    }
    used
}

/// The first command, how many arguments it has, and how long it is. `None` if it is not there
/// whole, or no command.
#[inline]
fn command(bytes: &[u8]) -> Option<([&[u8]; 3], usize, usize)> {
    let (count, mut at) = header(bytes, b'*')?;
    let mut args = [&bytes[..0]; 3];
    for arg in args.get_mut(..count)? {
        let (len, skip) = header(bytes.get(at..)?, b'$')?;
        at += skip;
        *arg = bytes.get(at..at + len)?;
        at += len + 2;
    }
    (at <= bytes.len()).then_some((args, count, at))
}

/// The number in a line that begins with `mark`, and the length of that line.
#[inline]
fn header(bytes: &[u8], mark: u8) -> Option<(usize, usize)> {
    if *bytes.first()? != mark {
        return None;
    }
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => number = number * 10 + usize::from(byte - b'0'),
            _ => return (bytes.len() > at + 1).then_some((number, at + 2)),
        }
    }
    None
}

#[inline]
fn number(number: usize, to: &mut Vec<u8>) {
    if number < 10 {
        to.push(b'0' + number as u8);
    } else {
        to.extend_from_slice(number.to_string().as_bytes());
    }
    to.extend_from_slice(b"\r\n");
}

/// FNV-1a: short, and good enough for keys that nobody chose to collide.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered if the bytes come in two pieces, cut at each place in turn.
    fn answers(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for cut in 0..=bytes.len() {
            let (mut table, mut replies) = (Table::default(), Vec::new());
            let used = run(&bytes[..cut], &mut table, &mut replies);
            let used = used + run(&bytes[used..], &mut table, &mut replies);
            assert_eq!(used, bytes.len());
            all.push(replies);
        }
        all.dedup();
        assert_eq!(all.len(), 1, "it depends on where they are cut");
        all.remove(0)
    }

    #[test]
    fn what_was_set_is_got_and_nothing_else() {
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$11\r\nhello world\r\n";
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        let other = b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n";
        let all = [
            &get[..],
            set,
            get,
            other,
            b"*1\r\n$4\r\nPING\r\n",
            b"*1\r\n$3\r\nGET\r\n",
        ];
        let expected =
            "$-1\r\n+OK\r\n$11\r\nhello world\r\n$-1\r\n+PONG\r\n-ERR unknown command\r\n";
        assert_eq!(answers(&all.concat()), expected.as_bytes());
    }
}
