//! What was handed over to be sent and does not wait for its end: kept back until the core's next
//! submission, so that datagrams to one address go together.
//!
//! A way may not allow that: a path whose packets are shorter than a datagram, a socket without
//! checksums, a device that cannot make them. The kernel refuses all of a train then, and its
//! datagrams go one by one, as those after them do for a while.

use std::mem;
use std::rc::Rc;

use super::Socket;
use crate::driver::Departs;
use crate::op::{Held, SendTo, SendTrain, Train};
use crate::ring::{Cqe, Name};

/// Datagrams that go alone after a train was refused: so many at first, then twice as many.
const ALONE: (u16, u16) = (64, 4096);
/// What says that the way does not allow trains, among other things.
const REFUSALS: [i32; 4] = [libc::EMSGSIZE, libc::EINVAL, libc::EIO, libc::EOPNOTSUPP];
/// So many datagrams of a train take the kernel about as long as one that goes alone.
const JOINED: usize = 4;
/// Bytes that take about as long to copy as a short op does to submit.
const PAGE: usize = 4096;

#[derive(Default)]
pub(super) struct Outbox {
    /// In the order in which they go.
    trains: Vec<Train>,
    /// The socket is going to depart.
    departing: bool,
    /// It knows no trains.
    apart: bool,
    /// Datagrams that go alone before another train is tried.
    alone: u16,
    /// How many the last refusal has sent alone.
    refused: u16,
}

impl Outbox {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    #[inline]
    fn push(&mut self, name: Name, mut datagram: Held) {
        if self.alone > 0 {
            self.alone -= 1;
        } else if !self.apart
            && let Some(last) = self.trains.last_mut()
        {
            match last.push(&name, datagram) {
                Ok(()) => return,
                Err(back) => datagram = back,
            }
        }
        self.trains.push(Train::new(name, datagram));
    }

    /// Learns from what became of a train.
    fn train_ended(&mut self, cqe: Cqe) {
        let (least, most) = ALONE;
        if cqe.res >= 0 {
            self.refused = 0;
        } else if REFUSALS.contains(&-cqe.res) && self.alone == 0 {
            self.refused = (self.refused * 2).clamp(least, most);
            self.alone = self.refused;
        }
    }
}

impl Socket {
    /// Has each datagram go alone for ever.
    pub(crate) fn send_apart(&self) {
        self.send.borrow_mut().outbox.apart = true;
    }

    /// Keeps a datagram until the next submission.
    #[inline]
    pub(super) fn keep_back(self: &Rc<Self>, name: Name, datagram: Held) {
        let mut side = self.send.borrow_mut();
        side.outbox.push(name, datagram);
        if !mem::replace(&mut side.outbox.departing, true) {
            self.driver
                .depart_with_next(Rc::clone(self) as Rc<dyn Departs>);
        }
    }

    /// Submits what was kept back.
    #[inline(never)]
    pub(super) fn send_kept(self: &Rc<Self>) {
        let mut trains = mem::take(&mut self.send.borrow_mut().outbox.trains);
        for train in trains.drain(..) {
            self.send_train(train);
        }
        // Its room is for the next turn's.
        let mut side = self.send.borrow_mut();
        if side.outbox.trains.is_empty() {
            side.outbox.trains = trains;
        }
    }

    fn send_train(self: &Rc<Self>, train: Train) {
        if train.rest.is_empty() {
            return self.send_alone(train.first, train.name);
        }
        // A submission is not to take longer than others do.
        let weight = train.len().div_ceil(JOINED).max(1 + train.bytes() / PAGE);
        let op = SendTrain::new(Rc::clone(self), train);
        if let Some(key) = self.driver.submit_heavy(op, weight as u32) {
            self.unnoticed(key);
        }
    }

    fn send_each(self: &Rc<Self>, train: Train) {
        for datagram in std::iter::once(train.first).chain(train.rest) {
            self.send_alone(datagram, train.name.clone());
        }
    }

    fn send_alone(self: &Rc<Self>, buf: Held, name: Name) {
        let socket = Rc::clone(self);
        let key = self.driver.submit_detached(SendTo { socket, buf, name });
        if let Some(key) = key {
            self.unnoticed(key);
        }
    }

    /// A train was taken whole, or refused whole. If that was not because it was cancelled, each of
    /// its datagrams is tried by itself: none is to pay for its neighbours, or for an earlier one.
    pub(super) fn end_train(self: &Rc<Self>, train: Train, cqe: Cqe) {
        self.send.borrow_mut().outbox.train_ended(cqe);
        if cqe.res >= 0 || cqe.res == -libc::ECANCELED || self.driver.is_closing() {
            return self.sends_ended(train.len() as u16);
        }
        self.send_each(train);
        self.linger_on();
        // Last: whoever is told may panic.
        self.tell_of_late_error(cqe);
    }
}

impl Departs for Socket {
    fn depart(self: Rc<Self>, last: bool) {
        self.send.borrow_mut().outbox.departing = false;
        if !last {
            return self.send_kept();
        }
        // Nobody could send a train's datagrams again.
        let trains = mem::take(&mut self.send.borrow_mut().outbox.trains);
        for train in trains {
            self.send_each(train);
        }
    }
}
