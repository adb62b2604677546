//! Buffer rings, and what the kernel picks from them.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::super::facts::kernel_version;
use super::super::{Fd, Kernel, Pages, RawSqe, Ring, Sqe, Wait, opcode};
use super::child::alone;
use super::{filled, nop, reap_one, ring};

const GROUP: u16 = 3;
const ENTRIES: u16 = 4;
const BUFFER_LEN: usize = 64;

/// A buffer ring by hand: `struct io_uring_buf` each, the tail in the last field of the first.
struct Buffers {
    ring: Pages,
    bytes: Pages,
}

impl Buffers {
    fn register(ring: &mut Ring, incremental: bool) -> Buffers {
        let buffers = Buffers {
            ring: Pages::new(usize::from(ENTRIES) * 16).unwrap(),
            bytes: Pages::new(usize::from(ENTRIES) * BUFFER_LEN).unwrap(),
        };
        let address = buffers.ring.as_ptr().expose_provenance() as u64;
        // SAFETY: the pages are fresh, large enough, and outlive the registration in each test.
        unsafe { ring.register_buf_ring(address, ENTRIES, GROUP, incremental) }.unwrap();
        for id in 0..ENTRIES {
            let bytes = buffers
                .bytes
                .as_ptr()
                .wrapping_add(usize::from(id) * BUFFER_LEN);
            let entry = buffers.ring.as_ptr().wrapping_add(usize::from(id) * 16);
            // SAFETY: inside the pages, aligned, and not yet published.
            unsafe {
                entry.cast::<u64>().write(bytes.expose_provenance() as u64);
                entry.add(8).cast::<u32>().write(BUFFER_LEN as u32);
                entry.add(12).cast::<u16>().write(id);
            }
        }
        // SAFETY: inside the pages and aligned. No receive is in flight, so nothing races.
        unsafe {
            buffers
                .ring
                .as_ptr()
                .add(14)
                .cast::<u16>()
                .write_volatile(ENTRIES)
        };
        buffers
    }

    fn bytes(&self, id: u16, offset: usize, len: usize) -> &[u8] {
        assert!(offset + len <= BUFFER_LEN && id < ENTRIES);
        let start = self
            .bytes
            .as_ptr()
            .wrapping_add(usize::from(id) * BUFFER_LEN + offset);
        // SAFETY: inside the pages, which were zeroed; the kernel writes there no more.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

fn receive(sqe: &mut Sqe<'_>, socket: i32) {
    sqe.op(opcode::RECV)
        .raw_fd(socket)
        .ioprio(opcode::RECV_MULTISHOT)
        .buffer_group(GROUP);
}

/// Our end as its number, and the peer's.
fn pair() -> (i32, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Fd::from(OwnedFd::from(ours)).into_raw(), theirs)
}

#[test]
fn a_multishot_receive_takes_its_buffers_from_the_ring() {
    let mut ring = ring();
    let buffers = Buffers::register(&mut ring, false);
    let (socket, mut peer) = pair();
    // SAFETY: the buffers outlive the op, which ends below.
    ring.push(&unsafe { filled(1, |sqe| receive(sqe, socket)) })
        .unwrap();
    for (id, text) in ["first", "second"].into_iter().enumerate() {
        peer.write_all(text.as_bytes()).unwrap();
        let cqe = reap_one(&mut ring);
        assert_eq!(
            (cqe.result().unwrap() as usize, cqe.buffer()),
            (text.len(), Some(id as u16))
        );
        assert!(cqe.is_more() && !cqe.buffer_is_kept());
        assert_eq!(buffers.bytes(id as u16, 0, text.len()), text.as_bytes());
    }
    drop(peer);
    let cqe = reap_one(&mut ring);
    assert_eq!(
        (cqe.res, cqe.is_more()),
        (0, false),
        "the end of the stream ends the op"
    );
    ring.unregister_buf_ring(GROUP).unwrap();
}

#[test]
fn incremental_buffers_are_filled_piece_by_piece_where_the_kernel_says_so() {
    let mut ring = ring();
    if !ring.features().incremental {
        println!("skipped: no incremental buffers on this kernel");
        return;
    }
    let buffers = Buffers::register(&mut ring, true);
    let (socket, mut peer) = pair();
    // SAFETY: the buffers outlive the op, which ends below.
    ring.push(&unsafe { filled(1, |sqe| receive(sqe, socket)) })
        .unwrap();
    let mut offset = 0;
    for text in ["first", "second"] {
        peer.write_all(text.as_bytes()).unwrap();
        let cqe = reap_one(&mut ring);
        assert_eq!(
            (cqe.result().unwrap() as usize, cqe.buffer()),
            (text.len(), Some(0))
        );
        assert!(cqe.is_more() && cqe.buffer_is_kept());
        assert_eq!(buffers.bytes(0, offset, text.len()), text.as_bytes());
        offset += text.len();
    }
    drop(peer);
    assert_eq!(reap_one(&mut ring).res, 0);
    ring.unregister_buf_ring(GROUP).unwrap();
}

#[test]
fn a_group_is_taken_once_and_given_back_once() {
    let mut ring = ring();
    let pages = Pages::new(1).unwrap();
    let address = pages.as_ptr().expose_provenance() as u64;
    let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
    assert_eq!(errno(ring.unregister_buf_ring(GROUP)), Some(libc::ENOENT));
    // SAFETY: the page outlives the registration.
    unsafe { ring.register_buf_ring(address, ENTRIES, GROUP, false) }.unwrap();
    // SAFETY: as above.
    let again = unsafe { ring.register_buf_ring(address, ENTRIES, GROUP, false) };
    assert_eq!(errno(again), Some(libc::EEXIST));
    ring.unregister_buf_ring(GROUP).unwrap();
    // SAFETY: as above.
    let odd = unsafe { ring.register_buf_ring(address, 3, GROUP, false) };
    assert_eq!(errno(odd), Some(libc::EINVAL), "not a power of two");
}

#[test]
fn a_message_reaches_another_ring() {
    let (mut from, mut to) = (ring(), ring());
    // SAFETY: MSG_RING lends no memory.
    let message = unsafe {
        filled(1, |sqe| {
            sqe.op(opcode::MSG_RING)
                .raw_fd(to.raw_fd())
                .len(5)
                .offset(77);
        })
    };
    from.push(&message).unwrap();
    assert_eq!(reap_one(&mut from).res, 0);
    let cqe = reap_one(&mut to);
    assert_eq!((cqe.user_data, cqe.res), (77, 5));
}

/// Threads that the kernel made to work for the rings of this thread.
fn workers() -> usize {
    // SAFETY: it takes no pointer.
    let thread = unsafe { libc::gettid() };
    let name = format!("iou-wrk-{thread}\n");
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|other| *other == name).count()
}

