//! What can be set on TCP sockets.

use std::io;
use std::time::Duration;

use super::socket::TcpSocket;
use super::stream::TcpStream;
use crate::ring::{Fd, SocketOption};

/// How the peer of an idle connection is asked whether it is still there.
///
/// The default is what Linux has: after two hours, every 75 seconds, 9 times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// How long nothing has come before it is asked. Whole seconds, rounded up; at most 32,767.
    pub time: Duration,
    /// Between two questions. Whole seconds, rounded up; at most 32,767.
    pub interval: Duration,
    /// How many questions may stay without an answer, 1 to 127.
    pub retries: u32,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive {
            time: Duration::from_secs(7200),
            interval: Duration::from_secs(75),
            retries: 9,
        }
    }
}

impl Keepalive {
    fn set(self, fd: &Fd) -> io::Result<()> {
        fd.set_option(SocketOption::KeepAliveTime, seconds(self.time))?;
        fd.set_option(SocketOption::KeepAliveInterval, seconds(self.interval))?;
        fd.set_option(SocketOption::KeepAliveRetries, self.retries as usize)?;
        fd.set_option(SocketOption::KeepAlive, 1)
    }

    fn of(fd: &Fd) -> io::Result<Keepalive> {
        let seconds = |option| Ok::<_, io::Error>(Duration::from_secs(fd.option(option)? as u64));
        Ok(Keepalive {
            time: seconds(SocketOption::KeepAliveTime)?,
            interval: seconds(SocketOption::KeepAliveInterval)?,
            retries: fd.option(SocketOption::KeepAliveRetries)? as u32,
        })
    }
}

/// Rounded up: a time that somebody asks for is not no time at all.
fn seconds(time: Duration) -> usize {
    let more = u64::from(time.subsec_nanos() != 0);
    time.as_secs().saturating_add(more) as usize
}

fn millis(time: Duration) -> usize {
    time.as_nanos().div_ceil(1_000_000) as usize
}

impl TcpSocket {
    /// Lets other sockets with this option listen on the same address: the kernel spreads
    /// connections over them.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn reuse_port(self) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::ReusePort, 1)?;
        Ok(self)
    }

    /// Lets an address be bound that connections of an earlier socket still linger on.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn reuse_address(self) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::ReuseAddress, 1)?;
        Ok(self)
    }

    /// Sends small writes at once, without waiting for the peer's acknowledgement (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn nodelay(self) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::NoDelay, 1)?;
        Ok(self)
    }

    /// Asks for `bytes` of kernel memory for what is received and not read. The kernel doubles it.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn recv_buffer_size(self, bytes: usize) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::RecvBuffer, bytes)?;
        Ok(self)
    }

    /// Asks for `bytes` of kernel memory for what is sent and not acknowledged. The kernel doubles
    /// it.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn send_buffer_size(self, bytes: usize) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::SendBuffer, bytes)?;
        Ok(self)
    }

    /// Has the kernel ask the peer of an idle connection whether it is still there. Connections
    /// that a listener accepts inherit it.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn keepalive(self, keepalive: Keepalive) -> io::Result<TcpSocket> {
        keepalive.set(&self.fd)?;
        Ok(self)
    }

    /// Has a connection fail with `ETIMEDOUT` when what was sent stays without an acknowledgement
    /// for `timeout` (`TCP_USER_TIMEOUT`, milliseconds, rounded up). Otherwise it takes about 15
    /// minutes.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn user_timeout(self, timeout: Duration) -> io::Result<TcpSocket> {
        self.fd
            .set_option(SocketOption::UserTimeout, millis(timeout))?;
        Ok(self)
    }

    /// Has the listener complete at most `pending` connections whose first bytes came with the
    /// handshake (`TCP_FASTOPEN`). Bit 2 of the sysctl `net.ipv4.tcp_fastopen` has to be set.
    ///
    /// Such bytes may come twice: for requests that may be repeated.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn fastopen(self, pending: u32) -> io::Result<TcpSocket> {
        self.fd
            .set_option(SocketOption::FastOpen, pending as usize)?;
        Ok(self)
    }

    /// Has the connection send its first bytes with the handshake, to a server that allows it and
    /// was there before (`TCP_FASTOPEN_CONNECT`). The connect is over at once then, and the first
    /// write reports what it otherwise would.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: bit 1 of the sysctl `net.ipv4.tcp_fastopen` is not set.
    pub fn fastopen_connect(self) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::FastOpenConnect, 1)?;
        Ok(self)
    }

    /// Has the listener hand out connections only when their first bytes are there, or `limit` has
    /// passed (`TCP_DEFER_ACCEPT`, seconds, rounded up).
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn defer_accept(self, limit: Duration) -> io::Result<TcpSocket> {
        self.fd
            .set_option(SocketOption::DeferAccept, seconds(limit))?;
        Ok(self)
    }

    /// Of the sockets that share an address (see [`reuse_port`](TcpSocket::reuse_port)), prefers
    /// this one for packets that arrive on the CPU of number `cpu` (`SO_INCOMING_CPU`).
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    ///
    /// # Kernel
    ///
    /// Since 6.2 for TCP listeners; before, it is set and does nothing.
    pub fn incoming_cpu(self, cpu: usize) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::IncomingCpu, cpu)?;
        Ok(self)
    }

    /// Sends and receives by the network device `name` only, such as `"eth0"` (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is no such device. `EPERM`: the socket is bound to another one, which takes
    /// `CAP_NET_RAW` to change. `Unsupported` in a simulation.
    pub fn bind_device(self, name: &str) -> io::Result<TcpSocket> {
        self.fd.bind_device(name)?;
        Ok(self)
    }

    /// Keeps a socket for IPv6 from taking IPv4's connections as well (`IPV6_V6ONLY`).
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is bound already. `ENOPROTOOPT`: it is one for IPv4.
    pub fn only_v6(self) -> io::Result<TcpSocket> {
        self.fd.set_option(SocketOption::OnlyV6, 1)?;
        Ok(self)
    }
}

