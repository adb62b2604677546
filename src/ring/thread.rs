//! A thread of this process, as the kernel sees it from outside.
#![allow(unsafe_code)]

use std::fs;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

/// A thread by its number, which stays its own while it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread(libc::pid_t);

impl Thread {
    /// The calling one.
    pub(crate) fn current() -> Thread {
        // SAFETY: gettid takes no pointer, and cannot fail.
        Thread(unsafe { libc::gettid() })
    }

    /// What `perf`, `gdb` and `/proc` call it.
    pub(crate) fn id(self) -> i32 {
        self.0
    }

    /// How long it has run on a processor since it began. Zero when it is gone.
    pub(crate) fn cpu_time(self) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // How the C library makes the clock of a thread: the number in the upper bits, all of them
        // inverted, then "of a thread" and "time that it was scheduled".
        let clock = (!self.0 << 3) | 4 | 2;
        // SAFETY: `time` is a live timespec. The kernel looks the thread up by its number, and
        // refuses one that is no thread of this process.
        if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
            return Duration::ZERO;
        }
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// Whether it sleeps in a system call.
    pub(crate) fn is_asleep(self) -> bool {
        let text = fs::read_to_string(format!("/proc/self/task/{}/stat", self.0));
        text.is_ok_and(|text| state(&text).is_some_and(|state| matches!(state, 'S' | 'D')))
    }
}

/// Keeps all signals from the calling thread: they are for threads that expect them.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call writes the whole set, which the second one reads. It changes the mask
    // of this thread alone.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// The letter after the name, which stands in parentheses and may have some itself.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert_eq!(state("17 (a) b) S 1 2"), Some('S'));
        assert_eq!(state("17"), None);
    }

    #[test]
    fn a_thread_that_sleeps_is_told_from_one_that_computes() {
        let (tell, told) = mpsc::channel();
        let (wait, waits) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            tell.send(Thread::current()).expect("the test waits");
            assert!(waits.recv().is_err());
        });
        let thread = told.recv().expect("the thread says so");
        while !thread.is_asleep() {
            thread::yield_now();
        }
        let slept = thread.cpu_time();
        let me = Thread::current();
        let (before, begun) = (me.cpu_time(), Instant::now());
        while me.cpu_time() < before + Duration::from_millis(20) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "time stands still"
            );
        }
        assert!(!me.is_asleep());
        assert_eq!(thread.cpu_time(), slept);
        assert!(slept > Duration::ZERO);
        drop(wait);
        sleeper.join().expect("it does not panic");
        // Who joins a thread may be told a moment before the kernel has let go of it.
        let ended = Instant::now();
        while thread.cpu_time() > Duration::ZERO {
            let took = ended.elapsed();
            assert!(took < Duration::from_secs(20), "it is still there");
        }
        assert!(!thread.is_asleep(), "it is gone");
    }
}
