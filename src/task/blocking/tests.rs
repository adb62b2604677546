use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future;

use super::{BlockingHandle, Limits, NAME, Pool, lock, spawn_blocking};

fn pool(threads_max: usize, queue_max: usize) -> Pool {
    Pool::new(Limits {
        threads_max,
        queue_max,
        ..Limits::default()
    })
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Polls only when woken, so that a lost wake fails the test instead of hanging it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread, AtomicBool);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, Ordering::SeqCst);
            self.0.unpark();
        }
    }
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&unpark));
    let deadline = Instant::now() + PATIENCE;
    let mut future = pin!(future);
    loop {
        if unpark.1.swap(false, Ordering::SeqCst)
            && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no wake within {PATIENCE:?}");
        thread::park_timeout(left);
    }
}

/// A job that says that it runs and then waits for its sender to be dropped.
fn hold(pool: &Pool) -> (BlockingHandle<()>, Sender<()>) {
    let (release, released): (Sender<()>, Receiver<()>) = mpsc::channel();
    let (began, has_begun) = mpsc::channel();
    let handle = pool.spawn(move || {
        began.send(()).expect("the test waits for this");
        let _ = released.recv();
    });
    has_begun
        .recv_timeout(PATIENCE)
        .expect("a thread takes the job");
    (handle, release)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

fn threads(pool: &Pool) -> usize {
    lock(&pool.shared.state).threads
}

fn queued(pool: &Pool) -> usize {
    lock(&pool.shared.state).queue.len()
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_result_of_the_closure_comes_through_the_handle() {
    let pool = pool(2, 8);
    assert_eq!(block_on(pool.spawn(|| 6 * 7)).unwrap(), 42);
}

#[test]
fn threads_without_a_job_leave_when_the_pool_does() {
    let pool = Pool::new(Limits {
        idle_max: 10 * PATIENCE,
        ..Limits::default()
    });
    block_on(pool.spawn(|| ())).unwrap();
    let shared = Arc::clone(&pool.shared);
    drop(pool);
    let end = Instant::now() + PATIENCE;
    while lock(&shared.state).threads > 0 {
        assert!(Instant::now() < end, "they still wait for a job");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_more_than_the_limit_of_threads_run_at_once() {
    let pool = pool(3, 100);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handles: Vec<_> = (0..50)
        .map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            pool.spawn(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                // The first three meet, however slow the machine is to start threads.
                let end = Instant::now() + Duration::from_secs(20);
                while most.load(Ordering::SeqCst) < 3 && Instant::now() < end {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    assert_eq!(threads(&pool), 3);
    for handle in handles {
        block_on(handle).unwrap();
    }
    assert_eq!(
        most.load(Ordering::SeqCst),
        3,
        "all threads were used, and no more"
    );
}

#[test]
fn one_thread_is_enough_for_jobs_that_come_one_after_the_other() {
    let pool = pool(8, 8);
    for n in 0..100 {
        assert_eq!(block_on(pool.spawn(move || n)).unwrap(), n);
        eventually("the thread is idle again", || {
            lock(&pool.shared.state).idle == 1
        });
    }
    assert_eq!(threads(&pool), 1);
}

#[test]
fn a_full_queue_refuses_and_drops_the_closure() {
    let pool = pool(1, 2);
    let (held, release) = hold(&pool);
    let waiting = [pool.spawn(|| 1), pool.spawn(|| 2)];
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(Arc::clone(&drops));
    let refused = pool.spawn(move || drop(counted));
    assert!(refused.is_finished());
    assert!(block_on(refused).unwrap_err().is_refused());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    drop(release);
    block_on(held).unwrap();
    let [first, second] = waiting;
    assert_eq!(
        (block_on(first).unwrap(), block_on(second).unwrap()),
        (1, 2)
    );
    assert_eq!(
        block_on(pool.spawn(|| 3)).unwrap(),
        3,
        "the queue has room again"
    );
}

#[test]
fn a_queue_of_none_still_serves_every_thread() {
    let pool = pool(2, 0);
    let (first, release_first) = hold(&pool);
    let (second, release_second) = hold(&pool);
    assert!(block_on(pool.spawn(|| ())).unwrap_err().is_refused());
    drop((release_first, release_second));
    block_on(first).unwrap();
    block_on(second).unwrap();
}

#[test]
fn a_panic_comes_through_the_handle_and_the_thread_goes_on() {
    let pool = pool(1, 8);
    let job = pool.spawn(|| -> () { panic!("broken job") });
    let error = block_on(job).unwrap_err();
    assert!(error.is_panic());
    let payload = error.into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"broken job"));
    assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1);
    assert_eq!(threads(&pool), 1);
}

#[test]
fn a_result_that_panics_in_its_drop_costs_no_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let pool = pool(1, 8);
    let (dropped, handle_is_gone) = mpsc::channel();
    // Else this thread may be the last to hold the result.
    drop(pool.spawn(move || {
        handle_is_gone.recv().unwrap();
        Bomb
    }));
    dropped.send(()).unwrap();
    assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1);
    assert_eq!(threads(&pool), 1);
}

#[test]
fn idle_threads_leave_and_come_back() {
    let limits = Limits {
        idle_max: Duration::from_millis(20),
        ..Limits::default()
    };
    let pool = Pool::new(limits);
    let handles: Vec<_> = (0..4)
        .map(|_| pool.spawn(|| thread::sleep(Duration::from_millis(5))))
        .collect();
    for handle in handles {
        block_on(handle).unwrap();
    }
    assert!(threads(&pool) > 0);
    eventually("the threads leave", || threads(&pool) == 0);
    assert_eq!(lock(&pool.shared.state).idle, 0);
    assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1);
}

