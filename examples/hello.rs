//! An echo over TCP, both ends on one core.
//!
//!     cargo run --example hello

use corering::net::{TcpListener, TcpStream};

#[corering::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let asking = corering::spawn(async move {
        client.write_all("hello, ring").await.0?;
        client.recv().await // the client is dropped here: the server sees the end of the stream
    });
    let (server, _peer) = listener.accept().await?;
    while let Some(lease) = server.recv().await? {
        server.write_all(lease).await.0?; // bytes where the kernel has put them: nothing is copied
    }
    let reply = asking
        .await
        .expect("it does not panic")?
        .expect("there is an echo");
    println!("{}", String::from_utf8_lossy(&reply));
    Ok(())
}
