//! One port for all cores: each has a listener of its own, and the kernel spreads the connections.

use std::io;
use std::net::SocketAddr;

use corering::net::{TcpListener, TcpSocket};
use socket2::{Domain, Socket, Type};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// A listener beside those of the other cores.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // An accepted connection has its listener's options.
    let socket = socket.reuse_address()?.reuse_port()?.nodelay()?;
    socket.bind(address)?.listen(BACKLOG)
}

/// An address with a port that the kernel has chosen, if that was 0, and a socket that nothing is
/// done with: it keeps the port until the cores share it.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, address))
}
