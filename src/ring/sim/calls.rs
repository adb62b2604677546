//! The plain system calls on simulated descriptors.

use std::ffi::OsStr;
use std::io;
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use socket2::SockAddr;

use super::World;
use super::connect::unspecified;
use super::kernel::{HostId, Kernel};
use super::number;
use super::socket::State;
use super::table::Id;
use super::unix;
use crate::ring::fd::Fd;
use crate::ring::{MessageOption, SocketOption};

/// A simulated descriptor, to be called on.
#[derive(Debug)]
pub(crate) struct Simulated {
    fd: i32,
    /// `None`: its world is gone, or belongs to another thread.
    world: Option<(Rc<World>, HostId)>,
}

impl Fd {
    /// The descriptor as a simulated one, if it is one.
    #[inline]
    pub(crate) fn simulated(&self) -> Option<Simulated> {
        let fd = self.raw();
        number::is_simulated(fd).then(|| {
            let world = World::current();
            let world = world.and_then(|world| Some((world, number::host_of(fd)?)));
            Simulated { fd, world }
        })
    }
}

impl Simulated {
    fn call<T>(&self, f: impl FnOnce(&mut Kernel, HostId, Id) -> Result<T, i32>) -> io::Result<T> {
        let (world, host) = self.world.as_ref().ok_or_else(|| os(libc::EBADF))?;
        let mut kernel = world.kernel.borrow_mut();
        if kernel.hosts[*host].is_down {
            return Err(os(libc::EIO));
        }
        let object = kernel.object_of(*host, self.fd).map_err(os)?;
        f(&mut kernel, *host, object).map_err(os)
    }

    /// Closes the descriptor. Nothing happens to one whose world is gone.
    pub(crate) fn close(&self) {
        if let Some((world, host)) = &self.world {
            let _ = world.kernel.borrow_mut().close(*host, self.fd);
        }
    }

