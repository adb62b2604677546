//! Connecting to a host of several addresses, some of which may not answer.
//!
//! As RFC 8305 has it: the families take turns, beginning with that of the resolver's first
//! address; while one attempt is in doubt the next is begun 250 ms later, and at once when one has
//! failed. The first that connects wins, and the others are cancelled.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::connect::Connect;
use super::socket::TcpSocket;
use super::stream::TcpStream;
use crate::time::{Instant, Sleep, sleep};

/// RFC 8305, section 8.
const STAGGER: Duration = Duration::from_millis(250);
/// A host with more addresses than that has to wait for one of these to fail.
const AT_ONCE: usize = 8;

/// A connection to one of the addresses; the error of the attempt that failed last otherwise.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [address] = addresses[..] {
        return attempt(address)?.await;
    }
    let mut race = Race {
        waiting: taking_turns(addresses),
        attempts: Vec::new(),
        last: io::Error::new(io::ErrorKind::InvalidInput, "the host has no address"),
    };
    let mut stagger = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| race.poll(stagger.as_mut(), cx)).await
}

struct Race {
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<Connect>,
    last: io::Error,
}

impl Race {
    fn poll(
        &mut self,
        mut stagger: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<TcpStream>> {
        loop {
            let before = self.attempts.len();
            if let Some(stream) = self.finished(cx) {
                return Poll::Ready(Ok(stream));
            }
            if self.waiting.is_empty() && self.attempts.is_empty() {
                let none = io::Error::from_raw_os_error(libc::ECANCELED);
                return Poll::Ready(Err(std::mem::replace(&mut self.last, none)));
            }
            let has_failed = self.attempts.len() < before;
            let may_begin = self.attempts.len() < AT_ONCE && !self.waiting.is_empty();
            if !may_begin || !has_failed && stagger.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            stagger.as_mut().reset(Instant::now() + STAGGER);
            self.begin_next();
        }
    }

    fn finished(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let mut n = 0;
        while let Some(attempt) = self.attempts.get_mut(n) {
            match Pin::new(attempt).poll(cx) {
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(e)) => {
                    self.last = e;
                    drop(self.attempts.remove(n));
                }
                Poll::Pending => n += 1,
            }
        }
        None
    }

    fn begin_next(&mut self) {
        let Some(address) = self.waiting.pop_front() else {
            return;
        };
        match attempt(address) {
            Ok(attempt) => self.attempts.push(attempt),
            Err(e) => self.last = e,
        }
    }
}

fn attempt(address: SocketAddr) -> io::Result<Connect> {
    Ok(TcpSocket::for_address(&address)?.connect(address))
}

/// The addresses in their order, but one of each family after the other.
fn taking_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = VecDeque::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_and_keep_their_order() {
        let parse = |text: &str| -> Vec<SocketAddr> {
            let parsed = text.split(' ').map(|text| text.parse());
            parsed.collect::<Result<_, _>>().unwrap()
        };
        let turns = taking_turns(parse("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1"));
        assert_eq!(turns, parse("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        let turns = taking_turns(parse("1.1.1.1:1 [::1]:1 [::2]:1"));
        assert_eq!(turns, parse("1.1.1.1:1 [::1]:1 [::2]:1"));
    }
}
