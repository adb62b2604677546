//! Replies, taken from a stream one by one.

use std::io::{self, Read};

/// The replies that a server sends.
pub(crate) struct Replies<S> {
    stream: S,
    unread: Vec<u8>,
    at: usize,
}

impl<S: Read> Replies<S> {
    pub(crate) fn new(stream: S) -> Replies<S> {
        Replies {
            stream,
            unread: Vec::new(),
            at: 0,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next reply, all of it; `None` when the server has closed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(len) = reply_len(&self.unread[self.at..]) {
                let reply = self.unread[self.at..self.at + len].to_vec();
                self.at += len;
                return Ok(Some(reply));
            }
            self.unread.drain(..self.at);
            self.at = 0;
            let mut part = [0; 64 * 1024];
            let len = match self.stream.read(&mut part) {
                // A server that closes before it has read everything resets.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                other => other?,
            };
            if len == 0 {
                let rest = String::from_utf8_lossy(&self.unread);
                assert!(rest.is_empty(), "the last reply is not whole: {rest:?}");
                return Ok(None);
            }
            self.unread.extend_from_slice(&part[..len]);
        }
    }
}

/// How long the reply is that the bytes begin with, if it is there whole.
fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|end| end == b"\r\n")? + 2;
    let count = || -> i64 {
        let digits = str::from_utf8(&bytes[1..line - 2]).expect("a length is ASCII");
        digits.parse().expect("a length is a number")
    };
    match bytes[0] {
        b'+' | b'-' | b':' => Some(line),
        b'$' => {
            let body = usize::try_from(count()).map_or(0, |len| len + 2);
            (bytes.len() >= line + body).then_some(line + body)
        }
        b'*' => (0..count()).try_fold(line, |end, _| Some(end + reply_len(&bytes[end..])?)),
        other => panic!("no reply begins with {:?}", char::from(other)),
    }
}
