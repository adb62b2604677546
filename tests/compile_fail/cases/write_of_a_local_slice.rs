//! The write is committed: it goes on when the array is gone.

use corering::net::TcpStream;

async fn write(stream: &TcpStream) {
    let bytes = [0; 64];
    let _ = stream.write_all(&bytes[..]).await;
}

fn main() {}
