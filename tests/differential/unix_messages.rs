//! Unix datagrams and records: to whom they go, what they say, and how it ends.

use std::fmt::Debug;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use corering::fs;
use corering::io::Operation;
use corering::net::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener};
use corering::spawn;

use super::common::Random;
use super::stage::{Script, Stage, errno_of, script, settle, told};

const PROGRAMS: u32 = 150;
const STEPS: usize = 14;
const PATIENCE: Duration = Duration::from_millis(10);

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("unix_datagrams_have_senders", datagrams_have_senders),
        script("unix_datagrams_to_nobody", datagrams_to_nobody),
        script(
            "unix_datagrams_to_who_has_a_peer",
            datagrams_to_who_has_a_peer,
        ),
        script(
            "unix_a_peer_of_datagrams_is_gone",
            a_peer_of_datagrams_is_gone,
        ),
        script("unix_a_peer_turns_away", a_peer_turns_away),
        script("unix_datagrams_wait_for_room", datagrams_wait_for_room),
        script("unix_records_are_kept_apart", records_are_kept_apart),
        script("unix_records_end", records_end),
        script("unix_records_are_unread", records_are_unread),
        script("unix_records_have_listeners", records_have_listeners),
        script(
            "unix_messages_are_cut_and_looked_at",
            messages_are_cut_and_looked_at,
        ),
    ]
}

/// Pairs, used at random.
pub(crate) fn programs() -> Vec<Script> {
    let records = (0..PROGRAMS).map(|number| {
        let play = move |stage| play_records(stage, number);
        script(format!("records {number}"), play)
    });
    let datagrams = (0..PROGRAMS).map(|number| {
        let play = move |stage| play_datagrams(stage, number);
        script(format!("datagrams {number}"), play)
    });
    records.chain(datagrams).collect()
}

fn short(bytes: &[u8]) -> String {
    match bytes.len() {
        0..40 => format!("{:?}", String::from_utf8_lossy(bytes)),
        len => format!("{len} bytes"),
    }
}

fn last(address: &SocketAddr) -> String {
    let name = address.as_pathname().and_then(Path::file_name);
    name.map_or_else(|| "nobody".to_owned(), |name| format!("{name:?}"))
}

/// The next message and who has sent it, or what comes instead.
async fn next(socket: &UnixDatagram) -> String {
    match socket.recv().timeout(PATIENCE).await {
        Ok(it) => format!("{} of {}", short(&it.payload), last(&it.from)),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => "nothing".to_owned(),
        Err(e) => errno_of(&e),
    }
}

/// The next record, or what comes instead.
async fn record(socket: &UnixSeqpacket) -> String {
    match socket.recv().timeout(PATIENCE).await {
        Ok(Some(it)) => short(&it.payload),
        Ok(None) => "end".to_owned(),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => "nothing".to_owned(),
        Err(e) => errno_of(&e),
    }
}

fn done<T: Debug>((result, _): (io::Result<T>, impl Sized)) -> String {
    told(&result)
}

async fn datagrams_have_senders(stage: Stage) {
    let [a, b] = ["a", "b"].map(|name| UnixDatagram::bind(stage.path(name)).unwrap());
    stage.saw("send", done(a.send_to("question", stage.path("b")).await));
    stage.saw("receive", next(&b).await);
    stage.saw("answer", done(b.send_to("answer", stage.path("a")).await));
    stage.saw("answered", next(&a).await);
    let unbound = UnixDatagram::unbound().unwrap();
    stage.told("connect", &unbound.connect(stage.path("a")));
    stage.saw("peer", last(&unbound.peer_addr().unwrap()));
    stage.saw("send", done(unbound.send("").await));
    stage.saw("empty", next(&a).await);
    let again = UnixDatagram::bind(stage.path("a")).map(drop);
    stage.told("bind again", &again);
    stage.saw("to oneself", done(a.send_to("me", stage.path("a")).await));
    stage.saw("of oneself", next(&a).await);
    let (one, other) = UnixDatagram::pair().unwrap();
    stage.saw("pair", done(one.send("over there").await));
    stage.saw("there", next(&other).await);
    stage.saw(
        "its peer has a name",
        !other.peer_addr().unwrap().is_unnamed(),
    );
}

