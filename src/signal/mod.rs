//! Signals, as something to wait for.

use std::io;
use std::sync::Arc;

use crate::driver::{Driver, Op};
use crate::op;
use crate::ring::{Ring, sys};

/// Waits for the next `SIGINT`, which a terminal sends for Ctrl-C.
///
/// From the first call on, for the rest of the process's life, `SIGINT` no longer ends the process:
/// call this again to see the next one. Every call that waits sees the signal.
///
/// # Errors
///
/// `EMFILE`: no descriptor is left. `NotConnected`: no runtime runs on this thread. `ECANCELED`:
/// the runtime has ended.
///
/// # Cancellation
///
/// Dropping the future loses no other waiter's signal. A signal that comes while nobody waits is
/// not kept.
///
/// # Kernel
///
/// `IORING_OP_POLL_ADD` on an eventfd that the handler writes, since 5.1.
///
/// # Source
///
/// [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)
///
/// # Examples
///
/// ```no_run
/// # async fn serve() {}
/// # async fn run() -> std::io::Result<()> {
/// corering::spawn(serve());
/// corering::signal::ctrl_c().await?;
/// println!("stopping");
/// # Ok(())
/// # }
/// ```
#[doc(alias = "SIGINT")]
pub async fn ctrl_c() -> io::Result<()> {
    let driver = Driver::current()?;
    let arrived = Arc::new(driver.with_ring(Ring::eventfd)?);
    let _handler = sys::OnSignal::write(libc::SIGINT, &arrived)?;
    let events = libc::POLLIN.cast_unsigned().into();
    let poll = op::Poll {
        fd: arrived,
        events,
    };
    poll.submit(&driver).await.map(drop)
}
