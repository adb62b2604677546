//! Unix sockets: their names, their connections, and how those end.

use std::io;
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use corering::fs::{self, File};
use corering::io::Operation;
use corering::net::{UnixListener, UnixStream};
use corering::spawn;
use corering::time::timeout;

use super::common::{Random, pattern};
use super::stage::{Script, Stage, errno_of, script, settle, told};

const PROGRAMS: u32 = 150;
const STEPS: usize = 14;

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("unix_paths", paths),
        script("unix_paths_that_cannot_be", paths_that_cannot_be),
        script("unix_files_that_are_no_sockets", files_that_are_no_sockets),
        script("unix_files_move", files_move),
        script("unix_abstract_names", abstract_names),
        script("unix_names_of_ends", names_of_ends),
        script("unix_pairs", pairs),
        script("unix_a_half_is_shut", a_half_is_shut),
        script("unix_the_read_half_is_shut", the_read_half_is_shut),
        script("unix_a_waiting_reader_is_shut", a_waiting_reader_is_shut),
        script("unix_closed_in_order", closed_in_order),
        script("unix_closed_with_bytes_unread", closed_with_bytes_unread),
        script("unix_waiting_ends_are_left", waiting_ends_are_left),
        script("unix_a_listener_is_dropped", a_listener_is_dropped),
        script("unix_a_client_leaves_early", a_client_leaves_early),
        script("unix_a_slow_reader", a_slow_reader),
        script("unix_several_buffers", several_buffers),
        script("unix_an_accept_is_cancelled", an_accept_is_cancelled),
    ]
}

/// Pairs, used at random.
pub(crate) fn programs() -> Vec<Script> {
    let programs = (0..PROGRAMS).map(|number| {
        let play = move |stage| play(stage, number);
        script(format!("unix {number}"), play)
    });
    programs.collect()
}

/// What there is to read, and how it ends: with nothing more for now, the end, or an error.
async fn available(stream: &UnixStream) -> String {
    let mut all = Vec::new();
    let end = loop {
        match stream.recv().timeout(Duration::from_millis(10)).await {
            Ok(Some(part)) => all.extend_from_slice(&part),
            Ok(None) => break "end".to_owned(),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => break "open".to_owned(),
            Err(e) => break errno_of(&e),
        }
    };
    match all.len() {
        0..40 => format!("{:?} {end}", String::from_utf8_lossy(&all)),
        len => format!("{len} bytes {end}"),
    }
}

async fn write(stream: &UnixStream, text: &'static str) -> String {
    told(&stream.write_all(text).await.0)
}

async fn paths(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixListener::bind(&path);
    stage.told("bind", &listener.as_ref().map(drop).map_err(again));
    let listener = listener.unwrap();
    stage.told("bind again", &UnixListener::bind(&path).map(drop));
    let client = UnixStream::connect(&path).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    stage.saw("write", write(&client, "hello").await);
    stage.saw("read", available(&server).await);
    drop(listener);
    stage.saw("write on", write(&server, "goodbye").await);
    stage.saw("read on", available(&client).await);
    let left = UnixStream::connect(&path).await;
    stage.told("connect to what is left", &left.map(drop));
    stage.told("bind to what is left", &UnixListener::bind(&path).map(drop));
    stage.told("remove", &fs::remove_file(&path).await);
    let none = UnixStream::connect(&path).await;
    stage.told("connect to nothing", &none.map(drop));
    stage.told("bind anew", &UnixListener::bind(&path).map(drop));
}

