//! A forgotten operation must not find its stream gone.

use corering::net::TcpStream;

fn dropped_early(stream: TcpStream) {
    let read = stream.read(Vec::with_capacity(64));
    drop(stream);
    std::mem::forget(read);
}

fn returned(stream: TcpStream) -> impl Future {
    stream.recv()
}

fn main() {}
