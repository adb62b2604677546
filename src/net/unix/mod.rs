//! Unix sockets.

mod address;
mod credentials;
mod listener;
mod stream;

pub use self::credentials::UCred;
pub use self::listener::UnixListener;
pub use self::stream::UnixStream;
