//! Signals interrupt system calls, not the work that is done by them.
#![allow(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::signal::ctrl_c;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

use common::{alone, descriptors, localhost, pattern, read_exactly, run, spawn_echo_server};

/// How many signals came to the thread that is to be interrupted.
static ALARMS: AtomicU64 = AtomicU64::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);

/// The kernel sends the process's signals to its first thread, which need not be the one under
/// test.
extern "C" fn pass_on(signal: libc::c_int) {
    let thread = THREAD.load(Ordering::Relaxed);
    // SAFETY: errno is this thread's own, and a handler must leave it as it was; the other calls
    // take no pointer.
    unsafe {
        if libc::gettid() == thread {
            ALARMS.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let errno = *libc::__errno_location();
        libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal);
        *libc::__errno_location() = errno;
    }
}

/// Has this thread interrupted a thousand times a second, without system calls being restarted.
fn interrupt_a_thousand_times_a_second() {
    // SAFETY: it takes no pointer.
    THREAD.store(unsafe { libc::gettid() }, Ordering::Relaxed);
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let millisecond = libc::timeval {
        tv_sec: 0,
        tv_usec: 1000,
    };
    let timer = libc::itimerval {
        it_interval: millisecond,
        it_value: millisecond,
    };
    // SAFETY: zero is a valid `sigaction`: no flags, so no SA_RESTART, and an empty mask; what its
    // handler does is async-signal-safe. The others are live values that the calls read.
    unsafe {
        (*action.as_mut_ptr()).sa_sigaction = pass_on as *const () as usize;
        let result = libc::sigaction(libc::SIGALRM, action.as_ptr(), ptr::null_mut());
        assert_eq!(result, 0);
        let result = libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut());
        assert_eq!(result, 0);
    }
}

fn raise(signal: i32) {
    // SAFETY: no pointer; the signal has a handler.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn every_byte_arrives_under_a_thousand_signals_a_second() {
    alone(|| {
        interrupt_a_thousand_times_a_second();
        let start = Instant::now();
        let busy = Duration::from_millis(1500);
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            spawn_echo_server(listener);
            let sizes = [1, 64, 4096, 20_000, 200_000];
            let clients = sizes.map(|len| {
                spawn(async move {
                    let (mut seed, mut rounds) = (0, 0);
                    let stream = Rc::new(TcpStream::connect(address).await.unwrap());
                    while start.elapsed() < busy {
                        let bytes = pattern(seed, len);
                        let (sender, copy) = (Rc::clone(&stream), bytes.clone());
                        let sent = spawn(async move { sender.write_all(copy).await.0 });
                        assert!(read_exactly(&stream, len).await == bytes, "{len} bytes");
                        sent.await.unwrap().unwrap();
                        (seed, rounds) = (seed + 1, rounds + 1);
                        if seed % 16 == 0 {
                            sleep(Duration::from_millis(3)).await;
                        }
                    }
                    rounds
                })
            });
            for client in clients {
                assert!(client.await.unwrap() > 1);
            }
        });
        let (came, ran) = (ALARMS.load(Ordering::Relaxed), start.elapsed());
        // Fewer on a machine that is busy: one that waits already is not sent again.
        assert!(came > 150, "{came} signals in {ran:?}");
    });
}

#[test]
fn a_core_that_sleeps_is_not_held_up_or_kept_busy_by_signals() {
    alone(|| {
        interrupt_a_thousand_times_a_second();
        for round in 0..50 {
            // Building and ending a runtime is interrupted, too.
            let runtime = Runtime::new().unwrap();
            let start = Instant::now();
            runtime.block_on(sleep(Duration::from_millis(10)));
            let slept = start.elapsed();
            assert!(
                slept >= Duration::from_millis(10),
                "{round}: woken after {slept:?}"
            );
            assert!(
                slept < Duration::from_secs(20),
                "{round}: woken after {slept:?}"
            );
        }
        assert!(ALARMS.load(Ordering::Relaxed) > 100);
    });
}

#[test]
fn files_are_written_under_a_thousand_signals_a_second() {
    alone(|| {
        interrupt_a_thousand_times_a_second();
        let path = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        run(async {
            let bytes = pattern(3, 1 << 20);
            let file = File::create(path.path().join("file")).await.unwrap();
            for round in 0..20 {
                let (written, _) = file.write_at(bytes.clone(), round << 20).await;
                assert_eq!(written.unwrap(), 1 << 20);
                file.sync_data().await.unwrap();
            }
            // Each needs a worker of the kernel's, which a signal keeps from being started.
            for _ in 0..2_000 {
                File::open(path.path().join("file")).await.unwrap();
            }
            let file = File::open(path.path().join("file")).await.unwrap();
            let (read, copy) = file.read_at(vec![0; 1 << 20], 7 << 20).await;
            assert_eq!(read.unwrap(), 1 << 20);
            assert!(copy == bytes);
        });
        assert!(ALARMS.load(Ordering::Relaxed) > 10);
    });
}

#[test]
fn the_blocking_peer_of_an_interrupted_core_gets_every_byte() {
    alone(|| {
        let (bytes, copy) = (pattern(1, 32 << 20), pattern(1, 32 << 20));
        run(async {
            let (stream, mut peer) = common::pair_with_std().await;
            let reader = thread::spawn(move || {
                let (mut got, mut part) = (Vec::new(), [0; 64 * 1024]);
                loop {
                    match peer.read(&mut part) {
                        Ok(0) => return got,
                        Ok(n) => got.extend_from_slice(&part[..n]),
                        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::Interrupted),
                    }
                    peer.flush().unwrap();
                }
            });
            interrupt_a_thousand_times_a_second();
            stream.write_all(bytes).await.0.unwrap();
            drop(stream);
            common::until("the peer has all", || reader.is_finished()).await;
            assert!(reader.join().unwrap() == copy);
        });
    });
}

#[test]
fn ctrl_c_sees_a_signal_and_so_does_everyone_who_waits() {
    alone(|| {
        run(async {
            let waiting = [(); 3].map(|()| spawn(ctrl_c()));
            yield_now().await;
            sleep(Duration::from_millis(5)).await;
            assert!(waiting.iter().all(|task| !task.is_finished()));
            raise(libc::SIGINT);
            for task in waiting {
                task.await.unwrap().unwrap();
            }
            // While nobody waits it is not kept, and does not end the process.
            raise(libc::SIGINT);
            let late = timeout(Duration::from_millis(50), ctrl_c()).await;
            assert!(late.is_err(), "that one came before");
            let next = spawn(ctrl_c());
            sleep(Duration::from_millis(5)).await;
            thread::spawn(|| raise(libc::SIGINT)).join().unwrap();
            next.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_ctrl_c_that_is_dropped_leaves_nothing_behind() {
    alone(|| {
        run(async {
            let first = timeout(Duration::from_millis(1), ctrl_c()).await;
            assert!(first.is_err());
            sleep(Duration::from_millis(5)).await;
            let before = descriptors();
            for _ in 0..100 {
                let dropped = timeout(Duration::from_micros(100), ctrl_c()).await;
                assert!(dropped.is_err());
            }
            sleep(Duration::from_millis(5)).await;
            assert_eq!(descriptors(), before);
            raise(libc::SIGINT);
        });
    });
}
