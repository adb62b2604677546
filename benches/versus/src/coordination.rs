//! Tasks that wait for each other, written once for all columns.
//!
//! A macro and no generic function: whether a task is `Send`, as tokio asks for, depends on the
//! column's channels and locks.

/// Tasks that contend for one lock.
pub(crate) const CONTENDERS: u32 = 100;

/// Waits for a task. Some runtimes' handles yield a result, which is an error after a panic only:
/// that stops the measurement, since somebody waits for the task's messages or checks its sum.
pub(crate) async fn ended(task: impl Future) {
    task.await;
}

/// The methods of [`Executor`](crate::exec::Executor) that need channels and locks, for a function
/// that spawns, one that yields, and a module of [`primitives`](crate::primitives).
macro_rules! coordination {
    ($spawn:path, $yield:path, $with:ident) => {
        fn spawn_round_trips(times: u32) -> impl Future<Output = ()> {
            let (there, mut server) = $crate::primitives::$with::channel();
            let (back, mut client) = $crate::primitives::$with::channel();
            let serving = $spawn(async move {
                for _ in 0..times {
                    back.send(server.recv().await + 1).await;
                }
            });
            let asking = $spawn(async move {
                for number in 0..times {
                    there.send(number).await;
                    assert_eq!(client.recv().await, number + 1);
                }
            });
            async move {
                $crate::coordination::ended(asking).await;
                $crate::coordination::ended(serving).await;
            }
        }

        fn spawn_locks(times: u32) -> impl Future<Output = ()> {
            let task = $spawn(async move {
                let lock = $crate::primitives::$with::Lock::default();
                for _ in 0..times {
                    *std::hint::black_box(&lock).lock().await += 1;
                }
                assert_eq!(*lock.lock().await, times);
            });
            $crate::coordination::ended(task)
        }

        fn spawn_contenders(times: u32) -> impl Future<Output = ()> {
            let lock =
                $crate::primitives::$with::Shared::new($crate::primitives::$with::Lock::default());
            let tasks: Vec<_> = (0..$crate::coordination::CONTENDERS)
                .map(|_| {
                    let lock = lock.clone();
                    $spawn(async move {
                        for _ in 0..times {
                            let mut held = lock.lock().await;
                            // All others come to the lock meanwhile.
                            $yield().await;
                            *held += 1;
                        }
                    })
                })
                .collect();
            async move {
                for task in tasks {
                    $crate::coordination::ended(task).await;
                }
                let all = times * $crate::coordination::CONTENDERS;
                assert_eq!(*lock.lock().await, all);
            }
        }

        fn spawn_permits(times: u32) -> impl Future<Output = ()> {
            let task = $spawn(async move {
                let permits = $crate::primitives::$with::Permits::default();
                for _ in 0..times {
                    drop(std::hint::black_box(&permits).acquire().await);
                }
            });
            $crate::coordination::ended(task)
        }

        fn spawn_notifications(times: u32) -> impl Future<Output = ()> {
            use $crate::primitives::$with::{Shared, Signal};

            let signals = Shared::new((Signal::default(), Signal::default()));
            let same = signals.clone();
            let answering = $spawn(async move {
                for _ in 0..times {
                    same.0.notified().await;
                    same.1.notify();
                }
            });
            let asking = $spawn(async move {
                for _ in 0..times {
                    signals.0.notify();
                    signals.1.notified().await;
                }
            });
            async move {
                $crate::coordination::ended(asking).await;
                $crate::coordination::ended(answering).await;
            }
        }
    };
}

pub(crate) use coordination;
