//! Hosts that are killed, lose their power, or do not hear each other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use corering::sim::Sim;
use corering::time::sleep;

use super::files::{Record, Task};
use super::random::Random;
use super::scene::{Running, Scene};
use super::streams::Cast;

/// Who waits longer for a host that he does not hear has given up.
const TIMES_OUT: Duration = Duration::from_secs(20);

/// Clients and servers talk.
pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let cast = Cast::start(&scene, &mut random, false);
    let hosts: Vec<&Running> = cast.serving.iter().chain(&cast.asking).collect();
    for _ in 0..1 + random.below(3) {
        sleep(random.time(Duration::from_millis(16))).await;
        let victim = random.below(hosts.len() as u64) as usize;
        match random.below(3) {
            0 => part(&scene, &hosts, victim, &mut random).await,
            kind => fell(&scene, &hosts, victim, kind == 1, &mut random).await,
        }
        scene.check();
    }
    cast.end(&scene).await;
}

async fn fell(scene: &Scene, hosts: &[&Running], victim: usize, power: bool, random: &mut Random) {
    let running = hosts[victim];
    let why = if power { "lost power" } else { "killed" };
    scene.books.fallen(victim, why);
    match power {
        true => running.host.crash(),
        false => running.host.kill(),
    }
    sleep(random.time(Duration::from_secs(1))).await;
    running.restart();
}

/// Cuts a host's network for a while.
async fn part(scene: &Scene, hosts: &[&Running], victim: usize, random: &mut Random) {
    let one_way = random.one_in(2);
    for other in hosts {
        match one_way {
            true => scene.sim.cut_one_way(&hosts[victim].host, &other.host),
            false => scene.sim.partition(&hosts[victim].host, &other.host),
        }
    }
    let time = random.time(Duration::from_secs(128));
    // Also those that come about meanwhile, since one direction may be whole.
    for _ in 0..2 {
        if time > TIMES_OUT {
            let books = &scene.books;
            books.excuse("parted", |connection| connection.hosts.contains(&victim));
        }
        sleep(time / 2).await;
    }
    scene.sim.heal_all();
}

/// Tasks with files, on a host that loses its power.
pub(crate) async fn run_files(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let host = scene.sim.host("disk");
    let (seed, tasks) = (random.next(), 1 + random.below(3));
    let records: Rc<[RefCell<Record>]> = (0..tasks).map(|_| RefCell::default()).collect();
    let records_of_host = Rc::clone(&records);
    let running = scene.start(&host, 1, move |core| {
        let records = Rc::clone(&records_of_host);
        async move {
            for number in 0..records.len() {
                let random = Random::new(seed ^ core.scene.number() << 8 ^ number as u64);
                let (core_of_task, records) = (Rc::clone(&core), Rc::clone(&records));
                core.spawn(async move {
                    let record = &records[number];
                    let task = Task::new(core_of_task, number as u64, record, random);
                    let _ended_by_an_error = task.survive().await;
                });
            }
            core.is_free().await;
        }
    });
    for _ in 0..1 + random.below(3) {
        sleep(random.time(Duration::from_millis(64))).await;
        let power = !random.one_in(4);
        match power {
            true => host.crash(),
            false => host.kill(),
        }
        for record in &*records {
            record.borrow_mut().killed(power);
        }
        sleep(random.time(Duration::from_millis(64))).await;
        running.restart();
    }
    scene.ended(&[running]).await;
    scene.conclude();
}
