//! The echo load: connections that each keep one request in flight, on one thread.

use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{io, iter};

use hdrhistogram::Histogram;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::client::{Event, LoadRing, Wait};
use crate::pattern::Cursor;
use crate::sys;

/// For every socket of every column: the machine's default may pace, which costs timers.
pub(crate) const CONGESTION: &[u8] = b"reno";

/// How many connections are opened and echoed on at once.
const OPENING: usize = 64;

/// What one stretch of load came to.
pub(crate) struct Window {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    latency: Histogram<u64>,
}

impl Window {
    pub(crate) fn new(requests: u64, seconds: f64, latency: &Histogram<u64>) -> Self {
        Self {
            requests,
            seconds,
            latency: latency.clone(),
        }
    }

    pub(crate) fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// Connections to one server.
pub(crate) struct Load {
    ring: LoadRing,
    connections: Vec<Connection>,
    message: usize,
    wait: Wait,
    /// Requests that may still be sent.
    left: u64,
    completed: u64,
    /// The answer to each of two connections comes on the other.
    crossed: bool,
    /// Connections to send on, and to receive on again, in the next turn.
    idle: Vec<u32>,
    disarmed: Vec<u32>,
    latency: Histogram<u64>,
    /// Latencies of requests that were sent earlier are not recorded.
    since: Instant,
}

struct Connection {
    socket: Socket,
    /// The newest request.
    asked: Cursor,
    /// The one that is being answered: the same, unless several are on the way.
    answered: Cursor,
    /// Requests that are not answered.
    outstanding: u32,
    /// When the newest was sent.
    sent: Instant,
}

impl Connection {
    fn new(socket: Socket, tag: u32, message: usize) -> Self {
        let mut answered = Cursor::new(tag);
        answered.next(message);
        Self {
            socket,
            asked: Cursor::new(tag),
            answered,
            outstanding: 0,
            sent: Instant::now(),
        }
    }

    fn ask(&mut self, message: usize, now: Instant) -> &'static [u8] {
        self.outstanding += 1;
        self.sent = now;
        self.asked.next(message)
    }

    /// How many answers are complete with these bytes; `None` if they are not what has to come.
    fn take(&mut self, mut bytes: &[u8], message: usize) -> Option<u32> {
        let mut complete = 0;
        while !bytes.is_empty() {
            let piece = bytes.split_off(..bytes.len().min(self.answered.left(message)))?;
            if self.outstanding == 0 || !self.answered.accepts(piece, message) {
                return None;
            }
            if self.answered.left(message) == 0 {
                self.answered.next(message);
                self.outstanding -= 1;
                complete += 1;
            }
        }
        Some(complete)
    }
}

impl Load {
    /// Opens the connections; each has echoed one message when this returns.
    pub(crate) fn connect(
        server: &SockAddr,
        connections: usize,
        message: usize,
        wait: Wait,
    ) -> io::Result<Self> {
        // One buffer for each connection is the most that can be in use, and few are cached best.
        let buffers = connections.clamp(OPENING, 4096).next_power_of_two() as u16;
        let mut load = Self::new(buffers, message)?;
        while load.connections.len() < connections {
            let opened = OPENING.min(connections - load.connections.len());
            for _ in 0..opened {
                load.open(server)?;
            }
            load.run_exactly(opened as u64)?;
        }
        load.wait = wait;
        Ok(load)
    }

    /// Opens connections that each keep `depth` requests on the way. Each echoes one at first.
    pub(crate) fn streams(
        server: &SockAddr,
        connections: usize,
        message: usize,
        depth: usize,
    ) -> io::Result<Self> {
        let mut load = Self::connect(server, connections, message, Wait::Sleep)?;
        for (tag, connection) in (0..).zip(&load.connections) {
            // A send that had to wait for room could be overtaken by the next.
            connection
                .socket
                .set_send_buffer_size(2 * depth * message)?;
            load.idle.extend(iter::repeat_n(tag, depth - 1));
        }
        Ok(load)
    }

