//! Worker threads of the kernel.

mod common;

use std::cell::Cell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use corering::runtime::Builder;
use corering::time::sleep;
use corering::{Cores, fs as files, spawn};

use common::alone;

/// Workers that there are now, whoever they work for.
fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("iou-wrk")).count()
}

/// The most workers at a time while 64 tasks ask for the state of a file, which takes a worker.
async fn most_workers(rounds: usize) -> usize {
    let left = Rc::new(Cell::new(64));
    for _ in 0..64 {
        let left = Rc::clone(&left);
        spawn(async move {
            for _ in 0..rounds {
                files::metadata("/proc/self/status").await.unwrap();
            }
            left.set(left.get() - 1);
        });
    }
    let mut most = 0;
    while left.get() > 0 {
        most = most.max(workers());
        sleep(Duration::from_micros(200)).await;
    }
    most
}

#[test]
fn the_kernels_workers_of_a_core_are_bounded() {
    alone(|| {
        for files in [1, 3] {
            let runtime = Builder::new().kernel_workers(files, 1).build().unwrap();
            let most = runtime.block_on(most_workers(200));
            assert!((1..=files as usize).contains(&most), "{most} of {files}");
        }
    });
}

#[test]
fn several_cores_have_as_many_each() {
    alone(|| {
        let cores = Cores::count(2).unwrap();
        let cores = cores.configure(|builder| builder.kernel_workers(2, 2));
        let running = cores.start(|_| most_workers(200)).unwrap();
        for ended in running.join() {
            let most = ended.output.unwrap();
            assert!((1..=4).contains(&most), "{most}");
        }
    });
}
