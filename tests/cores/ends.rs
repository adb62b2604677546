//! How cores end: by themselves, by a panic, by a stop, by a signal.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corering::cores::{Core, cpus};
use corering::time::sleep;
use corering::{Cores, spawn};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::LONG;
use crate::common::{alone, descriptors, leave_descriptors};

#[test]
fn a_core_whose_main_panics_stops_the_others() {
    let running = Cores::count(3).unwrap().start(|core| async move {
        assert!(core.index() != 1, "not this one");
        core.stopping().await;
        core.index()
    });
    let ended = running.unwrap().join();
    assert_eq!(*ended[0].output.as_ref().unwrap(), 0);
    assert!(ended[1].output.as_ref().unwrap_err().is_panic());
    assert_eq!(*ended[2].output.as_ref().unwrap(), 2);
    let panic = thread::spawn(|| {
        Cores::count(2).unwrap().run(|core| async move {
            assert!(core.index() != 1, "not this one");
            core.stopping().await;
            Ok(())
        })
    });
    let panic = panic.join().unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"not this one"));
}

#[test]
fn errors_of_mains_come_with_the_number_of_their_core() {
    let error = Cores::count(3)
        .unwrap()
        .run(|core| async move {
            match core.index() {
                0 => Ok(()),
                index => Err(io::Error::new(
                    ErrorKind::AddrInUse,
                    format!("taken {index}"),
                )),
            }
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), "core 1: taken 1; core 2: taken 2");
}

#[test]
fn a_stop_waits_for_what_is_there_and_tells_what_was_left() {
    let run = |last, limit| {
        move |core: Core| async move {
            for time in [Duration::from_millis(10), Duration::from_millis(30), last] {
                spawn(sleep(time));
            }
            core.stopping().await;
            core.drain(limit)
                .await
                .map_err(|error| (error.kind(), error.to_string()))
        }
    };
    let running = Cores::count(2)
        .unwrap()
        .start(run(Duration::from_millis(200), LONG))
        .unwrap();
    running.handle().stop();
    for ended in running.join() {
        assert_eq!(ended.output.unwrap(), Ok(()));
        assert_eq!(ended.aborted_tasks, 0);
    }
    let running = Cores::count(2)
        .unwrap()
        .start(run(LONG, Duration::from_secs(1)))
        .unwrap();
    running.handle().stop();
    for ended in running.join() {
        let text = format!("core {}: 1 tasks had not ended within 1s", ended.core);
        assert_eq!(ended.output.unwrap(), Err((ErrorKind::TimedOut, text)));
        assert_eq!(ended.aborted_tasks, 1);
    }
}

#[test]
fn mains_that_do_not_heed_a_stop_are_dropped_at_its_limit() {
    let cores = Cores::count(2)
        .unwrap()
        .stop_limit(Duration::from_millis(50));
    let start = Instant::now();
    let running = cores.clone().start(|core| async move {
        if core.index() == 0 {
            core.stop();
        }
        pending::<()>().await;
    });
    for ended in running.unwrap().join() {
        assert!(ended.output.unwrap_err().is_cancelled());
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(50) && took < LONG, "{took:?}");
    let error = cores.run(|core| async move {
        core.stop();
        pending().await
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn dropping_what_runs_ends_it() {
    let ended = Arc::new(AtomicUsize::new(0));
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::clone(&ended);
    let running = Cores::count(2).unwrap().start(move |_| {
        let (main, task) = (Count(Arc::clone(&count)), Count(Arc::clone(&count)));
        async move {
            let _main = main;
            spawn(async move {
                let _task = task;
                pending::<()>().await;
            });
            pending::<()>().await;
        }
    });
    drop(running.unwrap());
    assert_eq!(ended.load(Ordering::Relaxed), 4);
}

#[test]
fn a_signal_begins_a_stop_and_a_second_one_ends_it() {
    alone(|| {
        let kill = |signal: &str| {
            let pid = process::id().to_string();
            let sent = process::Command::new("kill")
                .args([signal, pid.as_str()])
                .status();
            assert!(sent.unwrap().success());
        };
        for signal in ["-INT", "-TERM"] {
            let start = Instant::now();
            let running = Cores::count(2).unwrap().start(|core| async move {
                core.stopping().await;
                core.drain(LONG).await.is_ok()
            });
            let running = running.unwrap();
            let kills = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                kill(signal);
            });
            assert!(
                running
                    .join()
                    .into_iter()
                    .all(|ended| ended.output.unwrap())
            );
            kills.join().unwrap();
            let running = Cores::count(2).unwrap().start(|core| async move {
                spawn(pending::<()>());
                core.stopping().await;
                core.drain(LONG).await.is_ok()
            });
            let running = running.unwrap();
            let kills = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                kill(signal);
                thread::sleep(Duration::from_millis(50));
                kill(signal);
            });
            for ended in running.join() {
                assert!(ended.output.is_err() || !ended.output.unwrap());
            }
            kills.join().unwrap();
            assert!(start.elapsed() < LONG);
        }
    });
}

#[test]
fn with_one_cpu_there_is_one_core_and_more_share_it() {
    alone(|| {
        let cpu = cpus().unwrap()[0].id;
        let mut mask = CpuSet::new();
        mask.set(cpu);
        sched_setaffinity(None, &mask).unwrap();
        assert_eq!(Cores::all().unwrap().len(), 1);
        let run = Cores::count(3).unwrap().run(move |core| async move {
            assert_eq!((core.count(), core.cpu()), (3, Some(cpu)));
            let next = (core.index() + 1) % 3;
            let _ = core.spawn_on(next, || async {}).await;
            let spun = corering::runtime::stats().unwrap().spun;
            assert_eq!(
                spun,
                Duration::ZERO,
                "no core spins on a CPU that others need"
            );
            Ok(())
        });
        run.unwrap();
        let error = Cores::on([cpu, 4095]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("CPU 4095"), "{error}");
        assert!(Cores::on([]).is_err() && Cores::count(0).is_err());
    });
}

#[test]
fn cores_come_and_go_and_leave_no_descriptor() {
    alone(|| {
        let once = || {
            let run = Cores::count(2).unwrap().run(|core| async move {
                let other = 1 - core.index();
                let _ = core.spawn_on(other, || async {}).await;
                Ok(())
            });
            run.unwrap();
        };
        once();
        let before = descriptors();
        for _ in 0..50 {
            once();
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_core_that_cannot_be_built_is_named_and_none_runs() {
    alone(|| {
        // Two for whoever waits, and two for the first core.
        let taken = leave_descriptors(5);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let error = Cores::count(2).unwrap().start(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        drop(taken);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("core 1: "), "{error}");
        assert_eq!(ran.load(Ordering::Relaxed), 0);
    });
}
