//! One connection, from its first byte to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use corering::io::copy_bidirectional;
use corering::net::{
    Deadline, DeadlineElapsed, Deadlines, Guarded, TcpStream, splice_bidirectional,
};

/// How connections are passed on, and how long each end may let the other wait.
#[derive(Clone, Debug)]
pub(crate) struct Passing {
    pub(crate) to: SocketAddr,
    /// How long a connection to the server may take.
    pub(crate) connect: Duration,
    /// What a client has to say before the server is asked.
    pub(crate) first_byte: Option<Duration>,
    /// Those of both ends.
    pub(crate) deadlines: Deadlines,
    pub(crate) copy: bool,
}

/// Passes a client on to the server: the bytes that went there, and those that came back.
pub(crate) async fn pass(client: TcpStream, passing: &Passing) -> io::Result<(u64, u64)> {
    let client = match passing.first_byte {
        Some(limit) => passing.deadlines.first_byte(limit).guard(client),
        None => passing.deadlines.guard(client),
    };
    if passing.first_byte.is_some() {
        // What comes stays in the inbox, and goes first.
        drop(client.fill_buf().await?);
    }
    let server = TcpStream::connect_timeout(passing.to, passing.connect).await?;
    let server = passing.deadlines.guard(server);
    for stream in [&client, &server] {
        stream.stream().set_nodelay(true)?;
    }
    let passed = match passing.copy {
        true => copy_bidirectional(&client, &server).await,
        false => splice_bidirectional(&client, &server).await,
    };
    passed.inspect_err(|error| reset(error, [&client, &server]))
}

/// Has the kernel keep nothing of a connection whose peer does not read: it would try for minutes
/// to send that.
fn reset(error: &io::Error, ends: [&Guarded<TcpStream>; 2]) {
    if let Some(Deadline::Write | Deadline::Lifetime) = DeadlineElapsed::of(error) {
        for end in ends {
            // One that is gone has nothing to keep.
            let _ = end.stream().set_zero_linger();
        }
    }
}
