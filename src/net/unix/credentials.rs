//! Who is at the other end.

use std::io;

use crate::ring::Fd;

/// The process at the other end of a Unix socket, as it was when they were connected.
///
/// The kernel vouches for it: a process cannot give itself out for another one. For a pair it is
/// the process that has made it.
///
/// # Source
///
/// `SO_PEERCRED` in [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UCred {
    pid: Option<i32>,
    uid: u32,
    gid: u32,
}

impl UCred {
    pub(super) fn of_peer(fd: &Fd) -> io::Result<UCred> {
        let peer = fd.peer_credentials()?;
        Ok(UCred {
            pid: (peer.pid != 0).then_some(peer.pid),
            uid: peer.uid,
            gid: peer.gid,
        })
    }

    /// The number of its process. `None`: it is in a PID namespace that this one does not see. The
    /// process may have ended since, and another have its number.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Its effective user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}
