//! How long `enter` waits, and what ends it.

use std::ffi::c_int;
use std::fs;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Entered, Fd, RawSqe, Ring, Wait, opcode, sys};
use super::{filled, nop, reap, reap_one, ring};

/// No wait here should take this long; the machine is shared.
const LONG: Duration = Duration::from_secs(10);

/// Completes as soon as `event` was written.
fn poll(event: &Fd, user_data: u64) -> RawSqe {
    // SAFETY: POLL_ADD lends no memory.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::POLL_ADD)
                .fd(event)
                .op_flags(libc::POLLIN as u32);
        })
    }
}

fn write_later(event: &Arc<Fd>, delay: Duration) -> thread::JoinHandle<()> {
    let event = Arc::clone(event);
    thread::spawn(move || {
        thread::sleep(delay);
        event.eventfd_write();
    })
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let mut ring = ring();
    let begin = Instant::now();
    assert_eq!(
        ring.enter(Wait::For(Duration::from_millis(30))).unwrap(),
        Entered::Done
    );
    assert!(begin.elapsed() >= Duration::from_millis(30) && begin.elapsed() < LONG);
    assert_eq!(ring.pop(), None);
}

#[test]
fn a_wait_submits_too_and_ends_at_the_first_completion() {
    let mut ring = ring();
    ring.push(&nop(1)).unwrap();
    let begin = Instant::now();
    let _ = ring.enter(Wait::For(LONG)).unwrap();
    assert!(begin.elapsed() < LONG);
    assert_eq!(ring.pop().unwrap().user_data, 1);
}

#[test]
fn a_wait_longer_than_the_kernel_can_count_still_waits() {
    let mut ring = ring();
    let event = Arc::new(sys::eventfd().unwrap());
    ring.push(&poll(&event, 1)).unwrap();
    let writer = write_later(&event, Duration::from_millis(50));
    let begin = Instant::now();
    let _ = ring.enter(Wait::For(Duration::MAX)).unwrap();
    assert!(
        begin.elapsed() >= Duration::from_millis(40),
        "returned at once"
    );
    assert_eq!(ring.pop().unwrap().user_data, 1);
    writer.join().unwrap();
}

#[test]
fn popped_completions_do_not_cut_the_next_wait_short() {
    let mut ring = ring();
    ring.push(&nop(1)).unwrap();
    let _ = ring.enter(Wait::Forever).unwrap();
    assert_eq!(ring.pop().unwrap().user_data, 1);
    let begin = Instant::now();
    let _ = ring.enter(Wait::For(Duration::from_millis(30))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30));
}

#[test]
fn deferred_work_is_announced_without_a_system_call() {
    let mut ring = ring();
    let event = sys::eventfd().unwrap();
    ring.push(&poll(&event, 1)).unwrap();
    let _ = ring.enter(Wait::No).unwrap();
    assert!(!ring.has_work() && !ring.needs_enter());
    event.eventfd_write();
    assert!(
        ring.has_work() && ring.needs_enter(),
        "the kernel says that there is something to run"
    );
    assert!(ring.pop().is_none(), "it runs in enter only");
    let _ = ring.enter(Wait::No).unwrap();
    assert!(ring.has_work() && !ring.needs_enter(), "it is here");
    assert_eq!(ring.pop().unwrap().user_data, 1);
}

#[test]
fn an_armed_poll_is_cancelled_and_says_so() {
    let mut ring = ring();
    let event = sys::eventfd().unwrap();
    ring.push(&poll(&event, 1)).unwrap();
    let _ = ring.enter(Wait::No).unwrap();
    ring.push(&RawSqe::cancel(1, 2)).unwrap();
    let cqe = reap_one(&mut ring);
    assert_eq!((cqe.user_data, cqe.res), (1, -libc::ECANCELED));
    ring.push(&RawSqe::cancel(1, 2)).unwrap();
    let cqe = reap_one(&mut ring);
    assert_eq!((cqe.user_data, cqe.res), (2, -libc::ENOENT), "gone already");
}

