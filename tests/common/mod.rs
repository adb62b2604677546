//! What the tests of bad days share.
//!
//! A test that changes or measures what holds for a whole process runs in one of its own: see
//! [`alone`].
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unsafe_code)]

use std::any;
use std::env;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use corering::net::{TcpListener, TcpStream};
use corering::runtime::stats;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

const VARIABLE: &str = "CORERING_TEST_CHILD";
/// A child that is not done by then is ended, and its test has failed.
const CHILD_PATIENCE: Duration = Duration::from_secs(50);
/// The same for a future.
const PATIENCE: Duration = Duration::from_secs(40);
/// Plus the number of the process, a user that nobody is: its account of locked memory is empty.
const NOBODY_AT_ALL: libc::uid_t = 1 << 24;

/// Runs `body`, a closure of a test function, in another process that runs that test alone.
pub(crate) fn alone<F: FnOnce()>(body: F) {
    let name = any::type_name::<F>();
    let test = name
        .split_once("::")
        .expect("a path")
        .1
        .trim_end_matches("::{{closure}}");
    if env::var(VARIABLE).is_ok_and(|name| name == test) {
        watch();
        return body();
    }
    let program = env::current_exe().expect("the path of the test program");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .output()
        .expect("the test program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // A name that no test has would be a success, too.
    let ran = output.status.success() && text.contains("1 passed");
    assert!(
        ran,
        "{test} in a child: {}\n{text}\n{errors}",
        output.status
    );
    if text.contains("skipped") || text.contains("cells:") {
        println!("{text}");
    }
}

/// Ends the process when its time is over, whatever its other threads do.
fn watch() {
    let watcher = thread::Builder::new().spawn(|| {
        // Signals are for the thread under test.
        block_all_signals();
        thread::sleep(CHILD_PATIENCE);
        eprintln!("not done after {CHILD_PATIENCE:?}");
        process::abort();
    });
    drop(watcher.expect("a thread"));
}

/// Keeps signals from this thread.
pub(crate) fn block_all_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call writes the whole set, which the second one reads.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Keeps signals from this thread while `body` runs: std's `connect` does not survive one.
pub(crate) fn without_signals<T>(body: impl FnOnce() -> T) -> T {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it writes the whole set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), before.as_mut_ptr()) };
    block_all_signals();
    let output = body();
    // SAFETY: it reads the set that was written above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    output
}

/// Runs `future` on a runtime of its own, for a limited time.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().expect("a runtime");
    let done = runtime.block_on(async { timeout(PATIENCE, future).await });
    done.unwrap_or_else(|_| panic!("not done after {PATIENCE:?}: {:?}", runtime.stats()))
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the runtime has slept: from then on it has one more op in flight, which ends its
/// sleep when another thread wants that.
pub(crate) async fn asleep_once() {
    let parked = || stats().expect("inside a runtime").parked;
    until("it has slept", || !parked().is_zero()).await;
}

pub(crate) fn localhost() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The two ends of a connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(localhost()).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).await.expect("a connection");
    let (server, _) = listener.accept().await.expect("its other end");
    (client, server)
}

/// A connection whose other end is one of std's, blocking.
pub(crate) async fn pair_with_std() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind(localhost()).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let peer = without_signals(|| std::net::TcpStream::connect(address)).expect("a connection");
    let (stream, _) = listener.accept().await.expect("its other end");
    (stream, peer)
}

/// Sends everything back until the peer has ended.
pub(crate) async fn echo(stream: TcpStream) -> io::Result<()> {
    while let Some(lease) = stream.recv().await? {
        stream.write_all(lease).await.0?;
    }
    Ok(())
}

/// Accepts and echoes for as long as the runtime lives. Errors of a connection are the peer's.
pub(crate) fn spawn_echo_server(listener: TcpListener) {
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(echo(stream));
        }
    });
}

/// Reads until `len` bytes are there. Panics at the end of the stream.
pub(crate) async fn read_exactly(stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let (n, part) = stream.read(Vec::with_capacity(len - bytes.len())).await;
        assert_ne!(n.expect("bytes"), 0, "the end after {} bytes", bytes.len());
        bytes.extend_from_slice(&part);
    }
    bytes
}

/// Bytes that differ from place to place, and between seeds. Quick to make without optimisation.
pub(crate) fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mix = |i: u32| i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13;
    // No power of two, so that what is misplaced by one does not look the same.
    let piece: Vec<_> = (0..997).map(|i| mix(i) as u8).collect();
    let mut bytes = vec![0; len];
    for (number, part) in (0..).zip(bytes.chunks_mut(piece.len())) {
        part.copy_from_slice(&piece[..part.len()]);
        let place = mix(number).to_le_bytes();
        let marked = part.len().min(place.len());
        part[..marked].copy_from_slice(&place[..marked]);
    }
    bytes
}

