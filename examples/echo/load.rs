//! The demo: a load on a runtime of its own, and what the server has spent on it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::net::TcpStream;
use corering::runtime::stats;
use corering::task::spawn_blocking;
use corering::time::sleep;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

/// Whom to ask, how, and from which CPU.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) cpu: Option<usize>,
    pub(crate) connections: u32,
    pub(crate) bytes: usize,
}

const WARM_UP: Duration = Duration::from_millis(500);
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// What the server tells the load: requests do not count yet, they count, they end.
const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Has this thread's server asked for `time`, and prints what that took.
pub(crate) async fn demo(load: Load, time: Duration) -> io::Result<()> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let (connections, bytes) = (load.connections, load.bytes);
    // It blocks, so it gets a thread of the runtime's pool, and builds a runtime of its own there.
    let asked = spawn_blocking({
        let phase = Arc::clone(&phase);
        move || load.run(&phase)
    });
    sleep(WARM_UP).await;
    let (cpu, enters) = spent()?;
    let start = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    sleep(time).await;
    phase.store(OVER, Ordering::Relaxed);
    let time = start.elapsed();
    let (cpu, enters) = spent().map(|now| (now.0 - cpu, now.1 - enters))?;
    let latencies = asked.await.map_err(io::Error::other)??;

    if latencies.is_empty() {
        return Err(io::Error::other("no request was answered in time"));
    }
    let requests = latencies.len() as f64;
    let percentile = |p| latencies.value_at_percentile(p) as f64 / 1000.0;
    println!("connections: {connections}, bytes each way: {bytes}, every one checked");
    println!("{:>12.0} requests/s", requests / time.as_secs_f64());
    println!("{:>12.1} µs p50", percentile(50.0));
    println!("{:>12.1} µs p99", percentile(99.0));
    println!(
        "{:>12.0} ns of the server's CPU a request",
        cpu.as_nanos() as f64 / requests
    );
    println!(
        "{:>12.3} system calls (io_uring_enter) of the server a request",
        enters / requests
    );
    Ok(())
}

/// The CPU time of the server's thread and the system calls of its runtime so far.
fn spent() -> io::Result<(Duration, f64)> {
    let cpu =
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).map_err(io::Error::other)?;
    let stats = stats().ok_or(io::ErrorKind::NotConnected)?;
    Ok((cpu, stats.enters as f64))
}

impl Load {
    /// Asks until the phase is over: how long each answer took, nanoseconds.
    fn run(self, phase: &Arc<AtomicU8>) -> io::Result<Histogram<u64>> {
        let runtime = Runtime::new()?;
        if let Some(cpu) = self.cpu {
            super::pin(cpu)?;
        }
        let histogram = Histogram::new_with_max(LATENCY_MAX_NS, 3).map_err(io::Error::other);
        let latencies = Rc::new(RefCell::new(histogram?));
        runtime.block_on(async {
            let asking = (0..self.connections).map(|connection| {
                let (phase, latencies) = (Arc::clone(phase), Rc::clone(&latencies));
                let request = (0..self.bytes)
                    .map(|i| (i as u32 ^ connection) as u8)
                    .collect();
                corering::spawn(ask(self.address, request, phase, latencies))
            });
            let asking: Vec<_> = asking.collect();
            for connection in asking {
                connection.await.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        })?;
        let latencies = latencies.borrow().clone();
        Ok(latencies)
    }
}

async fn ask(
    address: SocketAddr,
    mut request: Vec<u8>,
    phase: Arc<AtomicU8>,
    latencies: Rc<RefCell<Histogram<u64>>>,
) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    for number in 0_u64.. {
        let mark = number.to_le_bytes();
        let marked = mark.len().min(request.len());
        request[..marked].copy_from_slice(&mark[..marked]);

        let counts = phase.load(Ordering::Relaxed);
        if counts == OVER {
            break;
        }
        let start = Instant::now();
        let sent;
        (sent, request) = stream.write_all(request).await;
        sent?;
        receive(&stream, &request).await?;
        if counts == MEASURING {
            latencies
                .borrow_mut()
                .saturating_record(start.elapsed().as_nanos() as u64);
        }
    }
    Ok(())
}

/// Receives as many bytes as `expected` has, and compares them.
async fn receive(stream: &TcpStream, mut expected: &[u8]) -> io::Result<()> {
    while !expected.is_empty() {
        let lease = stream.recv().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        expected = expected
            .strip_prefix(&*lease)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not what was sent"))?;
    }
    Ok(())
}
