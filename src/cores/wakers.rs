//! Tasks of one core that wait for the same thing, and look again whenever something happens.

use std::cell::RefCell;
use std::task::{Context, Waker};

use slab::Slab;

/// Their wakers. Each who waits has a place, and gives it back.
#[derive(Default)]
pub(super) struct Wakers(RefCell<Slab<Option<Waker>>>);

impl Wakers {
    /// Has the task of `cx` woken by the next [`wake_all`](Self::wake_all).
    pub(super) fn register(&self, place: &mut Option<usize>, cx: &Context<'_>) {
        let known = place.is_some_and(|key| {
            let wakers = self.0.borrow();
            wakers[key]
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        });
        if known {
            return;
        }
        // No waker is cloned or dropped while they are borrowed: that may run anything.
        let waker = Some(cx.waker().clone());
        let before = {
            let mut wakers = self.0.borrow_mut();
            let key = *place.get_or_insert_with(|| wakers.insert(None));
            std::mem::replace(&mut wakers[key], waker)
        };
        drop(before);
    }

    /// Gives a place back.
    pub(super) fn leave(&self, place: &mut Option<usize>) {
        if let Some(key) = place.take() {
            let waker = self.0.borrow_mut().remove(key);
            drop(waker);
        }
    }

    /// Wakes all that have registered since they were last woken.
    pub(super) fn wake_all(&self) {
        if self.0.borrow().is_empty() {
            return;
        }
        let mut woken: Vec<Waker> = Vec::new();
        for (_, waker) in &mut *self.0.borrow_mut() {
            woken.extend(waker.take());
        }
        for waker in woken {
            waker.wake();
        }
    }
}
