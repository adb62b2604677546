//! A small RPC: requests with deadlines, many at once on one connection.
//!
//!     cargo run --release --example framed -- --demo
//!     cargo run --release --example framed -- --addr 127.0.0.1:7000
//!
//! A frame is its length (4 bytes), the number of the request (8 bytes) and a text. The server
//! works on all requests of a connection at the same time and answers each when it is done, so that
//! replies come in another order; the client knows them by their number. A call that is not
//! answered in time is dropped, and its reply, when it comes, too. With `--demo` a thousand calls
//! of a client are checked.

mod client;
mod demo;

use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use corering::Runtime;
use corering::io::{FramedRead, FramedWrite, LengthCodec};
use corering::net::{OwnedWriteHalf, TcpListener, TcpStream};
use corering::sync::{Mutex, Semaphore};
use corering::time::sleep;

/// Requests of one connection that are worked on at the same time; the next ones wait in it.
const AT_ONCE: usize = 128;

/// An RPC over length-prefixed frames.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7000")]
    addr: String,
    /// Call a server of its own on a port that the kernel chooses, and check every reply
    #[arg(long)]
    demo: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = Runtime::new().and_then(|runtime| {
        runtime.block_on(async {
            if options.demo {
                return demo::run().await;
            }
            corering::spawn(serve(TcpListener::bind(options.addr.as_str()).await?));
            println!("listening on {}", options.addr);
            corering::signal::ctrl_c().await
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Frames that nobody needs to be longer.
fn codec() -> LengthCodec {
    LengthCodec::new().max_frame(64 * 1024)
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, peer)) = listener.accept().await {
        corering::spawn(async move {
            if let Err(error) = connection(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn connection(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut requests = FramedRead::new(reader, codec());
    let replies = Rc::new(Mutex::new(FramedWrite::new(writer, codec())));
    let places = Rc::new(Semaphore::new(AT_ONCE));
    while let Some(frame) = requests.next().await? {
        let request = Message::parse(&frame)?;
        let place = Rc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        let replies = Rc::clone(&replies);
        corering::spawn(async move {
            let text = answer(&request.text).await;
            let reply = Message { text, ..request };
            // An error means that the peer is gone, which the reading side sees too.
            let _ = reply.send(&replies).await;
            drop(place);
        });
    }
    Ok(())
}

/// What the service does: `upper TEXT` answers at once, `sleep MILLISECONDS` after that time.
async fn answer(request: &str) -> String {
    match request.split_once(' ') {
        Some(("upper", text)) => text.to_uppercase(),
        Some(("sleep", time)) => match time.parse() {
            Ok(time) => {
                sleep(Duration::from_millis(time)).await;
                format!("slept {time} ms")
            }
            Err(error) => format!("error: {error}"),
        },
        _ => "error: upper TEXT, or sleep MILLISECONDS".into(),
    }
}

/// A request, or the reply that has its number.
struct Message {
    number: u64,
    text: String,
}

impl Message {
    fn parse(frame: &[u8]) -> io::Result<Message> {
        let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
        let (number, text) = frame
            .split_first_chunk()
            .ok_or_else(|| bad("a frame without a number"))?;
        let text = str::from_utf8(text).map_err(|_| bad("a frame that is no text"))?;
        Ok(Message {
            number: u64::from_be_bytes(*number),
            text: text.to_string(),
        })
    }

    async fn send(
        &self,
        writer: &Mutex<FramedWrite<OwnedWriteHalf, LengthCodec>>,
    ) -> io::Result<()> {
        let frame = [&self.number.to_be_bytes(), self.text.as_bytes()].concat();
        writer.lock().await.send(frame).await
    }
}
