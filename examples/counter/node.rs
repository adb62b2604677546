//! A node of the counter. Any of them may be asked to increment it: one that has not heard of a
//! primary for a while has itself elected.
//!
//! The primary of a term was elected by a majority, and begins with the newest version that these
//! have. It answers a client when a majority has stored the version that counts its request. When
//! it does not get that majority it is primary no more; the request may count or not, and the
//! client asks again, with the same number.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::sync::{Mutex, mpsc, oneshot};
use corering::time::{Instant, timeout};
use futures_util::{FutureExt, select_biased};
use serde::{Deserialize, Serialize};

use crate::json_lines;
use crate::replica::{Answer, Asked, Message, Replica, Version};

/// How long another node may take to answer.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a primary that was heard of is taken to be there.
const TRUST: Duration = Duration::from_millis(100);
/// Messages that wait for the disk.
const QUEUE: usize = 64;

/// A node's place among the others.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Which of `addresses` is its own.
    pub(crate) node: usize,
    pub(crate) addresses: Vec<String>,
    pub(crate) directory: PathBuf,
    /// Nodes that have stored a version before a client is answered. Less than a majority is for
    /// counters that may forget.
    pub(crate) copies: usize,
    /// Whether a node remembers its votes when its power has failed.
    pub(crate) votes_are_durable: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Request {
    /// The n-th request of a client, which has the answer to the one before.
    Increment {
        client: u64,
        n: u64,
    },
    Node(Message),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Reply {
    /// The request gave this value, says the primary of `term`.
    Counted {
        term: u64,
        value: u64,
    },
    /// Ask that node.
    Elsewhere(usize),
    /// Ask again, here or elsewhere: it is not known whether the request counts.
    Unknown,
    Node(Answer),
}

struct Node {
    config: Config,
    own: mpsc::Sender<Asked>,
    leader: Rc<Cell<Option<(usize, Instant)>>>,
    /// The highest term that it has heard of.
    term: Cell<u64>,
    /// The last version that it has made, while it is primary.
    primary: Mutex<Option<Version>>,
}

/// Runs a node until its disk fails. Then it has to be started again.
pub(crate) async fn serve(config: Config) -> io::Result<()> {
    let replica = Replica::load(&config.directory, config.votes_are_durable).await?;
    let listener = TcpListener::bind(&*config.addresses[config.node]).await?;
    let (own, asked) = mpsc::channel(QUEUE);
    let node = Rc::new(Node {
        config,
        own,
        leader: Rc::clone(&replica.leader),
        term: Cell::new(replica.promised()),
        primary: Mutex::new(None),
    });
    let mut keeping = corering::spawn(replica.answer_all(asked)).fuse();
    loop {
        select_biased! {
            ended = keeping => return ended.map_err(io::Error::other)?,
            accepted = listener.accept().fuse() => if let Ok((stream, _)) = accepted {
                corering::spawn(converse(Rc::clone(&node), stream));
            },
        }
    }
}

async fn converse(node: Rc<Node>, stream: TcpStream) -> io::Result<()> {
    while let Some(request) = json_lines::receive(&stream).await? {
        let reply = match request {
            Request::Increment { client, n } => node.increment(client, n).await,
            Request::Node(message) => Reply::Node(node.ask_own(message).await?),
        };
        json_lines::send(&stream, &reply).await?;
    }
    Ok(())
}

/// One question to a node, on a connection of its own.
pub(crate) async fn ask(address: &str, request: &Request) -> io::Result<Reply> {
    let stream = TcpStream::connect(address).await?;
    json_lines::send(&stream, request).await?;
    let reply = json_lines::receive(&stream).await?;
    reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Node {
    async fn increment(self: &Rc<Self>, client: u64, n: u64) -> Reply {
        let mut primary = self.primary.lock().await;
        // Taken until enough have the next version: if that fails, it is primary no more.
        let mut version = match primary.take() {
            Some(version) => version,
            None => match self.leader.get() {
                Some((node, heard)) if node != self.config.node && heard.elapsed() < TRUST => {
                    return Reply::Elsewhere(node);
                }
                _ => match self.elected().await {
                    Some(version) => version,
                    None => return Reply::Unknown,
                },
            },
        };
        // A new version also for what was counted before: the old one may not have a majority.
        version.number += 1;
        let value = version.counter.increment(client, n);
        let (term, node) = (version.term, self.config.node);
        let message = Message::Store {
            version: version.clone(),
            node,
        };
        if self.ask_all(message, self.config.copies).await.is_none() {
            return Reply::Unknown;
        }
        *primary = Some(version);
        Reply::Counted { term, value }
    }

    /// Stands for the next term: the version to begin with, if a majority has voted for it.
    async fn elected(self: &Rc<Self>) -> Option<Version> {
        let (term, node) = (self.term.get() + 1, self.config.node);
        self.term.set(term);
        let majority = self.config.addresses.len() / 2 + 1;
        let votes = self.ask_all(Message::Vote { term, node }, majority).await?;
        let versions = votes.into_iter().filter_map(|vote| match vote {
            Answer::Granted(version) => Some(version),
            _ => None,
        });
        let newest = versions.max_by_key(Version::age)?;
        Some(Version {
            term,
            number: 0,
            counter: newest.counter,
        })
    }

    /// Asks every node, itself too, until `enough` have agreed. `None` if they do not.
    async fn ask_all(self: &Rc<Self>, message: Message, enough: usize) -> Option<Vec<Answer>> {
        let (answering, mut answers) = mpsc::channel(self.config.addresses.len());
        for to in 0..self.config.addresses.len() {
            let (node, message) = (Rc::clone(self), message.clone());
            let answering = answering.clone();
            // Tasks of their own: the slowest gets the message, too.
            corering::spawn(async move {
                if let Ok(Ok(answer)) = timeout(PATIENCE, node.ask_one(to, message)).await {
                    let _ = answering.send(answer).await;
                }
            });
        }
        drop(answering);
        let mut agreed = Vec::new();
        while agreed.len() < enough {
            match answers.recv().await? {
                Answer::Refused(term) => self.term.set(self.term.get().max(term)),
                answer => agreed.push(answer),
            }
        }
        Some(agreed)
    }

    async fn ask_one(&self, to: usize, message: Message) -> io::Result<Answer> {
        if to == self.config.node {
            return self.ask_own(message).await;
        }
        match ask(&self.config.addresses[to], &Request::Node(message)).await? {
            Reply::Node(answer) => Ok(answer),
            other => Err(io::Error::other(format!("{other:?} is no answer"))),
        }
    }

    async fn ask_own(&self, message: Message) -> io::Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let asked = self.own.send((message, answer)).await;
        asked.map_err(|gone| io::Error::other(gone.to_string()))?;
        answered.await.map_err(io::Error::other)
    }
}