    fn new(buffers: u16, message: usize) -> io::Result<Self> {
        Ok(Self {
            ring: LoadRing::new(buffers, message.max(256))?,
            connections: Vec::new(),
            message,
            wait: Wait::Sleep,
            left: 0,
            completed: 0,
            crossed: false,
            idle: Vec::new(),
            disarmed: Vec::new(),
            latency: new_histogram(),
            since: Instant::now(),
        })
    }

    /// Two connections to a proxy, each with `depth` messages on the way to the other.
    pub(crate) fn through(sockets: [Socket; 2], message: usize, depth: usize) -> io::Result<Self> {
        const BUFFERS: u16 = 8;
        let mut load = Self::new(BUFFERS, message)?;
        load.crossed = true;
        for (tag, socket) in (0..).zip(sockets) {
            // As of streams.
            socket.set_send_buffer_size(2 * depth * message)?;
            load.ring.receive_all(socket.as_fd(), tag)?;
            load.idle.extend(iter::repeat_n(tag, depth));
            load.connections.push(Connection::new(socket, tag, message));
        }
        Ok(load)
    }

    fn open(&mut self, server: &SockAddr) -> io::Result<()> {
        let tag = self.connections.len() as u32;
        let socket = connected(server, tag)?;
        self.ring.receive_all(socket.as_fd(), tag)?;
        // The newest is idle, and the last to get into the queue is the first to send: so that
        // each connection echoes once while they are opened.
        self.idle.push(tag);
        self.connections
            .push(Connection::new(socket, tag, self.message));
        Ok(())
    }

    /// Sends requests for a while. Those in flight at the end stay in flight.
    ///
    /// # Errors
    ///
    /// A wrong byte, a closed connection, a server that is silent.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Window> {
        self.begin(u64::MAX);
        while self.since.elapsed() < time {
            self.turn()?;
        }
        Ok(self.window())
    }

    /// Sends `requests` requests and waits for all answers.
    pub(crate) fn run_exactly(&mut self, requests: u64) -> io::Result<Window> {
        self.begin(requests);
        while self.completed < requests {
            self.turn()?;
        }
        Ok(self.window())
    }

    fn begin(&mut self, requests: u64) {
        self.left = requests;
        self.completed = 0;
        self.latency.reset();
        self.since = Instant::now();
    }

    fn window(&mut self) -> Window {
        let seconds = self.since.elapsed().as_secs_f64();
        self.left = 0;
        Window::new(self.completed, seconds, &self.latency)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.submit()?;
        self.ring.turn(self.wait)?;
        self.complete()
    }

    fn submit(&mut self) -> io::Result<()> {
        for tag in self.disarmed.drain(..) {
            self.ring
                .receive_all(self.connections[tag as usize].socket.as_fd(), tag)?;
        }
        let now = Instant::now();
        while self.left > 0 {
            let Some(tag) = self.idle.pop() else { break };
            self.left -= 1;
            let connection = &mut self.connections[tag as usize];
            let request = connection.ask(self.message, now);
            self.ring.send(connection.socket.as_fd(), request, tag)?;
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let Self {
            connections,
            message,
            completed,
            crossed,
            idle,
            disarmed,
            latency,
            since,
            ..
        } = self;
        let mut outcome = Ok(());
        self.ring.drain(|event| match event {
            Event::Received { tag, bytes: [], .. } => {
                outcome = Err(failure(tag, "the server closed the connection"));
            }
            Event::Received { tag, bytes, armed } => {
                let asked = if *crossed { tag ^ 1 } else { tag };
                let connection = &mut connections[asked as usize];
                let Some(complete) = connection.take(bytes, *message) else {
                    outcome = Err(failure(tag, "the answer is not what was sent"));
                    return;
                };
                if !armed {
                    disarmed.push(tag);
                }
                for _ in 0..complete {
                    *completed += 1;
                    idle.push(asked);
                    if connection.sent >= *since {
                        let nanoseconds = (now - connection.sent).as_nanos() as u64;
                        latency.saturating_record(nanoseconds);
                    }
                }
            }
            Event::Starved { tag } => disarmed.push(tag),
            Event::Failed { tag, error } => outcome = Err(failure(tag, error)),
        });
        outcome
    }

    /// Ends what is sent, and sees that it is the end on the other side, too.
    ///
    /// # Errors
    ///
    /// Bytes that nobody has sent, a connection that does not end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        for connection in &self.connections {
            connection.socket.shutdown(Shutdown::Write)?;
        }
        let mut open: Vec<u32> = (0..self.connections.len() as u32).collect();
        while !open.is_empty() {
            for tag in self.disarmed.drain(..) {
                let socket = &self.connections[tag as usize].socket;
                self.ring.receive_all(socket.as_fd(), tag)?;
            }
            self.ring.turn(Wait::Sleep)?;
            let mut outcome = Ok(());
            let disarmed = &mut self.disarmed;
            self.ring.drain(|event| match event {
                Event::Received { tag, bytes: [], .. } => open.retain(|&other| other != tag),
                Event::Received { tag, .. } => outcome = Err(failure(tag, "nobody sent this")),
                Event::Starved { tag } => disarmed.push(tag),
                Event::Failed { tag, error } => outcome = Err(failure(tag, error)),
            });
            outcome?;
        }
        Ok(())
    }

    /// Resets every connection; the kernel holds none of them when this returns.
    pub(crate) fn close(mut self) -> io::Result<()> {
        for connection in &self.connections {
            // Ends the receive, which would keep the socket open, without a word to the server.
            let _ = connection.socket.shutdown(Shutdown::Read);
        }
        while self.ring.armed() > 0 {
            self.ring.turn(Wait::Sleep)?;
            self.ring.drain(|_| ());
        }
        Ok(())
    }
}

