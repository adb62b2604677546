//! What time it is, on the kernel behind the door.
#![allow(unsafe_code)]

#[cfg(feature = "sim")]
use super::sim::Time;

/// A clock that only goes forward.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic,
    #[cfg(feature = "sim")]
    Virtual(Time),
}

impl Clock {
    /// `CLOCK_MONOTONIC`, which the timeouts of `enter` are measured by, too.
    pub(crate) fn monotonic() -> Clock {
        Clock(Source::Monotonic)
    }

    /// The time of a simulated world.
    #[cfg(feature = "sim")]
    pub(super) fn simulated(time: Time) -> Clock {
        Clock(Source::Virtual(time))
    }

    /// Nanoseconds since an arbitrary point, the same for all threads.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Monotonic => monotonic_ns(),
            #[cfg(feature = "sim")]
            Source::Virtual(time) => time.now_ns(),
        }
    }
}

#[inline]
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live timespec. The call cannot fail: the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
