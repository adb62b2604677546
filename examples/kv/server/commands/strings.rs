//! `GET`, `MGET`, `MSET`, `APPEND`, `STRLEN`, `GETDEL`.

use super::super::reply::Replies;
use super::super::request::Args;
use super::super::shard::Shard;
use super::super::store::{Deadline, NEVER};

#[inline]
pub(super) fn value(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    match shard.store.value(key) {
        Some(value) => {
            shard.counts.hits += 1;
            value.reply(replies);
        }
        None => {
            shard.counts.misses += 1;
            replies.null();
        }
    }
}

pub(super) fn values(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    replies.array(args.len() - 1);
    for key in args.from(1) {
        let key = shard.store.key(key);
        match shard.store.value(key) {
            Some(value) => value.reply(replies),
            None => replies.null(),
        }
        if replies.is_too_long() {
            return;
        }
    }
}

pub(super) fn set_all(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    for pair in (1..args.len()).step_by(2) {
        let key = shard.store.key(args.at(pair));
        shard
            .store
            .set(key, args.at(pair + 1), Deadline::Set(NEVER));
    }
    replies.ok();
}

pub(super) fn append(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let added = args.at(2);
    let had = shard.store.value(key).map_or(0, |value| value.len());
    if had + added.len() > shard.config.bulk_max {
        let text = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        return replies.error(text);
    }
    shard.store.update(key, |value| value.append(added));
    replies.integer((had + added.len()) as i64);
}

pub(super) fn strlen(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let len = shard.store.value(key).map_or(0, |value| value.len());
    replies.integer(len as i64);
}

pub(super) fn getdel(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    value(shard, args, replies);
    let key = shard.store.key(args.at(1));
    shard.store.remove(key);
}
