//! UDP sockets.

mod options;
mod socket;
mod try_send;

pub use self::socket::UdpSocket;
