//! Dropping an operation touches its core.

use corering::net::TcpStream;

fn give_away(stream: &'static TcpStream) {
    let recv = stream.recv();
    std::thread::spawn(move || drop(recv));
}

fn main() {}
