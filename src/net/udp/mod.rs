//! UDP sockets.

mod options;
mod socket;

pub use self::socket::UdpSocket;