#[test]
fn a_hung_job_does_not_hang_the_drop_and_still_ends() {
    let pool = pool(1, 8);
    let (hung, release) = hold(&pool);
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(Arc::clone(&drops));
    let waiting = pool.spawn(move || drop(counted));
    let begin = Instant::now();
    drop(pool);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(block_on(waiting).unwrap_err().is_cancelled());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert!(!hung.is_finished());
    drop(release);
    block_on(hung).expect("the job that ran went on to its end");
}

#[test]
fn threads_leave_when_the_pool_is_dropped() {
    let pool = Pool::new(Limits {
        idle_max: Duration::from_secs(3_600),
        ..Limits::default()
    });
    block_on(pool.spawn(|| ())).unwrap();
    let shared = Arc::clone(&pool.shared);
    drop(pool);
    eventually("the thread leaves", || lock(&shared.state).threads == 0);
}

#[test]
fn an_aborted_job_is_not_run_and_gives_its_place_back() {
    let pool = pool(1, 1);
    let (held, release) = hold(&pool);
    let (runs, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, ran) = (Counted(Arc::clone(&drops)), Arc::clone(&runs));
    let aborted = pool.spawn(move || {
        ran.fetch_add(1, Ordering::SeqCst);
        drop(counted);
    });
    aborted.abort();
    assert_eq!(
        drops.load(Ordering::SeqCst),
        1,
        "dropped before abort returns"
    );
    assert_eq!(queued(&pool), 0);
    let next = pool.spawn(|| 7);
    assert!(block_on(aborted).unwrap_err().is_cancelled());
    drop(release);
    block_on(held).unwrap();
    assert_eq!(block_on(next).unwrap(), 7);
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[test]
fn abort_of_a_running_job_keeps_its_result() {
    let pool = pool(1, 1);
    let (held, release) = hold(&pool);
    held.abort();
    assert!(!held.is_finished());
    drop(release);
    block_on(held).unwrap();
}

#[test]
fn a_detached_job_runs_to_its_end() {
    let pool = pool(1, 8);
    let (said, heard) = mpsc::channel();
    drop(pool.spawn(move || said.send(5).unwrap()));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(5));
}

