//! Tasks that hold their core are reported, and nobody else is.

mod common;

use std::env;
use std::fs;
use std::hint;
use std::panic::{Location, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use corering::runtime::{Builder, Stall};
use corering::task::{self, JoinSet, Priority, yield_now};
use corering::time::{interval, sleep};
use corering::{Cores, Runtime, spawn};
use rustix::time::{ClockId, clock_gettime};

use common::alone;

/// How long tasks hold their core. Much longer than the limit, for machines that are busy.
const LONG: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_millis(16);
const PATIENCE: Duration = Duration::from_secs(20);

fn block() {
    thread::sleep(LONG);
}

/// Computes for so long, however long the machine takes for it.
fn compute(time: Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("after 0");
    let end = now() + time;
    while now() < end {
        hint::spin_loop();
    }
}

/// A runtime, and what is reported of it.
fn watched(limit: Duration) -> (Runtime, Receiver<Stall>) {
    let (tell, told) = mpsc::channel();
    let runtime = Builder::new()
        .stall_limit(limit)
        .on_stall(move |stall| drop(tell.send(stall.clone())))
        .build()
        .expect("a runtime");
    (runtime, told)
}

/// Tries a test again if it fails: a machine that is busy keeps tasks from giving way, too, and
/// the watchdog from looking.
fn patiently(test: impl Fn() + UnwindSafe + RefUnwindSafe) {
    for _ in 1..5 {
        if catch_unwind(&test).is_ok() {
            return;
        }
    }
    test();
}

/// The first report of a stall; the second one must fit it.
#[track_caller]
fn both(told: &Receiver<Stall>) -> Stall {
    let begun = told.recv_timeout(PATIENCE).expect("a report");
    assert!(!begun.is_over(), "{begun}");
    assert!(begun.held() >= LIMIT && begun.held() < 2 * LONG, "{begun}");
    let over = told.recv_timeout(PATIENCE).expect("another");
    assert!(over.is_over(), "{over}");
    assert!(over.held() >= LONG / 2, "{over}");
    let facts = |stall: &Stall| {
        (
            stall.location(),
            stall.future(),
            stall.name().map(String::from),
        )
    };
    assert_eq!(facts(&over), facts(&begun));
    begun
}

/// Nothing more is reported of a runtime that is gone.
#[track_caller]
fn nothing(told: &Receiver<Stall>) {
    let more: Vec<_> = told.try_iter().map(|stall| stall.to_string()).collect();
    assert!(more.is_empty(), "{more:?}");
}

/// The line before the one of the caller, as `spawned at` has it.
#[track_caller]
fn line_before() -> (&'static str, u32) {
    let at = Location::caller();
    (at.file(), at.line() - 1)
}

fn line_of(stall: &Stall) -> (&'static str, u32) {
    (stall.location().file(), stall.location().line())
}

#[test]
fn a_core_that_stalls_is_reported_once_and_other_cores_go_on() {
    patiently(|| {
        let begin = Arc::new(Barrier::new(2));
        let other = thread::spawn({
            let begin = Arc::clone(&begin);
            move || {
                let (runtime, told) = watched(LIMIT);
                let beats = runtime.block_on(async {
                    begin.wait();
                    let mut heart = interval(Duration::from_millis(1));
                    let start = Instant::now();
                    let mut beats = 0;
                    while start.elapsed() < LONG {
                        heart.tick().await;
                        beats += 1;
                    }
                    beats
                });
                drop(runtime);
                (beats, told)
            }
        });
        let (runtime, told) = watched(LIMIT);
        begin.wait();
        let at = runtime.block_on(async {
            let task = spawn(async { block() });
            let at = line_before();
            task.await.expect("it does not panic");
            at
        });
        let stall = both(&told);
        assert_eq!(line_of(&stall), at, "{stall}");
        assert!(stall.future().contains("a_core_that_stalls"), "{stall}");
        assert!(stall.is_blocked(), "{stall}");
        assert_eq!(runtime.stats().stalls, 1);
        drop(runtime);
        nothing(&told);
        let (beats, told) = other.join().expect("it does not panic");
        assert!(beats > 20, "{beats}");
        nothing(&told);
    });
}

#[test]
fn a_computation_is_told_from_a_call_that_blocks() {
    patiently(|| {
        let (runtime, told) = watched(LIMIT);
        runtime.block_on(async {
            let named = task::Builder::new().name("index").priority(Priority::Bulk);
            let task = named.spawn(async { compute(LONG) });
            task.await.expect("it does not panic");
        });
        let stall = both(&told);
        assert_eq!(stall.name(), Some("index"));
        assert!(!stall.is_blocked(), "{stall}");
        let text = stall.to_string();
        assert!(
            text.starts_with("a task \"index\" has held its core (thread"),
            "{text}"
        );
        assert!(
            text.contains("ms, computing: spawned at tests/stall_detector.rs:"),
            "{text}"
        );
    });
}

#[test]
fn each_way_to_spawn_says_where_it_was_called() {
    patiently(|| {
        let (runtime, told) = watched(LIMIT);
        const FUTURE: &str =
            "stall_detector::each_way_to_spawn_says_where_it_was_called::{{closure}}::{{closure}}";
        runtime.block_on(async { block() });
        let at = line_before();
        let main = both(&told);
        assert_eq!(line_of(&main), at, "the main future");
        assert_eq!(main.future(), FUTURE);
        let lines = runtime.block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { block() });
            let in_set = line_before();
            set.join_next().await;
            let builder = task::Builder::new().priority(Priority::Latency);
            let task = builder.name("built").spawn(async { block() });
            let built = line_before();
            task.await.expect("it does not panic");
            [in_set, built]
        });
        for line in lines {
            let stall = both(&told);
            assert_eq!(line_of(&stall), line);
            assert_eq!(stall.future(), format!("{FUTURE}::{{{{closure}}}}"));
        }
    });
}

