//! The core's provided buffers, and who waits for one.

use std::io;
use std::rc::{Rc, Weak};

use corering_buffers::BufRing;

use super::{Driver, multi};

/// The share of memory that ops may put aside when there are no provided buffers, bytes.
pub(super) const SPARE_BYTES: usize = 1 << 20;

/// Buffers that a socket of the line for datagrams is taken to need.
const DATAGRAMS_AT_ONCE: u32 = 8;

/// A resource that waits for buffers.
pub(crate) trait Resume {
    /// There may be buffers again.
    fn resume(self: Rc<Self>);
}

impl Driver {
    /// The core's provided buffers.
    #[inline]
    pub(crate) fn buffers(&self) -> &Rc<BufRing> {
        &self.buffers
    }

    /// How many of the core's provided buffers the kernel can take data into, and how many there
    /// are.
    pub(crate) fn count_buffers(&self) -> (usize, usize) {
        let datagrams = self.datagram_buffers.get();
        let all = std::iter::once(&self.buffers).chain(datagrams);
        all.fold((0, 0), |(free, total), buffers| {
            let (available, capacity) = (buffers.available(), buffers.capacity());
            (free + available as usize, total + capacity as usize)
        })
    }

    /// The core's provided buffers for datagrams. Never short for long: see
    /// [`is_short_of_datagrams`](Driver::is_short_of_datagrams).
    ///
    /// # Errors
    ///
    /// `ENOMEM`, the first time. `ECANCELED` once the core has ended.
    pub(crate) fn datagram_buffers(&self) -> io::Result<Rc<BufRing>> {
        if let Some(buffers) = self.datagram_buffers.get() {
            return Ok(Rc::clone(buffers));
        }
        let mut core = self.core.borrow_mut();
        let ring = core.ring.as_mut();
        let ring = ring.ok_or_else(|| io::Error::from_raw_os_error(libc::ECANCELED))?;
        let buffers = multi::provide_datagrams(ring)?;
        drop(core);
        Ok(Rc::clone(self.datagram_buffers.get_or_init(|| buffers)))
    }

    /// Whether datagrams should be copied as they come, so that their buffers go back to the kernel
    /// at once. Since that holds from a quarter on, leases never take the last buffers, and a
    /// receive that found none has some as soon as its completions are reaped: nobody starves.
    #[inline]
    pub(crate) fn is_short_of_datagrams(&self) -> bool {
        let buffers = self.datagram_buffers.get();
        buffers.is_some_and(|buffers| buffers.is_low() && !multi::grow_datagrams(buffers))
    }

    /// Puts a resource that found no provided buffer at the end of the queue for one.
    pub(crate) fn starve(&self, resource: Rc<dyn Resume>) {
        self.starved.push(resource);
    }

    /// Puts a socket that found no buffer for datagrams at the end of the line for them. It is
    /// resumed, even by a core that ends, if it is still there.
    pub(crate) fn starve_of_datagrams(&self, socket: Weak<dyn Resume>) {
        self.starved_of_datagrams.push(socket);
    }

    /// Whether sockets stand in line for buffers for datagrams: nobody is to overtake them.
    #[inline]
    pub(crate) fn are_datagrams_awaited(&self) -> bool {
        !self.starved_of_datagrams.is_empty()
    }

    /// Whether what was received should be copied, so that its buffer goes back to the kernel.
    /// Copying costs more than new buffers, so it comes after the ring has grown as far as it may.
    #[inline]
    pub(crate) fn is_short_of_buffers(&self) -> bool {
        self.buffers.is_low() && !multi::grow(&self.buffers)
    }

    /// Lets resources go on that found no buffer, if there may be some now. Called once a turn,
    /// which may end asleep if the core is `idle`.
    #[inline]
    pub(crate) fn tend_buffers(&self, idle: bool) {
        if !self.starved.is_empty() {
            self.resume_starved();
        }
        if self.are_datagrams_awaited() {
            self.resume_datagrams(idle);
        }
    }

    /// Whether [`tend_buffers`](Driver::tend_buffers) may have something to do.
    #[inline]
    pub(super) fn is_anybody_starved(&self) -> bool {
        !self.starved.is_empty() || self.are_datagrams_awaited()
    }

    #[cold]
    fn resume_starved(&self) {
        let room = self.buffers.available() as usize + self.spare_bytes.get() / 4096;
        for _ in 0..room {
            let Some(resource) = self.starved.pop() else {
                return;
            };
            resource.resume();
        }
    }

    /// Lets those go on who wait longest. The first takes as many buffers as it has datagrams, so
    /// more than a few would find none and have come in vain. But a core that sleeps has nobody in
    /// line: what would wake it may be a datagram for one of them.
    #[cold]
    fn resume_datagrams(&self, idle: bool) {
        let available = self.datagram_buffers.get().map_or(0, |b| b.available());
        let few = (available / DATAGRAMS_AT_ONCE).max(1) as usize;
        let waiting = self.starved_of_datagrams.len();
        for _ in 0..if idle { waiting } else { waiting.min(few) } {
            let first = self.starved_of_datagrams.pop();
            if let Some(socket) = first.as_ref().and_then(Weak::upgrade) {
                socket.resume();
            }
        }
    }

    /// Takes `len` bytes of the memory that ops without a provided buffer may use.
    pub(crate) fn borrow_bytes(&self, len: usize) -> bool {
        let left = self.spare_bytes.get().checked_sub(len);
        left.inspect(|&left| self.spare_bytes.set(left)).is_some()
    }

    /// Gives back what [`Driver::borrow_bytes`] took.
    pub(crate) fn return_bytes(&self, len: usize) {
        self.spare_bytes.set(self.spare_bytes.get() + len);
    }
}
