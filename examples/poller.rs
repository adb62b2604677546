//! Two HTTP endpoints, asked for ever on one thread, each reply saying when to ask next, while a
//! heartbeat keeps its time.
//!
//!     cargo run --release --example poller -- --seconds 2
//!     cargo run --release --example poller -- http://127.0.0.1:8080/one http://127.0.0.1:8080/two
//!
//! Each loop is written as if it were alone: it asks, waits, and asks again. None of them knows of
//! the others, and there is no callback, no state machine and no lock. Without URLs it serves two
//! endpoints itself, whose replies are numbers of milliseconds.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use corering::net::{TcpListener, TcpStream};
use corering::task::JoinSet;
use corering::time::{Instant, interval, sleep, timeout};

const BEAT: Duration = Duration::from_millis(1);
/// For one reply. An endpoint that hangs is asked again.
const LIMIT: Duration = Duration::from_secs(5);
/// A head that is longer is not one of an endpoint for numbers.
const REPLY_MAX: usize = 64 * 1024;

/// Asks HTTP endpoints again and again, at the pace that their replies ask for
#[derive(Parser)]
struct Options {
    /// What to ask: replies are the milliseconds until the next question
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Stop after so many seconds [default: go on until Ctrl-C]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
}

#[corering::main]
async fn main() -> io::Result<()> {
    let mut options = Options::parse();
    if options.urls.is_empty() {
        for (start, step) in [(2, 1), (30, 7)] {
            let address = serve(start, step).await?;
            options.urls.push(format!("http://{address}/delay"));
        }
    }
    let asked: Rc<Cell<u64>> = Rc::default();
    let mut pollers = JoinSet::new();
    for url in options.urls {
        pollers.spawn(poll(url, Rc::clone(&asked)));
    }
    let worst: Rc<Cell<Duration>> = Rc::default();
    let heart = corering::spawn(beat(Rc::clone(&worst)));

    match options.seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => corering::signal::ctrl_c().await?,
    }
    heart.abort();
    drop(pollers); // ends them where they wait: in a sleep, a connect or a read
    println!(
        "asked {} times; the worst beat was {:.1?} late",
        asked.get(),
        worst.get()
    );
    Ok(())
}

async fn beat(worst: Rc<Cell<Duration>>) {
    let mut beats = interval(BEAT);
    loop {
        let due = beats.tick().await;
        let late = Instant::now().duration_since(due);
        worst.set(worst.get().max(late));
    }
}

/// Asks for ever. An endpoint that fails is given a second.
async fn poll(url: String, asked: Rc<Cell<u64>>) {
    loop {
        let reply = timeout(LIMIT, ask(&url)).await;
        let delay = match reply.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(delay) => delay,
            Err(error) => {
                eprintln!("{url}: {error}");
                Duration::from_secs(1)
            }
        };
        asked.set(asked.get() + 1);
        sleep(delay).await;
    }
}

/// One request, on a connection of its own.
async fn ask(url: &str) -> io::Result<Duration> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| invalid("no http:// URL"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let stream = TcpStream::connect(host).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request).await.0?;

    let mut reply = Vec::new();
    while let Some(bytes) = stream.recv().await? {
        reply.extend_from_slice(&bytes);
        if reply.len() > REPLY_MAX {
            return Err(invalid("the reply is too long"));
        }
    }
    let reply = std::str::from_utf8(&reply).map_err(|_| invalid("the reply is no text"))?;
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .ok_or_else(|| invalid("no HTTP reply"))?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        ));
    }
    let ms = body
        .trim()
        .parse()
        .map_err(|_| invalid("the reply is no number"))?;
    Ok(Duration::from_millis(ms))
}

/// An endpoint whose delay grows with each reply, up to ten times what it was.
async fn serve(start: u64, step: u64) -> io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    corering::spawn(async move {
        let mut delays = (start..=10 * start).step_by(step as usize).cycle();
        while let (Ok((stream, _)), Some(ms)) = (listener.accept().await, delays.next()) {
            corering::spawn(async move {
                while stream
                    .fill_buf()
                    .await
                    .is_ok_and(|b| !b.ends_with(b"\r\n\r\n"))
                {
                    if stream.fill_more().await.is_err() {
                        return;
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
                let body = ms.to_string();
                let reply = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(reply).await;
                stream.consume(stream.fill_buf().await.map_or(0, |bytes| bytes.len()));
            });
        }
    });
    Ok(address)
}
