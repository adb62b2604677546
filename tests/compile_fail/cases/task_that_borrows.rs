//! A task may outlive the function that has spawned it.

use corering::net::TcpStream;

async fn read(stream: TcpStream) {
    let reading = corering::spawn(async { stream.recv().await });
    drop(reading);
}

fn main() {}
