//! Deadlines of a connection, kept by whatever reads and writes it.
//!
//! [`Deadlines`] are the settings, [`Guarded`] is a stream with them, and [`watch`] is what both
//! rest on: when something moved last, and the timers.

mod generic;
mod splice;
mod stream;
mod watch;

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

pub use self::stream::Guarded;
use super::stream::StreamSocket;

/// How long the peer of a connection may let it wait: plain settings, to be used for any number of
/// connections.
///
/// None is set at first. [`guard`](Deadlines::guard) puts a stream under them; then each read and
/// write fails with `ErrorKind::TimedOut` when its deadline has passed, and the error says
/// [which](DeadlineElapsed).
///
/// A [`splice`](crate::net::splice) goes by the deadlines of its ends, of reads at the one and of
/// writes at the other. A stream that is spliced both ways is idle when nothing moves either way.
///
/// For reads only the time counts in which one waits: what the program does between two reads is
/// not the peer's fault. A deadline ends the operation that waits for it, and nothing else: a
/// server may still write an answer that says why it closes the connection.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
/// use corering::net::{Deadline, DeadlineElapsed, Deadlines, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let deadlines = Deadlines::new()
///     .first_byte(Duration::from_millis(20))
///     .idle(Duration::from_secs(60))
///     .write(Duration::from_secs(10))
///     .min_rate(500, Duration::from_secs(5), Duration::from_secs(10))
///     .lifetime(Duration::from_secs(3600));
/// let (stream, _silent) = UnixStream::pair()?;
/// let stream = deadlines.guard(stream);
/// let error = stream.recv().await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// assert_eq!(DeadlineElapsed::of(&error), Some(Deadline::FirstByte));
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "settings have an effect on the streams that they guard"]
pub struct Deadlines {
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    write: Option<Duration>,
    min_rate: Option<MinRate>,
    lifetime: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct MinRate {
    bytes_per_second: u64,
    window: Duration,
    grace: Duration,
}

impl Deadlines {
    /// No deadline.
    pub const fn new() -> Deadlines {
        Deadlines {
            first_byte: None,
            idle: None,
            write: None,
            min_rate: None,
            lifetime: None,
        }
    }

    /// How long reads may wait for the first byte of the connection.
    pub const fn first_byte(mut self, limit: Duration) -> Deadlines {
        self.first_byte = Some(limit);
        self
    }

    /// How long reads may wait while no byte moves in either direction: since the last one that was
    /// received, and the last write that the kernel took something of. It holds from the first byte
    /// on, or from the beginning if there is no limit for that.
    pub const fn idle(mut self, limit: Duration) -> Deadlines {
        self.idle = Some(limit);
        self
    }

    /// How long a write may wait while the kernel takes nothing of it, because the peer does not
    /// read. One that goes on, however slowly, may take longer. A TCP socket takes more once a
    /// third of its send buffer is acknowledged, so to a slow peer the limit is also one for that.
    pub const fn write(mut self, limit: Duration) -> Deadlines {
        self.write = Some(limit);
        self
    }

    /// The fewest bytes per second that a message may come with, once it has begun.
    ///
    /// A message begins with the first byte, and with the first one after each write that has
    /// ended: a request of which the answer was sent is complete. So between two requests there is
    /// no rate, only [`idle`](Deadlines::idle). Where nothing is answered,
    /// [`Guarded::message_done`] says so.
    ///
    /// From `grace` after its beginning on, each `window` has to bring `window` ×
    /// `bytes_per_second`. Both count the time in which a read waits.
    pub const fn min_rate(
        mut self,
        bytes_per_second: u64,
        window: Duration,
        grace: Duration,
    ) -> Deadlines {
        self.min_rate = Some(MinRate {
            bytes_per_second,
            window,
            grace,
        });
        self
    }

    /// How long the connection may be used at all, since it was guarded.
    pub const fn lifetime(mut self, limit: Duration) -> Deadlines {
        self.lifetime = Some(limit);
        self
    }

    /// Puts a stream under these deadlines. They begin now.
    pub fn guard<S: StreamSocket>(self, stream: S) -> Guarded<S> {
        Guarded::new(stream, self)
    }

    fn limit_of(&self, deadline: Deadline) -> Duration {
        let limit = match deadline {
            Deadline::FirstByte => self.first_byte,
            Deadline::Idle => self.idle,
            Deadline::Write => self.write,
            Deadline::MinRate => self.min_rate.map(|rate| rate.window),
            Deadline::Lifetime => self.lifetime,
        };
        limit.unwrap_or_default()
    }
}

/// One of the [`Deadlines`] of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Deadline {
    /// [`Deadlines::first_byte`].
    FirstByte,
    /// [`Deadlines::idle`].
    Idle,
    /// [`Deadlines::write`].
    Write,
    /// [`Deadlines::min_rate`].
    MinRate,
    /// [`Deadlines::lifetime`].
    Lifetime,
}

/// Why a read or a write of a [`Guarded`] stream has timed out: inside an [`io::Error`] of kind
/// `TimedOut`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeadlineElapsed {
    deadline: Deadline,
    limit: Duration,
}

impl DeadlineElapsed {
    /// Which deadline has passed, if `error` is because of one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Deadline> {
        let elapsed = error.get_ref()?.downcast_ref::<DeadlineElapsed>()?;
        Some(elapsed.deadline)
    }

    /// Which deadline has passed.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }
}

impl fmt::Display for DeadlineElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.deadline {
            Deadline::FirstByte => write!(f, "no first byte came within {limit:?}"),
            Deadline::Idle => write!(f, "the connection was idle for {limit:?}"),
            Deadline::Write => write!(f, "the peer took nothing of a write for {limit:?}"),
            Deadline::MinRate => write!(f, "a message came too slowly in the last {limit:?}"),
            Deadline::Lifetime => write!(f, "the connection has lasted for {limit:?}"),
        }
    }
}

impl Error for DeadlineElapsed {}

impl From<DeadlineElapsed> for io::Error {
    fn from(elapsed: DeadlineElapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
