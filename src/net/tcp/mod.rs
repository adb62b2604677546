//! TCP listeners, streams, and sockets that are to become either.

mod connect;
mod listener;
mod options;
mod race;
mod socket;
mod stream;

pub use self::connect::Connect;
pub use self::listener::TcpListener;
pub use self::options::Keepalive;
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
