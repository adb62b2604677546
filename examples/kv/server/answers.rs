//! What cores run for each other, and how replies are put together of what they answer.

use super::commands::{Command, Merge, OnShard, info_text};
use super::reply::{Reading, Replies};
use super::request::{Args, Arguments};
use super::shard::{self, Shard};

/// Commands for one core.
#[derive(Debug, Default)]
pub(super) struct Batch {
    arguments: Arguments,
    calls: Vec<Call>,
}

/// A command with `count` arguments from `first` on among those of its batch.
#[derive(Clone, Copy, Debug)]
struct Call {
    command: &'static Command,
    run: OnShard,
    first: usize,
    count: usize,
}

/// The replies of one core, one behind the other, and where each of them ends.
#[derive(Debug, Default)]
pub(super) struct Answers {
    replies: Replies,
    ends: Vec<usize>,
}

/// Answers that are taken one by one.
#[derive(Debug)]
pub(super) struct Unread {
    replies: Reading,
    ends: std::vec::IntoIter<usize>,
}

/// Something that is missing among replies.
#[derive(Debug)]
pub(super) struct Hole {
    /// How much comes before it.
    pub(super) at: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The next answer of that core.
    Answer(usize),
    /// What the next answers of these cores are together.
    Merged(Merge, Vec<usize>),
    /// The same for `INFO`, with what was asked.
    Info(Arguments, Vec<usize>),
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Adds a command; returns how many bytes that took.
    pub(super) fn push<'a>(
        &mut self,
        command: &'static Command,
        run: OnShard,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> usize {
        let (first, before) = (self.arguments.len(), self.arguments.bytes());
        args.for_each(|arg| self.arguments.push(arg));
        self.calls.push(Call {
            command,
            run,
            first,
            count: self.arguments.len() - first,
        });
        self.arguments.bytes() - before
    }

    /// Runs all commands on the keys of the core that this is called on. `None` if nothing is
    /// served there.
    pub(super) fn run(self) -> Option<Answers> {
        let shard = shard::here()?;
        let shard = &mut *shard.borrow_mut();
        let mut answers = Answers::default();
        for call in &self.calls {
            let args = self.arguments.args(call.first, call.count);
            answers.run(call.command, call.run, shard, &args);
        }
        Some(answers)
    }
}

impl Answers {
    pub(super) fn is_too_long(&self) -> bool {
        self.replies.is_too_long()
    }

    /// Runs one command and keeps what it answers.
    pub(super) fn run(
        &mut self,
        command: &Command,
        run: OnShard,
        shard: &mut Shard,
        args: &Args<'_>,
    ) {
        command.run(run, shard, args, &mut self.replies);
        self.ends.push(self.replies.len());
    }
}

impl From<Answers> for Unread {
    fn from(answers: Answers) -> Unread {
        Unread {
            replies: answers.replies.into(),
            ends: answers.ends.into_iter(),
        }
    }
}

impl Unread {
    fn next(&mut self, replies: &mut Replies) {
        let end = self.ends.next().expect("every call was answered");
        self.replies.copy_until(end, replies);
    }

    /// For short ones.
    fn next_bytes(&mut self) -> Vec<u8> {
        let mut replies = Replies::default();
        self.next(&mut replies);
        replies.take_tail()
    }
}

/// Puts what was answered where it was missing.
pub(super) fn fill(holes: Vec<Hole>, unread: &mut [Unread], shard: &Shard, replies: &mut Replies) {
    let mut around = Reading::from(std::mem::take(replies));
    for hole in holes {
        around.copy_until(hole.at, replies);
        match hole.content {
            Content::Answer(core) => unread[core].next(replies),
            Content::Merged(merge, cores) => {
                let answers = cores.iter().map(|&core| unread[core].next_bytes());
                merged(merge, &answers.collect::<Vec<_>>(), replies);
            }
            Content::Info(asked, cores) => {
                let answers = cores.iter().map(|&core| unread[core].next_bytes());
                let sums = sums(&answers.collect::<Vec<_>>());
                replies.bulk(info_text(shard, &asked.all(), &sums).as_bytes());
            }
        }
    }
    around.copy_rest(replies);
}

fn merged(merge: Merge, answers: &[Vec<u8>], replies: &mut Replies) {
    // What goes wrong on one core is the answer.
    if let Some(error) = answers.iter().find(|answer| answer.starts_with(b"-")) {
        return replies.raw(error);
    }
    match merge {
        Merge::Sum => replies.integer(sums(answers).iter().sum()),
        Merge::Text => {
            let texts = answers.iter().map(|answer| bulk(answer));
            replies.bulk(&texts.collect::<Vec<_>>().concat());
        }
        Merge::Same | Merge::Values | Merge::Info => {
            replies.raw(answers.first().expect("there is one core at least"));
        }
    }
}

/// The numbers of all answers, added up place by place.
fn sums(answers: &[Vec<u8>]) -> Vec<i64> {
    let mut sums: Vec<i64> = Vec::new();
    for answer in answers {
        let lines = answer.split(|&byte| byte == b'\n');
        let numbers = lines.filter_map(|line| line.strip_prefix(b":")?.strip_suffix(b"\r"));
        for (place, number) in numbers.enumerate() {
            let number = super::integer::parse(number).expect("it was written as one");
            match sums.get_mut(place) {
                Some(sum) => *sum = sum.saturating_add(number),
                None => sums.push(number),
            }
        }
    }
    sums
}

/// What a bulk reply is around.
fn bulk(reply: &[u8]) -> &[u8] {
    let start = reply.iter().position(|&byte| byte == b'\n');
    &reply[start.map_or(0, |end| end + 1)..reply.len() - 2]
}
