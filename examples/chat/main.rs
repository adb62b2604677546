//! A chat: what one member says all the others hear, and nobody waits for who is slow.
//!
//!     cargo run --release --example chat -- --demo
//!     cargo run --release --example chat -- --addr 127.0.0.1:7000    and: nc 127.0.0.1 7000
//!
//! The first line that a member sends is a name, every other one is said. Each member has a queue
//! of 64 lines; whose queue is full is put out of the room, and the others are told. With `--demo`
//! members of its own talk to each other, beside one that never reads, and count every line.

mod demo;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use corering::Runtime;
use corering::io::{AsyncBufRead, FramedWrite, LinesCodec};
use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::sync::mpsc;
use corering::time::timeout;
use futures_lite::future::or;

/// Bytes of the longest line.
const LINE_MAX: usize = 4096;
/// Lines that a member may be behind.
const BEHIND_MAX: usize = 64;
/// How long one write to a member may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A chat over TCP.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7000")]
    addr: SocketAddr,
    /// Let members talk on a port that the kernel chooses, and check what each of them hears
    #[arg(long)]
    demo: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = Runtime::new().and_then(|runtime| {
        runtime.block_on(async {
            if options.demo {
                return demo::run().await;
            }
            corering::spawn(serve(listen(options.addr)?));
            println!("listening on {}", options.addr);
            corering::signal::ctrl_c().await
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // Little is kept in the kernel for who does not read: the queue is there for that.
    let socket = TcpSocket::new_v4()?.send_buffer_size(32 * 1024)?;
    socket.reuse_address()?.bind(address)?.listen(64)
}

async fn serve(listener: TcpListener) {
    let room = Rc::new(Room::default());
    while let Ok((stream, peer)) = listener.accept().await {
        let room = Rc::clone(&room);
        corering::spawn(async move {
            if let Err(error) = member(&room, stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Whoever is in the room, and the queues of what they have not heard yet.
#[derive(Default)]
struct Room {
    members: RefCell<BTreeMap<u64, Member>>,
    next: Cell<u64>,
}

struct Member {
    name: String,
    queue: mpsc::Sender<Rc<str>>,
}

impl Room {
    fn enter(&self, name: &str) -> (u64, mpsc::Receiver<Rc<str>>) {
        let (queue, receiver) = mpsc::channel(BEHIND_MAX);
        let id = self.next.replace(self.next.get() + 1);
        self.say(id, &format!("* {name} is here"));
        let mut members = self.members.borrow_mut();
        let welcomed = queue.try_send(format!("* {} others are here", members.len()).into());
        welcomed.expect("a new queue has room");
        let name = name.to_string();
        members.insert(id, Member { name, queue });
        (id, receiver)
    }

    fn leave(&self, id: u64, why: &str) {
        let member = self.members.borrow_mut().remove(&id);
        if let Some(member) = member {
            self.say(id, &format!("* {} is gone: {why}", member.name));
        }
    }

    /// Hands a line to all but the one who says it. It waits for nobody.
    fn say(&self, id: u64, line: &str) {
        let line: Rc<str> = line.into();
        let mut slow = Vec::new();
        for (&other, member) in self.members.borrow().iter() {
            if other != id && member.queue.try_send(Rc::clone(&line)).is_err() {
                slow.push(other);
            }
        }
        slow.into_iter().for_each(|id| self.leave(id, "too slow"));
    }
}

async fn member(room: &Room, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut lines = reader.lines(LINE_MAX);
    let Some(name) = lines.next_line().await? else {
        return Ok(());
    };
    let (id, mut queue) = room.enter(&name);
    let hearing = async {
        let mut writer = FramedWrite::new(writer, LinesCodec::new(2 * LINE_MAX));
        while let Some(line) = queue.recv().await {
            timeout(PATIENCE, writer.send(&*line)).await??;
        }
        // The room has closed the queue.
        timeout(PATIENCE, writer.send("* you are out: too slow")).await?
    };
    let speaking = async {
        while let Some(line) = lines.next_line().await? {
            room.say(id, &format!("{name}: {line}"));
        }
        Ok(())
    };
    // Whichever ends first drops the other, which has taken nothing that it has not used.
    let result = or(speaking, hearing).await;
    room.leave(id, "the connection has ended");
    result
}
