//! Wakers work from any thread, and what outlives its runtime is harmless.

mod common;

use std::future::{Future, pending, poll_fn};
use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use corering::net::{TcpListener, TcpStream};
use corering::runtime::{Builder, Kick, Spin, stats};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

use common::{alone, descriptors, errno, is_mapped, localhost, pair, pair_with_std, run, until};

/// Where there are no messages, the second is as the first.
const KICKS: [Kick; 2] = [Kick::Eventfd, Kick::MsgRing];

/// Sends its waker away, and waits until `done`.
async fn until_done(wakers: &Sender<Waker>, done: &AtomicBool) {
    poll_fn(|cx| {
        if done.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        wakers.send(cx.waker().clone()).expect("somebody takes it");
        Poll::Pending
    })
    .await;
}

#[test]
fn a_waker_used_on_another_thread_wakes_a_core_that_sleeps() {
    let [write, message] = KICKS;
    for (spin, kick) in [
        (Spin::Never, write),
        (Spin::Never, message),
        (Spin::Always, message),
    ] {
        let runtime = Builder::new().spin(spin).kick(kick).build().unwrap();
        let (wakers, taken) = channel::<Waker>();
        let done = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let waker = taken.recv().unwrap();
                thread::sleep(Duration::from_millis(50));
                done.store(true, Ordering::Release);
                let woken = Instant::now();
                waker.wake();
                woken
            }
        });
        let ended = runtime.block_on(async {
            let woken = timeout(Duration::from_secs(10), until_done(&wakers, &done));
            woken.await.expect("woken in time");
            Instant::now()
        });
        let woken = other.join().unwrap();
        let late = ended.saturating_duration_since(woken);
        assert!(late < Duration::from_secs(20), "{late:?} to wake");
        let parked = runtime.stats().parked;
        assert!(
            parked > Duration::from_millis(30),
            "it slept for {parked:?}"
        );
    }
}

#[test]
fn a_waker_used_inside_another_runtime_wakes_its_own() {
    let runtime = Builder::new().spin(Spin::Never).build().unwrap();
    let (wakers, taken) = channel::<Waker>();
    let done = Arc::new(AtomicBool::new(false));
    let other = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let waker = taken.recv().unwrap();
                sleep(Duration::from_millis(20)).await; // the first one sleeps by now
                done.store(true, Ordering::Release);
                waker.wake();
                // Its own tasks go on as before.
                spawn(yield_now()).await.unwrap();
            });
        })
    };
    runtime.block_on(async {
        let start = Instant::now();
        // The time limit would end the sleep, too, and the task is polled then.
        let limit = Duration::from_secs(10);
        timeout(limit, until_done(&wakers, &done)).await.unwrap();
        assert!(start.elapsed() < limit / 2, "the wake was lost");
    });
    other.join().unwrap();
}

#[test]
fn no_wake_of_many_threads_is_lost() {
    for kick in KICKS {
        let runtime = Builder::new().kick(kick).build().unwrap();
        runtime.block_on(wakes_of_many_threads());
    }
}

async fn wakes_of_many_threads() {
    const ROUNDS: u32 = 2_000;
    let tasks = (0..4).map(|_| {
        let (wakers, taken) = channel::<(Waker, Arc<AtomicBool>)>();
        let other = thread::spawn(move || {
            for (waker, done) in taken {
                done.store(true, Ordering::Release);
                match done.as_ptr() as usize % 3 {
                    0 => waker.wake(),
                    1 => waker.clone().wake_by_ref(),
                    _ => waker.wake_by_ref(),
                }
            }
        });
        spawn(async move {
            for _ in 0..ROUNDS {
                let done = Arc::new(AtomicBool::new(false));
                poll_fn(|cx| match done.load(Ordering::Acquire) {
                    true => Poll::Ready(()),
                    false => {
                        let sent = wakers.send((cx.waker().clone(), Arc::clone(&done)));
                        sent.expect("the thread waits");
                        Poll::Pending
                    }
                })
                .await;
            }
            drop(wakers);
            other
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().join().unwrap();
    }
}

#[test]
fn wakers_are_harmless_when_the_runtime_is_gone() {
    let (wakers, taken) = channel::<Waker>();
    let polls = Arc::new(AtomicU32::new(0));
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for _ in 0..8 {
            let (wakers, polls) = (wakers.clone(), Arc::clone(&polls));
            spawn(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                wakers.send(cx.waker().clone()).expect("it is kept");
                Poll::<()>::Pending
            }));
        }
        yield_now().await;
        // And that of a task that is finished.
        let (wakers, polls) = (wakers.clone(), Arc::clone(&polls));
        spawn(poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            wakers.send(cx.waker().clone()).expect("it is kept");
            Poll::Ready(())
        }))
        .await
        .unwrap();
    });
    let before = polls.load(Ordering::Relaxed);
    assert_eq!(before, 9);
    drop(runtime);
    drop(wakers);
    let wakers: Vec<_> = taken.iter().collect();
    let copies = wakers.clone();
    thread::spawn(move || use_up(copies)).join().unwrap();
    use_up(wakers);
    assert_eq!(
        polls.load(Ordering::Relaxed),
        before,
        "nothing is polled any more"
    );
    run(sleep(Duration::from_millis(1)));
}