#[test]
fn the_wake_arrives_from_the_other_thread_and_only_the_last_waker_gets_it() {
    struct Flag(AtomicUsize);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let pool = pool(1, 8);
    let (mut held, release) = hold(&pool);
    let wakers = [
        Arc::new(Flag(AtomicUsize::new(0))),
        Arc::new(Flag(AtomicUsize::new(0))),
    ];
    for waker in &wakers {
        let waker = Waker::from(Arc::clone(waker));
        assert!(
            Pin::new(&mut held)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(release);
    eventually("the wake", || wakers[1].0.load(Ordering::SeqCst) == 1);
    assert_eq!(wakers[0].0.load(Ordering::SeqCst), 0);
    assert!(block_on(held).is_ok());
    assert_eq!(Arc::strong_count(&wakers[1]), 1, "no waker is kept");
}

#[test]
fn the_current_pool_follows_the_guards_and_reaches_into_jobs() {
    let (outer, inner) = (pool(1, 8), pool(1, 8));
    let _outer = outer.enter();
    {
        let _inner = inner.enter();
        block_on(spawn_blocking(|| ())).unwrap();
    }
    assert_eq!((threads(&outer), threads(&inner)), (0, 1));
    let nested = block_on(async {
        let job = spawn_blocking(|| spawn_blocking(|| thread::current().name() == Some(NAME)));
        job.await.unwrap().await.unwrap()
    });
    assert!(nested, "a job of the pool runs on a thread of that name");
    assert_eq!((threads(&outer), threads(&inner)), (1, 1));
}

#[test]
#[should_panic(expected = "spawn_blocking needs a runtime")]
fn outside_a_runtime_the_text_says_what_is_missing() {
    drop(spawn_blocking(|| ()));
}

#[test]
fn a_pool_that_is_gone_gives_cancelled() {
    let pool = pool(1, 8);
    let _entered = pool.enter();
    drop(pool);
    assert!(block_on(spawn_blocking(|| ())).unwrap_err().is_cancelled());
}

#[test]
fn each_thread_calls_the_start_hook_and_survives_its_panic() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let thread_start: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("a broken hook");
    });
    let pool = Pool::new(Limits {
        thread_start: Some(thread_start),
        ..Limits::default()
    });
    assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), threads(&pool));
}

#[test]
fn many_threads_may_submit_abort_and_await_at_once() {
    let pool = Arc::new(pool(4, 64));
    let submitters: Vec<_> = (0..4_usize)
        .map(|seed| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut outcomes = [0_usize; 3];
                for n in 0..2_000 {
                    let handle = pool.spawn(move || n);
                    if (n + seed) % 3 == 0 {
                        handle.abort();
                    }
                    match block_on(handle) {
                        Ok(got) => outcomes[usize::from(got != n)] += 1,
                        Err(error) => {
                            outcomes[if error.is_cancelled() && !error.is_refused() {
                                2
                            } else {
                                1
                            }] += 1
                        }
                    }
                }
                outcomes
            })
        })
        .collect();
    for submitter in submitters {
        let [right, wrong, _aborted] = submitter.join().unwrap();
        assert_eq!(wrong, 0);
        assert!(
            right >= 1_300,
            "what was not aborted gave its own result: {right}"
        );
    }
    let state = lock(&pool.shared.state);
    assert!(state.threads <= 4 && state.idle <= state.threads && state.queue.is_empty());
}

#[test]
fn two_waiters_of_one_pool_do_not_disturb_each_other() {
    let pool = pool(2, 8);
    let both = future::zip(pool.spawn(|| "a"), pool.spawn(|| "b"));
    let (a, b) = block_on(both);
    assert_eq!((a.unwrap(), b.unwrap()), ("a", "b"));
}
