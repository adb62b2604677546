//! The load of `udp`: sockets that each keep some datagrams on the way, on one thread.
//!
//! An answer is told from others by its bytes: it is right if it equals one that is waited for, and
//! then no longer waited for. Answers may overtake each other. After a quarter of a second without
//! an answer another datagram is sent instead; one that has none at the end is lost.
//!
//! With trains, a request is a number of datagrams that the kernel cuts from one send, and the
//! answer may come in pieces, but in order.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::{Event, LoadRing, Wait};
use crate::load::{Window, new_histogram};
use crate::pattern::Cursor;
use crate::sys;

/// Datagrams that each socket keeps on the way.
pub(crate) const OUTSTANDING: usize = 16;
const LOST: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(20);
/// Requests of a socket that were given up, and may still be answered.
const LATE_MAX: usize = 256;

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// One by one.
    Single,
    /// [`OUTSTANDING`] of them as one.
    Train,
}

/// Sockets that talk to one server.
pub(crate) struct Datagrams {
    ring: LoadRing,
    sockets: Vec<Conversation>,
    /// Of a datagram.
    bytes: usize,
    shape: Shape,
    wait: Wait,
    completed: u64,
    /// A socket for each request that is to be sent, and those to receive on again.
    idle: Vec<u32>,
    disarmed: Vec<u32>,
    /// Datagrams that were given up.
    late: u64,
    latency: Histogram<u64>,
    since: Instant,
    looked: Instant,
}

struct Conversation {
    socket: UdpSocket,
    asked: Cursor,
    /// What is waited for, the oldest first.
    waiting: VecDeque<Request>,
    late: VecDeque<Cursor>,
}

struct Request {
    cursor: Cursor,
    sent: Instant,
}

impl Datagrams {
    /// Sockets on this side for as many on the other, which come back for the server. None has
    /// sent anything.
    pub(crate) fn new(
        sockets: usize,
        bytes: usize,
        shape: Shape,
        wait: Wait,
    ) -> io::Result<(Self, Vec<UdpSocket>)> {
        let message = match shape {
            Shape::Single => bytes,
            Shape::Train => bytes * OUTSTANDING,
        };
        // A byte too many has to be seen.
        let ring = LoadRing::new(
            (sockets * OUTSTANDING).next_power_of_two() as u16,
            message + 64,
        )?;
        let mut load = Self {
            ring,
            sockets: Vec::new(),
            bytes,
            shape,
            wait,
            completed: 0,
            idle: Vec::new(),
            disarmed: Vec::new(),
            late: 0,
            latency: new_histogram(),
            since: Instant::now(),
            looked: Instant::now(),
        };
        let mut others = Vec::new();
        for tag in 0..sockets as u32 {
            let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(other.local_addr()?)?;
            if shape == Shape::Train {
                sys::set_udp_segment(socket.as_fd(), bytes as u16)?;
                sys::set_udp_gro(socket.as_fd())?;
            }
            load.ring.receive_all(socket.as_fd(), tag)?;
            load.idle.push(tag);
            load.sockets.push(Conversation {
                socket,
                asked: Cursor::new(tag),
                waiting: VecDeque::new(),
                late: VecDeque::new(),
            });
            others.push(other);
        }
        Ok((load, others))
    }

