//! Two programs talk through a third, which moves their bytes within the kernel or copies them, and
//! begins anew again and again.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::time::Duration;

use corering::io::copy;
use corering::net::pipe::pipe;
use corering::net::{TcpListener, TcpStream, splice};
use corering::sim::{Fault, Sim};
use corering::spawn;
use corering::time::{sleep, timeout};
use futures_lite::future::{try_zip, zip};

use super::pattern::Pattern;
use super::random::{Random, mix};

/// Bytes of a direction and of one write, at most.
const TOTAL: u64 = 1 << 17;
const PIECE: u64 = 1 << 16;
/// Longer than any connection takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever begins anew all the time does nothing else.
const LEAST: Duration = Duration::from_micros(100);

pub(crate) async fn run(sim: Sim) {
    let mut random = Random::new(sim.seed());
    let all: Vec<_> = (0..1 + random.below(3))
        .map(|number| spawn(converse(sim.clone(), number, random.fork())))
        .collect();
    for one in all {
        one.await.expect("it does not panic");
    }
}

/// An error is right if there was a fault that a program is told of.
fn excused<T>(sim: &Sim, what: &str, result: io::Result<T>) -> Option<T> {
    let faults = sim.happened(Fault::Error) + sim.happened(Fault::Reset);
    result
        .inspect_err(|error| assert!(faults > 0, "{what}: {error} without a cause"))
        .ok()
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let connect = TcpStream::connect(listener.local_addr()?);
    // A connection that is aborted before it is accepted is passed over, and no other one comes.
    let both = timeout(PATIENCE, try_zip(connect, listener.accept())).await;
    let (client, (server, _)) = both.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok((client, server))
}

async fn converse(sim: Sim, number: u64, mut random: Random) {
    let Some((client, near)) = excused(&sim, "connect", pair().await) else {
        return;
    };
    let Some((far, server)) = excused(&sim, "connect", pair().await) else {
        return;
    };
    let (there, back) = (random.size(TOTAL), random.size(TOTAL));
    let proxy = spawn(pass(sim.clone(), near, far, random.fork()));
    let mut other = random.fork();
    let id = mix(sim.seed()) ^ number;
    let (up, down) = (Pattern::new(id, 0), Pattern::new(id, 1));
    let asks = talk(&sim, client, [there, back], [up, down], &mut random);
    let answers = talk(&sim, server, [back, there], [down, up], &mut other);
    zip(asks, answers).await;
    proxy.await.expect("it does not panic");
}

/// Sends `totals[0]` bytes and expects `totals[1]`, in order.
async fn talk(
    sim: &Sim,
    stream: TcpStream,
    totals: [u64; 2],
    of: [Pattern; 2],
    random: &mut Random,
) {
    let mut own = random.fork();
    let sends = async {
        let mut at = 0;
        while at < totals[0] {
            let len = own.size(PIECE).min(totals[0] - at);
            stream.write_all(of[0].bytes(at, len)).await.0?;
            at += len;
            if own.one_in(4) {
                sleep(own.time(Duration::from_millis(1))).await;
            }
        }
        stream.shutdown(Shutdown::Write).await
    };
    let receives = async {
        let mut at = 0;
        while let Some(bytes) = stream.recv().await? {
            let wrong = of[1].wrong(at, &bytes);
            assert_eq!(wrong, None, "another byte than was sent");
            at += bytes.len() as u64;
            if random.one_in(8) {
                sleep(random.time(Duration::from_millis(4))).await;
            }
        }
        Ok(at)
    };
    let Some(((), received)) = excused(sim, "talk", try_zip(sends, receives).await) else {
        return;
    };
    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
    let whole = if received == totals[1] {
        Ok(())
    } else {
        Err(cut)
    };
    excused(sim, "talk", whole);
}

async fn pass(sim: Sim, near: TcpStream, far: TcpStream, mut random: Random) {
    let there = one_way(&near, &far, random.fork());
    let back = one_way(&far, &near, random);
    excused(&sim, "pass", try_zip(there, back).await);
}

/// All bytes, and then the end.
async fn one_way(from: &TcpStream, to: &TcpStream, mut random: Random) -> io::Result<()> {
    let patience = LEAST + random.time(Duration::from_millis(8));
    let ends = random.pick(&[0, 1, 4]);
    loop {
        let is_over = match random.below(6) {
            5 => through_a_pipe(from, to, &mut random).await.map(|()| true)?,
            0 => over(copy(&mut &*from, &mut &*to), patience).await?,
            1 => {
                let bytes = from.recv().await?;
                match bytes {
                    Some(bytes) => to.write_all(bytes).await.0.map(|()| false)?,
                    None => true,
                }
            }
            _ if ends > 0 && random.one_in(ends) => over(splice(from, to), patience).await?,
            _ => splice(from, to).await.map(|_| true)?,
        };
        if is_over {
            return to.shutdown(Shutdown::Write).await;
        }
    }
}

/// All that is left, by way of a pipe of the program's own, in pieces as they come.
async fn through_a_pipe(from: &TcpStream, to: &TcpStream, random: &mut Random) -> io::Result<()> {
    let (sender, receiver) = pipe()?;
    let room = 256 + random.size(PIECE) as usize;
    let (patience, ends) = (
        random.time(Duration::from_millis(8)),
        random.pick(&[0, 2, 8]),
    );
    let fill = async {
        while let Some(bytes) = from.recv().await? {
            sender.write_all(bytes).await.0?;
        }
        drop(sender);
        Ok(())
    };
    let drain = async {
        loop {
            let read = receiver.read(Vec::with_capacity(room));
            let (n, bytes) = match ends > 0 && random.one_in(ends) {
                // What a dropped read has got is there for the next one.
                true => match timeout(patience, read).await {
                    Ok(read) => read,
                    Err(_) => continue,
                },
                false => read.await,
            };
            if n? == 0 {
                return Ok(());
            }
            to.write_all(bytes).await.0?;
        }
    };
    try_zip(fill, drain).await.map(drop)
}

/// Whether it has come to its end in time.
async fn over(
    passing: impl Future<Output = io::Result<u64>>,
    patience: Duration,
) -> io::Result<bool> {
    match timeout(patience, passing).await {
        Ok(passed) => passed.map(|_| true),
        Err(_) => Ok(false),
    }
}