fn again(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

async fn paths_that_cannot_be(stage: Stage) {
    let long = "x".repeat(200);
    for name in ["missing/s", "", "s/", ".", "..", "a\0b", &long] {
        let path = stage.path(name);
        let path = if name.is_empty() { name.into() } else { path };
        let short = name.get(..10).unwrap_or(name);
        let bound = UnixListener::bind(&path).map(drop);
        stage.told(format!("bind {short:?}"), &bound);
        let connected = UnixStream::connect(&path).await.map(drop);
        stage.told(format!("connect {short:?}"), &connected);
    }
}

async fn files_that_are_no_sockets(stage: Stage) {
    let (file, socket) = (stage.path("file"), stage.path("socket"));
    fs::write(&file, "text").await.0.unwrap();
    let below = stage.path("file/s");
    stage.told("bind", &UnixListener::bind(&file).map(drop));
    stage.told("bind below", &UnixListener::bind(&below).map(drop));
    let connected = UnixStream::connect(&file).await;
    stage.told("connect", &connected.map(drop));
    let connected = UnixStream::connect(&below).await;
    stage.told("connect below", &connected.map(drop));
    let connected = UnixStream::connect(stage.path("")).await;
    stage.told("connect to a directory", &connected.map(drop));
    let _listener = UnixListener::bind(&socket).unwrap();
    stage.told("open", &File::open(&socket).await.map(drop));
    stage.told("create", &File::create(&socket).await.map(drop));
    let found = fs::metadata(&socket).await;
    let found = found.map(|found| (found.is_file(), found.is_dir(), found.len()));
    stage.told("stat", &found);
    stage.told("mkdir", &fs::create_dir(&socket).await);
    stage.told("rmdir", &fs::remove_dir(&socket).await);
}

async fn files_move(stage: Stage) {
    let (old, new) = (stage.path("old"), stage.path("new"));
    let first = UnixListener::bind(&old).unwrap();
    fs::rename(&old, &new).await.unwrap();
    let second = UnixListener::bind(&old).unwrap();
    let to_first = UnixStream::connect(&new).await.unwrap();
    let to_second = UnixStream::connect(&old).await.unwrap();
    to_first.write_all("first").await.0.unwrap();
    to_second.write_all("second").await.0.unwrap();
    stage.saw("first", available(&first.accept().await.unwrap().0).await);
    stage.saw("second", available(&second.accept().await.unwrap().0).await);
    let name = |listener: &UnixListener| {
        let name = listener.local_addr().unwrap();
        let path = name.as_pathname().unwrap().to_owned();
        path.file_name().unwrap().to_owned()
    };
    stage.saw("name", format!("{:?}", name(&first)));
    fs::rename(&new, &old).await.unwrap();
    let third = UnixStream::connect(&old).await.unwrap();
    third.write_all("third").await.0.unwrap();
    stage.saw("third", available(&first.accept().await.unwrap().0).await);
}

fn named(name: &str) -> SocketAddr {
    // Of this process alone: the names of a machine are everybody's.
    let name = format!("corering-{}-{name}", std::process::id());
    SocketAddr::from_abstract_name(name).unwrap()
}

async fn abstract_names(stage: Stage) {
    let names = ["a", "a\0", "a\0b", ""].map(named);
    let listeners = names
        .each_ref()
        .map(|name| UnixListener::bind_addr(name).unwrap());
    for (at, name) in names.iter().enumerate() {
        let client = UnixStream::connect_addr(name).await.unwrap();
        client.write_all(format!("{at}")).await.0.unwrap();
        let (server, peer) = listeners[at].accept().await.unwrap();
        stage.saw("read", available(&server).await);
        stage.saw("peer has no name", peer.is_unnamed());
        let same = client.peer_addr().unwrap().as_abstract_name() == name.as_abstract_name();
        stage.saw("name", same);
    }
    stage.told("taken", &UnixListener::bind_addr(&names[2]).map(drop));
    drop(listeners);
    settle().await;
    let refused = UnixStream::connect_addr(&names[0]).await;
    stage.told("nobody", &refused.map(drop));
    stage.told("free", &UnixListener::bind_addr(&names[0]).map(drop));
    let unnamed = UnixStream::pair().unwrap().0.local_addr().unwrap();
    stage.told("no name", &UnixListener::bind_addr(&unnamed).map(drop));
    let long = SocketAddr::from_abstract_name("x".repeat(107)).unwrap();
    stage.told("long", &UnixListener::bind_addr(&long).map(drop));
}

async fn names_of_ends(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let is = |address: io::Result<SocketAddr>| match address {
        Ok(address) if address.is_unnamed() => "unnamed".to_owned(),
        Ok(address) if address.as_pathname() == Some(&*path) => "the path".to_owned(),
        Ok(address) => format!("{address:?}"),
        Err(e) => errno_of(&e),
    };
    stage.saw("accept", is(Ok(peer)));
    for (name, end) in [("client", &client), ("server", &server)] {
        stage.saw(format!("{name} local"), is(end.local_addr()));
        stage.saw(format!("{name} peer"), is(end.peer_addr()));
    }
    let cred = client.peer_cred().unwrap();
    stage.saw("client's peer", cred.pid().is_some());
    stage.saw("the same process", cred == server.peer_cred().unwrap());
    client.shutdown(Shutdown::Both).await.unwrap();
    stage.saw("shut", is(client.peer_addr()));
    drop(client);
    settle().await;
    stage.saw("gone", is(server.peer_addr()));
    let (a, b) = UnixStream::pair().unwrap();
    stage.saw(
        "pair",
        (is(a.local_addr()) + " " + &is(b.peer_addr())).as_str(),
    );
}

async fn pairs(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    stage.saw("there", write(&a, "question").await);
    stage.saw("back", write(&b, "answer").await);
    stage.saw("read", available(&b).await);
    stage.saw("read back", available(&a).await);
    stage.told("nothing", &a.write_all("").await.0);
    stage.told("write nothing", &a.write(Vec::<u8>::new()).await.0);
    let empty = vec![Vec::<u8>::new(), Vec::new()];
    stage.told("write empty ones", &a.write_vectored(empty).await.0);
    stage.saw("nothing comes", available(&b).await);
    stage.told("no room", &b.read(Vec::<u8>::new()).await.0);
    drop(a);
    settle().await;
    stage.told("nothing to nobody", &b.write_all("").await.0);
    stage.saw("the end", available(&b).await);
}

async fn a_half_is_shut(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    a.write_all("last").await.0.unwrap();
    stage.told("shut", &a.shutdown(Shutdown::Write).await);
    stage.told("shut again", &a.shutdown(Shutdown::Write).await);
    stage.saw("write", write(&a, "more").await);
    stage.saw("read", available(&b).await);
    stage.saw("write back", write(&b, "heard").await);
    stage.saw("read back", available(&a).await);
    stage.told("shut back", &b.shutdown(Shutdown::Write).await);
    stage.saw("the end", available(&a).await);
    stage.told("shut when all is over", &a.shutdown(Shutdown::Both).await);
}

async fn the_read_half_is_shut(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    a.write_all("before").await.0.unwrap();
    stage.told("shut", &b.shutdown(Shutdown::Read).await);
    stage.saw("write", write(&a, "after").await);
    stage.saw("read", available(&b).await);
    stage.saw("write back", write(&b, "still").await);
    stage.saw("read back", available(&a).await);
}

async fn a_waiting_reader_is_shut(stage: Stage) {
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let (a, b) = UnixStream::pair().unwrap();
        let reading = spawn(async move { (available_late(&b).await, b) });
        settle().await;
        stage.told(format!("{how:?}"), &a.shutdown(how).await);
        settle().await;
        stage.saw("peer has read", reading.is_finished());
        stage.saw("own", available(&a).await);
        drop(a);
        stage.saw("peer", reading.await.unwrap().0);
    }
}

