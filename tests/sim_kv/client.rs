//! A client that compares every byte that it is sent.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpStream;
use corering::sim::{Fault, Sim};
use corering::time::sleep;
use futures_lite::future::zip;

use super::model::{Asked, Model, bulk, command};

const PIPELINES: u64 = 5;

pub(crate) struct Client {
    sim: Sim,
    stream: TcpStream,
    model: Model,
}

/// How a connection has ended before all was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gone {
    /// In the middle of a reply, or not.
    Ended {
        amid: bool,
    },
    Failed(io::ErrorKind),
}

/// What a client has done.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) answered: usize,
    pub(crate) resets: usize,
}

/// Asks some pipelines, on another connection whenever one is reset, until the server stops.
pub(crate) async fn work(sim: Sim, id: u64, address: SocketAddr, stopping: Rc<Cell<bool>>) -> Work {
    let mut work = Work::default();
    let mut before: Option<(Model, usize)> = None;
    let mut left = 1 + sim.random(PIPELINES);
    while left > 0 {
        let prefix = format!("{id}:{}:", work.resets);
        let mut client = match Client::connect(&sim, address, prefix).await {
            Ok(client) => client,
            Err(_) if stopping.get() => break,
            Err(_) => continue,
        };
        let mut answered = 0;
        let mut gone = match before.take() {
            Some((model, done)) => client.look_back(&model, done).await,
            None => None,
        };
        while gone.is_none() && left > 0 {
            let commands = client.commands(1 + sim.random(20));
            let (_, (replies, end)) = zip(client.write(&commands), client.replies(&commands)).await;
            answered += replies;
            gone = end;
            left -= 1;
        }
        work.answered += answered;
        match gone {
            None => break,
            Some(gone) => assert!(
                gone.is_allowed(&sim, stopping.get()),
                "{gone:?} for no reason"
            ),
        }
        work.resets += 1;
        before = Some((client.model, answered));
    }
    work
}

impl Gone {
    /// A stop ends a connection when what has come is answered; what comes then is reset. A reset
    /// is told once: to a send, and then the receive beside it sees an end.
    fn is_allowed(self, sim: &Sim, stopping: bool) -> bool {
        match self {
            _ if sim.happened(Fault::Reset) > 0 => true,
            Gone::Ended { amid } => stopping && !amid,
            Gone::Failed(_) => stopping,
        }
    }
}

impl Client {
    /// Connects as soon as the server listens. Its keys begin with `prefix`.
    ///
    /// # Errors
    ///
    /// When the server is there no longer.
    pub(crate) async fn connect(
        sim: &Sim,
        address: SocketAddr,
        prefix: String,
    ) -> io::Result<Client> {
        let mut tries = 0;
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(error) if tries == 50 => return Err(error),
                Err(_) => tries += 1,
            }
            sleep(Duration::from_millis(1)).await;
        };
        Ok(Client {
            sim: sim.clone(),
            stream,
            model: Model::new(sim, prefix),
        })
    }

    fn commands(&mut self, count: u64) -> Vec<Asked> {
        (0..count).map(|_| self.model.ask()).collect()
    }

    /// Sends random commands, and reads nothing.
    pub(crate) async fn send(&mut self, count: u64) -> Vec<Asked> {
        let commands = self.commands(count);
        self.write(&commands).await.expect("nothing is reset");
        commands
    }

    /// Sends them in pieces, cut wherever it may be.
    async fn write(&self, commands: &[Asked]) -> io::Result<()> {
        let bytes: Vec<_> = commands.iter().map(|asked| &asked.bytes[..]).collect();
        let bytes = bytes.concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = match self.sim.random(3) {
                0 => rest.len(),
                _ => 1 + self.sim.random(rest.len() as u64) as usize,
            };
            let (piece, others) = rest.split_at(len);
            self.stream.write_all(piece.to_vec()).await.0?;
            rest = others;
            if self.sim.chance(0.3) {
                sleep(Duration::from_micros(self.sim.random(300))).await;
            }
        }
        Ok(())
    }

    /// Takes the replies, and compares them: how many came whole, and why no more.
    pub(crate) async fn replies(&self, commands: &[Asked]) -> (usize, Option<Gone>) {
        let replies: Vec<_> = commands.iter().map(|asked| &asked.reply[..]).collect();
        let expected = replies.concat();
        let mut got = 0;
        let end = loop {
            if got == expected.len() {
                break None;
            }
            match self.stream.recv().await {
                Ok(Some(lease)) => {
                    let due = expected.get(got..got + lease.len());
                    assert!(due == Some(&lease[..]), "another reply at {got}: {lease:?}");
                    got += lease.len();
                }
                Ok(None) => break Some(Gone::Ended { amid: false }),
                Err(error) => break Some(Gone::Failed(error.kind())),
            }
        };
        let (mut whole, mut bytes) = (0, 0);
        while let Some(reply) = replies.get(whole).filter(|it| bytes + it.len() <= got) {
            bytes += reply.len();
            whole += 1;
        }
        let end = end.map(|gone| match gone {
            Gone::Ended { .. } => Gone::Ended { amid: bytes < got },
            failed => failed,
        });
        (whole, end)
    }

    /// What a connection that was reset has left behind: what was answered is done, of the rest a
    /// part, in its order.
    async fn look_back(&mut self, model: &Model, answered: usize) -> Option<Gone> {
        for (key, values) in model.possible(answered) {
            let asked = command(&[b"GET".to_vec(), key]);
            if let Err(error) = self.stream.write_all(asked).await.0 {
                return Some(Gone::Failed(error.kind()));
            }
            let replies: Vec<_> = values.iter().map(|value| bulk(value.as_ref())).collect();
            let mut reply = Vec::new();
            while !replies.contains(&reply) {
                match self.stream.recv().await {
                    Ok(Some(lease)) => reply.extend_from_slice(&lease),
                    Ok(None) => {
                        let amid = !reply.is_empty();
                        return Some(Gone::Ended { amid });
                    }
                    Err(error) => return Some(Gone::Failed(error.kind())),
                }
                let is_possible = replies.iter().any(|other| other.starts_with(&reply));
                assert!(is_possible, "the key never had this value: {reply:?}");
            }
        }
        None
    }

    /// Waits for the end of the stream, before which nothing more comes.
    pub(crate) async fn ended(self) {
        let end = self.stream.recv().await;
        assert!(matches!(end, Ok(None)), "more than was asked: {end:?}");
    }
}
