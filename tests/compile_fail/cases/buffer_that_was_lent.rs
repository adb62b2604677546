//! While the kernel may write to it nobody else looks at it.

use corering::net::TcpStream;

async fn read(stream: &TcpStream) -> u8 {
    let bytes = vec![0; 64];
    let read = stream.read(bytes);
    std::mem::forget(read);
    bytes[0]
}

fn main() {}