async fn datagrams_to_nobody(stage: Stage) {
    let socket = UnixDatagram::unbound().unwrap();
    stage.saw("no peer", done(socket.send("x").await));
    stage.told("no peer's name", &socket.peer_addr().map(drop));
    stage.saw("no file", done(socket.send_to("x", stage.path("s")).await));
    stage.told("connect to no file", &socket.connect(stage.path("s")));
    drop(UnixDatagram::bind(stage.path("s")).unwrap());
    settle().await;
    stage.saw("left", done(socket.send_to("x", stage.path("s")).await));
    stage.told("connect to what is left", &socket.connect(stage.path("s")));
    let _stream = UnixListener::bind(stage.path("stream")).unwrap();
    stage.saw(
        "a stream",
        done(socket.send_to("x", stage.path("stream")).await),
    );
    stage.told("connect to a stream", &socket.connect(stage.path("stream")));
    let records = UnixSeqpacket::connect(stage.path("stream")).await;
    stage.told("records to a stream", &records.map(drop));
    fs::remove_file(stage.path("s")).await.unwrap();
    let there = UnixDatagram::bind(stage.path("s")).unwrap();
    stage.saw("there", done(socket.send_to("x", stage.path("s")).await));
    stage.saw("received", next(&there).await);
    let large = vec![0; 1 << 20];
    stage.saw(
        "too large",
        done(socket.send_to(large, stage.path("s")).await),
    );
}

async fn datagrams_to_who_has_a_peer(stage: Stage) {
    let [a, b, c] = ["a", "b", "c"].map(|name| UnixDatagram::bind(stage.path(name)).unwrap());
    a.connect(stage.path("b")).unwrap();
    stage.saw(
        "to who looks away",
        done(c.send_to("x", stage.path("a")).await),
    );
    stage.told("connect to them", &c.connect(stage.path("a")));
    stage.saw("peer", done(b.send_to("y", stage.path("a")).await));
    stage.saw("received", next(&a).await);
    stage.saw("elsewhere", done(a.send_to("z", stage.path("c")).await));
    stage.saw("there", next(&c).await);
}

async fn a_peer_of_datagrams_is_gone(stage: Stage) {
    let (a, b) = UnixDatagram::pair().unwrap();
    b.send("last words").await.0.unwrap();
    a.send("nobody reads that").await.0.unwrap();
    drop(b);
    settle().await;
    stage.saw("what was sent", next(&a).await);
    stage.saw("no more", next(&a).await);
    stage.saw("send", done(a.send("x").await));
    stage.saw("send again", done(a.send("x").await));
    stage.told("peer", &a.peer_addr().map(drop));
}

async fn a_peer_turns_away(stage: Stage) {
    let [a, b, c] = ["a", "b", "c"].map(|name| UnixDatagram::bind(stage.path(name)).unwrap());
    a.connect(stage.path("b")).unwrap();
    b.connect(stage.path("a")).unwrap();
    b.send("lost").await.0.unwrap();
    stage.told("turn", &a.connect(stage.path("c")));
    stage.saw("nothing is left", next(&a).await);
    stage.saw("told", next(&b).await);
    stage.saw("once", next(&b).await);
    stage.saw("to who has turned", done(b.send("x").await));
    stage.saw(
        "from the new one",
        done(c.send_to("new", stage.path("a")).await),
    );
    stage.saw("comes", next(&a).await);
}

async fn datagrams_wait_for_room(stage: Stage) {
    let b = UnixDatagram::bind(stage.path("b")).unwrap();
    let a = UnixDatagram::unbound().unwrap();
    let mut sent = 0_u32;
    let end = loop {
        let (result, _) = a
            .send_to(sent.to_string(), stage.path("b"))
            .timeout_or(PATIENCE)
            .await;
        match result {
            Some(Ok(_)) => sent += 1,
            Some(Err(e)) => break errno_of(&e),
            None => break "waits".to_owned(),
        }
        if sent > 5000 {
            break "never waits".to_owned();
        }
    };
    stage.saw("in the end", end);
    // The last one was given up while it waited.
    for n in 0..sent {
        let it = b.recv().await.unwrap();
        assert_eq!(*it.payload, *n.to_string().as_bytes());
    }
    stage.saw("no more", next(&b).await);
}

