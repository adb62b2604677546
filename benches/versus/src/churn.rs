//! The load that connects, echoes once, resets, and starts over.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use crate::client::{Event, LoadRing, Wait};
use crate::load::connected;
use crate::pattern::Cursor;

/// Connections that are open at once.
pub(crate) const OPEN: usize = 64;
/// What each echoes.
pub(crate) const MESSAGE: usize = 64;

/// Connections to one server, each for one echo.
pub(crate) struct Churn {
    ring: LoadRing,
    server: SockAddr,
    slots: Vec<Slot>,
    /// Slots whose connection is gone.
    free: Vec<u32>,
    /// Counts on for ever, so that each connection has another address than the ones before.
    opened: u32,
}

struct Slot {
    socket: Option<Socket>,
    cursor: Cursor,
}

impl Churn {
    pub(crate) fn new(server: SockAddr) -> io::Result<Self> {
        let slots = 0..OPEN as u32;
        Ok(Self {
            ring: LoadRing::new(OPEN as u16, MESSAGE)?,
            server,
            slots: slots
                .clone()
                .map(|i| Slot {
                    socket: None,
                    cursor: Cursor::new(i),
                })
                .collect(),
            free: slots.collect(),
            opened: 0,
        })
    }

    /// Connections per second that were opened, echoed on and reset, and how many it were.
    ///
    /// # Errors
    ///
    /// A wrong byte, a closed connection, a server that is silent.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<(f64, u64)> {
        let since = Instant::now();
        let mut done = 0;
        while since.elapsed() < time {
            self.open()?;
            self.ring.turn(Wait::Sleep)?;
            done += self.complete()?;
        }
        Ok((done as f64 / since.elapsed().as_secs_f64(), done))
    }

    fn open(&mut self) -> io::Result<()> {
        for tag in self.free.drain(..) {
            let slot = &mut self.slots[tag as usize];
            let socket = connected(&self.server, self.opened)?;
            self.opened = self.opened.wrapping_add(1);
            self.ring.receive_once(socket.as_fd(), tag)?;
            self.ring
                .send(socket.as_fd(), slot.cursor.next(MESSAGE), tag)?;
            slot.socket = Some(socket);
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<u64> {
        let Self {
            ring, slots, free, ..
        } = self;
        let mut done = 0;
        let mut outcome = Ok(());
        ring.drain(|event| match event {
            Event::Received { tag, bytes, .. } => {
                let slot = &mut slots[tag as usize];
                if slot.cursor.accepts(bytes, MESSAGE) && slot.cursor.is_complete(MESSAGE) {
                    slot.socket = None;
                    free.push(tag);
                    done += 1;
                } else {
                    outcome = Err(io::Error::other("the answer is not what was sent"));
                }
            }
            Event::Starved { .. } => outcome = Err(io::ErrorKind::OutOfMemory.into()),
            Event::Failed { error, .. } => outcome = Err(error),
        });
        outcome.map(|()| done)
    }

    /// Ends what is still open.
    pub(crate) fn close(mut self) -> io::Result<()> {
        while self.ring.armed() > 0 {
            self.ring.turn(Wait::Sleep)?;
            self.complete()?;
        }
        Ok(())
    }
}
