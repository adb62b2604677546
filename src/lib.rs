//! An io_uring completion-based async runtime for Linux: one ring, one executor, one timer wheel
//! and one set of receive buffers per core, shared with no other core.
//!
//! ```
//! use corering::net::{TcpListener, TcpStream};
//!
//! #[corering::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (server, _peer) = listener.accept().await?;
//!
//!     client.write_all("hello").await.0?;
//!     let lease = server.recv().await?.expect("the client is still there");
//!     assert_eq!(&*lease, b"hello");
//!     Ok(())
//! }
//! ```
//!
//! | for | see |
//! |---|---|
//! | starting a runtime, and what it counts | [`runtime`], [`main`](macro@main), [`test`](macro@test) |
//! | tasks, and calls that block | [`task`] |
//! | channels and locks between tasks | [`sync`] |
//! | TCP, UDP, Unix sockets and names | [`net`] |
//! | generic I/O, lines, frames, copying | [`io`] |
//! | files | [`fs`] |
//! | sleeps, deadlines, intervals | [`time`] |
//! | Ctrl-C | [`signal`] |
//! | what may be lent to the kernel | [`buffers`] |
//! | ending an operation early | [`io::Operation`], [the guide](guide::cancellation) |
//! | how it compares with threads, callbacks and goroutines | [the guide](guide::models) |
//!
//! # What completion means
//!
//! With epoll a program is told that it *may* read, and reads. With io_uring it asks the kernel to
//! read, and is told when that *was done*. Operations of all tasks are collected, and one system
//! call a turn, `io_uring_enter`, hands them over and brings what has completed: with many
//! connections that is far less than one system call for each.
//!
//! Nothing is submitted before its future is first polled. From then on the kernel works on it,
//! whether anybody polls or not.
//!
//! # Why buffers are owned
//!
//! A future may be dropped, or forgotten, while the kernel still writes into its buffer. So no
//! operation takes `&mut [u8]`: it takes the buffer itself, keeps it until the kernel is done, and
//! gives it back with the outcome, also in error:
//!
//! ```
//! # use corering::net::{TcpListener, TcpStream};
//! async fn echo(stream: TcpStream) -> std::io::Result<()> {
//!     let mut buf = Vec::with_capacity(16 * 1024);
//!     loop {
//!         let (n, sent);
//!         (n, buf) = stream.read(buf).await; // fills from the start: its length is what came
//!         if n? == 0 {
//!             return Ok(()); // the end of the stream
//!         }
//!         (sent, buf) = stream.write_all(buf).await;
//!         sent?;
//!     }
//! }
//! # fn main() -> std::io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let client = TcpStream::connect(listener.local_addr()?).await?;
//! # corering::spawn(echo(listener.accept().await?.0));
//! # client.write_all("hello").await.0?;
//! # assert_eq!(&*client.recv().await?.unwrap(), b"hello");
//! # Ok(()) })
//! # }
//! ```
//!
//! Or it takes none: [`recv`](net::TcpStream::recv) hands out a [`Lease`] of the buffer that the
//! kernel has filled. Nothing is copied, and a connection that is idle holds no buffer at all.
//!
//! # How futures may be dropped
//!
//! At any time, without loss. A future is only a waiter; what the kernel has done belongs to the
//! listener, stream or file that it was done for, and the next call gets it. So any future may
//! stand in a `select!` or under a [`timeout`](time::timeout):
//!
//! ```
//! # use std::time::Duration;
//! # use corering::net::{TcpListener, TcpStream};
//! # use corering::time::timeout;
//! # fn main() -> std::io::Result<()> {
//! # corering::Runtime::new()?.block_on(async {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let client = TcpStream::connect(listener.local_addr()?).await?;
//! # let (server, _) = listener.accept().await?;
//! let early = timeout(Duration::from_millis(5), server.recv()).await;
//! assert!(early.is_err());
//!
//! client.write_all("late").await.0?;
//! let lease = server.recv().await?; // what the dropped future was to get
//! assert_eq!(lease.as_deref(), Some(&b"late"[..]));
//! # Ok(()) })
//! # }
//! ```
//!
//! | dropped | what becomes of it |
//! |---|---|
//! | `accept`, `recv`, `read`, `fill_buf` | the next call gets the connection or the bytes |
//! | `read_exact`, `read_until`, `next_line`, `FramedRead::next`, … | they have taken nothing: the next call gets all the bytes |
//! | `write_all`, `write_at`, `sync_data`, … | before its turn: nothing happens; after: it runs to its end, and an error is reported later |
//! | `connect`, `open` | cancelled; what comes about all the same is closed |
//! | `rename`, `remove_file`, `create_dir`, … | cancelled; what has happened all the same stays so |
//! | `read_at`, `metadata`, `sleep`, `ctrl_c` | cancelled; nothing is lost |
//! | `JoinHandle`, `spawn_blocking` | detached: they run to their end |
//!
//! Each method says so under *Cancellation*. What is lost is what you let go of yourself: dropping
//! a *stream* gives up the bytes that nobody has read. [`close`](net::TcpStream::close) returns
//! them. To end an operation and get its buffer back, use
//! [`cancel` and `timeout`](io::Operation); [the guide](guide::cancellation) has the whole table.
//!
//! # What blocks a core
//!
//! A core runs one task at a time, and looks at the kernel only between tasks. So a task that
//! computes for long holds up every other one: let them run with
//! [`yield_now`](task::yield_now). Calls that block (`std::fs`, `std::net`, a C library,
//! `Mutex::lock` against another thread) belong in
//! [`spawn_blocking`](task::spawn_blocking). Futures of this crate that are always ready give way
//! by themselves after 128 results. [The guide](guide::blocking) shows how to see it.
//!
//! # More than one core
//!
//! A [`Runtime`] stays on its thread, and so do its tasks, streams and files: none of them is
//! `Send`, and `Rc` and `RefCell` are all that tasks need to share. Wakers may go anywhere. To use
//! every core, start a runtime on a thread for each and let the kernel spread the connections:
//!
//! ```no_run
//! use std::{io, thread};
//! use corering::net::{TcpSocket, TcpStream};
//!
//! fn main() -> io::Result<()> {
//!     let cores = thread::available_parallelism()?.get();
//!     let start = || thread::spawn(|| corering::Runtime::new()?.block_on(serve()));
//!     let cores: Vec<_> = (0..cores).map(|_| start()).collect();
//!     cores.into_iter().try_for_each(|core| core.join().expect("it does not panic"))
//! }
//!
//! async fn serve() -> io::Result<()> {
//!     let address = ([0, 0, 0, 0], 7000).into();
//!     let listener = TcpSocket::new_v4()?.reuse_port()?.bind(address)?.listen(1024)?;
//!     loop {
//!         let (stream, peer) = listener.accept().await?;
//!         corering::spawn(async move {
//!             if let Err(error) = echo(stream).await {
//!                 eprintln!("{peer}: {error}");
//!             }
//!         });
//!     }
//! }
//! # async fn echo(_: TcpStream) -> io::Result<()> { Ok(()) }
//! ```
//!
//! # Where it runs
//!
//! Linux 6.1 or later, where io_uring is allowed. Otherwise building the runtime fails with an
//! error that says what stands in the way and what to do about it: see
//! [`Unavailable`](runtime::Unavailable).

pub mod cores;
mod driver;
pub mod fs;
pub mod guide;
pub mod io;
pub mod net;
mod op;
// Its example is compiled and run with those of the documentation.
#[doc = include_str!("../README.md")]
mod readme {}
mod ring;
pub mod runtime;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sync;
pub mod task;
pub mod time;

pub use corering_buffers as buffers;
pub use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};
pub use corering_macros::{main, test};
pub use cores::Cores;
pub use runtime::Runtime;
pub use task::spawn;