fn use_up(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake_by_ref();
        let other = waker.clone();
        assert!(other.will_wake(&waker));
        other.wake();
        waker.wake_by_ref();
        drop(waker.clone());
        drop(waker);
    }
}

#[test]
fn wakers_used_while_the_runtime_ends_are_harmless() {
    for (round, kick) in (0..50).flat_map(|round| KICKS.map(|kick| (round, kick))) {
        let (wakers, taken) = channel::<Waker>();
        let runtime = Builder::new().spin(Spin::Never).kick(kick).build().unwrap();
        let other = thread::spawn(move || {
            let wakers: Vec<_> = taken.iter().take(4).collect();
            for _ in 0..200 {
                wakers.iter().for_each(Waker::wake_by_ref);
            }
        });
        runtime.block_on(async {
            for _ in 0..4 {
                let wakers = wakers.clone();
                let mut sent = false;
                spawn(poll_fn(move |cx| {
                    if !sent {
                        wakers.send(cx.waker().clone()).expect("the thread waits");
                    }
                    sent = true;
                    Poll::<()>::Pending
                }));
            }
            for _ in 0..round {
                yield_now().await;
            }
            yield_now().await;
        });
        drop(runtime);
        other.join().unwrap();
    }
}

/// What a kick goes through is open for as long as somebody may kick.
#[test]
fn a_waker_that_outlives_the_runtime_keeps_no_ring() {
    alone(|| {
        let fds = descriptors();
        for kick in KICKS {
            let (wakers, taken) = channel::<Waker>();
            let runtime = Builder::new().kick(kick).build().unwrap();
            assert_eq!(
                rings(),
                1 + usize::from(runtime.stats().kick == Kick::MsgRing)
            );
            runtime.block_on(async {
                spawn(poll_fn(move |cx| {
                    wakers.send(cx.waker().clone()).expect("it is kept");
                    Poll::<()>::Pending
                }));
                yield_now().await;
            });
            let waker = taken.recv().unwrap();
            drop(runtime);
            assert_eq!(rings(), 0, "{kick:?}");
            let other = waker.clone();
            thread::spawn(move || other.wake()).join().unwrap();
            waker.wake();
            assert_eq!(descriptors(), fds, "{kick:?}");
        }
    });
}

/// Descriptors of rings that this process has.
fn rings() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    files
        .filter(|file| file.ends_with("anon_inode:[io_uring]"))
        .count()
}

/// Polls `future` as a foreign executor would. A future that asks to be polled again and again is
/// as bad as one that never wakes.
fn soon<F: Future>(future: F) -> F::Output {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    for _ in 0..10 {
        assert!(
            flag.0.swap(false, Ordering::Relaxed),
            "it waits for what never comes"
        );
        let polled: Poll<F::Output> =
            Pin::as_mut(&mut future).poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(output) = polled {
            return output;
        }
    }
    panic!("polled ten times, and still pending");
}

#[test]
fn join_handles_outlive_the_runtime() {
    let runtime = Runtime::new().unwrap();
    let (unfinished, finished) = runtime.block_on(async {
        let finished = spawn(async { 3 });
        yield_now().await;
        (spawn(pending::<()>()), finished)
    });
    drop(runtime);
    assert!(unfinished.is_finished());
    unfinished.abort();
    let error = soon(unfinished).unwrap_err();
    assert!(error.is_cancelled() && !error.is_refused(), "{error}");
    assert_eq!(soon(finished).unwrap(), 3);
}

#[test]
fn leases_stay_readable_when_the_runtime_is_gone() {
    alone(|| {
        let fds = descriptors();
        let runtime = Runtime::new().unwrap();
        let mut lease = runtime.block_on(async {
            let (a, b) = pair().await;
            a.write_all("still there").await.0.unwrap();
            b.recv().await.unwrap().unwrap()
        });
        assert!(!lease.is_owned(), "it is the core's own buffer");
        drop(runtime);
        let copy = lease.clone();
        let address = copy.as_ptr().addr();
        assert!(is_mapped(address));
        assert_eq!(&lease[..], b"still there");
        lease.advance(6);
        assert_eq!(&lease[..], b"there");
        drop(lease);
        assert_eq!(copy.into_bytes(), "still there");
        assert_eq!(descriptors(), fds);
        assert!(!is_mapped(address), "the last lease frees the memory");
    });
}

