//! Messages over a stream, each one a line of JSON.

use std::io;

use corering::net::TcpStream;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends one message.
pub(crate) async fn send<T: Serialize>(stream: &TcpStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(line).await.0
}

/// The next message, `None` at the end of the stream.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &TcpStream) -> io::Result<Option<T>> {
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = stream.consume_to_vec(end + 1);
            return Ok(Some(serde_json::from_slice(&line)?));
        }
        stream.fill_more().await?;
    }
}