/// A send that is dropped when it takes too long.
trait TimeoutOr: Future + Sized {
    async fn timeout_or<T, B>(self, time: Duration) -> (Option<io::Result<T>>, Option<B>)
    where
        Self: Future<Output = (io::Result<T>, B)>,
    {
        match corering::time::timeout(time, self).await {
            Ok((result, buf)) => (Some(result), Some(buf)),
            Err(_) => (None, None),
        }
    }
}

impl<F: Future> TimeoutOr for F {}

async fn records_are_kept_apart(stage: Stage) {
    let (a, b) = UnixSeqpacket::pair().unwrap();
    for text in ["one", "", "two", "", ""] {
        stage.saw("send", done(a.send(text).await));
    }
    for _ in 0..6 {
        stage.saw("record", record(&b).await);
    }
    stage.saw("too large", done(a.send(vec![0; 1 << 20]).await));
    stage.saw("back", done(b.send("back").await));
    stage.saw("came back", record(&a).await);
}

async fn records_end(stage: Stage) {
    let (a, b) = UnixSeqpacket::pair().unwrap();
    a.send("last").await.0.unwrap();
    stage.told("shut", &a.shutdown(Shutdown::Write));
    stage.saw("send", done(a.send("more").await));
    for _ in 0..3 {
        stage.saw("record", record(&b).await);
    }
    stage.saw("send back", done(b.send("heard").await));
    drop(b);
    settle().await;
    stage.saw("record back", record(&a).await);
    stage.saw("end", record(&a).await);
    stage.saw("send to nobody", done(a.send("x").await));
    let (a, b) = UnixSeqpacket::pair().unwrap();
    let waiting = spawn(async move { b.recv().await.map(|it| it.is_some()) });
    settle().await;
    stage.told("shut the other side", &a.shutdown(Shutdown::Both));
    stage.told("who waits", &waiting.await.unwrap());
}

async fn records_are_unread(stage: Stage) {
    let (a, b) = UnixSeqpacket::pair().unwrap();
    a.send("last").await.0.unwrap();
    b.send("nobody reads that").await.0.unwrap();
    drop(a);
    settle().await;
    for _ in 0..4 {
        stage.saw("record", record(&b).await);
    }
    let (a, b) = UnixSeqpacket::pair().unwrap();
    b.send("nobody reads that").await.0.unwrap();
    drop(a);
    settle().await;
    stage.saw("a send is told", done(b.send("x").await));
    stage.saw("a send is told on", done(b.send("x").await));
    stage.saw("record", record(&b).await);
}

async fn records_have_listeners(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixSeqpacketListener::bind(&path).unwrap();
    stage.told("bind again", &UnixSeqpacketListener::bind(&path).map(drop));
    let client = UnixSeqpacket::connect(&path).await.unwrap();
    client.send("").await.0.unwrap();
    client.send("early").await.0.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    stage.saw("peer has a name", !peer.is_unnamed());
    stage.saw("first", record(&server).await);
    stage.saw("second", record(&server).await);
    stage.saw("name", last(&client.peer_addr().unwrap()));
    let datagrams = UnixDatagram::unbound().unwrap();
    stage.told("datagrams to it", &datagrams.connect(&path));
    drop(listener);
    // One that has never accepted, so that it has none of its own.
    let path = stage.path("other");
    let listener = UnixSeqpacketListener::bind(&path).unwrap();
    let late = UnixSeqpacket::connect(&path).await.unwrap();
    drop(listener);
    settle().await;
    stage.saw("never accepted", record(&late).await);
    stage.saw("and then", record(&late).await);
    stage.told("refused", &UnixSeqpacket::connect(&path).await.map(drop));
}

