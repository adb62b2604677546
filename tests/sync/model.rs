//! Any order of asking, polling, dropping and giving back: no permit is lost or made, nobody waits
//! for what is there, and nobody is overtaken.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use corering::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::proptest;

#[derive(Clone, Debug)]
enum Step {
    Ask(u32),
    /// Poll whom somebody has woken.
    Run,
    DropWaiter(usize),
    GiveBack(usize),
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_u32..4).prop_map(Step::Ask),
        3 => Just(Step::Run),
        2 => any::<usize>().prop_map(Step::DropWaiter),
        3 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 1..60)
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Acquire = Pin<Box<dyn Future<Output = OwnedSemaphorePermit>>>;

struct Waiter {
    number: u32,
    count: u32,
    woken: Arc<Flag>,
    future: Acquire,
}

impl Waiter {
    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }
}

const PERMITS: usize = 4;

#[derive(Default)]
struct World {
    waiters: Vec<Waiter>,
    held: Vec<OwnedSemaphorePermit>,
    forgotten: usize,
    asked: u32,
    served: u32,
}

impl World {
    /// Polls a waiter, and takes it out if it is served.
    fn poll(&mut self, index: usize) -> bool {
        let waiter = &mut self.waiters[index];
        waiter.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&waiter.woken));
        let Poll::Ready(permit) = waiter
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
        else {
            return false;
        };
        let waiter = self.waiters.remove(index);
        assert_eq!(permit.num_permits(), waiter.count as usize);
        self.served = waiter.number;
        self.held.push(permit);
        true
    }

    fn step(&mut self, semaphore: &Rc<Semaphore>, step: &Step) {
        match *step {
            Step::Ask(count) => {
                let acquire = Rc::clone(semaphore).acquire_many_owned(count);
                self.asked += 1;
                self.waiters.push(Waiter {
                    number: self.asked,
                    count,
                    woken: Arc::new(Flag(AtomicBool::new(true))),
                    future: Box::pin(async { acquire.await.expect("it is never closed") }),
                });
                self.poll(self.waiters.len() - 1);
            }
            Step::Run => self.run(),
            Step::DropWaiter(index) if !self.waiters.is_empty() => {
                drop(self.waiters.remove(index % self.waiters.len()));
            }
            Step::GiveBack(index) if !self.held.is_empty() => {
                drop(self.held.swap_remove(index % self.held.len()));
            }
            // Never all, so that the others can go on.
            Step::Forget(index) if !self.held.is_empty() && self.forgotten == 0 => {
                let mut permit = self.held.swap_remove(index % self.held.len());
                self.forgotten += 1;
                permit.split(1).expect("it is one at least").forget();
            }
            Step::DropWaiter(_) | Step::GiveBack(_) | Step::Forget(_) => {}
        }
    }

    /// Polls who was woken, as an executor does: in any case they were served in order.
    fn run(&mut self) {
        let before = self.served;
        let mut index = 0;
        while index < self.waiters.len() {
            if !self.waiters[index].is_woken() || !self.poll(index) {
                index += 1;
            } else {
                // Earlier ones that wait still cannot be overtaken by this one.
                assert_eq!(index, 0, "{} overtook, after {before}", self.served);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_permit_is_lost_and_nobody_is_overtaken_or_forgotten(steps in steps()) {
        let semaphore = Rc::new(Semaphore::new(PERMITS));
        let mut world = World::default();
        for step in &steps {
            world.step(&semaphore, step);
            let held: usize = world.held.iter().map(OwnedSemaphorePermit::num_permits).sum();
            let available = semaphore.available_permits();
            prop_assert!(held + available + world.forgotten <= PERMITS);
            let first = world.waiters.first();
            prop_assert!(first.is_none_or(|first| available == 0 || first.is_woken()));
        }
        // All that wait are served in the end, if those before them give back what they have.
        while !world.waiters.is_empty() {
            world.held.clear();
            let first = &world.waiters[0];
            if first.count as usize > PERMITS - world.forgotten {
                world.waiters.remove(0);
                continue;
            }
            prop_assert!(first.is_woken(), "nobody wakes {}", first.number);
            world.run();
        }
        world.held.clear();
        prop_assert_eq!(semaphore.available_permits(), PERMITS - world.forgotten);
    }

    #[test]
    fn a_mutex_is_free_in_the_end_whoever_gave_up(
        drops in proptest::collection::vec(any::<bool>(), 1..20),
    ) {
        let mutex = Rc::new(Mutex::new(0));
        let mut held = mutex.try_lock().ok();
        let locked = Rc::new(Cell::new(0));
        let mut waiters: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>> = Vec::new();
        for _ in &drops {
            let (mutex, locked) = (Rc::clone(&mutex), Rc::clone(&locked));
            let future = async move {
                *mutex.lock().await += 1;
                locked.set(locked.get() + 1);
            };
            waiters.push(Some(crate::waiting(future)));
        }
        // Half of them give up, some in line and some when it is their turn.
        held.take();
        for (waiter, give_up) in waiters.iter_mut().zip(&drops) {
            if *give_up {
                waiter.take();
            } else if let Some(waiter) = waiter {
                let polled = waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                prop_assert!(polled.is_ready(), "it was its turn");
            }
        }
        let stayed = drops.iter().filter(|give_up| !**give_up).count();
        prop_assert_eq!(locked.get(), stayed);
        prop_assert_eq!(*mutex.try_lock().expect("it is free"), stayed);
    }
}
