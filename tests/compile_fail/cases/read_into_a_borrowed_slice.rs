//! The kernel may write after the future was dropped, when the array is gone.

use corering::net::TcpStream;

fn read(stream: &TcpStream) {
    let mut bytes = [0; 64];
    drop(stream.read(&mut bytes[..]));
}

fn main() {}
