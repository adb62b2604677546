//! `PING`, `ECHO`, `SELECT`, `QUIT`, `CLIENT`: what is about the connection.

use std::fmt::Write;

use super::super::integer;
use super::super::reply::Replies;
use super::super::request::Args;
use super::super::session::Session;
use super::super::shard::{Client, Shard};
use super::{Home, Merge, no_integer, wrong_number};

pub(super) fn ping(_: &mut Session, _: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    match args.len() {
        1 => replies.simple("PONG"),
        2 => replies.bulk(args.at(1)),
        _ => wrong_number("ping", replies),
    }
}

pub(super) fn echo(_: &mut Session, _: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    replies.bulk(args.at(1));
}

/// There is one database.
pub(super) fn select(_: &mut Session, _: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    match integer::parse(args.at(1)).map(i32::try_from) {
        Some(Ok(0)) => replies.ok(),
        Some(Ok(_)) => replies.error(b"ERR DB index is out of range"),
        Some(Err(_)) => {
            let (least, most) = (i32::MIN, i32::MAX);
            let text = format!("ERR value is out of range, value must between {least} and {most}");
            replies.error(text.as_bytes());
        }
        None => no_integer(replies),
    }
}

pub(super) fn quit(session: &mut Session, _: &mut Shard, _: &Args<'_>, replies: &mut Replies) {
    session.closing = true;
    replies.ok();
}

pub(super) fn client(
    session: &mut Session,
    shard: &mut Shard,
    args: &Args<'_>,
    replies: &mut Replies,
) {
    let client = &mut shard.clients[session.slot];
    match (args.at(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"id", 2) => replies.integer(client.id as i64),
        (b"getname", 2) if client.name.is_empty() => replies.null(),
        (b"getname", 2) => replies.bulk(&client.name),
        (b"setname", 3) => {
            let name = args.at(2);
            if name.iter().all(u8::is_ascii_graphic) {
                client.name = name.to_vec();
                return replies.ok();
            }
            let text = b"ERR Client names cannot contain spaces, newlines or special characters.";
            replies.error(text);
        }
        (b"info", 2) => replies.bulk(line(client).as_bytes()),
        (known @ (b"id" | b"getname" | b"setname" | b"info"), _) => {
            wrong_number(&format!("client|{}", known.escape_ascii()), replies);
        }
        _ => unknown_subcommand("CLIENT", args, replies),
    }
}

/// `CLIENT LIST` is about the connections of all cores.
pub(super) const CLIENT_LIST: Home = Home::Everywhere {
    run: list,
    merge: Merge::Text,
};

fn list(shard: &mut Shard, _: &Args<'_>, replies: &mut Replies) {
    let lines: String = shard
        .clients
        .iter()
        .map(|(_, client)| line(client))
        .collect();
    replies.bulk(lines.as_bytes());
}

fn line(client: &Client) -> String {
    let (id, peer, age) = (client.id, client.peer, client.since.elapsed().as_secs());
    let mut line = format!("id={id} addr={peer}");
    if let Ok(local) = client.stream.local_addr() {
        // Writing to a String does not fail.
        let _ = write!(line, " laddr={local}");
    }
    let _ = writeln!(
        line,
        " name={} age={age} db=0 resp=2",
        client.name.escape_ascii()
    );
    line
}

#[cold]
pub(super) fn unknown_subcommand(command: &str, args: &Args<'_>, replies: &mut Replies) {
    let mut message = b"ERR unknown subcommand '".to_vec();
    message.extend(args.at(1).iter().take(128));
    message.extend_from_slice(format!("'. Try {command} HELP.").as_bytes());
    replies.error(&message);
}