/// A stream in each state that a runtime may leave it in.
fn left_over(state: usize) -> (TcpStream, std::net::TcpStream) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (stream, mut peer) = pair_with_std().await;
        let received = async |stream: &TcpStream, peer: &mut std::net::TcpStream| {
            std::io::Write::write_all(peer, b"x").unwrap();
            assert_eq!(&stream.recv().await.unwrap().unwrap()[..], b"x");
        };
        match state {
            0 => {}
            // The receive stays armed.
            1 => received(&stream, &mut peer).await,
            // A write is in flight.
            _ => {
                received(&stream, &mut peer).await;
                let mut write = pin!(stream.write_all(vec![0; 16 << 20]));
                let once = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready()));
                assert!(!once.await);
                sleep(Duration::from_millis(5)).await;
            }
        }
        (stream, peer)
    })
}

#[test]
fn streams_that_outlive_the_runtime_say_so() {
    alone(|| {
        for state in 0..3 {
            let (stream, _peer) = left_over(state);
            for _ in 0..2 {
                assert_eq!(errno(soon(stream.recv())), libc::ECANCELED, "{state}");
                let (n, buf) = soon(stream.read(vec![0; 10]));
                assert_eq!((errno(n), buf.capacity()), (libc::ECANCELED, 10), "{state}");
                assert_eq!(errno(soon(stream.fill_buf())), libc::ECANCELED, "{state}");
                assert_eq!(errno(soon(stream.fill_more())), libc::ECANCELED, "{state}");
                let (sent, buf) = soon(stream.write_all("hello"));
                assert_eq!((errno(sent), buf), (libc::ECANCELED, "hello"), "{state}");
                assert_eq!(errno(soon(stream.write("x")).0), libc::ECANCELED, "{state}");
            }
            assert!(stream.peer_addr().is_ok(), "the connection itself is there");
            assert_eq!(errno(soon(stream.close())), libc::ECANCELED, "{state}");
        }
    });
}

#[test]
fn dropping_a_stream_that_outlives_the_runtime_closes_it() {
    alone(|| {
        drop(left_over(0));
        let fds = descriptors();
        for state in 0..3 {
            let (stream, mut peer) = left_over(state);
            drop(stream);
            let mut rest = Vec::new();
            // What was written may still come; then the end.
            peer.set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            peer.read_to_end(&mut rest).unwrap();
            drop(peer);
            let (stream, mut peer) = left_over(state);
            let (read, write) = stream.into_split();
            drop(write);
            drop(read);
            peer.set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            peer.read_to_end(&mut rest).unwrap();
            drop(peer);
            assert_eq!(descriptors(), fds, "{state}");
        }
    });
}

#[test]
fn a_listener_that_outlives_the_runtime_says_so_and_is_closed() {
    alone(|| {
        let (listener, waiting) = {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(localhost()).await.unwrap();
                let address = listener.local_addr().unwrap();
                let waiting = std::net::TcpStream::connect(address).unwrap();
                (listener, waiting)
            })
        };
        assert_eq!(errno(soon(listener.accept())), libc::ECANCELED);
        assert_eq!(errno(soon(listener.accept())), libc::ECANCELED);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(
            std::net::TcpStream::connect(address).is_err(),
            "nobody listens"
        );
        drop(waiting);
    });
}

#[test]
fn a_stream_of_a_runtime_that_is_gone_is_an_error_in_the_next_one() {
    alone(|| {
        let (stream, _peer) = left_over(1);
        run(async {
            assert_eq!(errno(stream.recv().await), libc::ECANCELED);
            assert_eq!(errno(stream.write_all("x").await.0), libc::ECANCELED);
            drop(stream);
            let (a, b) = pair().await;
            a.write_all("hello").await.0.unwrap();
            assert_eq!(common::read_exactly(&b, 5).await, b"hello");
        });
    });
}

#[test]
fn destructors_that_run_while_the_runtime_ends_are_refused() {
    struct Late(Option<TcpStream>, Arc<Mutex<Vec<i32>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let stream = self.0.take().expect("dropped once");
            let mut seen = self.1.lock().unwrap();
            seen.push(errno(soon(stream.write_all("late")).0));
            seen.push(errno(soon(stream.recv())));
            let task = spawn(async move { drop(stream) });
            assert!(soon(task).unwrap_err().is_cancelled());
        }
    }
    alone(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (stream, peer) = pair().await;
            let late = Late(Some(stream), Arc::clone(&seen));
            spawn(async move {
                let _keep = (late, peer);
                pending::<()>().await;
            });
            until("the task waits", || stats().is_some_and(|s| s.tasks == 2)).await;
        });
        drop(runtime);
        assert_eq!(*seen.lock().unwrap(), [libc::ECANCELED, libc::ECANCELED]);
    });
}