    pub(crate) fn bind(&self, address: &SockAddr) -> io::Result<()> {
        self.call(|kernel, _, id| {
            if kernel.is_unix(Some(id)) {
                return kernel.bind_unix(id, address);
            }
            let address = address.as_socket().ok_or(libc::EAFNOSUPPORT)?;
            match kernel.has_messages(id) {
                true => kernel.bind_messages(id, address),
                false => kernel.bind(id, address),
            }
        })
    }

    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        self.call(|kernel, _, id| match kernel.is_unix(Some(id)) {
            true => kernel.listen_unix(id, backlog),
            false => kernel.listen(id, backlog),
        })
    }

    pub(crate) fn getsockname(&self) -> io::Result<SockAddr> {
        self.call(|kernel, _, id| {
            if let Ok(socket) = kernel.unix(id) {
                return unix_address(socket.local.as_deref());
            }
            let (is_v6, local) = match kernel.messages(id) {
                Ok(socket) => (socket.is_v6, socket.local),
                Err(_) => {
                    let socket = kernel.socket(id)?;
                    (socket.is_v6, socket.local)
                }
            };
            Ok(SockAddr::from(local.unwrap_or(unspecified(is_v6))))
        })
    }

    pub(crate) fn getpeername(&self) -> io::Result<SockAddr> {
        self.call(|kernel, _, id| {
            if let Ok(socket) = kernel.unix(id) {
                return match &socket.state {
                    unix::State::Connected => unix_address(socket.peer.as_deref()),
                    _ => Err(libc::ENOTCONN),
                };
            }
            if let Ok(socket) = kernel.messages(id) {
                return socket.peer.map(SockAddr::from).ok_or(libc::ENOTCONN);
            }
            let socket = kernel.socket(id)?;
            match (&socket.state, socket.peer) {
                (State::Connected, Some(peer)) if !socket.is_over() => Ok(SockAddr::from(peer)),
                _ => Err(libc::ENOTCONN),
            }
        })
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let read = how != Shutdown::Write;
        let write = how != Shutdown::Read;
        self.call(|kernel, _, id| kernel.shut_down(id, read, write))
    }

    /// Of the program at the other end, which runs on the same host: the same for all.
    pub(crate) fn peer_credentials(&self) -> io::Result<libc::ucred> {
        self.call(|kernel, host, id| {
            let is_connected = matches!(kernel.unix(id)?.state, unix::State::Connected);
            let (pid, uid, gid) = match is_connected {
                true => (1 + host as libc::pid_t, 1000, 1000),
                false => (0, u32::MAX, u32::MAX),
            };
            Ok(libc::ucred { pid, uid, gid })
        })
    }

    pub(crate) fn ftruncate(&self, len: u64) -> io::Result<()> {
        self.call(|kernel, _, id| kernel.truncate(id, len).map(drop))
    }

    pub(crate) fn set_option(&self, option: SocketOption, value: usize) -> io::Result<()> {
        self.call(|kernel, _, id| {
            if let Ok(socket) = kernel.unix_mut(id) {
                match option {
                    SocketOption::RecvBuffer => socket.receive_buffer = (2 * value).max(2304),
                    SocketOption::SendBuffer => socket.send_buffer = (2 * value).max(4608),
                    _ => return Err(libc::EOPNOTSUPP),
                }
                return Ok(());
            }
            if kernel.has_messages(id) {
                return kernel.set_shared_option(id, option, value);
            }
            kernel.socket_mut(id)?.options.set(option, value);
            Ok(())
        })
    }

    pub(crate) fn option(&self, option: SocketOption) -> io::Result<usize> {
        self.call(|kernel, _, id| {
            if let Ok(socket) = kernel.unix(id) {
                return match option {
                    SocketOption::RecvBuffer => Ok(socket.receive_buffer),
                    SocketOption::SendBuffer => Ok(socket.send_buffer),
                    _ => Err(libc::EOPNOTSUPP),
                };
            }
            if kernel.has_messages(id) {
                return kernel.shared_option(id, option);
            }
            Ok(kernel.socket(id)?.options.get(option))
        })
    }

    /// Splices to another simulated descriptor.
    pub(crate) fn splice(&self, to: &Fd, len: usize) -> io::Result<usize> {
        self.call(|kernel, host, id| {
            let to = kernel.object_of(host, to.raw())?;
            kernel.splice(id, to, len)
        })
    }

    pub(crate) fn drain(&self, len: usize) -> io::Result<Vec<u8>> {
        self.call(|kernel, _, id| Ok(kernel.drain_pipe(id, len)))
    }

    /// Has each interrupt of the host added to this eventfd. From now on it does not end the
    /// process any more, for as long as that lives.
    pub(crate) fn on_interrupt(&self) -> io::Result<()> {
        self.call(|kernel, host, id| {
            let host = &mut kernel.hosts[host];
            host.outlives_interrupts = true;
            host.interrupted.push(id);
            Ok(())
        })
    }

    pub(crate) fn forget_interrupts(&self) {
        let _ = self.call(|kernel, host, id| {
            kernel.hosts[host].interrupted.retain(|of| *of != id);
            Ok(())
        });
    }

    pub(crate) fn set_message_option(&self, option: MessageOption, value: u32) -> io::Result<()> {
        self.call(|kernel, _, id| match kernel.unix_mut(id) {
            Ok(socket) if option == MessageOption::TimestampNs => {
                socket.reports_times = value != 0;
                Ok(())
            }
            Ok(_) => Err(libc::EOPNOTSUPP),
            Err(_) => kernel.set_message_option(id, option, value),
        })
    }

    pub(crate) fn message_option(&self, option: MessageOption) -> io::Result<u32> {
        self.call(|kernel, _, id| kernel.message_option(id, option))
    }

    pub(crate) fn connect_datagrams(&self, address: &SockAddr) -> io::Result<()> {
        self.call(|kernel, _, id| match kernel.is_unix(Some(id)) {
            true => kernel.connect_unix(id, address),
            false => {
                let address = address.as_socket().ok_or(libc::EAFNOSUPPORT)?;
                kernel.connect_messages(id, address)
            }
        })
    }

    /// A kick. From a thread that has no simulation it does nothing: nobody sleeps in one.
    pub(crate) fn eventfd_write(&self) {
        let _ = self.call(|kernel, _, id| {
            kernel.add_to_event(id, 1);
            Ok(())
        });
    }
}

pub(super) fn unix_address(name: Option<&[u8]>) -> Result<SockAddr, i32> {
    let name = OsStr::from_bytes(name.unwrap_or_default());
    SockAddr::unix(name).map_err(|_| libc::EINVAL)
}

pub(super) fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
