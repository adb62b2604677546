//! Programs of one host talk over Unix sockets: by a path, by an abstract name, and in pairs.

use std::cell::Cell;
use std::convert::identity;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::fs;
use corering::net::{UnixListener, UnixStream};
use corering::sim::Sim;
use corering::time::{sleep, timeout};

use super::books::{Connection, Side};
use super::fate::{Fate, Fated};
use super::net::{ATTEMPTS, PAUSE, PAUSE_MAX, greet, introduce, number};
use super::random::Random;
use super::records::exchange;
use super::scene::{Core, Scene};
use super::stream::Stream;
use super::talk::Talk;

const PATH: &str = "/socket";
/// The name of the host in the books: all programs run on the same.
const HOST: usize = 0;
/// A connect that is to be dropped gets up to this long.
const LONGEST: Duration = Duration::from_millis(2);

pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let host = scene.sim.host("machine");
    let cores = 2 + random.below(3) as usize;
    let by_path = random.one_in(2);
    let seed = random.next();
    let asking = Rc::new(Cell::new(cores - 1));
    let running = scene.start(&host, cores, move |core| {
        let asking = Rc::clone(&asking);
        let random = Random::new(seed ^ core.number as u64);
        async move {
            if core.number == 0 {
                return serve(core, random, by_path).await;
            }
            ask(&core, random, by_path).await;
            asking.set(asking.get() - 1);
            core.scene.stops.set(asking.get() == 0);
        }
    });
    scene.ended(&[running]).await;
    scene.conclude();
}

fn name() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name("talk\0here")
}

async fn serve(core: Rc<Core>, mut random: Random, by_path: bool) {
    let scene = Rc::clone(&core.scene);
    while !scene.stops.get() {
        let listener = match by_path {
            true => UnixListener::bind(PATH),
            false => name().and_then(|name| UnixListener::bind_addr(&name)),
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                scene.failed("listen", &error, false, None);
                sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        accept(&core, &listener, &mut random).await;
        if let Ok(left) = listener.close().await {
            for (stream, _) in left {
                greet(&core, Stream::Unix(stream), random.fork());
            }
        }
        if by_path && let Err(error) = fs::remove_file(PATH).await {
            scene.failed("remove", &error, false, None);
        }
    }
}

async fn accept(core: &Rc<Core>, listener: &UnixListener, random: &mut Random) {
    let scene = &core.scene;
    let mut pause = PAUSE;
    while !scene.stops.get() {
        pause = (pause * 2).min(PAUSE_MAX);
        let fate = match Fate::random(random, scene.style.ends) {
            Fate::Awaited => Fate::TimedOut(pause),
            other => other,
        };
        match fate.of(listener.accept(), identity).await {
            Fated::Done(Ok((stream, _))) => {
                pause = PAUSE;
                greet(core, Stream::Unix(stream), random.fork());
            }
            Fated::Done(Err(error)) => {
                scene.failed("accept", &error, fate.may_end_it(), None);
            }
            _ => {}
        }
    }
}

/// Connects again and again, or makes a pair, and talks.
async fn ask(core: &Rc<Core>, mut random: Random, by_path: bool) {
    for _ in 0..core.scene.style.connections {
        if random.one_in(2) {
            let (scene, id) = (Rc::clone(&core.scene), number(&core.scene));
            let connected = random.one_in(2);
            core.spawn(exchange(scene, id, random.fork(), connected));
        }
        let (own, mut random) = (Rc::clone(core), random.fork());
        let connection = core.scene.books.open(number(&core.scene), [HOST; 2]);
        core.spawn(async move {
            sleep(random.time(Duration::from_millis(2))).await;
            if random.one_in(3) {
                return converse_in_a_pair(own, connection, random);
            }
            match connect(&own.scene, &mut random, by_path).await {
                Some(stream) => introduce(own, connection, Stream::Unix(stream), random).await,
                None => connection.excuse("never connected"),
            }
        });
    }
    core.is_free().await;
}

fn converse_in_a_pair(core: Rc<Core>, connection: Rc<Connection>, mut random: Random) {
    let (a, b) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            core.scene.violation(format!("pair: {error}"));
            return;
        }
    };
    for (side, stream) in [(Side::Client, a), (Side::Server, b)] {
        let talk = Talk {
            core: Rc::clone(&core),
            connection: Rc::clone(&connection),
            side,
            random: random.fork(),
        };
        core.spawn(talk.run(Stream::Unix(stream)));
    }
}

/// A connection, after several attempts if need be.
async fn connect(scene: &Scene, random: &mut Random, by_path: bool) -> Option<UnixStream> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..ATTEMPTS {
        let connecting = async {
            match by_path {
                true => UnixStream::connect(PATH).await,
                false => UnixStream::connect_addr(&name()?).await,
            }
        };
        let connected = match random.one_in(scene.style.ends) {
            true => timeout(random.time(LONGEST), connecting).await.ok(),
            false => Some(connecting.await),
        };
        match connected {
            Some(Ok(stream)) => return Some(stream),
            // It does not listen yet.
            Some(Err(e))
                if [Some(libc::ENOENT), Some(libc::ECONNREFUSED)].contains(&e.raw_os_error()) => {}
            Some(Err(error)) => {
                scene.failed("connect", &error, false, None);
            }
            None => {}
        }
        let ended = &scene.books.connects_ended;
        ended.set(ended.get() + 1);
        sleep(pause).await;
        pause = (2 * pause).min(Duration::from_secs(4));
    }
    None
}