impl TcpStream {
    /// Sends small writes at once (`TCP_NODELAY`), or waits for acknowledgements to merge them.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.fd().set_option(SocketOption::NoDelay, on.into())
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    pub fn nodelay(&self) -> io::Result<bool> {
        let on = self.0.fd().option(SocketOption::NoDelay)?;
        Ok(on != 0)
    }

    /// Has the kernel ask an idle peer whether it is still there; `None` stops that. A peer that
    /// does not answer ends the connection with `ETIMEDOUT`.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use corering::net::{Keepalive, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # corering::Runtime::new()?.block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let minute = Keepalive {
    ///     time: Duration::from_secs(60),
    ///     ..Keepalive::default()
    /// };
    /// stream.set_keepalive(Some(minute))?;
    /// assert_eq!(stream.keepalive()?, Some(minute));
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        match keepalive {
            Some(keepalive) => keepalive.set(self.0.fd()),
            None => self.0.fd().set_option(SocketOption::KeepAlive, 0),
        }
    }

    /// How an idle peer is asked whether it is still there, if it is.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        let fd = self.0.fd();
        if fd.option(SocketOption::KeepAlive)? == 0 {
            return Ok(None);
        }
        Keepalive::of(fd).map(Some)
    }

    /// Has the connection fail with `ETIMEDOUT` when what was sent stays without an acknowledgement
    /// for so long (milliseconds, rounded up). `None`: for as long as the system says, about 15
    /// minutes.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(0, millis);
        self.0.fd().set_option(SocketOption::UserTimeout, timeout)
    }

    /// What [`set_user_timeout`](TcpStream::set_user_timeout) has set.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        let timeout = self.0.fd().option(SocketOption::UserTimeout)?;
        Ok((timeout != 0).then(|| Duration::from_millis(timeout as u64)))
    }

    /// Acknowledges at once what comes (`TCP_QUICKACK`), or may wait for an answer to go with it.
    /// The kernel goes back to its own judgement after a while.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn set_quickack(&self, on: bool) -> io::Result<()> {
        self.0.fd().set_option(SocketOption::QuickAck, on.into())
    }

    /// Whether what comes is acknowledged at once.
    ///
    /// # Errors
    ///
    /// As [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
    pub fn quickack(&self) -> io::Result<bool> {
        let on = self.0.fd().option(SocketOption::QuickAck)?;
        Ok(on != 0)
    }

    /// Has the close of the stream reset the connection, and forget what the peer has not
    /// acknowledged (`SO_LINGER` with a time of 0): nothing of it is left in the kernel.
    ///
    /// There is no longer time to set: the core would wait in the close, and all its tasks with it.
    /// [`close`](TcpStream::close) waits for the writes, and lets other tasks run.
    ///
    /// # Errors
    ///
    /// As [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.0.fd().set_option(SocketOption::ZeroLinger, 1)
    }
}
