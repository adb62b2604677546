//! An echo server in steady state allocates nothing, nor do tasks that wait for each other.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use corering::net::{Deadlines, TcpListener, TcpStream};
use corering::spawn;
use corering::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, watch};
use corering::task::yield_now;

use common::{buffers_are_large, localhost, pattern, run, until};

/// Counts what threads allocate that have a [`COUNTER`].
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNTER: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

fn note() {
    // A thread that ends has no such cell any more.
    if let Ok(Some(counter)) = COUNTER.try_with(Cell::get) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

const CONNECTIONS: usize = 64;
/// Until every list, table and cache has the size that it needs.
const WARM_UP: usize = 200;
const ROUNDS: usize = 300;

/// Echoes on many connections at a time, and says how often the server allocated meanwhile.
fn drive(address: SocketAddr, len: usize, allocations: &AtomicU64) -> u64 {
    let connect = |_| {
        let stream = StdStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option that all have");
        stream
    };
    let mut clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let bytes = pattern(len as u32, len);
    let mut answer = vec![0; len];
    let mut rounds = |count| {
        for round in 0..count {
            // Some rounds all at once, some one after the other, so that turns differ.
            let group = [CONNECTIONS, 1, 7][round % 3];
            for clients in clients.chunks_mut(group) {
                for client in clients.iter_mut() {
                    client.write_all(&bytes).expect("it is sent");
                }
                for client in clients {
                    client.read_exact(&mut answer).expect("it comes back");
                    assert!(answer == bytes);
                }
            }
        }
    };
    rounds(WARM_UP);
    let before = allocations.load(Ordering::Relaxed);
    rounds(ROUNDS);
    allocations.load(Ordering::Relaxed) - before
}

/// Serves while a client measures. `serve` is one connection's task.
async fn measured<F>(len: usize, serve: impl Fn(TcpStream) -> F) -> u64
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind(localhost()).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let allocations: &'static AtomicU64 = Box::leak(Box::default());
    let client = thread::spawn(move || drive(address, len, allocations));
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().await.expect("a connection");
        spawn(serve(stream));
    }
    COUNTER.set(Some(allocations));
    until("the client is done", || client.is_finished()).await;
    COUNTER.set(None);
    client.join().expect("the client is satisfied")
}

#[test]
fn an_echo_of_leases_allocates_nothing() {
    for len in [64, 4096] {
        let allocations = run(measured(len, async |stream: TcpStream| {
            while let Some(lease) = stream.recv().await.expect("bytes") {
                stream.write_all(lease).await.0.expect("sent");
            }
        }));
        assert_eq!(
            allocations,
            0,
            "in {} echoes of {len} bytes",
            ROUNDS * CONNECTIONS
        );
    }
}

#[test]
fn an_echo_under_deadlines_allocates_nothing() {
    let second = Duration::from_secs(1);
    let deadlines = Deadlines::new().first_byte(20 * second).idle(10 * second);
    let deadlines = deadlines
        .write(10 * second)
        .min_rate(1, 10 * second, second);
    let allocations = run(measured(64, move |stream: TcpStream| {
        let stream = deadlines.lifetime(60 * second).guard(stream);
        async move {
            while let Some(lease) = stream.recv().await.expect("bytes in time") {
                stream.write_all(lease).await.0.expect("sent");
            }
        }
    }));
    assert_eq!(allocations, 0, "in {} echoes", ROUNDS * CONNECTIONS);
}

#[test]
fn an_echo_through_a_buffer_of_ones_own_allocates_nothing() {
    // 64 messages of 32 KiB are more than small buffers hold: they are copied out.
    let large = buffers_are_large().then_some(32 * 1024);
    for len in [64, 4096].into_iter().chain(large) {
        let allocations = run(measured(len, async |stream: TcpStream| {
            let mut buf = Vec::with_capacity(32 * 1024);
            loop {
                let n;
                (n, buf) = stream.read(buf).await;
                if n.expect("bytes") == 0 {
                    return;
                }
                let sent;
                (sent, buf) = stream.write_all(buf).await;
                sent.expect("sent");
            }
        }));
        assert_eq!(
            allocations,
            0,
            "in {} echoes of {len} bytes",
            ROUNDS * CONNECTIONS
        );
    }
}

/// Two tasks that send numbers there and back, while a third waits for a lock and a notification.
async fn talk(allocations: &'static AtomicU64) -> u64 {
    let (there, mut asked) = mpsc::channel(1);
    let (back, mut answered) = mpsc::channel(1);
    let shared = Rc::new((Mutex::new(0), Notify::new(), Semaphore::new(1)));
    let same = Rc::clone(&shared);
    spawn(async move {
        while let Some(number) = asked.recv().await {
            let permit = same.2.acquire().await;
            *same.0.lock().await += 1;
            same.1.notify_one();
            drop(permit);
            back.send(number).await.expect("a receiver");
        }
    });
    let (value, mut latest) = watch::channel(0);
    let (all, mut each) = broadcast::channel(2);
    for number in 0..WARM_UP + ROUNDS {
        if number == WARM_UP {
            COUNTER.set(Some(allocations));
        }
        let (held, permit) = (shared.0.lock().await, shared.2.acquire().await);
        there.send(number).await.expect("a receiver");
        yield_now().await;
        drop((held, permit));
        shared.1.notified().await;
        assert_eq!(answered.recv().await, Some(number));
        assert!(value.send(number).is_ok() && all.send(number).is_ok());
        latest.changed().await.expect("a sender");
        assert_eq!(each.recv().await, Ok(number));
    }
    COUNTER.set(None);
    allocations.load(Ordering::Relaxed)
}

#[test]
fn tasks_that_wait_for_each_other_allocate_nothing() {
    let allocations = run(talk(Box::leak(Box::default())));
    assert_eq!(allocations, 0, "in {ROUNDS} rounds");
}

#[test]
fn what_is_allocated_is_counted() {
    let allocations: &'static AtomicU64 = Box::leak(Box::default());
    drop(vec![0_u8; 1000]);
    COUNTER.set(Some(allocations));
    drop(vec![0_u8; 1000]);
    let mut growing = Vec::with_capacity(10);
    growing.extend([1; 11]);
    COUNTER.set(None);
    drop(vec![0_u8; 1000]);
    assert_eq!(allocations.load(Ordering::Relaxed), 3);
}
