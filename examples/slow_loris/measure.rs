//! How honest clients are served, alone and under attack.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corering::Runtime;
use corering::net::{Deadlines, TcpStream};
use corering::task::JoinSet;
use corering::time::{Instant, sleep};

use super::serve::{ANSWER, REQUEST, Server};

/// Between two requests of an honest client.
const PAUSE: Duration = Duration::from_millis(5);
/// Requests of one connection of an honest client.
const REQUESTS: usize = 100;
/// How long attackers may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Plan {
    pub(crate) attackers: usize,
    pub(crate) honest: usize,
    pub(crate) each: Duration,
    pub(crate) limit: usize,
    pub(crate) deadlines: Deadlines,
}

/// What has come of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Answers per second: before and after the attack, and under it.
    pub(crate) alone: [f64; 2],
    pub(crate) attacked: f64,
    /// Connections that were open at once, and the limit.
    pub(crate) open: usize,
    pub(crate) limit: usize,
    pub(crate) accepted: u64,
    pub(crate) timed_out: u64,
    /// Bytes: before the attack, when all attackers were there, and at the end.
    pub(crate) resident: [u64; 3],
}

/// Measures a server, alone and while what `attack` starts goes on.
pub(crate) fn measure<A>(
    plan: &Plan,
    attack: impl FnOnce(SocketAddr) -> io::Result<A>,
) -> io::Result<Figures> {
    let server = Server::start(plan.limit, plan.deadlines)?;
    let clients = Runtime::new()?;
    let address = server.address;
    // The first connections find caches and allocators cold.
    clients.block_on(ask(address, plan.honest, plan.each / 4))?;
    let before_it = clients.block_on(ask(address, plan.honest, plan.each))?;
    let before = resident();
    let attackers = attack(address)?;
    let wanted = plan.attackers.min(plan.limit) * 95 / 100;
    let open = clients.block_on(async {
        let start = Instant::now();
        while server.limit.in_use() < wanted && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(1)).await;
        }
        server.limit.in_use()
    });
    let during = resident();
    let attacked = clients.block_on(ask(address, plan.honest, plan.each))?;
    let end = resident();
    let accepted = server.counts.accepted.load(Ordering::Relaxed);
    let timed_out = server.counts.timed_out.load(Ordering::Relaxed);
    drop(attackers);
    clients.block_on(until_fewer(&server, plan.honest));
    let after_it = clients.block_on(ask(address, plan.honest, plan.each))?;
    server.stop()?;
    Ok(Figures {
        alone: [before_it, after_it],
        attacked,
        open,
        limit: plan.limit,
        accepted,
        timed_out,
        resident: [before, during, end],
    })
}

/// Waits until what is left of an attack is gone.
async fn until_fewer(server: &Server, connections: usize) {
    let start = Instant::now();
    while server.limit.in_use() > connections && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Answers per second that honest clients get.
async fn ask(address: SocketAddr, clients: usize, each: Duration) -> io::Result<f64> {
    let answers = Rc::new(Cell::new(0_u64));
    let (start, mut all) = (Instant::now(), JoinSet::new());
    for _ in 0..clients {
        let answers = Rc::clone(&answers);
        all.spawn(async move {
            while start.elapsed() < each {
                let stream = TcpStream::connect(address).await?;
                for _ in 0..REQUESTS {
                    stream.write_all(REQUEST).await.0?;
                    whole_answer(&stream).await?;
                    answers.set(answers.get() + 1);
                    sleep(PAUSE).await;
                    if start.elapsed() >= each {
                        break;
                    }
                }
            }
            io::Result::Ok(())
        });
    }
    while let Some(client) = all.join_next().await {
        client.map_err(io::Error::other)??;
    }
    Ok(answers.get() as f64 / start.elapsed().as_secs_f64())
}

async fn whole_answer(stream: &TcpStream) -> io::Result<()> {
    let mut received = 0;
    while received < ANSWER.len() {
        match stream.recv().await? {
            Some(lease) => received += lease.len(),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(())
}

/// The memory of this process that is in use, bytes; 0 where the kernel does not say.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    1024 * kilobytes.unwrap_or(0)
}

impl Figures {
    /// The rate under attack, by that without one. What else the machine does changes from minute
    /// to minute, so it is compared with the slower of the two.
    pub(crate) fn ratio(&self) -> f64 {
        self.attacked / self.alone[0].min(self.alone[1])
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, during, end] = self.resident.map(|bytes| bytes as f64 / 1e6);
        let [first, last] = self.alone;
        writeln!(f, "honest clients before       {first:8.0} answers/s")?;
        writeln!(
            f,
            "under attack                {:8.0} answers/s",
            self.attacked
        )?;
        writeln!(f, "after it                    {last:8.0} answers/s")?;
        writeln!(
            f,
            "                            {:8.3} of the rate without it",
            self.ratio()
        )?;
        writeln!(
            f,
            "open when the attack stood   {:8} of {}",
            self.open, self.limit
        )?;
        writeln!(f, "accepted in all              {:8}", self.accepted)?;
        writeln!(f, "given up for a deadline      {:8}", self.timed_out)?;
        writeln!(
            f,
            "resident: {before:.1} MB before, {during:.1} MB under attack, {end:.1} MB at the end"
        )
    }
}
