//! What one node has promised and stored, on its disk before anybody hears of it.
//!
//! * A term is promised once, to one candidate, and nothing older is stored afterwards. As two
//!   majorities share a node, a term has at most one primary, and who is elected hears of whatever
//!   a majority has stored.
//! * Whoever is told "stored" or "granted" may rely on it after a power failure. If the disk fails,
//!   the task ends and the process with it: nobody knows then what the disk holds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::fs::{self, File};
use corering::sync::{mpsc, oneshot};
use corering::time::Instant;
use serde::{Deserialize, Serialize};

/// The counter, and what its clients were told: all of what is replicated.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counter {
    value: u64,
    /// The last request of each client, and the value that it gave.
    clients: BTreeMap<u64, (u64, u64)>,
}

impl Counter {
    /// Counts a request that was not counted before: the value that it gives or gave.
    pub(crate) fn increment(&mut self, client: u64, request: u64) -> u64 {
        let last = self.clients.entry(client).or_default();
        if request > last.0 {
            self.value += 1;
            *last = (request, self.value);
        }
        last.1
    }
}

/// A counter as the primary of `term` has made it. The newer of two holds all that the older does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Version {
    pub(crate) term: u64,
    pub(crate) number: u64,
    pub(crate) counter: Counter,
}

impl Version {
    pub(crate) fn age(&self) -> (u64, u64) {
        (self.term, self.number)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Message {
    /// `node` wants to be the primary of `term`.
    Vote { term: u64, node: usize },
    /// The primary `node` wants this to be stored.
    Store { version: Version, node: usize },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    /// A vote, with the newest version that the voter has.
    Granted(Version),
    Stored,
    /// This term is promised already.
    Refused(u64),
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct OnDisk {
    promised: u64,
    version: Version,
}

/// A node's own part of what all of them keep.
pub(crate) struct Replica {
    directory: PathBuf,
    on_disk: OnDisk,
    votes_are_durable: bool,
    /// Who was heard of as primary or candidate, and when.
    pub(crate) leader: Rc<Cell<Option<(usize, Instant)>>>,
}

pub(crate) type Asked = (Message, oneshot::Sender<Answer>);

impl Replica {
    /// Reads what `directory` holds.
    pub(crate) async fn load(directory: &Path, votes_are_durable: bool) -> io::Result<Replica> {
        let on_disk = match fs::read(directory.join("replica")).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => OnDisk::default(),
            bytes => serde_json::from_slice(&bytes?)?,
        };
        let replica = Replica {
            directory: directory.to_owned(),
            on_disk,
            votes_are_durable,
            leader: Rc::default(),
        };
        // What was read may be in memory alone, if the sync has failed that was to make it durable.
        replica.save(&replica.on_disk).await?;
        Ok(replica)
    }

    pub(crate) fn promised(&self) -> u64 {
        self.on_disk.promised
    }

    /// Answers messages in turn, until the disk fails.
    pub(crate) async fn answer_all(mut self, mut asked: mpsc::Receiver<Asked>) -> io::Result<()> {
        while let Some((message, answer)) = asked.recv().await {
            let reply = match message {
                Message::Vote { term, node } => self.vote(term, node).await?,
                Message::Store { version, node } => self.store(version, node).await?,
            };
            // Whoever has gone away meanwhile does not want to know.
            let _ = answer.send(reply);
        }
        Ok(())
    }

    async fn vote(&mut self, term: u64, node: usize) -> io::Result<Answer> {
        if term <= self.on_disk.promised {
            return Ok(Answer::Refused(self.on_disk.promised));
        }
        let promising = OnDisk {
            promised: term,
            ..self.on_disk.clone()
        };
        if self.votes_are_durable {
            self.save(&promising).await?;
        }
        self.on_disk = promising;
        self.leader.set(Some((node, Instant::now())));
        Ok(Answer::Granted(self.on_disk.version.clone()))
    }

    async fn store(&mut self, version: Version, node: usize) -> io::Result<Answer> {
        if version.term < self.on_disk.promised {
            return Ok(Answer::Refused(self.on_disk.promised));
        }
        self.leader.set(Some((node, Instant::now())));
        if version.age() > self.on_disk.version.age() {
            let storing = OnDisk {
                promised: version.term,
                version,
            };
            self.save(&storing).await?;
            self.on_disk = storing;
        }
        Ok(Answer::Stored)
    }

    async fn save(&self, on_disk: &OnDisk) -> io::Result<()> {
        let new = self.directory.join("replica.new");
        fs::write(&new, serde_json::to_vec(on_disk)?).await.0?;
        File::open(&new).await?.sync_all().await?;
        fs::rename(&new, self.directory.join("replica")).await?;
        File::open(&self.directory).await?.sync_all().await
    }
}
