//! Datagrams: between sockets of one host none is lost, and between hosts none is made up.
//!
//! Each datagram is numbered, and its bytes follow from its number. On one host, where no more are
//! on their way than any buffer holds, those that were sent for sure all come, once and in order.
//! Between hosts one may get lost, come twice or overtake others; it comes whole or not at all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::identity;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{Control, UdpSocket};
use corering::sim::{Fault, Sim};
use corering::time::sleep;

use super::fate::{Fate, Fated};
use super::pattern::Pattern;
use super::random::Random;
use super::scene::{Core, Failure, Scene};

const PORT: u16 = 7;
/// Between two programs of one host: their overhead counts, too.
const ON_THE_WAY: u64 = 8;
const LEN_MAX: u64 = 512;
const ROUNDS: u64 = 40;
/// How long a program waits for what may never come.
const PATIENCE: Duration = Duration::from_millis(20);

pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let (near, far) = (scene.sim.host("near"), scene.sim.host("far"));
    let (of_near, of_far) = (random.next(), random.next());
    let asking = Rc::new(Cell::new(2));
    let echo = SocketAddr::new(near.ip(), PORT);
    let left = Rc::clone(&asking);
    let one = scene.start(&near, 1, move |core| {
        let (left, mut random) = (Rc::clone(&left), Random::new(of_near));
        async move {
            let scene = Rc::clone(&core.scene);
            let (own, other) = (Rc::clone(&core), random.fork());
            core.spawn(async move {
                within(&own, other).await;
                left.set(left.get() - 1);
                own.scene.stops.set(left.get() == 0);
            });
            serve(&scene, echo, random).await;
            core.is_free().await;
        }
    });
    let two = scene.start(&far, 1, move |core| {
        let (left, random) = (Rc::clone(&asking), Random::new(of_far));
        async move {
            ask(&core.scene, echo, random).await;
            left.set(left.get() - 1);
            core.scene.stops.set(left.get() == 0);
        }
    });
    scene.ended(&[one, two]).await;
    scene.conclude();
}

fn bytes_of(number: u64, len: u64) -> Vec<u8> {
    Pattern::new(number, 0).bytes_behind(&number.to_le_bytes(), 0, len)
}

/// The number of a datagram, if it is whole and as it was sent.
fn number_of(scene: &Scene, bytes: &[u8]) -> Option<u64> {
    let number = bytes.first_chunk().map(|head| u64::from_le_bytes(*head));
    let whole = number.filter(|&number| Pattern::new(number, 0).wrong(0, &bytes[8..]).is_none());
    if whole.is_none() {
        scene.violation(format!("{} bytes that nobody has sent", bytes.len()));
    }
    whole
}