    /// Waits until each socket has had an answer; from then on each keeps its number on the way.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let first = self.idle.len() as u64 * self.datagrams_each();
        self.submit()?;
        while self.completed < first {
            self.ring.turn(Wait::Sleep)?;
            self.complete()?;
        }
        if self.shape == Shape::Single {
            self.idle = self.idle.repeat(OUTSTANDING);
        }
        Ok(())
    }

    fn datagrams_each(&self) -> u64 {
        (self.message() / self.bytes) as u64
    }

    fn message(&self) -> usize {
        match self.shape {
            Shape::Single => self.bytes,
            Shape::Train => self.bytes * OUTSTANDING,
        }
    }

    /// Sends for a while; those on the way at the end stay there. What was answered, and how many
    /// datagrams were not for a quarter of a second.
    ///
    /// # Errors
    ///
    /// A wrong answer, one that comes twice, a refusal, a server that is silent.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<(Window, u64)> {
        (self.completed, self.late) = (0, 0);
        self.latency.reset();
        self.since = Instant::now();
        while self.since.elapsed() < time {
            self.submit()?;
            match self.ring.turn_within(self.wait, LOST) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                outcome => outcome?,
            }
            self.complete()?;
            self.look()?;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        Ok((
            Window::new(self.completed, seconds, &self.latency),
            self.late,
        ))
    }

    fn submit(&mut self) -> io::Result<()> {
        for tag in self.disarmed.drain(..) {
            let socket = self.sockets[tag as usize].socket.as_fd();
            self.ring.receive_all(socket, tag)?;
        }
        let (message, now) = (self.message(), Instant::now());
        for tag in self.idle.drain(..) {
            let conversation = &mut self.sockets[tag as usize];
            let request = conversation.asked.next(message);
            conversation.waiting.push_back(Request {
                cursor: conversation.asked,
                sent: now,
            });
            self.ring.send(conversation.socket.as_fd(), request, tag)?;
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        let (now, message, bytes_each) = (Instant::now(), self.message(), self.bytes);
        let Self {
            sockets,
            completed,
            idle,
            disarmed,
            latency,
            since,
            ..
        } = self;
        let mut outcome = Ok(());
        self.ring.drain(|event| match event {
            Event::Received { tag, bytes, armed } => {
                if !armed {
                    disarmed.push(tag);
                }
                let conversation = &mut sockets[tag as usize];
                let taken = if bytes.len().is_multiple_of(bytes_each) {
                    conversation.take(bytes, message)
                } else {
                    Taken::Wrong
                };
                match taken {
                    Taken::Whole(request) => {
                        idle.push(tag);
                        if request.sent >= *since {
                            latency.saturating_record((now - request.sent).as_nanos() as u64);
                        }
                    }
                    Taken::Piece => {}
                    Taken::Late => return,
                    Taken::Wrong => {
                        outcome = Err(failure(tag, "the answer is not what was sent"));
                        return;
                    }
                }
                *completed += (bytes.len() / bytes_each) as u64;
            }
            Event::Starved { tag } => disarmed.push(tag),
            Event::Failed { tag, error } => outcome = Err(failure(tag, error)),
        });
        outcome
    }

    /// Gives up what is late.
    fn look(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now - self.looked < LOOK {
            return Ok(());
        }
        self.looked = now;
        let message = self.message();
        for (tag, conversation) in (0..).zip(&mut self.sockets) {
            while let Some(request) = conversation.waiting.front()
                && now - request.sent > LOST
            {
                self.late += (request.cursor.left(message) / self.bytes) as u64;
                conversation.late.push_back(request.cursor);
                conversation.waiting.pop_front();
                self.idle.push(tag);
                if conversation.late.len() > LATE_MAX {
                    return Err(failure(tag, "most of its datagrams are not answered"));
                }
            }
        }
        Ok(())
    }

    /// Waits for what is on the way; how many datagrams were lost since the beginning. The kernel
    /// holds none of the receives when this returns.
    pub(crate) fn close(mut self) -> io::Result<u64> {
        let since = Instant::now();
        while self.unanswered() > 0 && since.elapsed() < 2 * LOST {
            match self.ring.turn_within(Wait::Sleep, LOST) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                outcome => outcome?,
            }
            self.complete()?;
            for tag in self.disarmed.drain(..) {
                let socket = self.sockets[tag as usize].socket.as_fd();
                self.ring.receive_all(socket, tag)?;
            }
        }
        self.ring.cancel_all()?;
        while self.ring.armed() > 0 {
            self.ring.turn(Wait::Sleep)?;
            self.ring.drain(|_| ());
        }
        Ok(self.unanswered())
    }

    fn unanswered(&self) -> u64 {
        let message = self.message();
        let of_one = |conversation: &Conversation| {
            let late = conversation.late.iter();
            let waiting = conversation.waiting.iter().map(|request| &request.cursor);
            let cursors = late.chain(waiting);
            cursors.map(|cursor| cursor.left(message)).sum::<usize>()
        };
        let bytes: usize = self.sockets.iter().map(of_one).sum();
        (bytes / self.bytes) as u64
    }
}

