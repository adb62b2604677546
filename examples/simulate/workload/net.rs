//! Servers that accept, learn who it is and talk, and clients that connect and talk.

use std::convert::identity;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::sim::Host;
use corering::time::{sleep, timeout};

use super::books::{Connection, Side};
use super::fate::{Fate, Fated};
use super::random::{Random, mix};
use super::scene::{Core, Failure, Scene};
use super::stream::Stream;
use super::talk::Talk;

pub(crate) const PORT: u16 = 7;
/// What a client says first: its number, and a check of it.
const HELLO: usize = 16;
/// Connections that may wait in the kernel.
const BACKLOGS: [u32; 3] = [1, 4, 1024];
/// Somebody who says nothing for so long has lost his power.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often a client asks for a server that is not there.
pub(crate) const ATTEMPTS: u32 = 40;

/// How long a server waits before it looks around.
pub(crate) const PAUSE: Duration = Duration::from_millis(4);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A server's address, and the number of its host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) host: usize,
}

impl Target {
    pub(crate) fn new(host: &Host, number: usize) -> Target {
        let address = SocketAddr::new(host.ip(), PORT);
        Target {
            address,
            host: number,
        }
    }
}

/// Serves until the servers are to end.
pub(crate) async fn serve(core: Rc<Core>, mut random: Random) {
    let scene = Rc::clone(&core.scene);
    while !scene.stops.get() {
        let Some(listener) = listen(&core, &mut random).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        accept(&core, &listener, &mut random).await;
        // Connections that it has, and that nobody has asked it for.
        match listener.close().await {
            Ok(left) => {
                for (stream, _) in left {
                    let _ = stream.set_nodelay(true);
                    greet(&core, Stream::Tcp(stream), random.fork());
                }
            }
            Err(error) => {
                scene.failed("close of a listener", &error, false, None);
            }
        }
    }
}

async fn listen(core: &Core, random: &mut Random) -> Option<TcpListener> {
    let listener = if core.is_alone() && random.one_in(2) {
        TcpListener::bind(("0.0.0.0", PORT)).await
    } else {
        TcpSocket::new_v4().and_then(|socket| {
            let any = SocketAddr::from(([0, 0, 0, 0], PORT));
            let socket = socket.reuse_address()?.reuse_port()?;
            socket.bind(any)?.listen(random.pick(&BACKLOGS))
        })
    };
    match listener {
        Ok(listener) => Some(listener),
        Err(error) => {
            core.scene.failed("listen", &error, false, None);
            None
        }
    }
}

async fn accept(core: &Rc<Core>, listener: &TcpListener, random: &mut Random) {
    let scene = &core.scene;
    // It looks around now and then, ever more rarely.
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
                let _ = stream.set_nodelay(true);
                greet(core, Stream::Tcp(stream), random.fork());
            }
            Fated::Done(Err(error)) => {
                scene.failed("accept", &error, fate.may_end_it(), None);
            }
            _ => {}
        }
    }
}

pub(crate) fn greet(core: &Rc<Core>, stream: Stream, random: Random) {
    let (scene, core_of_talk) = (Rc::clone(&core.scene), Rc::clone(core));
    core.spawn(async move {
        let core = core_of_talk;
        let said = timeout(PATIENCE, hello(&scene, &stream)).await;
        match said.ok().flatten() {
            Some(connection) => {
                let talk = Talk {
                    core,
                    connection,
                    side: Side::Server,
                    random,
                };
                talk.run(stream).await;
            }
            None => scene.books.strangers.set(scene.books.strangers.get() + 1),
        }
    });
}

