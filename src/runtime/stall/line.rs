//! What is said of stalls on stderr, where nobody else is told of them.

use std::process;
use std::time::Duration;

use super::Stall;

/// A core has at most one stall reported in this time.
const EVERY: Duration = Duration::from_secs(1);

/// What was said of one core.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<Duration>,
    left_out: u64,
    /// The beginning of the stall was told, so its end is, too.
    is_told: bool,
}

impl Lines {
    /// What to say of a stall at the time `now`, if it may be told.
    pub(super) fn line(&mut self, stall: &Stall, now: Duration) -> Option<String> {
        if stall.is_over() {
            let is_told = self.is_told;
            return is_told.then(|| format!("corering: {stall}"));
        }
        self.is_told = self.last.is_none_or(|last| now - last >= EVERY);
        if !self.is_told {
            self.left_out += 1;
            return None;
        }
        let is_first = self.last.replace(now).is_none();
        let more = match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            count => format!(" ({count} more before it)"),
        };
        let hint = match is_first {
            true => hint(stall),
            false => String::new(),
        };
        Some(format!("corering: {stall}{more}{hint}"))
    }
}

/// How to see where it is, said once.
fn hint(stall: &Stall) -> String {
    let (process, thread) = (process::id(), stall.thread_id());
    format!(
        "; to see where: `gdb -p {process} --batch -ex 'thread find {thread}' -ex 'thread \
             apply all backtrace'`, or `perf record -g -t {thread}`"
    )
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;

    const fn tenths(tenths: u64) -> Duration {
        Duration::from_millis(100 * tenths)
    }

    #[track_caller]
    fn stall() -> Stall {
        Stall {
            location: Location::caller(),
            future: "service::serve::{{closure}}",
            name: None,
            held: Duration::from_millis(17),
            is_over: false,
            is_blocked: true,
            thread: 4321,
        }
    }

    fn over() -> Stall {
        Stall {
            held: Duration::from_millis(250),
            is_over: true,
            ..stall()
        }
    }

    #[test]
    fn a_line_names_place_type_thread_and_time() {
        let mut lines = Lines::default();
        let stall = stall();
        let begun = lines.line(&stall, tenths(0)).expect("the first is told");
        let expected = format!(
            "corering: a task has held its core (thread 4321) for 17 ms, blocked in a system call: \
             spawned at {}, service::serve::{{{{closure}}}}; to see where: `gdb -p {} ",
            stall.location(),
            process::id(),
        );
        assert!(begun.starts_with(&expected), "{begun}\n{expected}");
        assert!(begun.ends_with("`perf record -g -t 4321`"), "{begun}");
        let end = lines.line(&over(), tenths(2)).expect("and its end");
        assert!(
            end.starts_with("corering: a task held its core (thread 4321) for 250 ms: spawned")
        );
        let next = lines.line(&stall, tenths(20)).expect("a second later");
        assert!(next.ends_with("service::serve::{{closure}}"), "{next}");
    }

    #[test]
    fn one_stall_in_a_second_is_told_and_the_others_are_counted() {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for tenth in 0..35 {
            let begun = lines.line(&stall(), tenths(tenth));
            let end = lines.line(&over(), tenths(tenth));
            assert_eq!(end.is_some(), begun.is_some());
            told.extend(begun);
        }
        assert_eq!(told.len(), 4);
        for line in &told[1..] {
            assert!(line.contains("(9 more before it)"), "{line}");
        }
    }
}
