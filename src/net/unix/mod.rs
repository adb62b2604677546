//! Unix sockets.

mod address;
mod credentials;
mod datagram;
mod descriptors;
mod listener;
mod record;
mod seqpacket;
mod seqpacket_listener;
mod stream;

pub use self::credentials::UCred;
pub use self::datagram::UnixDatagram;
pub use self::descriptors::UnixDescriptorReceiver;
pub use self::listener::UnixListener;
pub use self::record::{RecvRecord, RecvRecordInto};
pub use self::seqpacket::UnixSeqpacket;
pub use self::seqpacket_listener::UnixSeqpacketListener;
pub use self::stream::UnixStream;

/// Bytes of `struct sockaddr_un`, and what makes the control data aligned behind it.
const NAME_ROOM: u32 = 112;
/// Bytes of control data: 253 descriptors, which is all that the kernel takes (`SCM_MAX_FD`), and
/// what else a socket may be told to report.
const CONTROL_ROOM: u32 = 1152;
