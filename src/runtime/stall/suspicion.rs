//! When a poll that is seen again and again is a stall.
//!
//! A poll that is seen at two times was going on in all the time between. What it did before the
//! first look and after the last is not known, and not counted.
//!
//! A thread that the system has no processor for does not hold up its core by what it does. So of
//! the time between two looks that part counts in which the thread has computed, or all of it if it
//! is asleep in a system call: that is a call that blocks.

use std::time::Duration;

/// What was seen of a core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// It is in no poll.
    Outside,
    /// It is in another poll than at the last look.
    Another,
    /// It is in the same.
    Same,
}

/// What a core's thread does.
pub(super) trait Doing {
    /// How long it has computed since it began.
    fn cpu_time(&self) -> Duration;
    fn is_asleep(&self) -> bool;
}

/// What is to be told, with the time that the core was held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Begun(Duration),
    Over(Duration),
}

/// One core's poll under suspicion.
#[derive(Debug)]
pub(super) struct Suspicion {
    limit: Duration,
    poll: Option<Poll>,
}

#[derive(Debug)]
struct Poll {
    /// The last look, and how long the thread had computed by then.
    at: Duration,
    cpu_time: Duration,
    held: Duration,
    is_told: bool,
}

impl Suspicion {
    pub(super) fn new(limit: Duration) -> Suspicion {
        Suspicion { limit, poll: None }
    }

    /// Thinks about what was seen at the time `now`. A look that `is_late` was kept from the
    /// processor, or the whole process was, so the time before it does not count.
    pub(super) fn look(
        &mut self,
        seen: Seen,
        now: Duration,
        is_late: bool,
        thread: &impl Doing,
    ) -> Option<Verdict> {
        if seen == Seen::Same
            && let Some(poll) = &mut self.poll
        {
            if !is_late {
                poll.held += match thread.is_asleep() {
                    true => now - poll.at,
                    false => thread.cpu_time().saturating_sub(poll.cpu_time),
                };
            }
            (poll.at, poll.cpu_time) = (now, thread.cpu_time());
            let begins = !poll.is_told && poll.held >= self.limit;
            poll.is_told |= begins;
            return begins.then_some(Verdict::Begun(poll.held));
        }
        let ended = self.poll.take().filter(|poll| poll.is_told);
        if seen != Seen::Outside {
            self.poll = Some(Poll {
                at: now,
                cpu_time: thread.cpu_time(),
                held: Duration::ZERO,
                is_told: false,
            });
        }
        ended.map(|poll| Verdict::Over(poll.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A thread that is asleep, or has computed for so long.
    #[derive(Clone, Copy)]
    enum Thread {
        Asleep,
        Awake(Duration),
    }

    impl Doing for Thread {
        fn cpu_time(&self) -> Duration {
            match self {
                Thread::Asleep => ms(3),
                Thread::Awake(time) => *time,
            }
        }

        fn is_asleep(&self) -> bool {
            matches!(self, Thread::Asleep)
        }
    }

    /// Looks every 8 ms, with a limit of 16.
    struct Case {
        suspicion: Suspicion,
        now: Duration,
        thread: Thread,
    }

    impl Case {
        fn new(thread: Thread) -> Case {
            Case {
                suspicion: Suspicion::new(ms(16)),
                now: ms(1_000),
                thread,
            }
        }

        fn look(&mut self, seen: Seen) -> Option<Verdict> {
            self.now += ms(8);
            self.suspicion.look(seen, self.now, false, &self.thread)
        }

        /// The thread computes for so much of the time before the look.
        fn computes(&mut self, time: Duration) -> Option<Verdict> {
            let Thread::Awake(total) = &mut self.thread else {
                panic!("it is asleep");
            };
            *total += time;
            self.look(Seen::Same)
        }
    }

    #[test]
    fn a_call_that_blocks_is_told_when_the_limit_is_reached_and_when_it_is_over() {
        let mut case = Case::new(Thread::Asleep);
        assert_eq!(case.look(Seen::Another), None);
        assert_eq!(case.look(Seen::Same), None);
        assert_eq!(case.look(Seen::Same), Some(Verdict::Begun(ms(16))));
        for _ in 0..10 {
            assert_eq!(case.look(Seen::Same), None);
        }
        assert_eq!(case.look(Seen::Outside), Some(Verdict::Over(ms(96))));
        assert_eq!(case.look(Seen::Outside), None);
    }

    #[test]
    fn short_polls_are_none_however_many() {
        let mut case = Case::new(Thread::Awake(ms(0)));
        for _ in 0..1_000 {
            assert_eq!(case.look(Seen::Another), None);
            assert_eq!(case.computes(ms(8)), None);
        }
    }

    #[test]
    fn a_core_outside_of_polls_is_never_suspected() {
        let mut case = Case::new(Thread::Asleep);
        for _ in 0..1_000 {
            assert_eq!(case.look(Seen::Outside), None);
        }
        // A poll that is "the same" as none is seen for the first time.
        assert_eq!(case.look(Seen::Same), None);
        assert_eq!(case.look(Seen::Same), None);
        assert_eq!(case.look(Seen::Same), Some(Verdict::Begun(ms(16))));
    }

    #[test]
    fn a_second_stall_may_follow_the_first_at_once() {
        let mut case = Case::new(Thread::Asleep);
        case.look(Seen::Another);
        case.look(Seen::Same);
        assert_eq!(case.look(Seen::Same), Some(Verdict::Begun(ms(16))));
        assert_eq!(case.look(Seen::Another), Some(Verdict::Over(ms(16))));
        assert_eq!(case.look(Seen::Same), None);
        assert_eq!(case.look(Seen::Same), Some(Verdict::Begun(ms(16))));
    }

    #[test]
    fn time_without_a_processor_does_not_count() {
        let mut case = Case::new(Thread::Awake(ms(700)));
        case.look(Seen::Another);
        for _ in 0..100 {
            assert_eq!(case.computes(ms(0)), None);
        }
        for _ in 0..7 {
            assert_eq!(case.computes(ms(2)), None);
        }
        assert_eq!(case.computes(ms(3)), Some(Verdict::Begun(ms(17))));
        assert_eq!(case.computes(ms(4)), None);
        assert_eq!(case.look(Seen::Outside), Some(Verdict::Over(ms(21))));
    }

    #[test]
    fn time_before_a_late_look_does_not_count() {
        let mut case = Case::new(Thread::Asleep);
        case.look(Seen::Another);
        case.look(Seen::Same);
        case.now += ms(60_000);
        let late = case
            .suspicion
            .look(Seen::Same, case.now, true, &case.thread);
        assert_eq!(late, None);
        assert_eq!(case.look(Seen::Same), Some(Verdict::Begun(ms(16))));
    }
}
