//! Random programs for the simulated kernel, and what must be true of each of them.

pub(crate) mod books;
pub(crate) mod datagrams;
pub(crate) mod fate;
pub(crate) mod files;
pub(crate) mod kills;
pub(crate) mod model;
pub(crate) mod net;
pub(crate) mod pattern;
pub(crate) mod proxies;
pub(crate) mod random;
pub(crate) mod receive;
pub(crate) mod records;
pub(crate) mod scene;
pub(crate) mod send;
pub(crate) mod stream;
pub(crate) mod streams;
pub(crate) mod sync;
pub(crate) mod talk;
pub(crate) mod tasks;
pub(crate) mod unix;

use std::pin::Pin;

use corering::sim::Sim;

use self::random::mix;

type Run = Pin<Box<dyn Future<Output = ()>>>;

/// One kind of program.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    start: fn(Sim) -> Run,
}

pub(crate) const ALL: [Workload; 10] = [
    Workload {
        name: "streams",
        about: "clients and servers talk, in every form of reading and writing",
        start: |sim| Box::pin(streams::run(sim)),
    },
    Workload {
        name: "teardown",
        about: "the same, and the runtimes end in the middle of it",
        start: |sim| Box::pin(streams::run_to_nowhere(sim)),
    },
    Workload {
        name: "kills",
        about: "the same on hosts that are killed, lose their power, or do not hear each other",
        start: |sim| Box::pin(kills::run(sim)),
    },
    Workload {
        name: "files",
        about: "tasks use files and names in every way, each with a model of what is there",
        start: |sim| Box::pin(files::run(sim)),
    },
    Workload {
        name: "power",
        about: "tasks with files, on a host that is killed or loses its power",
        start: |sim| Box::pin(kills::run_files(sim)),
    },
    Workload {
        name: "tasks",
        about: "sleeps, timeouts, intervals, aborted tasks, wakes from other cores, interrupts",
        start: |sim| Box::pin(tasks::run(sim)),
    },
    Workload {
        name: "sync",
        about: "channels and locks, between tasks that give up and tasks that are aborted",
        start: |sim| Box::pin(sync::run(sim)),
    },
    Workload {
        name: "unix",
        about: "programs of one host talk over Unix sockets: paths, names, pairs, messages",
        start: |sim| Box::pin(unix::run(sim)),
    },
    Workload {
        name: "datagrams",
        about: "sockets of one host and of two send each other numbered datagrams",
        start: |sim| Box::pin(datagrams::run(sim)),
    },
    Workload {
        name: "proxies",
        about: "programs talk through a proxy that splices and copies, and begins anew",
        start: |sim| Box::pin(proxies::run(sim)),
    },
];

/// Runs the workload called `name`, or that of the seed.
pub(crate) async fn run(sim: Sim, name: Option<String>) {
    let workload = match name {
        Some(name) => ALL.iter().find(|workload| workload.name == name),
        None => ALL.get(mix(sim.seed()) as usize % ALL.len()),
    };
    let Workload { name, about, start } = workload.expect("a workload's name");
    sim.note(format_args!("{name}: {about}"));
    start(sim).await;
}
