//! A stream belongs to the ring of its core.

use corering::net::TcpStream;

fn give_away(stream: TcpStream) {
    std::thread::spawn(move || drop(stream));
}

fn main() {}
