//! The same commands to redis-server: every reply has to be the same.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::generator::{Compared, Generator, Pipeline, Sent};
use super::replies::Replies;
use super::service::{BULK_MAX, Service};

/// Pipelines of one connection.
const PIPELINES: usize = 10;
/// Longer than keys live that expire at once.
const FADED: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(30);

/// A redis-server that keeps nothing.
struct Redis {
    child: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Redis {
    /// `None` if there is no such program.
    fn start() -> Option<Redis> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let socket = directory.path().join("socket");
        // In Debian's redis-tools the same program has another name, and goes by what it is called.
        let mut programs = ["redis-server", "redis-check-rdb"].into_iter();
        let child = programs.find_map(|program| {
            let mut command = Command::new(program);
            command.arg0("redis-server");
            command.args(["--port", "0", "--save", "", "--databases", "1"]);
            command.args(["--proto-max-bulk-len", &BULK_MAX.to_string()]);
            command.arg("--dir").arg(directory.path());
            command.arg("--unixsocket").arg(&socket);
            match command.stdout(Stdio::null()).spawn() {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                child => Some(child.unwrap()),
            }
        });
        let redis = Redis {
            child: child?,
            socket,
            _directory: directory,
        };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&redis.socket).is_err() {
            assert!(Instant::now() < end, "redis-server does not come up");
            sleep(Duration::from_millis(10));
        }
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_reply_is_that_of_redis() {
    let Some(redis) = Redis::start() else {
        return println!("skipped: no redis-server");
    };
    let number = |name: &str| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let wanted = number("CORERING_KV_COMMANDS").unwrap_or(100_000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("CORERING_KV_SEED").unwrap_or(now.as_nanos() as u64);
    println!("CORERING_KV_SEED={seed}");
    let mut generator = Generator::new(seed);
    let service = Service::start();
    let (mut done, mut connections) = (0, 0);
    while done < wanted {
        let client = service.connect();
        let mut ours = client.into_replies();
        let theirs = UnixStream::connect(&redis.socket).unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        theirs.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut theirs = Replies::new(theirs);
        for number in 1..=PIPELINES {
            let pipeline = generator.pipeline(number == PIPELINES);
            compare(&pipeline, &mut ours, &mut theirs, &mut generator);
            done += pipeline.commands.len() as u64;
        }
        connections += 1;
    }
    println!("{done} commands on {connections} connections");
}

/// Sends a pipeline to both, and reads what both have to say of it.
fn compare<A, B>(
    pipeline: &Pipeline,
    ours: &mut Replies<A>,
    theirs: &mut Replies<B>,
    generator: &mut Generator,
) where
    A: Read + Socket,
    B: Read + Socket,
{
    let mut bytes: Vec<u8> = pipeline
        .commands
        .iter()
        .flat_map(|sent| sent.bytes.clone())
        .collect();
    let end = pipeline.end.clone().unwrap_or_default();
    // redis-server forgets what it has not said when it hears HTTP.
    let apart = end.starts_with(b"POST") || end.starts_with(b"Host");
    if !apart {
        bytes.extend_from_slice(&end);
    }
    let mut cuts: Vec<_> = (0..generator.random().below(8))
        .map(|_| generator.random().below(bytes.len()))
        .collect();
    cuts.sort_unstable();
    let (mut to_us, mut to_them) = (ours.stream().twin(), theirs.stream().twin());
    let closes = pipeline.end.is_some();
    scope(|scope| {
        // Apart from reading: neither server reads more while nobody reads what it says.
        let sending = [
            scope.spawn(|| to_us.send(&bytes, &cuts, closes)),
            scope.spawn(|| to_them.send(&bytes, &cuts, closes)),
        ];
        for (number, sent) in pipeline.commands.iter().enumerate() {
            let (our, their) = (ours.next().unwrap(), theirs.next().unwrap());
            let before = &pipeline.commands[..number];
            check(sent, our.as_deref(), their.as_deref(), before);
        }
        // Not before: redis-server forgets what it has not said when it sees an end.
        for sending in sending {
            sending.join().unwrap();
        }
        if closes {
            let apart: &[u8] = if apart { &end } else { b"" };
            compare_ends(ours, theirs, apart, &end);
        }
    });
    if pipeline.wait {
        sleep(FADED);
    }
}

/// What both say last, up to the close.
fn compare_ends<A, B>(ours: &mut Replies<A>, theirs: &mut Replies<B>, apart: &[u8], end: &[u8])
where
    A: Read + Socket,
    B: Read + Socket,
{
    // Whoever has closed by now is found out below.
    let _ = ours.stream().write_part(apart);
    let _ = theirs.stream().write_part(apart);
    ours.stream().end();
    theirs.stream().end();
    loop {
        let (our, their) = (ours.next().unwrap(), theirs.next().unwrap());
        let (our, their) = (our.as_deref().map(shown), their.as_deref().map(shown));
        assert_eq!(our, their, "end: {}", shown(&end[..end.len().min(100)]));
        if their.is_none() {
            return;
        }
    }
}

fn check(sent: &Sent, our: Option<&[u8]>, their: Option<&[u8]>, before: &[Sent]) {
    let same = match (sent.compared, our, their) {
        (Compared::Shape, Some(our), Some(their)) => our[0] == their[0],
        (Compared::About(most), Some(our), Some(their)) if our != their => {
            let number = |reply: &[u8]| -> Option<i64> {
                let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
                str::from_utf8(digits).ok()?.parse().ok()
            };
            match (number(our), number(their)) {
                (Some(our), Some(their)) => {
                    our > 0 && their > 0 && our.abs_diff(their) <= most as u64
                }
                _ => false,
            }
        }
        (_, our, their) => our == their,
    };
    if same {
        return;
    }
    let shown_all = |args: &[Vec<u8>]| {
        args.iter()
            .map(|arg| shown(arg))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let history: Vec<_> = before
        .iter()
        .filter(|other| sent.args.iter().skip(1).any(|arg| other.args.contains(arg)))
        .map(|other| shown_all(&other.args))
        .collect();
    panic!(
        "{}\n  we:    {:?}\n  redis: {:?}\nbefore:\n{}",
        shown_all(&sent.args),
        our.map(shown),
        their.map(shown),
        history.join("\n")
    );
}

fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(300)];
    format!("'{}'", start.escape_ascii())
}

/// What both kinds of sockets can do.
trait Socket: Sized + Send {
    fn twin(&self) -> Self;
    fn write_part(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    fn end(&self);

    /// Sends all bytes, with pauses at the cuts.
    fn send(&mut self, bytes: &[u8], cuts: &[usize], closes: bool) {
        let mut start = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            // A server that has closed hears no more.
            if self.write_part(&bytes[start..cut]).is_err() {
                assert!(closes, "the server has closed");
                return;
            }
            start = cut;
            if cut < bytes.len() {
                sleep(Duration::from_micros(300));
            }
        }
    }
}

impl Socket for UnixStream {
    fn twin(&self) -> UnixStream {
        self.try_clone().unwrap()
    }

    fn write_part(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Socket for std::net::TcpStream {
    fn twin(&self) -> std::net::TcpStream {
        self.try_clone().unwrap()
    }

    fn write_part(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}
