//! What is known of a guarded connection: when something moved last, and who waits for more.
//!
//! # Two clocks
//!
//! Deadlines of reads go by the time in which at least one read waits (`Reading::waited`), which
//! stands still between them. Those of writes, and the lifetime, go by the clock itself.
//!
//! # One timer for each side
//!
//! A side's timer is set when an operation of that side waits for the first time, and then stays in
//! the wheel, whatever comes and goes: it is set anew only for an earlier deadline, or when it has
//! fired and there is still something to wait for. So while a connection is busy an operation costs
//! no timer. When it fires, the deadlines are looked at, and mostly they have moved.
//!
//! A timer wakes one task. That is the first in the side's line ([`Waiters`]), whose deadline is
//! the earliest: those behind it have begun later, or share it. Whoever leaves the line wakes the
//! next one, which looks at the deadlines and takes the timer over.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Deadline, Deadlines, MinRate};
use crate::io::waiters::{Place, Waiters};
use crate::time::{Instant, Sleep, sleep_until};

/// The deadlines of one connection.
pub(super) struct Watch {
    limits: Deadlines,
    began: Instant,
    reading: Cell<Reading>,
    writing: Cell<Writing>,
    reads: RefCell<Line>,
    writes: RefCell<Line>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Read,
    Write,
}

/// Who waits at one side, and its timer.
#[derive(Default)]
struct Line {
    waiters: Waiters,
    timer: Option<Sleep>,
}

/// The receive side, in the time that reads have waited.
#[derive(Clone, Copy, Default)]
struct Reading {
    waited: Duration,
    /// Since when reads wait, and how many do.
    since: Option<Instant>,
    waiting: u32,
    /// Bytes that the program has taken, and those of which is known that they have come.
    taken: u64,
    received: u64,
    /// When something moved last.
    moved_at: Duration,
    message: Option<Message>,
}

/// A message that has begun, and the part of it in which its rate is looked at.
#[derive(Clone, Copy)]
struct Message {
    window_from: Duration,
    received_before: u64,
    in_grace: bool,
}

#[derive(Clone, Copy, Default)]
struct Writing {
    waiting: u32,
    /// What the socket said last, see `Socket::taken_by_kernel`.
    taken: u32,
    /// When that has changed while a write waited.
    moved_at: Option<Instant>,
}

/// An operation that waits, from its first poll that was pending.
pub(super) struct Waiting<'a> {
    watch: &'a Watch,
    side: Side,
    place: Option<Place>,
    since: Option<Instant>,
}

impl Watch {
    pub(super) fn new(limits: Deadlines) -> Watch {
        Watch {
            limits,
            began: Instant::now(),
            reading: Cell::default(),
            writing: Cell::default(),
            reads: RefCell::default(),
            writes: RefCell::default(),
        }
    }

    pub(super) fn limits(&self) -> &Deadlines {
        &self.limits
    }

    pub(super) fn waiting(&self, side: Side) -> Waiting<'_> {
        Waiting {
            watch: self,
            side,
            place: None,
            since: None,
        }
    }

    /// The program has taken `n` bytes.
    pub(super) fn took(&self, n: usize) {
        let mut reading = self.reading.get();
        reading.taken += n as u64;
        reading.saw(0, reading.now());
        self.reading.set(reading);
    }

    /// The inbox holds `held` bytes.
    pub(super) fn holds(&self, held: usize) {
        let mut reading = self.reading.get();
        reading.saw(held, reading.now());
        self.reading.set(reading);
    }

    /// What came until now was whole: the next byte begins another message.
    pub(super) fn message_done(&self) {
        let mut reading = self.reading.get();
        reading.message = None;
        self.reading.set(reading);
    }

    /// A write has ended; the kernel has taken so much.
    pub(super) fn wrote(&self, taken: u32) {
        let mut writing = self.writing.get();
        writing.taken = taken;
        if writing.waiting > 0 {
            writing.moved_at = Some(Instant::now());
        }
        self.writing.set(writing);
        self.message_done();
        self.moved();
    }

    /// Something moved in the direction of the peer.
    fn moved(&self) {
        let mut reading = self.reading.get();
        reading.moved_at = reading.now();
        self.reading.set(reading);
    }

    fn line(&self, side: Side) -> &RefCell<Line> {
        match side {
            Side::Read => &self.reads,
            Side::Write => &self.writes,
        }
    }

    fn lifetime(&self) -> Option<Instant> {
        self.began.checked_add(self.limits.lifetime?)
    }
}