/// The first thing that comes, however late.
async fn available_late(stream: &UnixStream) -> String {
    match stream.recv().await {
        Ok(Some(bytes)) => format!("{:?}", String::from_utf8_lossy(&bytes)),
        Ok(None) => "end".to_owned(),
        Err(e) => errno_of(&e),
    }
}

async fn closed_in_order(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    a.write_all("last words").await.0.unwrap();
    stage.told("close", &a.close().await.map(|left| left.len()));
    stage.saw("write", write(&b, "to whom?").await);
    stage.saw("read", available(&b).await);
    stage.saw("write on", write(&b, "to whom?").await);
    stage.told("shut", &b.shutdown(Shutdown::Both).await);
    stage.told("close", &b.close().await.map(|left| left.len()));
}

async fn closed_with_bytes_unread(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    b.write_all("nobody reads that").await.0.unwrap();
    a.write_all("last words").await.0.unwrap();
    drop(a);
    settle().await;
    stage.saw("read", available(&b).await);
    stage.saw("read on", available(&b).await);
    stage.saw("write", write(&b, "to whom?").await);
    let (a, b) = UnixStream::pair().unwrap();
    b.write_all("nobody reads that").await.0.unwrap();
    drop(a);
    stage.saw("write first", write(&b, "to whom?").await);
    stage.saw("then read", available(&b).await);
}

async fn waiting_ends_are_left(stage: Stage) {
    for unread in [false, true] {
        let (a, b) = UnixStream::pair().unwrap();
        let (read, write) = b.into_split();
        if unread {
            write.write_all("nobody reads that").await.0.unwrap();
        }
        let reading = spawn(async move { read.recv().await.map(|bytes| bytes.is_some()) });
        settle().await;
        drop(a);
        stage.told("read", &reading.await.unwrap());
        stage.told("write", &write.write_all("x").await.0);
        let (a, b) = UnixStream::pair().unwrap();
        let writing = spawn(async move { b.write_all(vec![1; 8 << 20]).await.0 });
        settle().await;
        if !unread {
            // All that is there, so that nothing is unread.
            while let Ok(Ok(Some(_))) = timeout(Duration::from_millis(20), a.recv()).await {}
            continue;
        }
        drop(a);
        stage.told("a write that waits", &writing.await.unwrap());
    }
}

