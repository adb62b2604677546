//! TCP listeners, streams, and sockets that are to become either.

mod connect;
mod listener;
mod socket;
mod stream;

pub use self::connect::Connect;
pub use self::listener::TcpListener;
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