impl Waiting<'_> {
    /// The operation waits. Ready: not any longer, because of this deadline. `held` is in the inbox
    /// and `taken` what the socket says of its sends.
    pub(super) fn poll(&mut self, held: usize, taken: u32, cx: &mut Context<'_>) -> Poll<Deadline> {
        let mut now = Instant::now();
        let since = *self.since.get_or_insert_with(|| {
            self.watch.begin(self.side, now);
            now
        });
        loop {
            let earliest = match self.side {
                Side::Read => self.watch.look_at_reads(held, now),
                Side::Write => self.watch.look_at_writes(taken, since, now),
            };
            match earliest {
                Some((at, deadline)) if at <= now => return Poll::Ready(deadline),
                Some((at, _)) => match self.poll_timer(at, now, cx) {
                    Poll::Ready(()) => now = Instant::now(),
                    Poll::Pending => return Poll::Pending,
                },
                None => return Poll::Pending,
            }
        }
    }

    /// Has the task woken at `at` or before, if it is the first in line. Ready: look again.
    fn poll_timer(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.watch.line(self.side);
        if !line.borrow().waiters.wakes(self.place, cx) {
            let waker = cx.waker().clone();
            let old = line.borrow_mut().waiters.wait(&mut self.place, waker);
            drop(old); // user code, so not while the line is borrowed
        }
        if !line.borrow().waiters.may_go(self.place) {
            return Poll::Pending;
        }
        // Out of the line while it is polled: it clones and drops wakers.
        let timer = line.borrow_mut().timer.take();
        let mut timer = match timer {
            Some(mut timer) => {
                if timer.deadline() > at || timer.deadline() <= now {
                    Pin::new(&mut timer).reset(at);
                }
                timer
            }
            None => sleep_until(at),
        };
        let due = Pin::new(&mut timer).poll(cx);
        line.borrow_mut().timer = Some(timer);
        due
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.watch.end(self.side);
        }
        let Some(place) = self.place.take() else {
            return;
        };
        let mut line = self.watch.line(self.side).borrow_mut();
        let was_first = line.waiters.may_go(Some(place));
        let own = line.waiters.leave(place);
        let next = was_first.then(|| line.waiters.next()).flatten();
        drop(line);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Watch {
    fn begin(&self, side: Side, now: Instant) {
        match side {
            Side::Read => {
                let mut reading = self.reading.get();
                reading.waiting += 1;
                reading.since.get_or_insert(now);
                self.reading.set(reading);
            }
            Side::Write => {
                let mut writing = self.writing.get();
                writing.waiting += 1;
                self.writing.set(writing);
            }
        }
    }

    fn end(&self, side: Side) {
        match side {
            Side::Read => {
                let mut reading = self.reading.get();
                reading.waiting -= 1;
                if reading.waiting == 0 {
                    reading.waited = reading.now();
                    reading.since = None;
                }
                self.reading.set(reading);
            }
            Side::Write => {
                let mut writing = self.writing.get();
                writing.waiting -= 1;
                if writing.waiting == 0 {
                    writing.moved_at = None;
                }
                self.writing.set(writing);
            }
        }
    }

    /// The earliest deadline of a read that waits.
    fn look_at_reads(&self, held: usize, now: Instant) -> Option<(Instant, Deadline)> {
        let mut reading = self.reading.get();
        let waited = reading.at(now);
        reading.saw(held, waited);
        let rate = self.limits.min_rate;
        let rate = rate.and_then(|rate| reading.message_due(rate, waited));
        self.reading.set(reading);
        let quiet = match (reading.received, self.limits.first_byte, self.limits.idle) {
            (0, Some(limit), _) => Some((limit, Deadline::FirstByte)),
            (_, _, Some(limit)) => Some((reading.moved_at.saturating_add(limit), Deadline::Idle)),
            _ => None,
        };
        let rate = rate.map(|due| (due, Deadline::MinRate));
        let of_reads = [quiet, rate].into_iter().flatten();
        let of_reads = of_reads.filter_map(|(due, deadline)| {
            let left = due.saturating_sub(waited);
            Some((now.checked_add(left)?, deadline))
        });
        let lifetime = self.lifetime().map(|at| (at, Deadline::Lifetime));
        of_reads.chain(lifetime).min_by_key(|(at, _)| *at)
    }

    /// The earliest deadline of a write that waits since `since`.
    fn look_at_writes(
        &self,
        taken: u32,
        since: Instant,
        now: Instant,
    ) -> Option<(Instant, Deadline)> {
        let mut writing = self.writing.get();
        if writing.taken != taken {
            (writing.taken, writing.moved_at) = (taken, Some(now));
            self.writing.set(writing);
            self.moved();
        }
        let quiet_from = writing.moved_at.map_or(since, |moved| moved.max(since));
        let quiet = self.limits.write;
        let quiet = quiet.and_then(|limit| quiet_from.checked_add(limit));
        let quiet = quiet.map(|at| (at, Deadline::Write));
        let lifetime = self.lifetime().map(|at| (at, Deadline::Lifetime));
        [quiet, lifetime]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }
}

impl Reading {
    /// How long reads have waited until now. Costs a look at the clock only while one does.
    fn now(&self) -> Duration {
        match self.since {
            Some(_) => self.at(Instant::now()),
            None => self.waited,
        }
    }

    fn at(&self, now: Instant) -> Duration {
        let waiting = self.since.map_or(Duration::ZERO, |since| now - since);
        self.waited + waiting
    }

    /// Notes what has come, of which `held` bytes are not taken yet.
    fn saw(&mut self, held: usize, waited: Duration) {
        let received = self.taken + held as u64;
        // Less, if somebody took bytes without telling.
        if received <= self.received {
            return;
        }
        self.message.get_or_insert(Message {
            window_from: waited,
            received_before: self.received,
            in_grace: true,
        });
        self.received = received;
        self.moved_at = waited;
    }

    /// When the rate of the message is too low unless more comes; in grace, when that is over.
    fn message_due(&mut self, rate: MinRate, waited: Duration) -> Option<Duration> {
        let received = self.received;
        let message = self.message.as_mut()?;
        let grace_ends = message.window_from.saturating_add(rate.grace);
        if message.in_grace && waited >= grace_ends {
            *message = Message {
                window_from: waited,
                received_before: received,
                in_grace: false,
            };
        }
        if message.in_grace {
            return Some(grace_ends);
        }
        let is_enough = received - message.received_before >= rate.of_window();
        if is_enough && waited >= message.window_from.saturating_add(rate.window) {
            message.window_from = waited;
            message.received_before = received;
        }
        Some(message.window_from.saturating_add(rate.window))
    }
}

impl MinRate {
    /// What a window has to bring.
    fn of_window(&self) -> u64 {
        let per_second = u128::from(self.bytes_per_second);
        let bytes = self.window.as_millis().saturating_mul(per_second) / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}
