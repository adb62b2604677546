//! The same service on several cores: what they send each other, and how they end.

#[path = "cores/channels.rs"]
mod channels;
mod common;
#[path = "cores/ends.rs"]
mod ends;

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use corering::cores::Core;
use corering::runtime::{Kick, Spin, stats};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{Cores, spawn};
use futures_lite::future::poll_once;
use rustix::thread::sched_getaffinity;

/// Enough for whatever goes on here, and short enough for a test.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn every_core_runs_main_on_a_cpu_of_its_own() {
    let cores = Cores::all().unwrap();
    let count = cores.len();
    let ended = cores
        .start(|core| async move {
            let mask = sched_getaffinity(None).unwrap();
            let name = thread::current().name().map(str::to_owned);
            assert!(mask.count() == 1 && mask.is_set(core.cpu().unwrap()));
            (core.index(), core.count(), core.cpu().unwrap(), name)
        })
        .unwrap()
        .join();
    let mut used = Vec::new();
    for (index, ended) in ended.into_iter().enumerate() {
        assert_eq!(ended.core, index);
        assert!(ended.leftover.is_empty() && ended.aborted_tasks == 0);
        let (own, of, cpu, name) = ended.output.unwrap();
        assert_eq!((own, of), (index, count));
        assert_eq!(name, Some(format!("corering-{index}")));
        used.push(cpu);
    }
    used.dedup();
    assert_eq!(used.len(), count, "a CPU each");
}

#[test]
fn who_starts_cores_may_run_where_it_could_before() {
    let before = sched_getaffinity(None).unwrap();
    let running = Cores::all().unwrap().start(|_| async {}).unwrap();
    let after = sched_getaffinity(None).unwrap();
    running.join();
    assert!(
        after == before,
        "{} CPUs of {}",
        after.count(),
        before.count()
    );
}

#[test]
fn work_runs_on_the_core_that_it_was_sent_to_and_its_output_comes_back() {
    let run = Cores::count(3).unwrap().run(|core| async move {
        let here = core.index();
        for to in 0..core.count() {
            let sent = core.spawn_on(to, move || async move {
                let there = Core::current().expect("a core");
                let stays = Rc::new(there.index());
                yield_now().await;
                (*stays, here)
            });
            assert_eq!(sent.await.unwrap(), (to, here));
        }
        let all = core.broadcast(|| async { Core::current().unwrap().index() });
        let all: Result<Vec<usize>, _> = all.await.into_iter().collect();
        assert_eq!(all.unwrap(), [0, 1, 2]);
        // Nobody leaves while others may still ask.
        together(&core, 3).await;
        Ok(())
    });
    run.unwrap();
}

