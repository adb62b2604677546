//! Stories of a pool, its threads, and those who submit, wait, abort and close, for loom to walk
//! through:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p corering --lib task::blocking
//! ```
//!
//! What is lost shows as a deadlock, which loom reports: everyone who waits does so without a
//! timeout, and each story ends only when the last of the pool was freed. `Arc` is `std`'s, since
//! loom's cannot become an `Arc<dyn Job>`: what it promises by itself is not walked through.

mod job;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use crate::task::JoinError;
use crate::task::loom::thread;
use crate::task::tests::{EventFd, check};

use super::{BlockingHandle, Limits, Pool, Shared, enter, lock, spawn_blocking};

use self::job::{Ended, How, Job};

/// Tells a story of a new pool, and checks what holds at the end of each.
fn tell(threads_max: usize, queue_max: usize, story: impl FnOnce(Pool) -> Vec<Ended>) {
    let gone = Arc::new(EventFd::default());
    let last = Gone(Arc::clone(&gone));
    let pool = Pool::new(Limits {
        threads_max,
        queue_max,
        // Freed with the pool and nothing else keeps it, so it tells when that was.
        thread_start: Some(Arc::new(move || last.is_to_come())),
        ..Limits::default()
    });
    let jobs = story(pool);
    gone.wait();
    for job in jobs {
        job.check();
    }
}

struct Gone(Arc<EventFd>);

impl Gone {
    fn is_to_come(&self) {}
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.write();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let state = lock(&self.state);
        assert!(state.closed && state.queue.is_empty());
        assert_eq!((state.threads, state.idle), (0, 0), "threads are left");
    }
}

/// What the header of the module promises whenever the lock is free.
fn look(shared: &Shared) {
    let state = lock(&shared.state);
    assert!(state.idle <= state.threads && state.threads <= shared.limits.threads_max);
    assert!(state.queue.len() <= state.idle + shared.limits.queue_max);
}

/// Counts its wakes and ends a wait.
#[derive(Default)]
struct Alarm {
    rings: EventFd,
    wakes: AtomicUsize,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Relaxed);
        self.rings.write();
    }
}

impl Alarm {
    fn poll<R>(self: &Arc<Self>, handle: &mut BlockingHandle<R>) -> Poll<Result<R, JoinError>> {
        let waker = Waker::from(Arc::clone(self));
        Pin::new(handle).poll(&mut Context::from_waker(&waker))
    }
}

/// Polls once, and once more when it is woken.
fn wait<R>(mut handle: BlockingHandle<R>) -> Result<R, JoinError> {
    let alarm = Arc::new(Alarm::default());
    if let Poll::Ready(outcome) = alarm.poll(&mut handle) {
        return outcome;
    }
    alarm.rings.wait();
    let Poll::Ready(outcome) = alarm.poll(&mut handle) else {
        panic!("woken without a result");
    };
    assert_eq!(alarm.wakes.load(Relaxed), 1);
    outcome
}

/// Submits a job and waits for what becomes of it.
fn submit(pool: &Pool) -> Ended {
    let job = Job::default();
    let outcome = wait(pool.spawn(job.closure()));
    job.ended(outcome)
}

/// A poll meets the end of the job.
fn result() {
    tell(1, 1, |pool| vec![submit(&pool).ran()]);
}

/// The waker is replaced while the job ends: whichever was there then is woken, and no other.
fn another_waker() {
    tell(1, 1, |pool| {
        let job = Job::default();
        let mut handle = pool.spawn(job.closure());
        let alarms = [Arc::new(Alarm::default()), Arc::new(Alarm::default())];
        let mut waiting = None;
        let mut outcome = Poll::Pending;
        for alarm in &alarms {
            if outcome.is_pending() {
                outcome = alarm.poll(&mut handle);
                waiting = if outcome.is_pending() {
                    Some(alarm)
                } else {
                    waiting
                };
            }
        }
        if let Some(alarm) = waiting {
            alarm.rings.wait();
        }
        let outcome = match outcome {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => wait(handle),
        };
        let wakes: usize = alarms.iter().map(|alarm| alarm.wakes.load(Relaxed)).sum();
        assert_eq!(wakes, usize::from(waiting.is_some()));
        vec![job.ended(outcome).ran()]
    });
}

/// Nobody waits: the result is dropped by whoever comes last.
fn detached() {
    tell(1, 1, |pool| {
        let job = Job::default();
        drop(pool.spawn(job.closure()));
        vec![job.detached()]
    });
}

