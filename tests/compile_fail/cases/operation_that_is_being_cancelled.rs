//! There is one outcome: nobody takes it while somebody waits for it.

use corering::io::Operation;
use corering::net::TcpStream;

async fn cancel(stream: &TcpStream) {
    let mut recv = stream.recv();
    let cancel = recv.cancel();
    let _ = recv.await;
    let _ = cancel.await;
}

fn main() {}
