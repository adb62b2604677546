//! The bytes of an array move with it: the kernel would read where they were.

use corering::net::TcpStream;

fn write(stream: &TcpStream) {
    let bytes = [0_u8; 64];
    drop(stream.write_all(bytes));
}

fn main() {}