async fn messages_are_cut_and_looked_at(stage: Stage) {
    let (a, b) = UnixDatagram::pair().unwrap();
    for text in ["0123456789", "next"] {
        a.send(text).await.0.unwrap();
    }
    settle().await;
    let (seen, buf) = b.peek(Vec::with_capacity(4)).await;
    let seen = seen.unwrap();
    stage.saw(
        "peek",
        format!("{} {} {}", short(&buf), seen.len, seen.truncated),
    );
    let (taken, buf) = b.recv_from(Vec::with_capacity(4)).await;
    let taken = taken.unwrap();
    stage.saw(
        "take",
        format!("{} {} {}", short(&buf), taken.len, taken.truncated),
    );
    stage.saw("next", next(&b).await);
    let (a, b) = UnixSeqpacket::pair().unwrap();
    a.send("0123456789").await.0.unwrap();
    drop(a);
    let (taken, buf) = b.recv_into(Vec::with_capacity(4)).await;
    let taken = taken.unwrap().unwrap();
    stage.saw(
        "record",
        format!("{} {} {}", short(&buf), taken.len, taken.truncated),
    );
    let (end, _) = b.recv_into(Vec::with_capacity(4)).await;
    stage.told("end", &end.map(|end| end.is_none()));
}

async fn play_records(stage: Stage, number: u32) {
    let mut random = Random::new(number ^ 0x9_0000);
    let (a, b) = UnixSeqpacket::pair().unwrap();
    let mut ends = [Some(a), Some(b)];
    for step in 0..STEPS {
        let side = random.below(2);
        let choice = random.below(12);
        let Some(socket) = &ends[side] else {
            continue;
        };
        let label = |what: &str| format!("{step}: {} {what}", ["a", "b"][side]);
        match choice {
            0..=4 => {
                let len = random.below(3) * (1 + random.below(100));
                stage.saw(label("sends"), done(socket.send(vec![b'x'; len]).await));
            }
            5..=8 => stage.saw(label("receives"), record(socket).await),
            9 => {
                let how = [Shutdown::Write, Shutdown::Read, Shutdown::Both][random.below(3)];
                stage.told(label("shuts"), &socket.shutdown(how));
            }
            10 => stage.told(label("has a peer"), &socket.peer_addr().map(drop)),
            _ if random.below(2) == 0 => {
                // What nobody has asked for may be in the kernel or here when it is closed.
                stage.saw(label("receives all"), all(socket).await);
                ends[side] = None;
            }
            _ => {}
        }
        settle().await;
    }
    for (side, socket) in ends.iter().enumerate() {
        if let Some(socket) = socket {
            stage.saw(format!("end of {side}"), all(socket).await);
        }
    }
}

/// All records, and what comes after them.
async fn all(socket: &UnixSeqpacket) -> String {
    let mut seen = Vec::new();
    loop {
        let next = record(socket).await;
        let is_last = next == "end" || next == "nothing";
        seen.push(next);
        if is_last {
            return seen.join(", ");
        }
    }
}

async fn play_datagrams(stage: Stage, number: u32) {
    let mut random = Random::new(number ^ 0xa_0000);
    let names = ["a", "b", "c"];
    let mut sockets = names.map(|name| UnixDatagram::bind(stage.path(name)).ok());
    for step in 0..STEPS {
        let side = random.below(3);
        let to = stage.path(names[random.below(3)]);
        let choice = random.below(12);
        let label = |what: &str| format!("{step}: {} {what}", names[side]);
        let Some(socket) = &sockets[side] else {
            continue;
        };
        match choice {
            0..=3 => {
                let sent = done(socket.send_to(format!("{step}"), &to).await);
                stage.saw(label("sends to"), sent);
            }
            4 | 5 => stage.saw(label("sends"), done(socket.send(format!("{step}")).await)),
            6..=8 => stage.saw(label("receives"), next(socket).await),
            9 => {
                // What is in the kernel is lost then, and what is here is not.
                while let before = next(socket).await
                    && before != "nothing"
                {
                    stage.saw(label("receives first"), before);
                }
                stage.told(label("connects"), &socket.connect(&to));
            }
            10 => stage.told(label("has a peer"), &socket.peer_addr().map(drop)),
            _ if random.below(3) == 0 => sockets[side] = None,
            _ => {}
        }
        settle().await;
    }
}
