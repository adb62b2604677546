//! What holds for one buffer holds for each of several.

use corering::net::TcpStream;

async fn write(stream: &TcpStream) {
    let (head, body) = ([0; 8], vec![0; 64]);
    let bufs = [&head[..], &body[..]];
    let _ = stream.write_vectored(bufs).await;
}

fn main() {}
