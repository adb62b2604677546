//! Random reads of random bytes in random parts, each polled once and dropped, against a model:
//! what is ready is what the bytes so far say, and what is not has taken nothing.

use std::io::ErrorKind;

use corering::io::{AsyncBufRead, AsyncWrite, BufReader, duplex};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection, test_runner};

use crate::{now, poll_once};

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    End,
    Exact(usize),
    Until(usize),
    Line(usize),
    Held(usize),
    Recv,
    ToEnd(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let byte = prop_oneof![3 => 97..100_u8, 1 => 10..11_u8, 1 => 13..14_u8];
    let step = prop_oneof![
        6 => collection::vec(byte, 0..12).prop_map(Step::Write),
        1 => any::<bool>().prop_map(|_| Step::End),
        3 => (0..10_usize).prop_map(Step::Exact),
        3 => (0..10_usize).prop_map(Step::Until),
        3 => (0..10_usize).prop_map(Step::Line),
        2 => (0..10_usize).prop_map(Step::Held),
        1 => any::<bool>().prop_map(|_| Step::Recv),
        1 => (0..30_usize).prop_map(Step::ToEnd),
    ];
    collection::vec(step, 1..40)
}

/// What a read gives, in a form that can be compared.
type Outcome = Option<Result<Vec<u8>, ErrorKind>>;

/// The bytes that are written and not taken, and whether there will be more.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    ended: bool,
}

impl Model {
    fn take(&mut self, n: usize) -> Outcome {
        Some(Ok(self.bytes.drain(..n).collect()))
    }

    fn exact(&mut self, n: usize) -> Outcome {
        match self.bytes.len() {
            len if len >= n => self.take(n),
            _ if self.ended => Some(Err(ErrorKind::UnexpectedEof)),
            _ => None,
        }
    }

    fn until(&mut self, max: usize) -> Outcome {
        let looked = self.bytes.len().min(max);
        match self.bytes[..looked].iter().position(|&byte| byte == b'\n') {
            Some(at) => self.take(at + 1),
            None if looked == max && !self.bytes.is_empty() => Some(Err(ErrorKind::InvalidData)),
            None if self.ended => self.take(self.bytes.len()),
            None => None,
        }
    }

    fn line(&mut self, max: usize) -> Outcome {
        let line = self.until(max);
        line.map(|line| {
            line.map(|mut line| {
                if line.pop_if(|last| *last == b'\n').is_some() {
                    line.pop_if(|last| *last == b'\r');
                }
                line
            })
        })
    }

    fn held(&self, n: usize) -> Outcome {
        let there = self.ended || (!self.bytes.is_empty() && self.bytes.len() >= n);
        there.then(|| Ok(self.bytes[..self.bytes.len().min(n)].to_vec()))
    }

    /// Reads what there is, also when it is dropped then.
    fn everything(&mut self, limit: usize) -> (Outcome, Vec<u8>) {
        let all: Vec<_> = self
            .bytes
            .drain(..self.bytes.len().min(limit + 1))
            .collect();
        let outcome = match all.len() {
            len if len > limit => Some(Err(ErrorKind::InvalidData)),
            len if self.ended => Some(Ok(vec![len as u8])),
            _ => None,
        };
        (outcome, all)
    }
}

fn follow<R: AsyncBufRead, W: AsyncWrite>(steps: &[Step], mut from: R, mut to: W) {
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        let (got, expected) = match step {
            Step::Write(bytes) if !model.ended => {
                now(to.write_all(bytes.clone())).0.unwrap();
                model.bytes.extend_from_slice(bytes);
                continue;
            }
            Step::Write(_) => continue,
            Step::End => {
                now(to.shutdown()).unwrap();
                model.ended = true;
                continue;
            }
            Step::Exact(n) => {
                let read = poll_once(from.read_exact(vec![0; *n].into_boxed_slice()));
                let got = read.map(|(result, buf)| result.map(|()| buf.to_vec()));
                (got, model.exact(*n))
            }
            Step::Until(max) => {
                let read = poll_once(from.read_until(b'\n', *max));
                (
                    read.map(|read| read.map(|piece| piece.to_vec())),
                    model.until(*max),
                )
            }
            Step::Line(max) => {
                let at_end = model.ended && model.bytes.is_empty();
                let read = poll_once(from.read_line(*max));
                let bytes = |line: Option<String>| {
                    assert_eq!(line.is_none(), at_end, "step {number} of {steps:?}");
                    line.unwrap_or_default().into_bytes()
                };
                (read.map(|read| read.map(bytes)), model.line(*max))
            }
            Step::Held(n) => {
                let shown = poll_once(from.fill_to(*n));
                let start = |shown: corering::Lease| shown[..shown.len().min(*n)].to_vec();
                (shown.map(|shown| shown.map(start)), model.held(*n))
            }
            Step::Recv => {
                let piece = poll_once(from.recv());
                let Some(piece) = piece.map(|piece| piece.unwrap()) else {
                    assert!(model.bytes.is_empty() && !model.ended, "{steps:?}");
                    continue;
                };
                let piece = piece.unwrap_or_default().to_vec();
                assert!(!piece.is_empty() || (model.ended && model.bytes.is_empty()));
                let expected = model.take(piece.len());
                (Some(Ok(piece)), expected)
            }
            Step::ToEnd(limit) => {
                let mut bytes = Vec::new();
                let got = poll_once(from.read_to_end(&mut bytes, *limit));
                let (expected, all) = model.everything(*limit);
                assert_eq!(bytes, all, "step {number} of {steps:?}");
                (got.map(|got| got.map(|n| vec![n as u8])), expected)
            }
        };
        let got = got.map(|got| got.map_err(|error| error.kind()));
        assert_eq!(got, expected, "step {number} of {steps:?}");
    }
}

proptest! {
    #![proptest_config(test_runner::Config::with_cases(1000))]

    #[test]
    fn a_stream_in_memory_reads_like_its_model(steps in steps()) {
        let (to, from) = duplex(1000);
        follow(&steps, from, to);
    }

    #[test]
    fn a_buffered_reader_reads_like_its_model(steps in steps(), capacity in 1..9_usize) {
        let (to, from) = duplex(1000);
        follow(&steps, BufReader::with_capacity(capacity, from), to);
    }
}
