//! The future may be forgotten, and the vector freed by its owner.

use corering::net::TcpStream;

fn read(stream: &TcpStream) {
    let mut bytes = Vec::with_capacity(64);
    drop(stream.read(&mut bytes));
}

fn main() {}