/// Whether buffers of the ring are larger than a large message: since Linux 6.12.
pub(crate) fn buffers_are_large() -> bool {
    kernel_is_since((6, 12))
}

/// Whether this is Linux `version`, or a later one.
pub(crate) fn kernel_is_since(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("its version");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (number(), number()) >= version
}

/// The errno of a result that has to be an error.
pub(crate) fn errno<T>(result: io::Result<T>) -> i32 {
    let error = result.err().expect("an error");
    error
        .raw_os_error()
        .unwrap_or_else(|| panic!("no errno: {error}"))
}

/// Descriptors that this process has open, without those of what it is told about itself: the
/// thread that watches for stalls has one of these now and then.
pub(crate) fn descriptors() -> usize {
    let entries = fs::read_dir("/proc/self/fd").expect("its descriptors");
    let files = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    files.filter(|file| !file.starts_with("/proc")).count()
}

/// The number of mappings of this process.
pub(crate) fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("its mappings");
    maps.lines().count()
}

/// Whether there is memory at `address`.
pub(crate) fn is_mapped(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("its mappings");
    maps.lines().any(|line| {
        let range = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'));
        let (start, end) = range.expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        (number(start)..number(end)).contains(&address)
    })
}

/// The memory of this process that is in use, bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kilobytes.expect("VmRSS").parse::<u64>().expect("a number")
}

/// Processor time that this process has used.
pub(crate) fn process_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one `timespec` to a live one.
    let result = unsafe { libc::clock_gettime(id, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The share of one processor that the process uses during the next second.
pub(crate) async fn load() -> f64 {
    // What has just been going on may come to its end first.
    sleep(Duration::from_millis(100)).await;
    let (start, before) = (Instant::now(), process_cpu());
    sleep(Duration::from_secs(1)).await;
    (process_cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64()
}

/// Sees a process sleep: it takes hardly more of a processor than a runtime with nothing to do took
/// in it, which is what `idle` was (signals cost something, too, but no more than a tenth).
pub(crate) async fn sleeps(idle: f64) {
    let load = load().await;
    assert!(
        load < idle.min(0.1) + 0.05,
        "{load:.3} of a processor to wait, {idle:.3} with nothing to do"
    );
}

/// What `resource` allows, and what it may be made to allow.
fn limit(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes one `rlimit` to a live one.
    let result = unsafe { libc::getrlimit(resource, &mut limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limit
}

/// Changes what `resource` allows.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut limit = limit(resource);
    limit.rlim_cur = value;
    // SAFETY: `limit` is a live `rlimit`.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Allows this process `count` descriptors more than it has; false if it may not have them.
pub(crate) fn allow_descriptors(count: usize) -> bool {
    let (limit, count) = (
        limit(libc::RLIMIT_NOFILE),
        highest_descriptor() + 1 + count as u64,
    );
    if count > limit.rlim_max {
        return false;
    }
    if count > limit.rlim_cur {
        set_limit(libc::RLIMIT_NOFILE, count);
    }
    true
}

fn highest_descriptor() -> u64 {
    let entries = fs::read_dir("/proc/self/fd").expect("its descriptors");
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(number).max().expect("at least one")
}

/// Leaves the process exactly `count` descriptors. They are taken by what is returned, and the
/// limit is lowered so that there are no others.
pub(crate) fn leave_descriptors(count: usize) -> Vec<File> {
    let limit = highest_descriptor() + 2 + count as u64;
    set_limit(libc::RLIMIT_NOFILE, limit);
    let mut taken = Vec::new();
    // Several times: the thread that watches for stalls may have one for a moment, while it looks
    // whether this one, which holds its core, has a processor.
    for _ in 0..4 {
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert!(taken.len() >= count, "{} of {count}", taken.len());
    taken.truncate(taken.len() - count);
    taken
}

/// Makes this thread a user without capabilities; false if it may not.
pub(crate) fn become_nobody() -> bool {
    let id = NOBODY_AT_ALL + process::id();
    // The plain call, as glibc's would change every thread.
    // SAFETY: it takes no pointer.
    unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) == 0 }
}

/// Numbers that look random and are the same each time.
pub(crate) struct Random(u32);

impl Random {
    pub(crate) fn new(seed: u32) -> Random {
        Random(seed.wrapping_mul(2_654_435_761) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % bound
    }
}
