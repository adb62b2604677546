//! Several cores: one thread, pinned to its CPU, with a runtime each, and messages between them.
//!
//! A service that is the same on every core shares nothing on its hot path: each core has its own
//! listener, its own connections and its own part of the data. [`Cores`] starts it, [`Core`] is
//! what it holds of the core that it runs on.
//!
//! ```no_run
//! use std::time::Duration;
//! use corering::cores::Core;
//!
//! # async fn serve(core: Core) -> std::io::Result<()> { Ok(()) }
//! #[corering::main(cores = "all")]
//! async fn main(core: Core) -> std::io::Result<()> {
//!     println!("core {} of {}, on CPU {:?}", core.index(), core.count(), core.cpu());
//!     serve(core.clone()).await?;
//!     core.drain(Duration::from_secs(10)).await
//! }
//! ```
//!
//! # Work for another core
//!
//! [`Core::spawn_on`] sends a closure, and brings the output of its future back. Queues between
//! cores are bounded, one for each pair; who finds one full waits. To send costs a core no more
//! than a store and an exchange while the other one is awake: only one that sleeps has to be woken
//! by a system call, and only by the first message that it sleeps through. So it pays to send few
//! large messages rather than many small ones, and most to send none.
//!
//! [`channel`] makes a bounded channel between two cores, for what flows; threads that are no cores
//! send work by a [`Handle`].
//!
//! # Stopping
//!
//! A stop begins with `SIGINT` or `SIGTERM`, with [`Core::stop`] or [`Handle::stop`], or because a
//! core's main has panicked. Then [`Core::stopping`] resolves everywhere: a service accepts no
//! more, tells its connections, waits for them with [`Core::drain`], and returns from main. What
//! has not ended within the [limit](Cores::stop_limit), or when a second signal comes, is dropped.
//!
//! # In a simulation
//!
//! `sim::Host::run_cores` (feature `sim`) starts the same main on simulated cores.

mod balance;
mod channel;
mod core;
mod handle;
mod mailman;
mod mesh;
mod reply;
mod running;
#[cfg(feature = "sim")]
mod simulated;
mod spawn_on;
mod start;
#[cfg(test)]
mod stories;
mod sync;
mod thread;
mod topology;
mod wakers;

pub use self::balance::{Balance, Load};
pub use self::channel::{Receiver, Sender, channel};
pub use self::core::{Core, Stopping};
pub use self::handle::{Full, Handle, Remote};
pub use self::running::{Ended, Running};
#[cfg(feature = "sim")]
pub(crate) use self::simulated::Simulated;
pub use self::spawn_on::{Broadcast, SpawnOn};
pub use self::start::Cores;
pub use self::topology::{Cpu, cpus};
