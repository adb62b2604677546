//! One connection, from its first byte to its end.

use std::io;

use corering::io::copy_bidirectional;
use corering::net::{TcpStream, splice_bidirectional};
use corering::time::timeout;

use super::Options;

/// Passes a client on to the server: the bytes that went there, and those that came back.
pub(crate) async fn pass(client: &TcpStream, options: &Options) -> io::Result<(u64, u64)> {
    let Some(lifetime) = options.lifetime else {
        return pass_on(client, options).await;
    };
    let passed = timeout(lifetime, pass_on(client, options)).await;
    passed.unwrap_or_else(|_| Err(late("the connection has lasted too long")))
}

async fn pass_on(client: &TcpStream, options: &Options) -> io::Result<(u64, u64)> {
    if let Some(patience) = options.first_byte {
        // What comes stays in the inbox, and goes first.
        let first = timeout(patience, client.fill_buf()).await;
        drop(first.map_err(|_| late("the client has said nothing"))??);
    }
    let server = TcpStream::connect_timeout(options.to, options.connect).await?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    match options.copy {
        true => copy_bidirectional(client, &server).await,
        false => splice_bidirectional(client, &server).await,
    }
}

fn late(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}
