//! Names of Unix sockets: paths, abstract names, or none.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

/// The address of `path`.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    if path.as_os_str().is_empty() {
        // The kernel would take it for "any abstract name".
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a Unix socket is empty",
        ));
    }
    SockAddr::unix(path)
}

/// The same name as the kernel takes it.
pub(super) fn of_std(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return of_path(path);
    }
    let Some(name) = address.as_abstract_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this Unix socket has no name",
        ));
    };
    // socket2 takes a path that begins with a NUL for an abstract name.
    let path = [b"\0", name].concat();
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&path);
    SockAddr::unix(path)
}

/// The same name as std has it; one without a name, too.
pub(super) fn to_std(address: &SockAddr) -> io::Result<SocketAddr> {
    if let Some(address) = address.as_unix() {
        return Ok(address);
    }
    match address.as_abstract_namespace() {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if address.is_unix() => SocketAddr::from_pathname(""),
        None => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    }
}