/// A job submits another one to the pool whose thread it runs on.
fn nested() {
    tell(1, 1, |pool| {
        let (outer, inner) = (Job::default(), Job::default());
        let closure = inner.closure();
        let handle = pool.spawn(outer.doing(|| spawn_blocking(closure)));
        let Ok((handle, result)) = wait(handle) else {
            panic!("the outer job ended without a result");
        };
        let inner = inner.ended(wait(handle)).ran();
        vec![outer.ended(Ok(((), result))).ran(), inner]
    });
}

/// An abort meets the start of the job, its end, and a thread that looks for the next one.
fn abort() {
    tell(1, 1, |pool| {
        let (job, next) = (Job::default(), Job::default());
        let handle = pool.spawn(job.closure());
        let behind = pool.spawn(next.closure());
        handle.abort();
        if handle.is_finished() {
            assert!(job.closure_is_dropped(), "dropped before abort returns");
        }
        look(&pool.shared);
        let next = next.ended(wait(behind)).ran();
        vec![job.ended(wait(handle)), next]
    });
}

/// Two abort the same job while it starts.
fn two_aborts() {
    tell(1, 1, |pool| {
        let job = Job::default();
        let handle = Arc::new(pool.spawn(job.closure()));
        let other = Arc::clone(&handle);
        let thread = thread::spawn(move || other.abort());
        handle.abort();
        thread.join().unwrap();
        let handle = Arc::into_inner(handle).expect("the other thread has ended");
        vec![job.ended(wait(handle))]
    });
}

/// One aborts while the other waits, so the abort has to wake.
fn abort_wakes() {
    tell(1, 1, |pool| {
        let (busy, job) = (Job::default(), Job::default());
        let release = Arc::new(EventFd::default());
        let released = Arc::clone(&release);
        let running = pool.spawn(busy.doing(move || released.wait()));
        let mut handle = pool.spawn(job.closure());
        let alarm = Arc::new(Alarm::default());
        assert!(alarm.poll(&mut handle).is_pending());
        let handle = Arc::new(handle);
        let other = Arc::clone(&handle);
        let thread = thread::spawn(move || other.abort());
        alarm.rings.wait();
        release.write();
        thread.join().unwrap();
        let handle = Arc::into_inner(handle).expect("the other thread has ended");
        let job = job.ended(wait(handle));
        assert_eq!(job.how, How::Cancelled);
        vec![busy.ended(wait(running)).ran(), job]
    });
}

/// The pool goes while its thread begins with one job and another one waits.
fn close() {
    tell(1, 1, |pool| {
        let (first, second) = (Job::default(), Job::default());
        let handles = (pool.spawn(first.closure()), pool.spawn(second.closure()));
        drop(pool);
        let first = first.ended(wait(handles.0));
        let second = second.ended(wait(handles.1));
        assert!(first.how == How::Ran || second.how == How::Cancelled);
        vec![first, second]
    });
}

/// The pool goes while a job runs, whose result still comes.
fn close_beside_a_running_job() {
    tell(1, 1, |pool| {
        let job = Job::default();
        let began = Arc::new(EventFd::default());
        let begins = Arc::clone(&began);
        let handle = pool.spawn(job.doing(move || begins.write()));
        began.wait();
        let thread = thread::spawn(move || drop(pool));
        let outcome = wait(handle);
        thread.join().unwrap();
        vec![job.ended(outcome).ran()]
    });
}

/// The pool goes while another thread submits to it.
fn close_beside_a_submitter(busy: bool) {
    tell(1, 1, |pool| {
        let mut jobs = Vec::new();
        if busy {
            jobs.push(submit(&pool).ran());
        }
        let shared = Arc::clone(&pool.shared);
        let thread = thread::spawn(move || {
            let _current = enter(shared);
            let job = Job::default();
            let outcome = wait(spawn_blocking(job.closure()));
            job.ended(outcome)
        });
        drop(pool);
        let job = thread.join().unwrap();
        assert!(matches!(job.how, How::Ran | How::Cancelled));
        jobs.push(job);
        jobs
    });
}

/// Two submit at once to a pool that takes one job at a time and lets none wait.
fn refusal() {
    tell(1, 0, |pool| {
        let pool = Arc::new(pool);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || submit(&other));
        let mine = submit(&pool);
        look(&pool.shared);
        let theirs = thread.join().unwrap();
        assert!(mine.how == How::Ran || theirs.how == How::Ran);
        assert!(mine.how != How::Cancelled && theirs.how != How::Cancelled);
        vec![mine, theirs]
    });
}

