//! `DEL`, `EXISTS`, `TYPE`.

use super::super::reply::Replies;
use super::super::request::Args;
use super::super::shard::Shard;

pub(super) fn del(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let store = &mut shard.store;
    let gone = args.from(1).filter(|key| store.remove(store.key(key)));
    replies.integer(gone.count() as i64);
}

pub(super) fn exists(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let store = &mut shard.store;
    let there = args.from(1).filter(|key| store.contains(store.key(key)));
    replies.integer(there.count() as i64);
}

pub(super) fn kind(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let kind = if shard.store.contains(key) {
        "string"
    } else {
        "none"
    };
    replies.simple(kind);
}
