//! Who waits at one side of a resource, in order of arrival.
//!
//! The first in line alone may take what comes, so that two readers of one stream are served in
//! order, and nobody who comes later overtakes. One waiter costs no allocation.

use std::collections::VecDeque;
use std::mem;
use std::num::NonZeroU32;
use std::task::{Context, Waker};

/// A place in the line. The future that holds one must give it back with [`Waiters::leave`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    /// Of who comes when nobody waits. The others are numbered.
    const FIRST: Place = Place(NonZeroU32::MIN);
}

/// One who is not the first.
type Waiter = (Place, Option<Waker>);

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    first: Option<Place>,
    /// The waker of the first, until it is woken.
    waker: Option<Waker>,
    /// Those behind, `None` when there was never more than one.
    #[expect(clippy::box_collection, reason = "an idle stream is to be small")]
    rest: Option<Box<VecDeque<Waiter>>>,
    last: u32,
}

impl Waiters {
    /// Whether the holder of `place` may take what is there. Somebody without a place may if nobody
    /// waits.
    #[inline]
    pub(crate) fn may_go(&self, place: Option<Place>) -> bool {
        self.first.is_none() || self.first == place
    }

    /// Whether anybody waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether the holder of `place` waits, and nobody else.
    #[inline]
    pub(crate) fn is_alone(&self, place: Option<Place>) -> bool {
        let behind = self.rest.as_ref().map_or(0, |rest| rest.len());
        place.is_some() && self.first == place && behind == 0
    }

    /// Stores a waker at `place`, or at the end of the line. Returns the waker that it replaces:
    /// dropping that may run user code, so the caller does it when nothing is borrowed.
    #[inline]
    pub(crate) fn wait(&mut self, place: &mut Option<Place>, waker: Waker) -> Option<Waker> {
        if self.first.is_none() {
            self.wait_first(place, waker);
            return None;
        }
        if self.first != *place {
            return self.wait_behind(place, waker);
        }
        self.waker.replace(waker)
    }

    /// The same where nobody waits.
    #[inline]
    pub(crate) fn wait_first(&mut self, place: &mut Option<Place>, waker: Waker) {
        debug_assert!(self.is_empty() && self.waker.is_none(), "somebody waits");
        // All places are given back, so this one needs no number.
        *place = Some(Place::FIRST);
        self.first = *place;
        mem::forget(self.waker.replace(waker)); // nothing that would have to be dropped
    }

    #[cold]
    fn wait_behind(&mut self, place: &mut Option<Place>, waker: Waker) -> Option<Waker> {
        let Some(own) = *place else {
            let new = self.next_place();
            *place = Some(new);
            self.rest
                .get_or_insert_default()
                .push_back((new, Some(waker)));
            return None;
        };
        let rest = self.rest.as_mut()?;
        let entry = rest.iter_mut().find(|(other, _)| *other == own)?;
        entry.1.replace(waker)
    }

    /// Whether the waker at `place` already wakes the task of `cx`.
    #[inline]
    pub(crate) fn wakes(&self, place: Option<Place>, cx: &Context<'_>) -> bool {
        let stored = match place {
            None => return false,
            place if place == self.first => self.waker.as_ref(),
            Some(place) => self.waker_behind(place),
        };
        stored.is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    #[cold]
    fn waker_behind(&self, place: Place) -> Option<&Waker> {
        let entry = self
            .rest
            .as_ref()?
            .iter()
            .find(|(other, _)| *other == place)?;
        entry.1.as_ref()
    }

    /// Takes the waker of the first in line, who keeps the place.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Takes the waker of who is `index` places behind the first: for a resource that has something
    /// for each of them. They go in order, each when those before have left, so whoever is polled
    /// too early waits on and is woken again.
    #[inline]
    pub(crate) fn next_at(&mut self, index: usize) -> Option<Waker> {
        match index.checked_sub(1) {
            None => self.next(),
            Some(behind) => self.rest.as_mut()?.get_mut(behind)?.1.take(),
        }
    }

    /// Takes the place of who may go back, if there is one and that concerns nobody: it was woken,
    /// and there was never anybody behind. False: nothing was done.
    #[inline]
    pub(crate) fn leave_alone(&mut self, place: &mut Option<Place>) -> bool {
        let alone = self.rest.is_none() && self.waker.is_none();
        if alone {
            (self.first, *place) = (None, None);
        }
        alone
    }

    /// Gives a place back, with the waker that was stored there.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Waker> {
        let mut rest = self.rest.as_mut();
        if self.first == Some(place) {
            let (first, waker) = rest.and_then(|rest| rest.pop_front()).unzip();
            self.first = first;
            return mem::replace(&mut self.waker, waker.flatten());
        }
        let rest = rest.as_mut()?;
        let index = rest.iter().position(|(other, _)| *other == place)?;
        rest.remove(index)?.1
    }

    fn next_place(&mut self) -> Place {
        self.last = self.last.wrapping_add(1).max(2);
        Place(NonZeroU32::new(self.last).expect("at least 2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_line_goes_first_and_leaving_moves_the_line_up() {
        let mut line = Waiters::default();
        let (mut a, mut b, mut c) = (None, None, None);
        assert!(line.may_go(None));
        for place in [&mut a, &mut b, &mut c] {
            line.wait(place, Waker::noop().clone());
        }
        assert!(line.may_go(a) && !line.may_go(b) && !line.may_go(None));
        assert!(!line.is_alone(a) && !line.is_alone(b));
        line.leave(b.unwrap());
        line.leave(a.unwrap());
        assert!(line.may_go(c) && !line.may_go(None));
        assert!(line.is_alone(c) && !line.is_alone(None));
        assert!(line.next().is_some() && line.next().is_none());
        line.leave(c.unwrap());
        assert!(line.is_empty() && line.may_go(None));
    }
}
