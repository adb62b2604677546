//! A server that gives every request an empty answer, and nobody more time than it needs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use corering::cores::{Core, Cores, Running};
use corering::io::AsyncBufRead;
use corering::net::{ConnectionLimit, DeadlineElapsed, Deadlines, Guarded, TcpSocket, TcpStream};
use corering::spawn;

pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub(crate) const ANSWER: &str = "HTTP/1.1 204 No Content\r\n\r\n";
/// Bytes of one line of a request.
const LINE_MAX: usize = 8 * 1024;
const BACKLOG: u32 = 4096;

/// What has become of connections.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) timed_out: AtomicU64,
}

/// A server that runs, on a core of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) limit: ConnectionLimit,
    pub(crate) counts: Arc<Counts>,
    running: Running<io::Result<()>>,
}

/// What a client has to hold to: a request comes at 100 bytes per second at least.
pub(crate) fn deadlines() -> Deadlines {
    let second = Duration::from_secs(1);
    Deadlines::new()
        .first_byte(2 * second)
        .idle(10 * second)
        .write(10 * second)
        .min_rate(100, second, 2 * second)
}

impl Server {
    pub(crate) fn start(limit: usize, deadlines: Deadlines) -> io::Result<Server> {
        let limit = ConnectionLimit::new(limit);
        let counts = Arc::new(Counts::default());
        let (tell, told) = mpsc::channel();
        let main = {
            let (limit, counts) = (limit.clone(), Arc::clone(&counts));
            move |core| {
                let (limit, counts, tell) = (limit.clone(), Arc::clone(&counts), tell.clone());
                async move {
                    let socket = TcpSocket::new_v4()?;
                    let listener = socket.bind(([127, 0, 0, 1], 0).into())?.listen(BACKLOG)?;
                    // Who is not there any more needs no address.
                    let _ = tell.send(listener.local_addr()?);
                    let accepting = core_accepts(&core, listener, &limit, deadlines, &counts);
                    accepting.await
                }
            }
        };
        let cores = Cores::count(1)?.stop_on_signals(false);
        let running = cores.start(main)?;
        let address = told.recv().map_err(io::Error::other)?;
        Ok(Server {
            address,
            limit,
            counts,
            running,
        })
    }

    /// Ends the server with the connections that it has.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.running.handle().stop();
        for ended in self.running.join() {
            ended.output.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

async fn core_accepts(
    core: &Core,
    listener: corering::net::TcpListener,
    limit: &ConnectionLimit,
    deadlines: Deadlines,
    counts: &Arc<Counts>,
) -> io::Result<()> {
    loop {
        let accepting = listener.accept_within(limit).until(core.stopping());
        let Some((stream, _peer, permit)) = accepting.await? else {
            return Ok(());
        };
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(counts);
        spawn(async move {
            let _permit = permit;
            if let Err(error) = answer(&deadlines.guard(stream)).await
                && DeadlineElapsed::of(&error).is_some()
            {
                counts.timed_out.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// Answers requests until the client has no more.
async fn answer(mut stream: &Guarded<TcpStream>) -> io::Result<()> {
    while let Some(line) = stream.read_line(LINE_MAX).await? {
        if line.is_empty() {
            stream.write_all(ANSWER).await.0?;
        }
    }
    Ok(())
}