/// Submits two jobs from two threads, each of which ends only when the other has begun.
fn pair(pool: &Arc<Pool>) -> [Ended; 2] {
    let (left, right) = (Arc::new(EventFd::default()), Arc::new(EventFd::default()));
    let meet = |mine: &Arc<EventFd>, theirs: &Arc<EventFd>| {
        let (mine, theirs) = (Arc::clone(mine), Arc::clone(theirs));
        move || {
            theirs.write();
            mine.wait();
        }
    };
    let (here, there) = (meet(&left, &right), meet(&right, &left));
    let other = Arc::clone(pool);
    let thread = thread::spawn(move || {
        let job = Job::default();
        let outcome = wait(other.spawn(job.doing(there)));
        job.ended(outcome)
    });
    let job = Job::default();
    let outcome = wait(pool.spawn(job.doing(here)));
    let theirs = thread.join().unwrap();
    [job.ended(outcome).ran(), theirs.ran()]
}

/// Two submit at once, and at most one thread is idle: the other job needs a thread of its own.
fn two_submitters(idle: bool) {
    tell(2, 1, |pool| {
        let mut jobs = Vec::new();
        if idle {
            jobs.push(submit(&pool).ran());
        }
        let pool = Arc::new(pool);
        jobs.extend(pair(&pool));
        look(&pool.shared);
        jobs
    });
}

/// The time of an idle thread is over when the next job comes.
fn leave() {
    tell(1, 1, |pool| {
        let first = submit(&pool).ran();
        let shared = Arc::clone(&pool.shared);
        let clock = thread::spawn(move || shared.arrived.expire());
        let second = submit(&pool).ran();
        clock.join().unwrap();
        vec![first, second]
    });
}

/// The time of one of two threads is over when two jobs come that need both.
fn one_of_two_leaves() {
    tell(2, 1, |pool| {
        let first = submit(&pool).ran();
        let shared = Arc::clone(&pool.shared);
        let clock = thread::spawn(move || shared.arrived.expire());
        let meeting = Arc::new(EventFd::default());
        let met = Arc::clone(&meeting);
        let (waits, comes) = (Job::default(), Job::default());
        let waiting = pool.spawn(waits.doing(move || met.wait()));
        let coming = pool.spawn(comes.doing(move || meeting.write()));
        let comes = comes.ended(wait(coming)).ran();
        let waits = waits.ended(wait(waiting)).ran();
        clock.join().unwrap();
        vec![first, comes, waits]
    });
}

#[test]
fn a_result_reaches_who_waits_and_its_wake_is_not_lost() {
    check("result", None, result);
}

#[test]
fn only_the_newest_waker_is_woken() {
    check("another_waker", None, another_waker);
}

#[test]
fn a_result_that_nobody_waits_for_is_dropped() {
    check("detached", None, detached);
}

#[test]
fn a_job_may_submit_another() {
    check("nested", Some(3), nested);
}

#[test]
fn an_aborted_job_runs_or_is_dropped() {
    check("abort", Some(3), abort);
}

#[test]
fn two_aborts_drop_the_closure_once() {
    check("two_aborts", Some(3), two_aborts);
}

#[test]
fn an_abort_wakes_who_waits() {
    check("abort_wakes", Some(2), abort_wakes);
}

#[test]
fn jobs_of_a_pool_that_goes_run_or_are_cancelled() {
    check("close", Some(3), close);
}

#[test]
fn a_running_job_outlives_its_pool() {
    check(
        "close_beside_a_running_job",
        Some(2),
        close_beside_a_running_job,
    );
}

#[test]
fn a_job_submitted_to_a_pool_that_goes_runs_or_is_cancelled() {
    check("close_beside_a_submitter", Some(3), || {
        close_beside_a_submitter(false)
    });
}

#[test]
fn a_job_submitted_to_a_used_pool_that_goes_runs_or_is_cancelled() {
    check("close_of_a_used_pool", Some(2), || {
        close_beside_a_submitter(true)
    });
}

#[test]
fn one_of_two_jobs_is_refused_at_the_limit_or_none() {
    check("refusal", Some(3), refusal);
}

#[test]
fn two_submitters_of_a_new_pool_get_a_thread_each() {
    check("two_submitters", Some(2), || two_submitters(false));
}

#[test]
fn two_submitters_beside_one_idle_thread_get_a_thread_each() {
    check("two_submitters_one_idle", Some(2), || two_submitters(true));
}

#[test]
fn a_thread_that_leaves_forgets_no_job() {
    check("leave", Some(3), leave);
}

#[test]
fn a_thread_that_leaves_is_replaced_when_it_is_needed() {
    check("one_of_two_leaves", Some(2), one_of_two_leaves);
}
