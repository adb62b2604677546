use std::rc::Rc;
use std::task::Poll;

use corering::sync::{Semaphore, TryAcquireError};

use crate::{now, poll, waiting};

#[test]
fn who_needs_less_does_not_overtake_who_needs_more() {
    let semaphore = Semaphore::new(2);
    let held = now(semaphore.acquire_many(1)).unwrap();
    let mut much = waiting(semaphore.acquire_many(2));
    assert_eq!(semaphore.available_permits(), 0, "the first in line has it");
    let mut little = waiting(semaphore.acquire());
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::NoPermits
    );
    drop(held);
    assert!(poll(&mut little).is_pending());
    let Poll::Ready(Ok(both)) = poll(&mut much) else {
        panic!("two are there");
    };
    drop(both);
    assert!(poll(&mut little).is_ready());
}

#[test]
fn one_release_serves_as_many_as_it_is_enough_for() {
    let semaphore = Semaphore::new(0);
    let mut waiters: Vec<_> = [1, 2, 3]
        .map(|count| waiting(semaphore.acquire_many(count)))
        .into();
    semaphore.add_permits(4);
    let ready: Vec<_> = waiters
        .iter_mut()
        .map(|waiter| poll(waiter).map(|permit| permit.unwrap().forget()))
        .map(|poll| poll.is_ready())
        .collect();
    assert_eq!(ready, [true, true, false]);
    semaphore.add_permits(2);
    assert!(poll(&mut waiters[2]).is_ready());
}

#[test]
fn a_dropped_waiter_gives_back_what_it_was_given_in_part_or_in_whole() {
    let semaphore = Semaphore::new(1);
    let in_part = waiting(semaphore.acquire_many(2));
    let mut next = waiting(semaphore.acquire());
    drop(in_part);
    let Poll::Ready(Ok(permit)) = poll(&mut next) else {
        panic!("the part was enough for it");
    };
    let in_whole = waiting(semaphore.acquire());
    let mut next = waiting(semaphore.acquire());
    drop(permit);
    drop(in_whole);
    assert!(poll(&mut next).is_ready());
    drop(next);
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_closed_semaphore_fails_those_who_wait_and_those_who_come() {
    let semaphore = Semaphore::new(2);
    let held = now(semaphore.acquire()).unwrap();
    let mut in_part = waiting(semaphore.acquire_many(2));
    let mut behind = waiting(semaphore.acquire());
    semaphore.close();
    assert!(semaphore.is_closed());
    assert!(matches!(poll(&mut in_part), Poll::Ready(Err(_))));
    assert!(matches!(poll(&mut behind), Poll::Ready(Err(_))));
    assert!(now(semaphore.acquire()).is_err());
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::Closed
    );
    drop(held);
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn who_was_served_before_the_close_keeps_its_permits() {
    let semaphore = Semaphore::new(0);
    let mut served = waiting(semaphore.acquire());
    semaphore.add_permits(1);
    semaphore.close();
    assert!(matches!(poll(&mut served), Poll::Ready(Ok(_))));
}

#[test]
fn permits_are_forgotten_split_and_merged() {
    let semaphore = Semaphore::new(5);
    let mut three = semaphore.try_acquire_many(3).unwrap();
    let one = three.split(1).unwrap();
    assert!(three.split(3).is_none());
    assert_eq!((three.num_permits(), one.num_permits()), (2, 1));
    three.merge(one);
    assert_eq!(three.num_permits(), 3);
    three.forget();
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(semaphore.forget_permits(5), 2);
    assert_eq!(semaphore.available_permits(), 0);
}

#[test]
fn owned_permits_outlive_every_other_handle() {
    let semaphore = Rc::new(Semaphore::new(3));
    let mut permits = now(Rc::clone(&semaphore).acquire_many_owned(2)).unwrap();
    let split = permits.split(1).unwrap();
    let other = now(Rc::clone(&semaphore).acquire_owned()).unwrap();
    assert!(Rc::clone(&semaphore).try_acquire_owned().is_err());
    drop(semaphore);
    permits.merge(split);
    let again = Rc::clone(permits.semaphore());
    drop((permits, other));
    assert_eq!(again.available_permits(), 3);
}

#[test]
#[should_panic(expected = "two semaphores")]
fn permits_of_two_semaphores_cannot_be_merged() {
    let (a, b) = (Semaphore::new(1), Semaphore::new(1));
    let mut of_a = a.try_acquire().unwrap();
    of_a.merge(b.try_acquire().unwrap());
}

#[test]
#[should_panic(expected = "at most MAX_PERMITS")]
fn more_permits_than_there_can_be_are_refused() {
    Semaphore::new(Semaphore::MAX_PERMITS).add_permits(1);
}
