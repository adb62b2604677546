//! Where a script plays, on the real kernel and on the simulated one, and how what it has seen is
//! compared.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::slice;
use std::time::Duration;

use corering::io::Operation;
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Check, Faults, Sim};
use corering::spawn;
use corering::time::{sleep, timeout};

use super::common::{leave_descriptors, localhost, run};
use super::known::DIFFERENCES;

/// Seeds without faults: they differ in the sizes of queues and of socket buffers, and in latency.
const QUIET_SEEDS: u64 = 12;
/// Seeds with the faults that the runtime deals with.
const SEEDS: u64 = 24;

/// So often a script is played on the real kernel until both agree. A machine that is busy may make
/// it late, and a kernel that was given time finds room where there was none.
const TRIES: u32 = 5;

/// Long enough for what was said on loopback to be heard.
const SETTLED: Duration = Duration::from_millis(20);

/// A label, and what was seen.
pub(crate) type Line = (String, String);
type Log = Rc<RefCell<Vec<Line>>>;
type Playing = Pin<Box<dyn Future<Output = ()>>>;

/// What is played.
pub(crate) struct Script {
    pub(crate) name: String,
    play: Box<dyn Fn(Stage) -> Playing>,
}

pub(crate) fn script<F>(name: impl Into<String>, play: impl Fn(Stage) -> F + 'static) -> Script
where
    F: Future<Output = ()> + 'static,
{
    let play = Box::new(move |stage| Box::pin(play(stage)) as Playing);
    let name = name.into();
    Script { name, play }
}

/// What a script has in its hands.
#[derive(Clone)]
pub(crate) struct Stage {
    log: Log,
    dir: PathBuf,
    sim: Option<Sim>,
    taken: Rc<RefCell<Vec<File>>>,
}

impl Stage {
    /// Writes down what was seen.
    pub(crate) fn saw(&self, label: impl fmt::Display, what: impl fmt::Display) {
        let line = (label.to_string(), what.to_string());
        self.log.borrow_mut().push(line);
    }

    /// Writes down what came of a call.
    pub(crate) fn told<T: fmt::Debug>(&self, label: impl fmt::Display, result: &io::Result<T>) {
        self.saw(label, told(result));
    }

    /// A file of this script alone.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Leaves the process a few descriptors.
    pub(crate) fn limit_descriptors(&self) {
        match &self.sim {
            Some(sim) => sim.host("test").set_nofile(32),
            None => self.taken.borrow_mut().extend(leave_descriptors(16)),
        }
    }
}

/// Lets what was said be heard.
pub(crate) async fn settle() {
    sleep(SETTLED).await;
}

/// Two ends of a connection: the one that has connected, and the one that was accepted.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let client = connected(listener.local_addr().unwrap()).await;
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

pub(crate) async fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// All bytes until the end, and what the end was.
pub(crate) async fn rest(stream: &TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    loop {
        match stream.recv().await {
            Ok(Some(lease)) => bytes.extend_from_slice(&lease),
            Ok(None) => return (bytes, Ok(())),
            Err(e) => return (bytes, Err(e)),
        }
    }
}

/// All bytes as text, with how they end.
pub(crate) async fn rest_as_text(stream: &TcpStream) -> String {
    let (bytes, end) = rest(stream).await;
    let end = end.map_or_else(|e| errno_of(&e), |()| "end".to_owned());
    format!("{:?} {end}", String::from_utf8_lossy(&bytes))
}

/// What the next receives say until nothing more comes, in words. What ends a stream stays.
pub(crate) async fn received(stream: &TcpStream) -> String {
    let mut bytes = match stream.recv().await {
        Ok(Some(lease)) => lease.to_vec(),
        Ok(None) => return "end".to_owned(),
        Err(e) => return errno_of(&e),
    };
    while let Ok(Ok(Some(lease))) = timeout(SETTLED, stream.recv()).await {
        bytes.extend_from_slice(&lease);
    }
    format!("{:?}", String::from_utf8_lossy(&bytes))
}

/// Writes until not even a single byte goes any more: how much went.
///
/// A write that waits is woken when much of the socket's memory is free, and a new one is taken as
/// soon as any is: that a write has waited says little of the next. And with the time there may be
/// more room, on a machine that is busy at least.
pub(crate) async fn fill(stream: &TcpStream) -> usize {
    let mut bytes = 0;
    for (size, waits) in [(100_000, 4), (1, 40)] {
        let mut waited = 0;
        while waited < waits {
            let (n, _) = stream.write(vec![7; size]).timeout(SETTLED).await;
            match n {
                Ok(n) => (bytes, waited) = (bytes + n, 0),
                Err(_) => waited += 1,
            }
        }
    }
    bytes
}

pub(crate) fn told<T: fmt::Debug>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(e) => errno_of(e),
    }
}

/// The error by its number's name, or by its kind if it has none.
pub(crate) fn errno_of(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return format!("{:?}", error.kind());
    };
    let name = ERRNOS.iter().find(|(errno, _)| *errno == number);
    name.map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}