#[test]
fn work_that_stalls_another_core_is_reported_where_it_was_sent_and_other_cores_go_on() {
    patiently(|| {
        let (tell, told) = mpsc::channel();
        let cores = Cores::count(2).expect("cores").configure(move |builder| {
            let tell = tell.clone();
            let tells = move |stall: &Stall| drop(tell.send(stall.clone()));
            builder.stall_limit(LIMIT).on_stall(tells)
        });
        let running = cores.start(|core| async move {
            if core.index() == 1 {
                core.stopping().await;
                return None;
            }
            let sent = core.spawn_on(1, || async { block() });
            let at = line_before();
            let (mut heart, mut beats) = (interval(Duration::from_millis(1)), 0);
            let start = Instant::now();
            while start.elapsed() < LONG / 2 {
                heart.tick().await;
                beats += 1;
            }
            sent.await.expect("it does not panic");
            // A core that has ended is not looked at.
            sleep(LONG / 2).await;
            core.stop();
            Some((at, beats))
        });
        let ended = running.expect("cores").join().swap_remove(0);
        let (at, beats) = ended.output.expect("no panic").expect("of the first core");
        let stall = both(&told);
        assert_eq!(line_of(&stall), at, "{stall}");
        let future = "stall_detector::work_that_stalls_another_core";
        assert!(stall.future().starts_with(future), "{stall}");
        assert!(beats > 10, "{beats}");
    });
}

#[test]
fn a_destructor_that_blocks_is_reported_when_a_task_is_aborted() {
    patiently(|| {
        struct Blocks;
        impl Drop for Blocks {
            fn drop(&mut self) {
                block();
            }
        }
        async fn holds(_blocks: Blocks) {
            std::future::pending().await
        }
        let (runtime, told) = watched(LIMIT);
        let at = runtime.block_on(async {
            let task = spawn(holds(Blocks));
            let at = line_before();
            yield_now().await;
            task.abort();
            assert!(task.await.expect_err("it was aborted").is_cancelled());
            at
        });
        assert_eq!(line_of(&both(&told)), at);
    });
}