#[test]
fn cancelling_everything_reaches_every_op() {
    let mut ring = ring();
    let event = sys::eventfd().unwrap();
    for user_data in 0..5 {
        ring.push(&poll(&event, user_data)).unwrap();
    }
    let _ = ring.enter(Wait::No).unwrap();
    ring.push(&RawSqe::cancel_all(9)).unwrap();
    let seen = reap(&mut ring, 5);
    assert!(
        (0..5).all(|user_data| seen.get(&user_data) == Some(&1)),
        "{seen:?}"
    );
}

/// How many threads of the machine wait for a disk, in the kernel's view.
fn waiting_for_disk() -> u32 {
    thread::sleep(Duration::from_millis(2));
    let text = fs::read_to_string("/proc/stat").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("procs_blocked "));
    line.unwrap().parse().unwrap()
}

/// The same while a thread is parked in `enter` with an op in flight.
fn waiting_for_disk_while_parked() -> u32 {
    let event = Arc::new(sys::eventfd().unwrap());
    let watched = Arc::clone(&event);
    let (parking, is_parking) = mpsc::channel();
    let parked = thread::spawn(move || {
        let mut ring = ring();
        ring.push(&poll(&watched, 1)).unwrap();
        let _ = ring.enter(Wait::No).unwrap();
        parking.send(()).unwrap();
        reap_one(&mut ring)
    });
    is_parking.recv().unwrap();
    let waiting = waiting_for_disk();
    event.eventfd_write();
    assert_eq!(parked.join().unwrap().user_data, 1);
    waiting
}

#[test]
fn a_parked_ring_does_not_count_as_waiting_for_a_disk() {
    if !ring().features().no_iowait {
        return println!("skipped: this kernel always counts it");
    }
    // Others come and go, but a parked ring that is counted is counted in every look.
    let looks = (0..100).map(|_| (waiting_for_disk(), waiting_for_disk_while_parked()));
    let (before, during): (Vec<_>, Vec<_>) = looks.unzip();
    let least = |looks: Vec<u32>| looks.into_iter().min().unwrap();
    assert!(least(during) <= least(before));
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Sends the calling thread a signal each millisecond until it is dropped.
struct Hail(libc::timer_t);

impl Hail {
    fn start() -> Hail {
        let signal = libc::SIGALRM;
        // SAFETY: zeroed is valid for these plain structs; the handler touches an atomic only.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = count as extern "C" fn(c_int) as libc::sighandler_t;
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = mem::zeroed();
            assert_eq!(
                libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer),
                0
            );
            let period = libc::timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            };
            let spec = libc::itimerspec {
                it_interval: period,
                it_value: period,
            };
            assert_eq!(
                libc::timer_settime(timer, 0, &spec, std::ptr::null_mut()),
                0
            );
            Hail(timer)
        }
    }
}

impl Drop for Hail {
    fn drop(&mut self) {
        // SAFETY: the timer was created in `start` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// One round: four NOPs and an event that another thread writes after 3 ms.
fn round(ring: &mut Ring, event: &Arc<Fd>, number: u64) {
    let first = number * 5;
    for user_data in first..first + 4 {
        ring.push(&nop(user_data)).unwrap();
    }
    ring.push(&poll(event, first + 4)).unwrap();
    let writer = write_later(event, Duration::from_millis(3));
    let seen = reap(ring, 5);
    assert!(
        (first..first + 5).all(|user_data| seen.get(&user_data) == Some(&1)),
        "{seen:?}"
    );
    writer.join().unwrap();
}

#[test]
fn signals_a_thousand_times_a_second_lose_nothing_and_are_no_error() {
    let mut ring = ring();
    let hail = Hail::start();
    for number in 0..100 {
        let event = Arc::new(sys::eventfd().unwrap());
        round(&mut ring, &event, number);
    }
    drop(hail);
    assert!(
        SIGNALS.load(Ordering::Relaxed) >= 100,
        "no hail: {SIGNALS:?}"
    );
}