pub(crate) fn new_histogram() -> Histogram<u64> {
    const LONGEST_NS: u64 = 10_000_000_000;
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order")
}

fn failure(tag: u32, what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("connection {tag} of the load: {what}"))
}

/// A connection. One of TCP is from an address of its own and resets when it is closed: nothing is
/// left in TIME_WAIT, and ports do not run short.
pub(crate) fn connected(server: &SockAddr, tag: u32) -> io::Result<Socket> {
    if server.is_unix() {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect(server)?;
        return Ok(socket);
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_congestion(CONGESTION)?;
    sys::bind_address_only(socket.as_fd())?;
    socket.bind(&SocketAddr::from((source(tag), 0)).into())?;
    socket.connect(server)?;
    Ok(socket)
}

fn source(tag: u32) -> Ipv4Addr {
    let [_, _, high, low] = tag.to_be_bytes();
    Ipv4Addr::new(127, 1 + ((tag >> 16) % 250) as u8, high, low.max(1))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Serves connections one after the other, each on a thread, after `change` had its way.
    fn server(change: fn(&mut Vec<u8>)) -> SockAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    // The load resets: an error is the end.
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let mut answer = buffer[..length].to_vec();
                        change(&mut answer);
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address.into()
    }

    #[test]
    fn an_honest_server_answers_every_request() {
        let mut load =
            Load::connect(&server(|_| ()), 3, 10_000, Wait::Sleep).expect("each echoes once");
        let window = load.run_exactly(100).expect("all are answered");
        assert_eq!(window.requests, 100);
        assert!(window.latency_us(0.5) > 0.0);
        load.close().expect("nothing is left");
    }

    #[test]
    fn a_load_that_spins_gets_answers_too() {
        let mut load = Load::connect(&server(|_| ()), 1, 64, Wait::Spin).expect("it echoes once");
        let window = load.run(Duration::from_millis(50)).expect("it is answered");
        assert!(window.requests > 0);
        load.close().expect("nothing is left");
    }

    #[test]
    fn a_server_that_changes_a_byte_is_found_out() {
        let outcome = Load::connect(&server(|answer| answer[7] ^= 1), 1, 64, Wait::Sleep);
        let error = outcome.map(drop).expect_err("the first answer is wrong");
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn a_server_that_says_too_much_is_found_out() {
        let outcome = Load::connect(&server(|answer| answer.push(0)), 1, 64, Wait::Sleep);
        let error = outcome.map(drop).expect_err("the first answer is too long");
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }
}
