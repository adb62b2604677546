//! Commands whose keys live on other cores.
//!
//! The commands of a connection that came together and belong to another core go there as one
//! [`Batch`], and their replies come back as one message. Where a reply belongs among the others is
//! a [`Hole`], which is filled when all are back. So the commands of a connection are run in their
//! order on each core, and their replies come in theirs; between two cores there is no order.

use std::io;
use std::mem;

use corering::cores::{Core, SpawnOn};

use super::answers::{Answers, Batch, Content, Hole, Unread, fill};
use super::commands::{self, Command, Home, Merge, OnShard};
use super::reply::Replies;
use super::request::{Args, Arguments};
use super::shard::{Shard, ShardRef};

/// Commands of a connection that are on their way to other cores.
const CALLS_MAX: usize = 512;
/// Bytes of their arguments.
const BYTES_MAX: usize = 256 * 1024;

/// What a connection has for other cores, and where their replies belong.
#[derive(Debug)]
pub(crate) struct Remote {
    core: Core,
    batches: Vec<Batch>,
    /// What this core answers to commands that others take part in.
    own: Answers,
    holes: Vec<Hole>,
    bytes: usize,
}

impl Remote {
    pub(crate) fn new(core: Core) -> Remote {
        let batches = (0..core.count()).map(|_| Batch::default()).collect();
        Remote {
            core,
            batches,
            own: Answers::default(),
            holes: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether replies are missing.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.holes.is_empty()
    }

    /// Whether nothing more should be added before the replies are there.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.holes.len() >= CALLS_MAX || self.bytes >= BYTES_MAX
    }

    /// Runs a command here if its keys are here, and otherwise leaves it to the cores that have
    /// them. `home` is the command's.
    pub(crate) fn route(
        &mut self,
        shard: &mut Shard,
        command: &'static Command,
        home: Home,
        args: &Args<'_>,
        replies: &mut Replies,
    ) {
        match home {
            Home::Connection(_) => unreachable!("it is run where its connection is"),
            Home::Key(run) | Home::Keys { run, .. } if self.core.count() == 1 => {
                command.run(run, shard, args, replies);
            }
            Home::Key(run) => {
                let owner = self.owner(shard, args.at(1));
                if owner == self.core.index() {
                    return command.run(run, shard, args, replies);
                }
                self.call(owner, command, run, args.from(0));
                self.hole(replies, Content::Answer(owner));
            }
            Home::Keys { run, step, merge } => {
                let owners: Vec<_> = (1..args.len())
                    .step_by(step)
                    .map(|at| self.owner(shard, args.at(at)))
                    .collect();
                if owners.iter().all(|&owner| owner == self.core.index()) {
                    return command.run(run, shard, args, replies);
                }
                match merge {
                    Merge::Values => self.values(shard, args, &owners, replies),
                    _ => self.split(shard, command, args, &owners, replies),
                }
            }
            Home::Everywhere { run, merge } => {
                let all: Vec<_> = (0..self.core.count()).collect();
                for &core in &all {
                    if core == self.core.index() {
                        self.own.run(command, run, shard, args);
                    } else {
                        self.call(core, command, run, args.from(0));
                    }
                }
                let content = match merge {
                    Merge::Info => Content::Info(args.from(0).collect(), all),
                    merge => Content::Merged(merge, all),
                };
                self.hole(replies, content);
            }
        }
    }

    /// Each value is an answer of its own, in its place.
    fn values(
        &mut self,
        shard: &mut Shard,
        args: &Args<'_>,
        owners: &[usize],
        replies: &mut Replies,
    ) {
        let one = commands::find(b"get").expect("it is in the table");
        let Home::Key(run) = one.home else {
            unreachable!("it has one key");
        };
        replies.array(owners.len());
        for (key, &owner) in args.from(1).zip(owners) {
            if owner == self.core.index() {
                let pair: Arguments = [one.name.as_bytes(), key].into_iter().collect();
                one.run(run, shard, &pair.all(), replies);
            } else {
                self.call(owner, one, run, [one.name.as_bytes(), key].into_iter());
                self.hole(replies, Content::Answer(owner));
            }
        }
    }

    /// Every core is given its keys, and what belongs to them.
    fn split(
        &mut self,
        shard: &mut Shard,
        command: &'static Command,
        args: &Args<'_>,
        owners: &[usize],
        replies: &mut Replies,
    ) {
        let Home::Keys { run, step, merge } = command.home else {
            unreachable!("it has several keys");
        };
        let mut cores = owners.to_vec();
        cores.sort_unstable();
        cores.dedup();
        for &core in &cores {
            let theirs = owners
                .iter()
                .enumerate()
                .filter(|&(_, &owner)| owner == core);
            let theirs = theirs.flat_map(|(place, _)| {
                let first = 1 + place * step;
                (first..first + step).map(|at| args.at(at))
            });
            let part = [command.name.as_bytes()].into_iter().chain(theirs);
            if core == self.core.index() {
                let part: Arguments = part.collect();
                self.own.run(command, run, shard, &part.all());
            } else {
                self.call(core, command, run, part);
            }
        }
        self.hole(replies, Content::Merged(merge, cores));
    }

    /// The core that has a key. It goes by other bits of the hash than the table does.
    #[inline]
    fn owner(&self, shard: &Shard, key: &[u8]) -> usize {
        let bits = u64::from((shard.store.key(key).hash >> 16) as u32);
        ((bits * self.core.count() as u64) >> 32) as usize
    }

    fn call<'a>(
        &mut self,
        core: usize,
        command: &'static Command,
        run: OnShard,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        self.bytes += self.batches[core].push(command, run, args);
    }

    fn hole(&mut self, replies: &Replies, content: Content) {
        let at = replies.len();
        self.holes.push(Hole { at, content });
    }

    /// Sends what there is for other cores, and waits until every hole is filled.
    pub(crate) async fn fill(&mut self, shard: &ShardRef, replies: &mut Replies) -> io::Result<()> {
        let sent: Vec<Option<SpawnOn<Option<Answers>>>> = self
            .batches
            .iter_mut()
            .enumerate()
            .map(|(core, batch)| {
                let batch = mem::take(batch);
                let wanted = !batch.is_empty();
                wanted.then(|| self.core.spawn_on(core, || async { batch.run() }))
            })
            .collect();
        self.bytes = 0;
        let mut unread = Vec::with_capacity(sent.len());
        for (core, sent) in sent.into_iter().enumerate() {
            let answers = match sent {
                Some(sent) => sent
                    .await
                    .map_err(io::Error::other)?
                    .ok_or_else(not_there)?,
                None if core == self.core.index() => mem::take(&mut self.own),
                None => Answers::default(),
            };
            if answers.is_too_long() {
                return Err(io::Error::other("a reply of more than 1 GiB"));
            }
            unread.push(Unread::from(answers));
        }
        let holes = mem::take(&mut self.holes);
        fill(holes, &mut unread, &shard.borrow(), replies);
        Ok(())
    }
}

fn not_there() -> io::Error {
    io::Error::other("the core that has the key has not begun to serve, or has ended")
}
