//! Locked memory: what there is too little of is named, and what a runtime took comes back.

mod common;

use std::future::{Future, pending};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::{Context, Waker};

use corering::net::TcpListener;
use corering::runtime::{Builder, Cause, Spin, Unavailable};
use corering::{Runtime, spawn};

use common::{alone, become_nobody, descriptors, localhost, mappings, resident, set_limit};

/// What Linux allows a user by default since 5.16.
const DEFAULT_LIMIT: u64 = 8 << 20;
const RUNTIMES: usize = 10_000;

fn reason(error: &io::Error) -> &Unavailable {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.unwrap_or_else(|| panic!("no reason is given: {error}"))
}

/// Whether rings count as locked memory here, as nobody with room for none of them.
fn rings_are_charged() -> bool {
    set_limit(libc::RLIMIT_MEMLOCK, 0);
    Builder::new().ring_entries(32).build().is_err()
}

#[test]
fn no_locked_memory_is_named_with_the_limit_and_the_fix() {
    alone(|| {
        // Who may not become another user has no capability either.
        let _ = become_nobody();
        if !rings_are_charged() {
            return println!("skipped: rings are not charged");
        }
        let before = descriptors();
        let error = Runtime::new().expect_err("no runtime");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        let reason = reason(&error);
        assert_eq!(reason.cause(), Cause::Memlock);
        assert_eq!(reason.errno(), libc::ENOMEM);
        let text = reason.to_string();
        for part in [
            "0 KiB together (RLIMIT_MEMLOCK)",
            "Fix: raise it: `ulimit -l`",
            "LimitMEMLOCK=",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(
            descriptors(),
            before,
            "a failed attempt leaves nothing open"
        );
    });
}

#[test]
fn a_runtime_that_is_short_of_locked_memory_is_smaller_or_says_why_there_is_none() {
    alone(|| {
        if !become_nobody() || !rings_are_charged() {
            return println!("skipped: cannot become another user, or rings are not charged");
        }
        let mut built = 0;
        // The smallest ring takes 12 KiB, a default one 52; buffer rings come on top.
        for limit in [8, 12, 28, 52, 80] {
            set_limit(libc::RLIMIT_MEMLOCK, limit * 1024);
            match Runtime::new() {
                Ok(runtime) => {
                    built += 1;
                    runtime.block_on(serve_once());
                }
                Err(error) => {
                    assert_eq!(
                        reason(&error).cause(),
                        Cause::Memlock,
                        "{limit} KiB: {error}"
                    );
                    assert_eq!(built, 0, "{limit} KiB are more than was enough before");
                }
            }
        }
        assert!(built >= 3, "{built} limits were enough");
    });
}

async fn serve_once() {
    let (a, b) = common::pair().await;
    a.write_all("hello").await.0.expect("written");
    assert_eq!(common::read_exactly(&b, 5).await, b"hello");
}

#[test]
fn ten_thousand_runtimes_leave_nothing_behind() {
    alone(|| {
        build_and_drop(RUNTIMES, "with the capabilities that the tests have");
    });
}

#[test]
fn ten_thousand_runtimes_of_a_user_without_capabilities_leave_nothing_behind() {
    alone(|| {
        if !become_nobody() {
            return println!("skipped: cannot become another user");
        }
        set_limit(libc::RLIMIT_MEMLOCK, DEFAULT_LIMIT);
        let before = at_once();
        build_and_drop(RUNTIMES, "without CAP_IPC_LOCK");
        assert_eq!(at_once(), before, "the locked memory has come back");
    });
}

fn build_and_drop(count: usize, who: &str) {
    (0..count / 20).for_each(short_life);
    let (fds, maps, memory) = (descriptors(), mappings(), resident());
    (0..count).for_each(short_life);
    assert_eq!(descriptors(), fds, "descriptors {who}");
    assert!(
        mappings() <= maps + 2,
        "{maps} mappings, then {}",
        mappings()
    );
    let grown = resident().saturating_sub(memory);
    // 50 bytes for each would be more.
    assert!(grown < 512 * 1024, "{grown} bytes more in use {who}");
}

/// A runtime that ends with a task, a timer and, now and then, an op in flight.
fn short_life(number: usize) {
    let runtime = Builder::new().spin(Spin::Never).build();
    let runtime = runtime.unwrap_or_else(|e| panic!("runtime {number}: {e}"));
    runtime.block_on(async {
        spawn(pending::<()>());
        if number.is_multiple_of(8) {
            let listener = TcpListener::bind(localhost()).await.expect("a listener");
            let mut cx = Context::from_waker(Waker::noop());
            assert!(pin!(listener.accept()).poll(&mut cx).is_pending());
            spawn(async move { listener.accept().await.map(drop) });
        }
        corering::runtime::nop().await.expect("a nop");
    });
}

/// How many runtimes of full size the locked memory is enough for.
fn at_once() -> usize {
    let mut runtimes = Vec::new();
    while let Ok(runtime) = Builder::new().ring_entries(256).build() {
        runtimes.push(runtime);
        if runtimes.len() == 1000 {
            break;
        }
    }
    runtimes.len()
}