/// Lets eight opens of a FIFO without a writer hang; how many workers they took.
fn workers_of_hung_opens(ring: &mut Ring, expected: usize) -> usize {
    const OPENS: u64 = 8;
    let path = env::current_exe()
        .unwrap()
        .with_file_name(format!("fifo-{}-{expected}", process::id()));
    let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: `name` is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    for user_data in 0..OPENS {
        // SAFETY: `name` lives until all of them are reaped below.
        let open = unsafe {
            filled(user_data, |sqe| {
                sqe.op(opcode::OPENAT).raw_fd(libc::AT_FDCWD).path(&name);
                sqe.op_flags(libc::O_CLOEXEC as u32)
                    .flags(opcode::FORCE_ASYNC);
            })
        };
        ring.push(&open).unwrap();
    }
    let _ = ring.enter(Wait::No).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while workers() < expected && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    // Time for one too many.
    thread::sleep(Duration::from_millis(50));
    let workers = workers();
    let writer = File::options().read(true).write(true).open(&path).unwrap();
    for _ in 0..OPENS {
        drop(reap_one(ring).descriptor().unwrap());
    }
    drop(writer);
    fs::remove_file(path).unwrap();
    workers
}

#[test]
fn hung_files_take_no_more_workers_than_the_limit() {
    alone(|| {
        let mut ring = ring();
        assert_eq!(workers_of_hung_opens(&mut ring, 4), 4);
    });
}

#[test]
fn what_the_baseline_has_was_found() {
    let ring = ring();
    let features = ring.features();
    let kernel = kernel_version();
    let baseline = [
        opcode::NOP,
        opcode::RECV,
        opcode::SEND_ZC,
        opcode::SENDMSG_ZC,
    ];
    assert!(
        baseline.into_iter().all(|code| features.supports(code)),
        "{features:?}"
    );
    assert!(!features.supports(u8::MAX), "no kernel has 256 opcodes");
    assert_eq!(features.incremental, kernel >= (6, 12));
    assert_eq!(features.no_iowait, kernel >= (6, 15));
}

#[test]
fn an_operation_that_nobody_here_uses_is_refused() {
    const URING_CMD: u8 = 46;
    let mut ring = ring();
    let forbidden = RawSqe {
        opcode: URING_CMD,
        ..nop(1)
    };
    ring.push(&forbidden).unwrap();
    assert_eq!(reap_one(&mut ring).res, -libc::EACCES);
    let flagged = RawSqe {
        flags: 1 << 1,
        ..nop(2)
    };
    ring.push(&flagged).unwrap();
    assert_eq!(reap_one(&mut ring).res, -libc::EACCES, "IO_DRAIN");
    #[allow(
        irrefutable_let_patterns,
        reason = "there may be a simulated kernel, too"
    )]
    let Kernel::Uring(uring) = &mut ring.kernel else {
        panic!("not a real ring");
    };
    let refused = uring.submitter().register_personality().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    ring.push(&nop(3)).unwrap();
    assert_eq!(reap_one(&mut ring).res, 0, "the others go on");
}

#[test]
fn every_opcode_that_is_named_is_allowed() {
    let source = include_str!("../opcode.rs");
    let named = source
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub(crate) const ")?
                .split_once(": u8 = ")
        })
        .filter_map(|(name, value)| Some((name, value.strip_suffix(';')?.parse().ok()?)));
    let mut count = 0;
    for (name, value) in named {
        assert!(opcode::ALLOWED.contains(&value), "{name} is not allowed");
        count += 1;
    }
    assert_eq!(count, opcode::ALLOWED.len());
}
