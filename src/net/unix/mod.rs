//! Unix stream sockets.

mod address;
mod listener;
mod stream;

pub use self::listener::UnixListener;
pub use self::stream::UnixStream;