/// Waits until `count` cores are here.
async fn together(core: &Core, count: usize) {
    thread_local! {
        static HERE: Cell<usize> = const { Cell::new(0) };
    }
    let come = |_| core.spawn_on(0, || async { HERE.with(|here| here.set(here.get() + 1)) });
    come(()).await.unwrap();
    let look = || core.spawn_on(0, || async { HERE.with(Cell::get) });
    while look().await.is_ok_and(|here| here % count != 0) {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn messages_between_two_cores_arrive_in_the_order_in_which_they_were_sent() {
    let run = Cores::count(2)
        .unwrap()
        .queue_capacity(64)
        .run(|core| async move {
            if core.index() == 1 {
                core.stopping().await;
                return Ok(());
            }
            thread_local! {
                static SEEN: Cell<u64> = const { Cell::new(0) };
            }
            for round in 0..1000_u64 {
                let batch: Vec<_> = (0..64)
                    .map(|n| core.spawn_on(1, move || async move { SEEN.replace(round * 64 + n) }))
                    .collect();
                for (n, sent) in batch.into_iter().enumerate() {
                    let before = sent.await.unwrap();
                    assert_eq!(before, (round * 64 + n as u64).saturating_sub(1));
                }
            }
            core.stop();
            Ok(())
        });
    run.unwrap();
}

#[test]
fn who_finds_the_queue_full_waits_and_all_messages_arrive_once() {
    const MESSAGES: usize = 5_000;
    static RUN: AtomicUsize = AtomicUsize::new(0);
    let run = Cores::count(2)
        .unwrap()
        .queue_capacity(2)
        .run(|core| async move {
            if core.index() == 1 {
                core.stopping().await;
                return Ok(());
            }
            let mut tasks = Vec::new();
            for _ in 0..MESSAGES {
                let core = core.clone();
                tasks.push(spawn(async move {
                    let count = || async { RUN.fetch_add(1, Ordering::Relaxed) };
                    core.spawn_on(1, count).await.unwrap();
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(RUN.load(Ordering::Relaxed), MESSAGES);
            core.stop();
            Ok(())
        });
    run.unwrap();
}

#[test]
fn a_message_that_found_no_room_is_taken_back_by_dropping_it() {
    static RUN: AtomicUsize = AtomicUsize::new(0);
    let run = Cores::count(2)
        .unwrap()
        .queue_capacity(1)
        .run(|core| async move {
            if core.index() == 1 {
                core.stopping().await;
                return Ok(());
            }
            let (hold, held) = mpsc::channel::<()>();
            let (begun, begins) = mpsc::channel();
            let busy = core.spawn_on(1, move || async move {
                begun.send(()).unwrap();
                let _ = held.recv();
            });
            // The other core is busy from now on, so the next one fills the queue.
            begins.recv().unwrap();
            let count = || async { RUN.fetch_add(1, Ordering::Relaxed) };
            let fits = core.spawn_on(1, count);
            let mut waits = core.spawn_on(1, count);
            assert!(poll_once(&mut waits).await.is_none());
            drop(waits);
            hold.send(()).unwrap();
            busy.await.unwrap();
            fits.await.unwrap();
            core.spawn_on(1, || async {}).await.unwrap();
            assert_eq!(RUN.load(Ordering::Relaxed), 1);
            core.stop();
            Ok(())
        });
    run.unwrap();
}

#[test]
fn panics_of_work_are_reported_to_who_has_sent_it_and_hurt_nobody_else() {
    let run = Cores::count(2).unwrap().run(|core| async move {
        if core.index() == 1 {
            core.stopping().await;
            return Ok(());
        }
        for to in [0, 1] {
            let made = core.spawn_on(to, || -> std::future::Ready<()> { panic!("no future") });
            let error = made.await.unwrap_err();
            assert!(error.is_panic() && error.to_string().contains("no future"));
            let ran = core.spawn_on(to, || async {
                yield_now().await;
                assert!(Core::current().is_none(), "on the way");
            });
            let error = ran.await.unwrap_err();
            assert!(error.is_panic() && error.to_string().contains("on the way"));
            assert_eq!(core.spawn_on(to, || async { 1 }).await.unwrap(), 1);
        }
        core.stop();
        Ok(())
    });
    run.unwrap();
}

#[test]
fn aborted_work_is_dropped_by_its_core_and_dropped_handles_let_it_run() {
    struct Tell(mpsc::Sender<usize>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0
                .send(Core::current().map_or(9, |core| core.index()))
                .unwrap();
        }
    }
    let run = Cores::count(2).unwrap().run(|core| async move {
        if core.index() == 1 {
            core.stopping().await;
            return Ok(());
        }
        let (dropped, drops) = mpsc::channel();
        let tell = Tell(dropped.clone());
        let mut endless = core.spawn_on(1, move || async move {
            let _tell = tell;
            pending::<()>().await;
        });
        sleep(Duration::from_millis(5)).await;
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
        assert_eq!(drops.recv().unwrap(), 1);

        let tell = Tell(dropped);
        let detached = core.spawn_on(1, move || async move {
            sleep(Duration::from_millis(5)).await;
            drop(tell);
        });
        drop(detached);
        assert_eq!(drops.recv_timeout(LONG).unwrap(), 1);
        core.stop();
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_core_that_has_ended_takes_nothing_and_says_so() {
    let cores = Cores::count(2).unwrap().queue_capacity(1);
    let running = cores.start(|core| async move {
        if core.index() == 1 {
            return;
        }
        // However far its end has come.
        loop {
            let sent = core.spawn_on(1, || async {});
            let sent = timeout(LONG, sent).await.expect("an answer");
            if let Err(error) = sent {
                assert!(error.is_cancelled() && !error.is_panic());
                return;
            }
        }
    });
    let running = running.unwrap();
    let handle = running.handle();
    assert!(running.join().into_iter().all(|ended| ended.output.is_ok()));
    assert!(
        handle
            .spawn_on(0, || async {})
            .wait()
            .unwrap_err()
            .is_cancelled()
    );
    assert!(handle.try_spawn_on(1, || async {}).unwrap().wait().is_err());
}

#[test]
fn threads_send_work_and_learn_when_there_is_no_room() {
    let running = Cores::count(1)
        .unwrap()
        .queue_capacity(4)
        .start(|core| async move {
            core.stopping().await;
        });
    let running = running.unwrap();
    let handle = running.handle();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let handle = handle.clone();
            thread::spawn(move || {
                for n in 0..500 {
                    let sum = handle.spawn_on(0, move || async move { thread * n });
                    assert_eq!(sum.wait().unwrap(), thread * n);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let (hold, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let busy = handle.spawn_on(0, move || async move {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    begins.recv().unwrap();
    let fit: Vec<_> = (0..4)
        .map(|_| handle.try_spawn_on(0, || async {}).unwrap())
        .collect();
    let full = handle.try_spawn_on(0, || async {}).unwrap_err();
    assert!(full.to_string().contains("full"));
    hold.send(()).unwrap();
    busy.wait().unwrap();
    for fit in fit {
        fit.wait().unwrap();
    }
    handle.stop();
    assert!(running.join()[0].output.is_ok());
}

#[test]
fn cores_that_sleep_are_reached_by_either_kick() {
    for kick in [Kick::Eventfd, Kick::MsgRing] {
        let cores = Cores::count(2).unwrap();
        let cores = cores.configure(move |runtime| runtime.spin(Spin::Never).kick(kick));
        let run = cores.run(|core| async move {
            let to = 1 - core.index();
            for n in 0..300_u64 {
                let sent = core.spawn_on(to, move || async move { n });
                assert_eq!(timeout(LONG, sent).await.unwrap().unwrap(), n);
                if n % 50 == 0 {
                    // Both sleep by then.
                    sleep(Duration::from_millis(2)).await;
                }
            }
            let stats = stats().unwrap();
            assert!(stats.wakes_sent > stats.wakes_saved, "nobody was kicked");
            together(&core, 2).await;
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn what_cores_send_each_other_is_counted_and_a_core_that_is_awake_is_not_kicked() {
    const MESSAGES: u64 = 50;
    let run = Cores::count(2).unwrap().run(|core| async move {
        if core.index() == 1 {
            core.stopping().await;
            return Ok(());
        }
        let stats = || stats().expect("a runtime");
        let (begun, begins) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        let busy = core.spawn_on(1, move || async move {
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        begins.recv().unwrap();
        let before = stats();
        let sent: Vec<_> = (0..MESSAGES)
            .map(|_| core.spawn_on(1, || async {}))
            .collect();
        let after = stats();
        assert_eq!(after.messages_sent - before.messages_sent, MESSAGES);
        // One of them woke the mailman of a core that was awake; the others met that wake.
        assert_eq!(after.wakes_sent - before.wakes_sent, 1);
        assert_eq!(after.wakes_saved - before.wakes_saved, 1);
        hold.send(()).unwrap();
        busy.await.unwrap();
        for sent in sent {
            sent.await.unwrap();
        }
        let received = core.spawn_on(1, move || async move { stats().messages_received });
        assert_eq!(received.await.unwrap(), after.messages_sent + 1);
        core.stop();
        Ok(())
    });
    run.unwrap();
}
