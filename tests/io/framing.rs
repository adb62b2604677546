//! Frames: wherever the bytes are cut, and whatever a peer claims.

use std::io::ErrorKind;

use bytes::Bytes;
use corering::Lease;
use corering::io::{
    AsyncBufRead, AsyncWrite, Decoder, Encoder, FramedRead, FramedWrite, LengthCodec, LinesCodec,
    PIECE_MAX, duplex,
};
use corering::net::UnixStream;
use proptest::prelude::{Just, any, prop_oneof, proptest};
use proptest::{collection, prop_assert_eq};

use crate::common::{pattern, run};
use crate::{now, poll_once, rest};

fn codecs() -> Vec<LengthCodec> {
    let widths = [1, 2, 4, 8].map(|width| LengthCodec::new().length_bytes(width));
    let both = widths.map(|codec| [codec, codec.little_endian()]);
    both.into_iter().flatten().collect()
}

fn encoded<T, E: Encoder<T>>(mut codec: E, items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        codec.encode(item, &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn frames_come_whole_wherever_they_are_cut() {
    let frames = [pattern(1, 3), Vec::new(), pattern(2, 200), pattern(3, 1)];
    for codec in codecs() {
        let bytes = encoded(codec, &frames);
        let (mut near, far) = duplex(bytes.len());
        let mut reader = FramedRead::new(far, codec);
        let mut got = Vec::new();
        for cut in 0..bytes.len() {
            // Polled and dropped after each byte.
            now(near.write(bytes[cut..=cut].to_vec())).0.unwrap();
            while let Some(frame) = poll_once(reader.next()) {
                got.push((cut, frame.unwrap().unwrap().to_vec()));
            }
        }
        let mut end = 0;
        let ends = frames.iter().map(|frame| {
            end += encoded(codec, [frame]).len();
            (end - 1, frame.clone())
        });
        assert_eq!(got, ends.collect::<Vec<_>>(), "{codec:?}");
    }
}

#[test]
fn two_parts_make_the_same_frames_as_one() {
    let frames = [pattern(1, 30), Vec::new(), pattern(2, 100)];
    for codec in codecs() {
        let bytes = Bytes::from(encoded(codec, &frames));
        for cut in 0..=bytes.len() {
            let (mut near, far) = duplex(1000);
            let mut reader = FramedRead::new(far, codec);
            now(near.write_all(bytes.slice(..cut))).0.unwrap();
            let mut got = Vec::new();
            while let Some(frame) = poll_once(reader.next()) {
                got.push(frame.unwrap().unwrap().to_vec());
            }
            now(near.write_all(bytes.slice(cut..))).0.unwrap();
            drop(near);
            while let Some(frame) = now(reader.next()).unwrap() {
                got.push(frame.to_vec());
            }
            assert_eq!(got, frames, "{codec:?} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn frames_and_fragments_of_any_size(
        frames in collection::vec(collection::vec(any::<u8>(), 0..300), 0..20),
        cuts in collection::vec(1_usize..400, 1..50),
        which in 0_usize..8,
    ) {
        let codec = codecs()[which];
        let short = frames.iter().map(|frame| &frame[..frame.len().min(255)]);
        let bytes = encoded(codec, short.clone());
        let (mut near, far) = duplex(bytes.len().max(1));
        let mut reader = FramedRead::new(far, codec);
        let (mut got, mut left) = (Vec::new(), &bytes[..]);
        for cut in cuts.iter().cycle() {
            let (part, rest) = left.split_at((*cut).min(left.len()));
            now(near.write_all(part.to_vec())).0.unwrap();
            while let Some(frame) = poll_once(reader.next()) {
                got.push(frame.unwrap().unwrap().to_vec());
            }
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        drop(near);
        prop_assert_eq!(now(reader.next()).unwrap().map(|frame| frame.to_vec()), None);
        prop_assert_eq!(got, short.map(<[u8]>::to_vec).collect::<Vec<_>>());
    }

    /// Nothing that a peer sends makes it panic, wait for too much, or go on after an error.
    #[test]
    fn any_bytes_make_frames_or_an_error(
        bytes in collection::vec(prop_oneof![any::<u8>(), Just(0), Just(255)], 0..200),
        max in 0_usize..100,
        which in 0_usize..8,
    ) {
        let codec = codecs()[which].max_frame(max);
        let mut reader = FramedRead::new(Bytes::from(bytes.clone()), codec);
        let (mut taken, width) = (0, [1, 1, 2, 2, 4, 4, 8, 8][which]);
        loop {
            match now(reader.next()) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= max);
                    taken += width + frame.len();
                }
                Ok(None) => {
                    prop_assert_eq!(taken, bytes.len());
                    break;
                }
                Err(error) => {
                    prop_assert_eq!(now(reader.next()).unwrap_err().kind(), error.kind());
                    prop_assert_eq!(now(rest(&mut reader.into_inner())), &bytes[taken..]);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_hostile_length_is_an_error_before_anything_is_held_for_it() {
    for codec in codecs() {
        let codec = codec.max_frame(200);
        let width = encoded(codec, [""]).len();
        let (mut near, far) = duplex(64);
        now(near.write_all(vec![0xff; width])).0.unwrap();
        let mut reader = FramedRead::new(far, codec);
        for _ in 0..2 {
            let error = now(reader.next()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{codec:?}");
            assert!(error.to_string().contains("the limit is 200"), "{error}");
        }
        // Nothing was taken.
        drop(near);
        assert_eq!(now(rest(&mut reader.into_inner())), vec![0xff; width]);
    }
}

#[test]
fn the_limit_itself_is_allowed_and_one_more_is_not() {
    for codec in codecs() {
        let codec = codec.max_frame(100);
        let bytes = encoded(codec, [vec![1; 100]]);
        let mut reader = FramedRead::new(Bytes::from(bytes), codec);
        assert_eq!(now(reader.next()).unwrap().unwrap().len(), 100);
        let bytes = encoded(codec.max_frame(101), [vec![1; 101]]);
        let mut reader = FramedRead::new(Bytes::from(bytes), codec);
        assert_eq!(
            now(reader.next()).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
}

#[test]
fn a_frame_that_cannot_be_read_back_is_not_written() {
    let mut writer = FramedWrite::new(Vec::new(), LengthCodec::new().length_bytes(1));
    now(writer.send(vec![1; 255])).unwrap();
    let error = now(writer.send(vec![1; 256])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let mut writer = FramedWrite::new(writer.into_inner(), LengthCodec::new().max_frame(3));
    assert!(now(writer.send("abcd")).is_err());
    now(writer.shutdown()).unwrap();
    assert_eq!(writer.into_inner().len(), 256);
}

#[test]
fn limits_that_no_source_can_keep_are_refused() {
    let panics = |make: fn() -> LengthCodec| std::panic::catch_unwind(make).is_err();
    assert!(panics(|| LengthCodec::new().length_bytes(3)));
    assert!(panics(|| LengthCodec::new().length_bytes(0)));
    assert!(panics(|| LengthCodec::new().max_frame(PIECE_MAX)));
    assert!(!panics(|| LengthCodec::new().max_frame(PIECE_MAX - 8)));
}

#[test]
fn the_end_within_a_frame_is_an_error_that_takes_nothing() {
    for codec in codecs() {
        let bytes = Bytes::from(encoded(codec, ["whole", "cut"]));
        let first = encoded(codec, ["whole"]).len();
        for end in first + 1..bytes.len() {
            let mut reader = FramedRead::new(bytes.slice(..end), codec);
            assert_eq!(now(reader.next()).unwrap().as_deref(), Some(&b"whole"[..]));
            for _ in 0..2 {
                let error = now(reader.next()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{codec:?} {end}");
            }
            let left = now(rest(&mut reader.into_inner()));
            assert_eq!(left, bytes.slice(first..end));
        }
    }
}

#[test]
fn lines_are_frames_too_and_the_last_needs_no_end() {
    let text = Bytes::from_static(b"one\r\n\ntwo");
    let mut reader = FramedRead::new(text, LinesCodec::new(5));
    let mut lines = Vec::new();
    while let Some(line) = now(reader.next()).unwrap() {
        lines.push(line);
    }
    assert_eq!(lines, ["one", "", "two"]);
    let mut reader = FramedRead::new(Bytes::from_static(b"12345"), LinesCodec::new(5));
    assert_eq!(
        now(reader.next()).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    let mut writer = FramedWrite::new(Vec::new(), LinesCodec::new(5));
    for bad in ["12345", "a\nb", "\n"] {
        let error = now(writer.send(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
    }
    now(writer.send("1234")).unwrap();
    assert_eq!(writer.into_inner(), b"1234\n");
}

/// Finds frames of the length that it is told to.
struct Claims(usize);

impl Decoder for Claims {
    type Item = Lease;

    fn find(&self, bytes: &[u8], seen: usize) -> std::io::Result<Option<usize>> {
        assert!(seen < bytes.len(), "asked again about the same bytes");
        Ok((bytes.len() >= 2).then_some(self.0))
    }

    fn decode(&mut self, frame: Lease) -> std::io::Result<Lease> {
        Ok(frame)
    }

    fn find_last(&self, _: &[u8]) -> std::io::Result<usize> {
        Ok(self.0)
    }
}

#[test]
fn a_codec_that_claims_nonsense_gets_an_error_or_what_there_is() {
    let mut reader = FramedRead::new(Bytes::from_static(b"abc"), Claims(0));
    assert_eq!(
        now(reader.next()).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    let mut reader = FramedRead::new(Bytes::from_static(b"abc"), Claims(1000));
    assert_eq!(&*now(reader.next()).unwrap().unwrap(), b"abc");
    let mut reader = FramedRead::new(Bytes::from_static(b"a"), Claims(0));
    assert_eq!(&*now(reader.next()).unwrap().unwrap(), b"a");
}

#[test]
fn a_frame_that_came_in_one_piece_is_not_copied() {
    run(async {
        let (a, mut b) = UnixStream::pair().unwrap();
        a.write_all("\x03abc\x03def").await.0.unwrap();
        let shown = AsyncBufRead::fill_buf(&mut b).await.unwrap();
        let mut reader = FramedRead::new(b, LengthCodec::new().length_bytes(1));
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!(
            (&*frame, frame.as_ptr()),
            (&b"abc"[..], shown[1..].as_ptr())
        );
    });
}
