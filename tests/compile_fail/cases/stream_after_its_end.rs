//! There is no descriptor any more, or another owner of it.

use corering::net::TcpStream;

async fn closed(stream: TcpStream) {
    let _ = stream.close().await;
    let _ = stream.recv().await;
}

async fn split(stream: TcpStream) {
    let _halves = stream.into_split();
    let _ = stream.recv().await;
}

async fn given_away(stream: TcpStream) {
    let _ = stream.into_std().await;
    let _ = stream.recv().await;
}

fn main() {}
