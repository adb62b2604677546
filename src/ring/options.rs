//! What can be set on a socket and read back, `setsockopt(2)`.
//!
//! Every option here is one number: a switch is 0 or 1, a time has the kernel's unit. So one call
//! sets them and one reads them, for the kernel and for a simulated one.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::fd::Fd;
#[cfg(feature = "sim")]
use super::sim;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum SocketOption {
    ReuseAddress,
    ReusePort,
    NoDelay,
    /// Bytes. The kernel doubles what is set.
    RecvBuffer,
    /// Bytes. The kernel doubles what is set.
    SendBuffer,
    KeepAlive,
    /// Seconds.
    KeepAliveTime,
    /// Seconds.
    KeepAliveInterval,
    /// Probes.
    KeepAliveRetries,
    /// A close resets the connection.
    ZeroLinger,
    /// Milliseconds.
    UserTimeout,
    QuickAck,
    /// Seconds.
    DeferAccept,
    /// Connections that wait for their handshake to end.
    FastOpen,
    FastOpenConnect,
    /// The number of a CPU.
    IncomingCpu,
    OnlyV6,
}

impl Fd {
    pub(crate) fn set_option(&self, option: SocketOption, value: usize) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.set_option(option, value);
        }
        let socket = SockRef::from(self);
        let seconds = Duration::from_secs(value as u64);
        let alive = TcpKeepalive::new();
        match option {
            SocketOption::ReuseAddress => socket.set_reuse_address(value != 0),
            SocketOption::ReusePort => socket.set_reuse_port(value != 0),
            SocketOption::NoDelay => socket.set_tcp_nodelay(value != 0),
            SocketOption::RecvBuffer => socket.set_recv_buffer_size(value),
            SocketOption::SendBuffer => socket.set_send_buffer_size(value),
            SocketOption::KeepAlive => socket.set_keepalive(value != 0),
            SocketOption::KeepAliveTime => socket.set_tcp_keepalive(&alive.with_time(seconds)),
            SocketOption::KeepAliveInterval => {
                socket.set_tcp_keepalive(&alive.with_interval(seconds))
            }
            SocketOption::KeepAliveRetries => {
                socket.set_tcp_keepalive(&alive.with_retries(value as u32))
            }
            SocketOption::ZeroLinger => socket.set_linger((value != 0).then_some(Duration::ZERO)),
            SocketOption::UserTimeout => {
                socket.set_tcp_user_timeout(Some(Duration::from_millis(value as u64)))
            }
            SocketOption::QuickAck => socket.set_tcp_quickack(value != 0),
            SocketOption::IncomingCpu => socket.set_cpu_affinity(value),
            SocketOption::OnlyV6 => socket.set_only_v6(value != 0),
            SocketOption::DeferAccept => self.set_tcp(libc::TCP_DEFER_ACCEPT, value),
            SocketOption::FastOpen => self.set_tcp(libc::TCP_FASTOPEN, value),
            SocketOption::FastOpenConnect => self.set_tcp(libc::TCP_FASTOPEN_CONNECT, value),
        }
    }

    pub(crate) fn option(&self, option: SocketOption) -> io::Result<usize> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.option(option);
        }
        let socket = SockRef::from(self);
        let seconds = |time: Duration| time.as_secs() as usize;
        match option {
            SocketOption::ReuseAddress => socket.reuse_address().map(usize::from),
            SocketOption::ReusePort => socket.reuse_port().map(usize::from),
            SocketOption::NoDelay => socket.tcp_nodelay().map(usize::from),
            SocketOption::RecvBuffer => socket.recv_buffer_size(),
            SocketOption::SendBuffer => socket.send_buffer_size(),
            SocketOption::KeepAlive => socket.keepalive().map(usize::from),
            SocketOption::KeepAliveTime => socket.tcp_keepalive_time().map(seconds),
            SocketOption::KeepAliveInterval => socket.tcp_keepalive_interval().map(seconds),
            SocketOption::KeepAliveRetries => socket.tcp_keepalive_retries().map(|n| n as usize),
            SocketOption::ZeroLinger => {
                let linger = socket.linger()?;
                Ok((linger == Some(Duration::ZERO)).into())
            }
            SocketOption::UserTimeout => {
                let timeout = socket.tcp_user_timeout()?;
                Ok(timeout.map_or(0, |timeout| timeout.as_millis() as usize))
            }
            SocketOption::QuickAck => socket.tcp_quickack().map(usize::from),
            SocketOption::IncomingCpu => socket.cpu_affinity(),
            SocketOption::OnlyV6 => socket.only_v6().map(usize::from),
            SocketOption::DeferAccept => self.tcp(libc::TCP_DEFER_ACCEPT),
            SocketOption::FastOpen => self.tcp(libc::TCP_FASTOPEN),
            SocketOption::FastOpenConnect => self.tcp(libc::TCP_FASTOPEN_CONNECT),
        }
    }

    /// Has the socket send and receive by one network device only, `SO_BINDTODEVICE`.
    pub(crate) fn bind_device(&self, name: &str) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.simulated().is_some() {
            return Err(sim::unsupported("network devices"));
        }
        SockRef::from(self).bind_device(Some(name.as_bytes()))
    }

    /// Sets a number at the level of TCP that socket2 has no name for.
    fn set_tcp(&self, name: libc::c_int, value: usize) -> io::Result<()> {
        let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `value` is `len` readable bytes for the duration of the call.
        let result = unsafe {
            let value = (&raw const value).cast();
            libc::setsockopt(self.raw(), libc::IPPROTO_TCP, name, value, len)
        };
        if result == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// The number that [`set_tcp`](Self::set_tcp) sets.
    fn tcp(&self, name: libc::c_int) -> io::Result<usize> {
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `value` is `len` writable bytes for the duration of the call, and so is `len`.
        let result = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(self.raw(), libc::IPPROTO_TCP, name, value, &raw mut len)
        };
        if result == 0 {
            return Ok(value as usize);
        }
        Err(io::Error::last_os_error())
    }
}
