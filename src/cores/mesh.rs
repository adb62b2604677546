//! Messages between the cores of one process: what all of them share, and nothing else is.
//!
//! Each core has a bounded queue from every other core, one producer and one consumer each, and one
//! more for threads that are no cores. What is in them is a closure, which the receiving core runs.
//!
//! Who has put in a message wakes the core's mailman, a task whose waker all cores hold. So the
//! task's own protocol answers every question of waking: wakes coalesce until the mailman is
//! polled, a core that runs or spins is not kicked, and what was pushed before the wake is seen by
//! the poll after it.
//!
//! A queue that is full is marked by its producer, with an exchange, before it looks once more; the
//! mailman takes the mark away, with an exchange, after it has made room. One of the two comes
//! first, and whoever comes second sees what the other did.

use std::task::Waker;

use concurrent_queue::{ConcurrentQueue, PushError};

use super::sync::{Arc, AtomicBool, AtomicUsize, OnceLock, Ordering::AcqRel, Ordering::Acquire};

/// What the receiving core runs. Dropped without being run, it says so to whoever waits for it.
pub(super) type Message = Box<dyn FnOnce() + Send>;

/// Why a message was not taken.
pub(super) enum Refused {
    /// There is no room now.
    Full(Message),
    /// The core has ended.
    Gone(Message),
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Level {
    Running = 0,
    /// Take nothing new, finish what is there.
    Stopping = 1,
    /// Drop what is there.
    Now = 2,
}

/// [`Mesh`], as everybody holds it.
pub(super) type SharedMesh = Arc<Mesh>;

/// All of it, shared by the cores of one start.
pub(super) struct Mesh {
    cores: Box<[Station]>,
    level: AtomicUsize,
    /// Of who waits for all of them, and has to know of a stop.
    supervisor: Option<Waker>,
}

/// What others know of one core.
struct Station {
    /// Of its mailman; there before any core's main runs.
    waker: OnceLock<Waker>,
    /// From each core. Its own is there, too, and never used.
    from: Box<[Lane]>,
    /// From threads that are no cores.
    outside: ConcurrentQueue<Message>,
}

struct Lane {
    queue: ConcurrentQueue<Message>,
    /// Its producer waits for room.
    awaited: AtomicBool,
}

impl Mesh {
    /// For `cores` cores, with room for `capacity` messages in each queue.
    pub(super) fn new(cores: usize, capacity: usize, supervisor: Option<Waker>) -> SharedMesh {
        let lane = |_| Lane {
            queue: ConcurrentQueue::bounded(capacity),
            awaited: AtomicBool::new(false),
        };
        let station = |_| Station {
            waker: OnceLock::new(),
            from: (0..cores).map(lane).collect(),
            outside: ConcurrentQueue::bounded(capacity),
        };
        Arc::new(Mesh {
            cores: (0..cores).map(station).collect(),
            level: AtomicUsize::new(Level::Running as usize),
            supervisor,
        })
    }

    /// How many cores there are.
    pub(super) fn len(&self) -> usize {
        self.cores.len()
    }

    /// Has messages for `core` wake its mailman.
    pub(super) fn register(&self, core: usize, mailman: Waker) {
        // A second poll of the same mailman brings the same.
        let _ = self.cores[core].waker.set(mailman);
    }

    /// Sends from a core to another one.
    pub(super) fn send(&self, from: usize, to: usize, message: Message) -> Result<(), Refused> {
        self.put(to, &self.cores[to].from[from].queue, message)
    }

    /// Sends from a thread that is no core.
    pub(super) fn send_from_outside(&self, to: usize, message: Message) -> Result<(), Refused> {
        self.put(to, &self.cores[to].outside, message)
    }

    fn put(
        &self,
        to: usize,
        queue: &ConcurrentQueue<Message>,
        message: Message,
    ) -> Result<(), Refused> {
        match queue.push(message) {
            Ok(()) => {
                self.wake(to);
                Ok(())
            }
            Err(PushError::Full(message)) => Err(Refused::Full(message)),
            Err(PushError::Closed(message)) => Err(Refused::Gone(message)),
        }
    }

    /// Announces that `from` waits for room in its queue to `to`. Who has done that tries once
    /// more: what was taken before the announcement is not told.
    pub(super) fn await_room(&self, from: usize, to: usize) {
        self.cores[to].from[from].awaited.swap(true, AcqRel);
    }

    /// Takes at most `limit` messages for `core` and has each run by `run`. Returns how many there
    /// were: with `limit` of them there may be more.
    pub(super) fn receive(&self, core: usize, limit: usize, mut run: impl FnMut(Message)) -> usize {
        let station = &self.cores[core];
        let mut taken = 0;
        // In turn, so that no sender keeps the others waiting.
        let mut rest = true;
        while rest && taken < limit {
            rest = false;
            let lanes = station.from.iter().map(|lane| &lane.queue);
            for queue in lanes.chain([&station.outside]) {
                if let Ok(message) = queue.pop() {
                    run(message);
                    taken += 1;
                    rest = true;
                }
            }
        }
        if taken > 0 {
            self.tell_room(core);
        }
        taken
    }

    /// Wakes those that wait for room in the queues of `core`.
    fn tell_room(&self, core: usize) {
        for (from, lane) in self.cores[core].from.iter().enumerate() {
            if lane.awaited.swap(false, AcqRel) {
                self.wake(from);
            }
        }
    }

    /// Ends `core`: it takes no more messages, and gets those that it has not taken. All are woken,
    /// since somebody may wait for room.
    pub(super) fn close(&self, core: usize, mut dropped: impl FnMut(Message)) {
        let station = &self.cores[core];
        for lane in &station.from {
            lane.queue.close();
        }
        station.outside.close();
        let lanes = station.from.iter().map(|lane| &lane.queue);
        for queue in lanes.chain([&station.outside]) {
            while let Ok(message) = queue.pop() {
                dropped(message);
            }
        }
        self.wake_all();
    }

    /// How far the stop has come.
    pub(super) fn level(&self) -> Level {
        match self.level.load(Acquire) {
            0 => Level::Running,
            1 => Level::Stopping,
            _ => Level::Now,
        }
    }

    /// Has the stop come as far as `level`, and tells all cores.
    pub(super) fn stop(&self, level: Level) {
        if self.level.fetch_max(level as usize, AcqRel) < level as usize {
            self.wake_all();
            if let Some(supervisor) = &self.supervisor {
                supervisor.wake_by_ref();
            }
        }
    }

    fn wake_all(&self) {
        for core in 0..self.cores.len() {
            self.wake(core);
        }
    }

    fn wake(&self, core: usize) {
        if let Some(waker) = self.cores[core].waker.get() {
            waker.wake_by_ref();
        }
    }
}
