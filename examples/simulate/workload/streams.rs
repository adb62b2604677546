//! Clients and servers talk. Nobody is killed, and nothing is lost but what is cut on purpose.

use std::rc::Rc;

use corering::sim::Sim;

use super::net::{Target, ask, serve};
use super::random::Random;
use super::scene::Scene;

pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let seed = random.next();
    let servers = 1 + random.below(2) as usize;
    let mut serving = Vec::new();
    let targets: Rc<[Target]> = (0..servers)
        .map(|number| {
            let host = scene.sim.host(&format!("server{number}"));
            let cores = 1 + random.below(2) as usize;
            serving.push(scene.start(&host, cores, move |core| {
                let random = Random::new(seed ^ (number as u64) << 8 ^ core.number as u64);
                serve(core, random)
            }));
            Target::new(&host, number)
        })
        .collect();
    let clients = 1 + random.below(2) as usize;
    let asking: Vec<_> = (servers..servers + clients)
        .map(|number| {
            let host = scene.sim.host(&format!("client{number}"));
            let targets = Rc::clone(&targets);
            scene.start(&host, 1, move |core| {
                let random = Random::new(seed ^ (number as u64) << 8);
                ask(core, number, Rc::clone(&targets), random)
            })
        })
        .collect();
    scene.ended(&asking).await;
    scene.stops.set(true);
    scene.ended(&serving).await;
    scene.conclude();
}
