//! TCP listeners, streams, and sockets that are to become either.

mod connect;
mod halves;
mod listener;
mod socket;
mod stream;

pub use self::connect::Connect;
pub use self::halves::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use self::listener::{Accept, TcpListener};
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