async fn a_listener_is_dropped(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let early = UnixStream::connect(&path).await.unwrap();
    let speaking = UnixStream::connect(&path).await.unwrap();
    speaking.write_all("anybody?").await.0.unwrap();
    let reading = UnixStream::connect(&path).await.unwrap();
    let reading = spawn(async move { available_late(&reading).await });
    settle().await;
    drop(listener);
    settle().await;
    stage.saw("early reads", available(&early).await);
    stage.saw("early writes", write(&early, "x").await);
    stage.saw("speaking reads", available(&speaking).await);
    stage.saw("a reader that waits", reading.await.unwrap());
}

async fn a_client_leaves_early(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).await.unwrap();
    client.write_all("it was me").await.0.unwrap();
    drop(client);
    drop(UnixStream::connect(&path).await.unwrap());
    settle().await;
    for _ in 0..2 {
        let (server, peer) = listener.accept().await.unwrap();
        stage.saw("no name", peer.is_unnamed());
        stage.saw("write", write(&server, "x").await);
        stage.saw("read", available(&server).await);
    }
}

async fn a_slow_reader(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    let large = pattern(1, 8 << 20);
    let expected = large.clone();
    let writing = spawn(async move { a.write_all(large).await.0 });
    settle().await;
    stage.saw("the writer waits", !writing.is_finished());
    let mut bytes = Vec::new();
    let end = loop {
        match b.recv().await {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    stage.told("end", &end);
    stage.saw("all arrives", bytes == expected);
    stage.told("written", &writing.await.unwrap());
}

async fn several_buffers(stage: Stage) {
    let (a, b) = UnixStream::pair().unwrap();
    let bufs = vec!["one ".to_owned(), String::new(), "two".to_owned()];
    let (n, bufs) = a.write_vectored(bufs).await;
    let n = n.unwrap();
    let left = bufs.concat()[n..].to_owned();
    a.write_all(left).await.0.unwrap();
    drop(a);
    stage.saw("read", available(&b).await);
}

async fn an_accept_is_cancelled(stage: Stage) {
    let path = stage.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let early = listener.accept().timeout(Duration::from_millis(10)).await;
    stage.told("nobody", &early.map(drop));
    let client = UnixStream::connect(&path).await.unwrap();
    client.write_all("here").await.0.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    stage.saw("read", available(&server).await);
    let reading = server.recv().timeout(Duration::from_millis(10)).await;
    stage.told("nothing", &reading.map(drop));
    client.write_all("more").await.0.unwrap();
    stage.saw("read on", available(&server).await);
}

async fn play(stage: Stage, number: u32) {
    let mut random = Random::new(number ^ 0x7_0000);
    let (a, b) = UnixStream::pair().unwrap();
    let mut ends = [Some(a), Some(b)];
    for step in 0..STEPS {
        let side = random.below(2);
        let choice = random.below(12);
        let Some(stream) = &ends[side] else {
            continue;
        };
        let label = |what: &str| format!("{step}: {} {what}", ["a", "b"][side]);
        match choice {
            0..=3 => {
                // Less than the smallest of the simulated buffers, all together.
                let len = 1 + random.below(250);
                let written = stream.write_all(vec![step as u8; len]).await.0;
                stage.told(label("writes"), &written);
            }
            4..=7 => stage.saw(label("reads"), available(stream).await),
            8 => {
                let how = [Shutdown::Write, Shutdown::Read, Shutdown::Both][random.below(3)];
                let shut = stream.shutdown(how).await;
                stage.told(format!("{} {how:?}", label("shuts")), &shut);
            }
            9 => stage.told(label("has a peer"), &stream.peer_addr().map(drop)),
            10 => {
                let (n, _) = stream.write(Vec::<u8>::new()).await;
                stage.told(label("writes nothing"), &n);
            }
            _ if random.below(2) == 0 => {
                stage.saw(label("reads before its end"), available(stream).await);
                ends[side] = None;
            }
            _ => {}
        }
        settle().await;
    }
    for (side, stream) in ends.iter().enumerate() {
        if let Some(stream) = stream {
            stage.saw(format!("end of {side}"), available(stream).await);
        }
    }
}
