//! An echo server on a Unix socket, that knows who asks and takes a file along with the bytes.
//!
//!     cargo run --release --example unix_echo -- --demo 2
//!     cargo run --release --example unix_echo -- --path /tmp/echo.sock
//!
//! A client may send a descriptor with its first byte: the server writes into that file how much it
//! has echoed, when the client has gone. The file need not be one that the server could open.

use std::io::{self, Read, Seek, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use corering::net::{UnixListener, UnixStream};
use corering::task::spawn_blocking;
use corering::time::Instant;
use corering::{Runtime, spawn};

/// An echo server on a Unix socket.
#[derive(Parser)]
struct Options {
    /// Where to listen: a path that does not exist
    #[arg(long, value_name = "PATH", default_value = "/tmp/corering-echo.sock")]
    path: PathBuf,
    /// Ask a server of its own for so many seconds, check every byte, and print how often
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    demo: Option<Duration>,
    /// Clients of the demo
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let run = async {
        match options.demo {
            Some(time) => demo(time, options.clients).await,
            None => serve_until_interrupted(&options.path).await,
        }
    };
    let done = Runtime::new().and_then(|runtime| runtime.block_on(run));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_interrupted(path: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    println!("serving at {}", path.display());
    spawn(serve(listener));
    corering::signal::ctrl_c().await?;
    // The file does not go with the listener.
    corering::fs::remove_file(path).await
}

async fn serve(listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("a client: {error}");
            }
        });
    }
}

/// Sends back what comes, and reports in the client's file if it has sent one.
async fn echo(stream: UnixStream) -> io::Result<()> {
    // Before the first receive: descriptors that come to another kind of receive are lost.
    let incoming = stream.receive_descriptors()?;
    let (mut report, mut bytes) = (None, 0);
    while let Some(mut piece) = incoming.recv().await? {
        // Those that are not taken are closed.
        report = report.or(piece.control.take_descriptors().pop());
        bytes += piece.payload.len();
        stream.write_all(piece.payload).await.0?;
    }
    let client = stream.peer_cred()?;
    if let Some(report) = report {
        let line = format!("user {}: {bytes} bytes\n", client.uid());
        // A file of std's, which may make the thread wait: not this one.
        let written =
            spawn_blocking(move || std::fs::File::from(report).write_all(line.as_bytes()));
        written.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn demo(time: Duration, clients: u32) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("echo");
    spawn(serve(UnixListener::bind(&path)?));
    let end = Instant::now() + time;
    let asking: Vec<_> = (0..clients)
        .map(|n| spawn(ask(path.clone(), n, end)))
        .collect();
    let mut requests = 0;
    for client in asking {
        requests += client.await.map_err(io::Error::other)??;
    }
    let rate = requests as f64 / time.as_secs_f64();
    println!("{requests} requests of {clients} clients, {rate:.0} requests/s, every byte as sent");
    println!("every report was in the file that had come with the first byte");
    Ok(())
}

/// Asks until `end`. Returns how often.
async fn ask(path: PathBuf, number: u32, end: Instant) -> io::Result<u64> {
    let mut report = tempfile::tempfile()?;
    let stream = UnixStream::connect(path).await?;
    let first = stream.write_with_descriptors("!", vec![report.try_clone()?.into()]);
    first.await.0?;
    expect(&stream, b"!").await?;
    let mut requests = 0;
    while Instant::now() < end {
        let request: Vec<u8> = (0..64)
            .map(|at| (requests * 7 + at + u64::from(number)) as u8)
            .collect();
        let (written, request) = stream.write_all(request).await;
        written?;
        expect(&stream, &request).await?;
        requests += 1;
    }
    stream.shutdown(Shutdown::Write).await?;
    if stream.recv().await?.is_some() {
        return Err(io::Error::other("more came back than was sent"));
    }
    let mut line = String::new();
    report.rewind()?;
    report.read_to_string(&mut line)?;
    if !line.ends_with(&format!(": {} bytes\n", 1 + 64 * requests)) {
        return Err(io::Error::other(format!("the report is wrong: {line:?}")));
    }
    Ok(requests)
}

/// Receives what must be `expected`.
async fn expect(stream: &UnixStream, mut expected: &[u8]) -> io::Result<()> {
    while !expected.is_empty() {
        let bytes = stream.recv().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let rest = expected.strip_prefix(&bytes[..]);
        expected = rest.ok_or_else(|| io::Error::other("other bytes came back"))?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.1..=3600.0).contains(seconds));
    let time = seconds.map(Duration::from_secs_f64);
    time.ok_or_else(|| "a number from 0.1 to 3600".into())
}
