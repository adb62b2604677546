//! Options of TCP sockets.

use std::collections::BTreeMap;

use crate::ring::SocketOption;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) reuse_address: bool,
    pub(super) reuse_port: bool,
    no_delay: bool,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    /// Those that were set of all others. [`SocketOption::ZeroLinger`] is the only one of them that
    /// the model heeds; it has no keepalive, and its handshakes are over at once.
    others: BTreeMap<SocketOption, usize>,
}

impl Options {
    /// With socket buffers of `buffer` bytes.
    pub(super) fn new(buffer: usize) -> Options {
        Options {
            reuse_address: false,
            reuse_port: false,
            no_delay: false,
            receive_buffer: buffer,
            send_buffer: buffer,
            others: BTreeMap::new(),
        }
    }

    pub(super) fn set(&mut self, option: SocketOption, value: usize) {
        match option {
            SocketOption::ReuseAddress => self.reuse_address = value != 0,
            SocketOption::ReusePort => self.reuse_port = value != 0,
            SocketOption::NoDelay => self.no_delay = value != 0,
            SocketOption::RecvBuffer => self.receive_buffer = (2 * value).max(2304),
            SocketOption::SendBuffer => self.send_buffer = (2 * value).max(4608),
            other => drop(self.others.insert(other, value)),
        }
    }

    pub(super) fn get(&self, option: SocketOption) -> usize {
        match option {
            SocketOption::ReuseAddress => self.reuse_address.into(),
            SocketOption::ReusePort => self.reuse_port.into(),
            SocketOption::NoDelay => self.no_delay.into(),
            SocketOption::RecvBuffer => self.receive_buffer,
            SocketOption::SendBuffer => self.send_buffer,
            other => self.others.get(&other).copied().unwrap_or(default(other)),
        }
    }
}

/// What Linux has unless it is set.
fn default(option: SocketOption) -> usize {
    match option {
        SocketOption::KeepAliveTime => 7200,
        SocketOption::KeepAliveInterval => 75,
        SocketOption::KeepAliveRetries => 9,
        SocketOption::QuickAck => 1,
        _ => 0,
    }
}