/// A socket, as soon as there is a descriptor for it.
async fn bound(scene: &Scene, address: SocketAddr) -> UdpSocket {
    loop {
        match UdpSocket::bind(address).await {
            Ok(socket) => return socket,
            Err(error) => {
                scene.failed("bind", &error, false, None);
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// What came of a send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sent {
    Surely,
    /// Nobody is told if it fails.
    HandedOver,
    Perhaps,
    Not,
}

async fn send(scene: &Scene, socket: &UdpSocket, bytes: Vec<u8>, random: &mut Random) -> Sent {
    let fate = Fate::random(random, scene.style.ends);
    let len = bytes.len();
    let fated = match random.below(5) {
        0 => {
            let mut control = Control::new();
            control.set_ecn(1);
            fate.of(socket.send_msg(bytes, None, control), identity)
                .await
        }
        1 => match socket.peer_addr() {
            Ok(peer) => fate.of(socket.send_to(bytes, peer), identity).await,
            Err(_) => return Sent::Not,
        },
        2 | 3 => {
            return match socket.try_send(bytes) {
                Ok(()) => Sent::HandedOver,
                Err(_) => Sent::Not,
            };
        }
        _ => fate.of(socket.send(bytes), identity).await,
    };
    match fated {
        Fated::Done((Ok(n), _)) if n == len => Sent::Surely,
        Fated::Done((Ok(n), _)) => {
            scene.violation(format!("{n} of {len} bytes of a datagram were sent"));
            Sent::Perhaps
        }
        Fated::Done((Err(error), _)) => {
            refused(scene, "send", &error, fate.may_end_it());
            Sent::Not
        }
        Fated::Unpolled => Sent::Not,
        Fated::Dropped => Sent::Perhaps,
    }
}

fn refused(scene: &Scene, what: &str, error: &io::Error, asked: bool) -> Failure {
    // Of an earlier datagram, to a socket that was closed.
    if error.raw_os_error() == Some(libc::ECONNREFUSED) {
        return Failure::Gone;
    }
    scene.failed(what, error, asked, None)
}

/// Receives, and ends it somehow. `None`: nothing was taken.
async fn receive(
    scene: &Scene,
    socket: &UdpSocket,
    random: &mut Random,
) -> Option<(Vec<u8>, SocketAddr)> {
    let fate = match Fate::random(random, scene.style.ends.max(2)) {
        Fate::Awaited => Fate::TimedOut(PATIENCE),
        other => other,
    };
    let failed = |error: &io::Error| {
        refused(scene, "receive", error, fate.may_end_it());
    };
    if random.one_in(2) {
        return match fate.of(socket.recv(), identity).await {
            Fated::Done(Ok(datagram)) => Some((datagram.payload.to_vec(), datagram.from)),
            Fated::Done(Err(error)) => {
                failed(&error);
                None
            }
            _ => None,
        };
    }
    if random.one_in(3) {
        let room = random.below(40) as usize;
        let _ = fate
            .of(socket.peek(Vec::with_capacity(room)), identity)
            .await;
    }
    let buf = Vec::with_capacity(2 * LEN_MAX as usize);
    match fate.of(socket.recv_from(buf), identity).await {
        Fated::Done((Ok(received), buf)) => {
            if received.truncated || received.len != buf.len() {
                scene.violation("a datagram is cut");
            }
            Some((buf, received.from))
        }
        Fated::Done((Err(error), _)) => {
            failed(&error);
            None
        }
        _ => None,
    }
}

/// Two sockets of one host, each the other's peer.
async fn within(core: &Core, mut random: Random) {
    let scene = &*core.scene;
    let here = SocketAddr::new(core.host.ip(), 0);
    let (from, to) = (bound(scene, here).await, bound(scene, here).await);
    let connected = async {
        from.connect(to.local_addr()?).await?;
        to.connect(from.local_addr()?).await
    };
    if let Err(error) = connected.await {
        scene.violation(format!("connect: {error}"));
        return;
    }
    let (mut next, mut ahead) = (0, BTreeMap::new());
    for _ in 0..ROUNDS {
        for _ in 0..random.below(ON_THE_WAY - ahead.len() as u64 + 1) {
            let len = random.pick(&[0, 1, 40, LEN_MAX]);
            let sent = send(scene, &from, bytes_of(next, len), &mut random).await;
            if sent != Sent::Not {
                ahead.insert(next, sent);
            }
            next += 1;
        }
        if let Some((bytes, _)) = receive(scene, &to, &mut random).await {
            came(scene, &bytes, &mut ahead);
        }
        while ahead.len() as u64 >= ON_THE_WAY {
            match take(&to).await {
                Some(bytes) => came(scene, &bytes, &mut ahead),
                None => forget(scene, &mut ahead),
            }
        }
    }
    drop(from);
    while let Some(bytes) = take(&to).await {
        came(scene, &bytes, &mut ahead);
    }
    forget(scene, &mut ahead);
    if let Err(error) = to.close().await {
        scene.failed("close", &error, false, None);
    }
}

/// What comes next, if anything does; errors are told once and passed over.
async fn take(socket: &UdpSocket) -> Option<Vec<u8>> {
    use corering::io::Operation;

    loop {
        match socket.recv().timeout(PATIENCE).await {
            Ok(datagram) => return Some(datagram.payload.to_vec()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return None,
            Err(_) => {}
        }
    }
}

/// A datagram came. Of those that were awaited each came before the next was sent; one whose future
/// was dropped may have been overtaken.
fn came(scene: &Scene, bytes: &[u8], ahead: &mut BTreeMap<u64, Sent>) {
    let Some(number) = number_of(scene, bytes) else {
        return;
    };
    match ahead.remove(&number) {
        None => scene.violation(format!("datagram {number} came twice, or was not sent")),
        Some(Sent::Surely) => {
            let mut earlier = ahead.range(..number);
            if earlier.any(|(_, sent)| *sent == Sent::Surely) {
                scene.violation(format!("datagram {number} has overtaken another"));
            }
        }
        Some(_) => {}
    }
}

/// Nothing of this comes any more.
fn forget(scene: &Scene, ahead: &mut BTreeMap<u64, Sent>) {
    let told = scene.sim.happened(Fault::Error) > 0;
    let lost = ahead
        .iter()
        .find(|(_, sent)| **sent == Sent::Surely || **sent == Sent::HandedOver && !told);
    if let Some((number, _)) = lost {
        scene.violation(format!("datagram {number} is lost on its own host"));
    }
    ahead.clear();
}

/// Sends back what comes.
async fn serve(scene: &Scene, address: SocketAddr, mut random: Random) {
    let socket = bound(scene, address).await;
    while !scene.stops.get() {
        let Some((bytes, from)) = receive(scene, &socket, &mut random).await else {
            continue;
        };
        number_of(scene, &bytes);
        if let (Err(error), _) = socket.send_to(bytes, from).await {
            refused(scene, "answer", &error, false);
        }
    }
}

/// Asks a socket of another host, and counts how often each answer comes.
async fn ask(scene: &Scene, server: SocketAddr, mut random: Random) {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let socket = bound(scene, any).await;
    if let Err(error) = socket.connect(server).await {
        scene.violation(format!("connect: {error}"));
        return;
    }
    let answers = RefCell::new(BTreeMap::<u64, u64>::new());
    let note = |bytes: &[u8]| {
        if let Some(number) = number_of(scene, bytes) {
            *answers.borrow_mut().entry(number).or_default() += 1;
        }
    };
    let mut sent = Vec::new();
    for number in 1_000..1_000 + ROUNDS {
        let len = random.size(LEN_MAX);
        let outcome = send(scene, &socket, bytes_of(number, len), &mut random).await;
        sent.push(outcome != Sent::Not);
        if let Some((bytes, from)) = receive(scene, &socket, &mut random).await {
            note(&bytes);
            if from != server {
                scene.violation(format!("an answer of {from}"));
            }
        }
    }
    while let Some(bytes) = take(&socket).await {
        note(&bytes);
    }
    // Twice there, and each of these twice back.
    let most = if scene.sim.happened(Fault::Duplicated) > 0 {
        4
    } else {
        1
    };
    for (number, count) in answers.into_inner() {
        let index = (number - 1_000) as usize;
        if count > most || !sent.get(index).copied().unwrap_or(false) {
            scene.violation(format!("{count} answers to datagram {number}"));
        }
    }
}