/// Who it is. `None` if it has gone without a word.
async fn hello(scene: &Scene, stream: &Stream) -> Option<Rc<Connection>> {
    loop {
        // Who it is, and so whether he has an excuse, is not known yet.
        let piece = stream.fill_buf().await.ok()?;
        if let Some(hello) = piece.first_chunk::<HELLO>() {
            stream.consume(HELLO);
            let hello = u128::from_le_bytes(*hello);
            let (id, check) = (hello as u64, (hello >> 64) as u64);
            let known = scene.books.find(id).filter(|_| check == mix(id));
            if known.is_none() {
                scene.violation(format!("{id:x} is nobody's number"));
            }
            return known;
        }
        if piece.is_empty() {
            return None;
        }
        stream.fill_more().await.ok()?;
    }
}

/// Connects to one of the `targets` again and again, and talks.
pub(crate) async fn ask(core: Rc<Core>, here: usize, targets: Rc<[Target]>, mut random: Random) {
    for _ in 0..core.scene.style.connections {
        let target = random.pick(&targets);
        let (own, random) = (Rc::clone(&core), random.fork());
        core.spawn(converse(own, here, target, random));
    }
    core.is_free().await;
}

async fn converse(core: Rc<Core>, here: usize, target: Target, mut random: Random) {
    let scene = &Rc::clone(&core.scene);
    sleep(random.time(Duration::from_millis(2))).await;
    let Some((stream, falls)) = connect(scene, target, &mut random).await else {
        return;
    };
    let connection = scene.books.open(number(scene), [here, target.host]);
    if falls != scene.books.falls_of(target.host) {
        connection.excuse("its server has fallen since it was asked");
    }
    introduce(core, connection, Stream::Tcp(stream), random).await;
}

/// A number for a connection of its own.
pub(crate) fn number(scene: &Scene) -> u64 {
    mix(scene.sim.seed()) ^ scene.number()
}

/// Says who it is, and talks.
pub(crate) async fn introduce(
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: Stream,
    random: Random,
) {
    let scene = &Rc::clone(&core.scene);
    let id = connection.id;
    let hello = u128::from(id) | u128::from(mix(id)) << 64;
    let (sent, _) = stream.write_all(hello.to_le_bytes().to_vec()).await;
    match sent {
        Ok(()) => {
            let talk = Talk {
                core,
                connection,
                side: Side::Client,
                random,
            };
            talk.run(stream).await;
        }
        Err(error) => {
            scene.failed("hello", &error, false, Some(&connection));
            connection.excuse("said no hello");
        }
    }
}

/// A connection, after several attempts if need be, and how often its server had fallen before.
async fn connect(scene: &Scene, target: Target, random: &mut Random) -> Option<(TcpStream, u64)> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..ATTEMPTS {
        let fate = Fate::random(random, scene.style.ends);
        let falls = scene.books.falls_of(target.host);
        let result = match socket(random) {
            Ok(socket) => fate.of(socket.connect(target.address), identity).await,
            Err(error) => {
                scene.failed("socket", &error, false, None);
                return None;
            }
        };
        match result {
            Fated::Done(Ok(stream)) => return Some((stream, falls)),
            Fated::Done(Err(error)) => {
                is_no_surprise(scene, fate, &error);
            }
            _ => {}
        }
        let ended = &scene.books.connects_ended;
        ended.set(ended.get() + 1);
        sleep(pause).await;
        pause = (2 * pause).min(Duration::from_secs(4));
        if scene.stops.get() {
            break;
        }
    }
    None
}

fn socket(random: &mut Random) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?.nodelay()?;
    match random.below(4) {
        // Writes that do not fit are sent in several pieces.
        0 => socket.send_buffer_size(4096)?.recv_buffer_size(4096),
        _ => Ok(socket),
    }
}

/// A server that does not listen yet, or is down, is nothing special.
fn is_no_surprise(scene: &Scene, fate: Fate, error: &io::Error) {
    let common = [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EHOSTUNREACH];
    if error.raw_os_error().is_some_and(|e| common.contains(&e)) {
        return;
    }
    let failure = scene.failed("connect", error, fate.may_end_it(), None);
    debug_assert!(matches!(failure, Failure::Ended | Failure::Gone));
}
