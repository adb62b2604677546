//! Records and datagrams between two tasks of one host: each comes whole, once and in order.

use std::cell::RefCell;
use std::convert::identity;
use std::io;
use std::rc::Rc;

use corering::fs;
use corering::net::{Control, UnixDatagram, UnixSeqpacket, UnixSeqpacketListener};
use corering::task::yield_now;
use futures_util::join;

use super::fate::{Fate, Fated};
use super::pattern::Pattern;
use super::random::Random;
use super::scene::{Failure, Scene};

/// Messages of a conversation, at most.
const MESSAGES: u64 = 64;
/// Bytes of one, less than the smallest buffer holds.
const LONGEST: u64 = 2048;
/// Says that there are no more datagrams: no other one is as short.
const LAST: &[u8] = b".";

/// Sends at random, and receives what was sent. `connected`: records, which have an end.
pub(crate) async fn exchange(scene: Rc<Scene>, id: u64, mut random: Random, connected: bool) {
    let (scene, sent) = (&*scene, RefCell::new(Vec::new()));
    let sides = Sides {
        scene,
        pattern: Pattern::new(id, 2),
        sent: &sent,
    };
    let (sending, receiving) = (random.fork(), random.fork());
    let received = if connected {
        let pair = match random.one_in(3) {
            true => met(id).await,
            false => UnixSeqpacket::pair(),
        };
        let (a, b) = match pair {
            Ok(pair) => pair,
            Err(error) => {
                scene.failed("pair", &error, false, None);
                return;
            }
        };
        join!(sides.send_records(a, sending), sides.records(b, receiving)).1
    } else {
        let Ok((a, b)) = UnixDatagram::pair() else {
            return scene.violation("no pair of datagrams");
        };
        join!(
            sides.send_datagrams(a, sending),
            sides.datagrams(b, receiving)
        )
        .1
    };
    let sent = sent.take();
    // An error that a dropped send had is told to nobody.
    let fine = match scene.is_quiet() {
        true => received == sent,
        false => received.is_sorted() && received.iter().all(|number| sent.contains(number)),
    };
    if !fine {
        scene.violation(format!("messages {received:?} came of {sent:?}"));
    }
}

/// Two sockets of records that have met at a listener.
async fn met(id: u64) -> io::Result<(UnixSeqpacket, UnixSeqpacket)> {
    let path = format!("/{id:x}");
    let listener = UnixSeqpacketListener::bind(&path)?;
    let near = UnixSeqpacket::connect(&path).await?;
    let (far, _) = listener.accept().await?;
    fs::remove_file(path).await?;
    Ok((near, far))
}

struct Sides<'a> {
    scene: &'a Scene,
    pattern: Pattern,
    /// The numbers of those that were sent, or may have been if something has failed.
    sent: &'a RefCell<Vec<u64>>,
}

impl Sides<'_> {
    /// A message says its number.
    fn message(&self, number: u64, random: &mut Random) -> Vec<u8> {
        let (head, len) = (number.to_le_bytes(), random.size(LONGEST));
        self.pattern.bytes_behind(&head, number, len)
    }

    /// Enters what came of a send. False if there is nobody to send to any more.
    fn entered<B>(&self, number: u64, fate: Fate, fated: Fated<(io::Result<usize>, B)>) -> bool {
        match fated {
            Fated::Unpolled => true,
            Fated::Done((Err(error), _)) => {
                self.scene.failed("send", &error, fate.may_end_it(), None) == Failure::Ended
            }
            // It had its turn at once, so it goes on to its end.
            Fated::Done((Ok(_), _)) | Fated::Dropped => {
                self.sent.borrow_mut().push(number);
                true
            }
        }
    }

    async fn send_records(&self, socket: UnixSeqpacket, mut random: Random) {
        for number in 0..random.below(MESSAGES) {
            let fate = Fate::random(&mut random, self.scene.style.ends);
            let message = self.message(number, &mut random);
            let fated = match random.one_in(4) {
                true => {
                    let sending = socket.send_msg(message, Control::new());
                    fate.of(sending, identity).await
                }
                false => fate.of(socket.send(message), identity).await,
            };
            let dropped = matches!(fated, Fated::Dropped);
            if !self.entered(number, fate, fated) {
                break;
            }
            if dropped {
                // Whether the next one had its turn when it was dropped would not be known.
                let (sent, _) = socket.send(Vec::<u8>::new()).await;
                if let Err(error) = sent {
                    self.scene.failed("send", &error, false, None);
                }
            }
        }
        if let Err(error) = socket.close().await {
            self.scene.failed("close", &error, false, None);
        }
    }

    async fn send_datagrams(&self, socket: UnixDatagram, mut random: Random) {
        for number in 0..random.below(MESSAGES) {
            let fate = Fate::random(&mut random, self.scene.style.ends).or_await();
            let message = self.message(number, &mut random);
            let fated = match random.one_in(4) {
                true => {
                    let sending = socket.send_msg(message, Control::new());
                    fate.of(sending, identity).await
                }
                false => fate.of(socket.send(message), identity).await,
            };
            self.entered(number, fate, fated);
        }
        while let Err(error) = socket.send(LAST).await.0 {
            self.scene.failed("send", &error, false, None);
            yield_now().await;
        }
    }

    /// The number of a message, whose bytes are looked at. `None` if it has none.
    fn number(&self, bytes: &[u8]) -> Option<u64> {
        let (number, rest) = bytes.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        if self.pattern.wrong(number, rest).is_some() {
            self.scene
                .violation(format!("message {number} has other bytes"));
        }
        Some(number)
    }

    async fn records(&self, socket: UnixSeqpacket, mut random: Random) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let fate = Fate::random(&mut random, self.scene.style.ends);
            let record = match random.one_in(2) {
                true => match fate.of(socket.recv(), identity).await {
                    Fated::Done(record) => record.map(|it| it.map(|it| it.payload.to_vec())),
                    _ => continue,
                },
                false => {
                    let room = Vec::with_capacity(2 * LONGEST as usize);
                    match fate.of(socket.recv_into(room), identity).await {
                        Fated::Done((record, buf)) => record.map(|it| it.map(|_| buf)),
                        _ => continue,
                    }
                }
            };
            match record {
                Ok(Some(record)) => numbers.extend(self.number(&record)),
                Ok(None) => return numbers,
                Err(error) => {
                    self.scene.failed("recv", &error, fate.may_end_it(), None);
                }
            }
        }
    }

    async fn datagrams(&self, socket: UnixDatagram, mut random: Random) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let fate = Fate::random(&mut random, self.scene.style.ends);
            match fate.of(socket.recv(), identity).await {
                Fated::Done(Ok(message)) if *message.payload == *LAST => return numbers,
                Fated::Done(Ok(message)) => numbers.extend(self.number(&message.payload)),
                Fated::Done(Err(error)) => {
                    self.scene.failed("recv", &error, fate.may_end_it(), None);
                }
                _ => {}
            }
        }
    }
}
