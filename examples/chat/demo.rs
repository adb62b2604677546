//! Members who talk to each other, and check what they hear.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use corering::io::{AsyncBufRead, FramedWrite, Lines, LinesCodec};
use corering::net::{OwnedReadHalf, TcpSocket, TcpStream};
use corering::spawn;
use corering::sync::Barrier;

use crate::{LINE_MAX, listen, serve};

const MEMBERS: usize = 8;
const ROUNDS: usize = 200;

pub(crate) async fn run() -> io::Result<()> {
    let listener = listen(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    spawn(serve(listener));

    // This one never reads. What the kernel holds for it is soon full, and then its queue.
    let socket = TcpSocket::new_v4()?.recv_buffer_size(4096)?;
    let sleeper = socket.connect(address).await?;
    sleeper.write_all("sleeper\n").await.0?;

    let everybody = Rc::new(Barrier::new(MEMBERS));
    let members: Vec<_> = (0..MEMBERS)
        .map(|number| spawn(talk(address, number, Rc::clone(&everybody))))
        .collect();
    let mut heard = 0;
    for member in members {
        heard += member.await.expect("a member does not panic")?;
    }
    assert_eq!(heard, MEMBERS * (MEMBERS - 1) * ROUNDS);
    println!("{MEMBERS} members have heard {heard} lines, every one in its order");
    println!("the member who did not read was put out of the room");
    drop(sleeper);
    Ok(())
}

/// Says a line in each round, and hears those of all others. Returns how many it has heard.
async fn talk(address: SocketAddr, number: usize, everybody: Rc<Barrier>) -> io::Result<usize> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut writer = FramedWrite::new(writer, LinesCodec::new(LINE_MAX));
    writer.send(format!("member{number}")).await?;
    let mut ears = Ears::new(reader.lines(2 * LINE_MAX));
    ears.hear().await?; // the welcome: the room knows this member
    everybody.wait().await;

    let padding = "x".repeat(1000);
    for round in 0..ROUNDS {
        writer.send(format!("{round} {padding}")).await?;
        while ears.heard_of(round) < MEMBERS - 1 {
            ears.hear().await?;
        }
    }
    while !ears.sleeper_is_out {
        ears.hear().await?;
    }
    // Nobody leaves while others still listen.
    everybody.wait().await;
    Ok(ears.rounds.values().sum())
}

struct Ears {
    lines: Lines<OwnedReadHalf>,
    /// How many lines each other member has said.
    rounds: BTreeMap<String, usize>,
    sleeper_is_out: bool,
}

impl Ears {
    fn new(lines: Lines<OwnedReadHalf>) -> Ears {
        Ears {
            lines,
            rounds: BTreeMap::new(),
            sleeper_is_out: false,
        }
    }

    /// How many members have said their line of `round`.
    fn heard_of(&self, round: usize) -> usize {
        self.rounds.values().filter(|&&said| said > round).count()
    }

    async fn hear(&mut self) -> io::Result<()> {
        let line = self.lines.next_line().await?;
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(notice) = line.strip_prefix("* ") {
            self.sleeper_is_out |= notice == "sleeper is gone: too slow";
            return Ok(());
        }
        let (name, said) = line.split_once(": ").expect("who says it comes first");
        let round = said.split(' ').next().expect("a line is not empty");
        let next = self.rounds.entry(name.to_string()).or_default();
        assert_eq!(round, next.to_string(), "{name}: a line is missing");
        *next += 1;
        Ok(())
    }
}
