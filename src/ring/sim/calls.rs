//! The plain system calls on simulated descriptors.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use socket2::SockAddr;

use super::World;
use super::kernel::{HostId, Kernel};
use super::number;
use super::object::OpenFile;
use super::socket::State;
use super::table::Id;
use crate::ring::SocketOption;
use crate::ring::fd::Fd;

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
        let address = address.as_socket();
        self.call(|kernel, _, id| kernel.bind(id, address.ok_or(libc::EAFNOSUPPORT)?))
    }

    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        self.call(|kernel, _, id| kernel.listen(id, backlog))
    }

    pub(crate) fn getsockname(&self) -> io::Result<SockAddr> {
        self.call(|kernel, _, id| {
            let socket = kernel.socket(id)?;
            let unbound = if socket.is_v6 { "[::]:0" } else { "0.0.0.0:0" };
            let unbound = unbound.parse().map_err(|_| libc::EINVAL)?;
            Ok(SockAddr::from(socket.local.unwrap_or(unbound)))
        })
    }

    pub(crate) fn getpeername(&self) -> io::Result<SockAddr> {
        self.call(|kernel, _, id| {
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

    pub(crate) fn ftruncate(&self, len: u64) -> io::Result<()> {
        self.call(|kernel, _, id| kernel.truncate(id, len).map(drop))
    }

    pub(crate) fn set_option(&self, option: SocketOption, value: usize) -> io::Result<()> {
        self.call(|kernel, _, id| {
            let options = &mut kernel.socket_mut(id)?.options;
            match option {
                SocketOption::ReuseAddress => options.reuse_address = value != 0,
                SocketOption::ReusePort => options.reuse_port = value != 0,
                SocketOption::NoDelay => options.no_delay = value != 0,
                SocketOption::RecvBuffer => options.receive_buffer = (2 * value).max(2304),
                SocketOption::SendBuffer => options.send_buffer = (2 * value).max(4608),
                other => drop(options.others.insert(other, value)),
            }
            Ok(())
        })
    }

    pub(crate) fn option(&self, option: SocketOption) -> io::Result<usize> {
        self.call(|kernel, _, id| {
            let options = &kernel.socket(id)?.options;
            Ok(match option {
                SocketOption::ReuseAddress => options.reuse_address.into(),
                SocketOption::ReusePort => options.reuse_port.into(),
                SocketOption::NoDelay => options.no_delay.into(),
                SocketOption::RecvBuffer => options.receive_buffer,
                SocketOption::SendBuffer => options.send_buffer,
                other => options.other(other),
            })
        })
    }

    /// A kick. From a thread that has no simulation it does nothing: nobody sleeps in one.
    pub(crate) fn eventfd_write(&self) {
        let _ = self.call(|kernel, _, id| {
            let object = kernel.objects.find_mut(id).ok_or(libc::EBADF)?;
            if let OpenFile::Event(count) = &mut object.file {
                *count = count.saturating_add(1);
            }
            kernel.stir(id);
            Ok(())
        });
    }
}

pub(super) fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