/// What an answer is.
enum Taken {
    /// All, or the rest, of what a request waits for.
    Whole(Request),
    /// Some of it.
    Piece,
    /// Of a request that was given up.
    Late,
    Wrong,
}

impl Conversation {
    fn take(&mut self, bytes: &[u8], message: usize) -> Taken {
        for (index, request) in self.waiting.iter_mut().enumerate() {
            let mut cursor = request.cursor;
            if !cursor.accepts(bytes, message) || bytes.is_empty() {
                continue;
            }
            if cursor.left(message) > 0 {
                request.cursor = cursor;
                return Taken::Piece;
            }
            let request = self.waiting.remove(index).expect("it was just found");
            return Taken::Whole(request);
        }
        for (index, late) in self.late.iter_mut().enumerate() {
            let mut cursor = *late;
            if cursor.accepts(bytes, message) {
                *late = cursor;
                if cursor.left(message) == 0 {
                    self.late.remove(index);
                }
                return Taken::Late;
            }
        }
        Taken::Wrong
    }
}

fn failure(tag: u32, what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("socket {tag} of the load: {what}"))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A load of two sockets, answered from threads that have their way with every answer.
    fn load(shape: Shape, answer: fn(&UdpSocket, &mut [u8], std::net::SocketAddr)) -> Datagrams {
        let (load, others) =
            Datagrams::new(2, 100, shape, Wait::Sleep).expect("sockets on loopback");
        for other in others {
            let patience = Some(Duration::from_millis(500));
            other.set_read_timeout(patience).expect("it is no zero");
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = other.recv_from(&mut buffer) {
                    answer(&other, &mut buffer[..length], from);
                }
            });
        }
        load
    }

    fn send(socket: &UdpSocket, bytes: &[u8], to: std::net::SocketAddr) {
        socket.send_to(bytes, to).expect("loopback takes it");
    }

    #[test]
    fn an_honest_server_answers_single_datagrams_and_trains() {
        for shape in [Shape::Single, Shape::Train] {
            let mut load = load(shape, |socket, bytes, to| send(socket, bytes, to));
            load.begin().expect("each socket has an answer");
            let (window, late) = load.run(Duration::from_millis(50)).expect("answers");
            assert!(window.requests > 0 && window.latency_us(0.5) > 0.0);
            assert_eq!((late, load.close().expect("it can be closed")), (0, 0));
        }
    }

    #[test]
    fn a_byte_that_was_changed_is_found_out() {
        let mut load = load(Shape::Single, |socket, bytes, to| {
            bytes[99] ^= 1;
            send(socket, bytes, to);
        });
        let error = load.begin().expect_err("the first answer is wrong");
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn an_answer_that_is_cut_off_is_found_out() {
        let mut load = load(Shape::Single, |socket, bytes, to| {
            send(socket, &bytes[..99], to);
        });
        let error = load.begin().expect_err("the first answer is short");
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn an_answer_that_comes_twice_is_found_out() {
        let mut load = load(Shape::Single, |socket, bytes, to| {
            send(socket, bytes, to);
            send(socket, bytes, to);
        });
        let outcome = load.begin().and_then(|()| load.run(LOST));
        let error = outcome.map(drop).expect_err("nobody waits for it");
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn datagrams_without_an_answer_are_counted_and_others_are_sent() {
        let mut load = load(Shape::Single, |socket, bytes, to| {
            // One of sixteen, as the pattern is random.
            if bytes[0].is_multiple_of(16) {
                return;
            }
            send(socket, bytes, to);
        });
        load.begin()
            .expect("the pattern's first bytes are answered");
        let (window, late) = load.run(3 * LOST).expect("the others are answered");
        let lost = load.close().expect("it can be closed");
        assert!(
            window.requests > 0 && 0 < late && late <= lost,
            "{late}, {lost}"
        );
    }
}
