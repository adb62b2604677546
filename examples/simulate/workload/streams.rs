//! Clients and servers talk, undisturbed or not.

use std::rc::Rc;
use std::time::Duration;

use corering::fs::File;
use corering::sim::Sim;
use corering::spawn;
use corering::time::sleep;

use super::net::{Target, ask, serve};
use super::random::Random;
use super::scene::{Running, Scene};

/// The hosts of a run, servers first.
pub(crate) struct Cast {
    pub(crate) serving: Vec<Running>,
    pub(crate) asking: Vec<Running>,
}

impl Cast {
    /// With hosts that have few descriptors now and then, if they may be `scarce`: whoever waits
    /// for one waits as long as others talk.
    pub(crate) fn start(scene: &Rc<Scene>, random: &mut Random, scarce: bool) -> Cast {
        let seed = random.next();
        let mut serving = Vec::new();
        let targets: Rc<[Target]> = (0..1 + random.below(2) as usize)
            .map(|number| {
                let host = scene.sim.host(&format!("server{number}"));
                let cores = 1 + random.below(2) as usize;
                if scarce && random.one_in(8) {
                    // For each core a ring, an eventfd and a listener.
                    host.set_nofile(3 * cores + 1 + random.below(3) as usize);
                    scene.is_scarce.set(true);
                }
                serving.push(scene.start(&host, cores, move |core| {
                    let random = Random::new(seed ^ (number as u64) << 8 ^ core.number as u64);
                    serve(core, random)
                }));
                Target::new(&host, number)
            })
            .collect();
        let clients = 1 + random.below(2) as usize;
        let asking = (serving.len()..serving.len() + clients).map(|number| {
            let host = scene.sim.host(&format!("client{number}"));
            if scarce && random.one_in(8) {
                host.set_nofile(3 + random.below(3) as usize);
                scene.is_scarce.set(true);
            }
            let targets = Rc::clone(&targets);
            scene.start(&host, 1, move |core| {
                let random = Random::new(seed ^ (number as u64) << 8);
                ask(core, number, Rc::clone(&targets), random)
            })
        });
        let asking = asking.collect();
        Cast { serving, asking }
    }

    /// Waits for the clients, and ends the servers.
    pub(crate) async fn end(&self, scene: &Scene) {
        scene.ended(&self.asking).await;
        scene.stops.set(true);
        scene.ended(&self.serving).await;
        scene.conclude();
    }
}

/// Nobody is killed, and nothing is lost but what is cut on purpose.
pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let cast = Cast::start(&scene, &mut random, true);
    cast.end(&scene).await;
}

/// The runtimes end with everything in flight.
pub(crate) async fn run_to_nowhere(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let _cast = Cast::start(&scene, &mut random, true);
    for number in 0..4 {
        spawn(files_come_and_go(number));
    }
    sleep(random.time(Duration::from_millis(32))).await;
    scene.check();
    // What has come so far is right all the same.
    if let Err(text) = scene.books.compare(u64::MAX) {
        panic!("{text}");
    }
}

/// Opens and closes a file again and again.
async fn files_come_and_go(number: u64) {
    loop {
        // Whatever fails here is tried again: it is there to be in flight.
        match File::create(format!("/{number}")).await {
            Ok(file) => drop(file.close().await),
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}