#[test]
fn a_core_that_sleeps_or_has_many_short_tasks_is_never_reported() {
    let (runtime, told) = watched(LIMIT);
    runtime.block_on(async {
        sleep(LONG).await;
        // Each turn is some 100 ms.
        let mut tasks = JoinSet::new();
        for _ in 0..1_000 {
            tasks.spawn(async {
                for _ in 0..5 {
                    compute(Duration::from_micros(100));
                    yield_now().await;
                }
            });
        }
        tasks.join_all().await;
        sleep(LONG).await;
    });
    thread::sleep(LONG);
    assert_eq!(runtime.stats().stalls, 0);
    nothing(&told);
}

#[test]
fn the_limit_is_the_builders_and_zero_is_none() {
    patiently(|| {
        let reports = |limit| {
            let (runtime, told) = watched(limit);
            runtime.block_on(async { block() });
            // Whoever looks does so twice more in this time, and has told of what there is.
            thread::sleep(2 * LONG);
            let stalls = runtime.stats().stalls;
            drop(runtime);
            (stalls, told.iter().count())
        };
        assert_eq!(reports(LIMIT), (1, 2));
        assert_eq!(reports(10 * LONG), (0, 0));
        assert_eq!(reports(Duration::ZERO), (0, 0));
    });
}

#[test]
fn a_report_that_panics_is_not_the_last() {
    // What the panics print keeps the watchdog from looking at the cores of other tests.
    alone(|| {
        patiently(|| {
            let (tell, told) = mpsc::channel();
            let runtime = Builder::new()
                .on_stall(move |stall| {
                    tell.send(stall.clone()).expect("the test waits");
                    panic!("as planned");
                })
                .build()
                .expect("a runtime");
            for _ in 0..2 {
                runtime.block_on(async { thread::sleep(4 * LONG) });
                both(&told);
            }
        });
    });
}

/// How often the watchdog has left the processor by itself.
fn watchdog_sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("there is /proc");
    for thread in threads {
        let path = thread.expect("an entry").path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() != "corering-watch" {
            continue;
        }
        let status = fs::read_to_string(path.join("status")).expect("it is there");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        return line
            .expect("Linux counts them")
            .trim()
            .parse()
            .expect("a number");
    }
    panic!("there is no watchdog");
}

#[test]
fn an_idle_process_is_not_woken_and_a_stall_after_it_is_seen() {
    alone(|| {
        patiently(|| {
            let (runtime, told) = watched(LIMIT);
            runtime.block_on(async {
                sleep(LONG).await;
                let before = watchdog_sleeps();
                sleep(3 * LONG).await;
                let sleeps = watchdog_sleeps() - before;
                // It was called when this core woke up. Without a doze it would be 150.
                assert!(sleeps <= 20, "{sleeps}");
                block();
            });
            both(&told);
            drop(runtime);
            nothing(&told);
        });
    });
}

#[test]
fn the_default_report_is_a_line_on_stderr() {
    const VARIABLE: &str = "CORERING_TEST_STALLS";
    if env::var_os(VARIABLE).is_some() {
        let runtime = Runtime::new().expect("a runtime");
        for _ in 0..3 {
            // Together less than a second.
            runtime.block_on(async { thread::sleep(Duration::from_millis(200)) });
            runtime.block_on(sleep(Duration::from_millis(50)));
        }
        return;
    }
    let output = Command::new(env::current_exe().expect("this program"))
        .args([
            "the_default_report_is_a_line_on_stderr",
            "--exact",
            "--nocapture",
        ])
        .env(VARIABLE, "1")
        .output()
        .expect("it starts");
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = errors
        .lines()
        .filter(|line| line.contains("a task"))
        .collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(
        lines[0].starts_with("corering: a task has held its core (thread "),
        "{errors}"
    );
    // A signal may have ended its sleep for a moment, just when it was looked at.
    let what = ["blocked in a system call", "computing"];
    let told = what.map(|what| lines[0].contains(&format!("{what}: spawned at tests/stall")));
    assert!(told.contains(&true), "{errors}");
    assert!(
        lines[1].starts_with("corering: a task held its core (thread "),
        "{errors}"
    );
}