const ERRNOS: [(i32, &str); 24] = [
    (libc::EACCES, "EACCES"),
    (libc::EADDRINUSE, "EADDRINUSE"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EBADF, "EBADF"),
    (libc::EBUSY, "EBUSY"),
    (libc::ECANCELED, "ECANCELED"),
    (libc::ECONNREFUSED, "ECONNREFUSED"),
    (libc::ECONNRESET, "ECONNRESET"),
    (libc::EEXIST, "EEXIST"),
    (libc::EFBIG, "EFBIG"),
    (libc::EINVAL, "EINVAL"),
    (libc::EISDIR, "EISDIR"),
    (libc::ELOOP, "ELOOP"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::ENOENT, "ENOENT"),
    (libc::ENOTCONN, "ENOTCONN"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::ENOTEMPTY, "ENOTEMPTY"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EPIPE, "EPIPE"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
];

/// Plays every script on both kernels, with many seeds.
pub(crate) fn compare(scripts: &[Script]) {
    let mut report = String::new();
    for script in scripts {
        let quiet = (0..QUIET_SEEDS).map(|seed| (seed, Faults::none()));
        let others = (0..SEEDS).map(|seed| (seed, Faults::default()));
        let seeds: Vec<_> = quiet.chain(others).collect();
        let real = on_the_real_kernel(slice::from_ref(script)).remove(0);
        report += &compare_patiently(script, real, &seeds);
    }
    assert!(report.is_empty(), "\n{report}");
}

/// Plays many short scripts, on the real kernel all at the same time, each with two seeds.
pub(crate) fn compare_many(scripts: &[Script]) {
    let mut report = String::new();
    for (at, some) in scripts.chunks(50).enumerate() {
        for (script, real) in some.iter().zip(on_the_real_kernel(some)) {
            let seed = at as u64;
            let seeds = [(seed, Faults::none()), (seed, Faults::default())];
            report += &compare_patiently(script, real, &seeds);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// How the kernels differ each time, where they do.
fn compare_patiently(script: &Script, mut real: Vec<Line>, seeds: &[(u64, Faults)]) -> String {
    for _ in 1..TRIES {
        let report = compare_with(script, &real, seeds);
        if report.is_empty() {
            return report;
        }
        eprintln!("played again: {report}");
        real = on_the_real_kernel(slice::from_ref(script)).remove(0);
    }
    compare_with(script, &real, seeds)
}

fn compare_with(script: &Script, real: &[Line], seeds: &[(u64, Faults)]) -> String {
    let mut report = String::new();
    let mut differing = Vec::new();
    for (seed, faults) in seeds {
        let is_quiet = *faults == Faults::none();
        match on_the_simulated_kernel(script, *seed, faults.clone()) {
            Ok(simulated) => differing.extend(
                differences(real, &simulated)
                    .into_iter()
                    .map(|(label, text)| (label, text, *seed, is_quiet)),
            ),
            Err(e) => differing.push(("*".to_owned(), e, *seed, is_quiet)),
        }
    }
    let known = || {
        DIFFERENCES
            .iter()
            .filter(|known| known.script == script.name)
    };
    let mut told = Vec::new();
    for (label, text, seed, is_quiet) in &differing {
        if known().any(|known| known.label == label) || told.contains(&(label, text)) {
            continue;
        }
        told.push((label, text));
        let faults = if *is_quiet { "no faults" } else { "faults" };
        let _ = writeln!(report, "{}, seed {seed}, {faults}: {text}", script.name);
    }
    for known in known() {
        if !differing.iter().any(|(label, ..)| label == known.label) {
            let _ = writeln!(
                report,
                "{}, {}: is listed as a difference, and does not differ",
                script.name, known.label
            );
        }
    }
    report
}

/// Labels whose lines differ, with both lines.
fn differences(real: &[Line], simulated: &[Line]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for at in 0..real.len().max(simulated.len()) {
        match (real.get(at), simulated.get(at)) {
            (Some((label, a)), Some((other, b))) if label == other => {
                if a != b {
                    let text = format!("{label}: {a} in reality, {b} simulated");
                    found.push((label.clone(), text));
                }
            }
            (real, simulated) => {
                let text = format!("line {at}: {real:?} in reality, {simulated:?} simulated");
                found.push(("*".to_owned(), text));
                return found;
            }
        }
    }
    found
}

/// Plays scripts at the same time.
fn on_the_real_kernel(scripts: &[Script]) -> Vec<Vec<Line>> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on disk");
    let stages: Vec<Stage> = (0..scripts.len())
        .map(|at| {
            let dir = dir.path().join(at.to_string());
            std::fs::create_dir(&dir).expect("a directory of its own");
            Stage {
                log: Log::default(),
                dir,
                sim: None,
                taken: Rc::default(),
            }
        })
        .collect();
    run(async {
        let playing = scripts.iter().zip(&stages);
        let playing: Vec<_> = playing
            .map(|(script, stage)| spawn((script.play)(stage.clone())))
            .collect();
        for script in playing {
            script.await.expect("a script does not panic");
        }
    });
    stages.into_iter().map(|stage| stage.log.take()).collect()
}

fn on_the_simulated_kernel(
    script: &Script,
    seed: u64,
    faults: Faults,
) -> Result<Vec<Line>, String> {
    let log = Log::default();
    let check = Check::new()
        .first_seed(seed)
        .seeds(1)
        .faults(faults)
        .shrink(false);
    let played = check.run(|sim| {
        log.borrow_mut().clear();
        let playing = (script.play)(Stage {
            log: Rc::clone(&log),
            dir: PathBuf::from("/stage"),
            sim: Some(sim),
            taken: Rc::default(),
        });
        async {
            corering::fs::create_dir("/stage").await.unwrap();
            playing.await;
        }
    });
    match played {
        Ok(_) => Ok(log.take()),
        Err(failure) => Err(failure.message().to_owned()),
    }
}
