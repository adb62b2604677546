use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{Args, LINE_MAX, Malformed, Parser};

const BULK_MAX: usize = 1000;

type Command = Vec<Vec<u8>>;

/// What a connection makes of bytes that come in these parts: commands, and the error that ends it.
fn parsed(parts: &[&[u8]]) -> (Vec<Command>, Option<Malformed>) {
    let mut parser = Parser::new(BULK_MAX);
    let (mut begun, mut commands) = (Vec::new(), Vec::new());
    for part in parts {
        begun.extend_from_slice(part);
        loop {
            match parser.parse(&begun) {
                Ok(Some(len)) => {
                    commands.push(owned(&parser.args(&begun)));
                    begun.drain(..len);
                }
                Ok(None) => break,
                Err(malformed) => return (commands, Some(malformed)),
            }
        }
    }
    (commands, None)
}

fn owned(args: &Args<'_>) -> Command {
    args.from(0).map(<[u8]>::to_vec).collect()
}

fn array(command: &Command) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The same as a line: every byte in quotes.
fn line(command: &Command) -> Vec<u8> {
    let words = command.iter().map(|arg| {
        let escaped: String = arg.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"")
    });
    (words.collect::<Vec<_>>().join(" ") + "\r\n").into_bytes()
}

fn command() -> impl Strategy<Value = Command> {
    vec(vec(any::<u8>(), 0..20), 1..5)
}

fn form() -> impl Strategy<Value = fn(&Command) -> Vec<u8>> {
    prop_oneof![
        3 => Just(array as fn(&Command) -> Vec<u8>),
        1 => Just(line as fn(&Command) -> Vec<u8>),
    ]
}

proptest! {
    #[test]
    fn a_stream_is_understood_wherever_it_is_cut(sent in vec((command(), form()), 1..6)) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(command, form)| form(command)).collect();
        let commands: Vec<_> = sent.into_iter().map(|(command, _)| command).collect();
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            prop_assert_eq!(parsed(&[before, after]), (commands.clone(), None), "cut at {}", cut);
        }
        let each: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(parsed(&each), (commands, None));
    }

    #[test]
    fn what_is_broken_is_refused_alike_wherever_it_is_cut(
        sent in vec((command(), form()), 1..4),
        place in any::<proptest::sample::Index>(),
        byte in prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'9')],
    ) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(|(command, form)| form(command)).collect();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let whole = parsed(&[&bytes]);
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            prop_assert_eq!(&parsed(&[before, after]), &whole, "cut at {}", cut);
        }
        let each: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&parsed(&each), &whole);
    }

    #[test]
    fn anything_is_a_command_or_an_error_or_not_whole(bytes in vec(any::<u8>(), 0..300)) {
        let (commands, _) = parsed(&[&bytes]);
        let said: usize = commands.iter().flatten().map(Vec::len).sum();
        prop_assert!(said <= bytes.len());
    }
}

#[test]
fn what_is_no_command_is_named() {
    let refused = |bytes: &[u8]| parsed(&[bytes]).1;
    assert_eq!(refused(b"*x\r\n"), Some(Malformed::ArgsLength));
    assert_eq!(refused(b"*2147483648\r\n"), Some(Malformed::ArgsLength));
    assert_eq!(refused(b"*01\r\n"), Some(Malformed::ArgsLength));
    assert_eq!(refused(b"*1\r\n$-1\r\n"), Some(Malformed::BulkLength));
    assert_eq!(refused(b"*1\r\n$1001\r\n"), Some(Malformed::BulkLength));
    assert_eq!(refused(b"*1\r\n:1\r\n"), Some(Malformed::NoBulk(b':')));
    assert_eq!(refused(b"get \"a\r\n"), Some(Malformed::Quotes));
    assert_eq!(refused(b"get 'a'b\r\n"), Some(Malformed::Quotes));
    // A zero byte ends what is looked at: this is no length yet, and grows too long for one.
    assert_eq!(parsed(&[b"*1\0\r\n"]), (Vec::new(), None));
    assert_eq!(parsed(&[b"ping\0\r\n"]), (Vec::new(), None));
    let long = vec![b'7'; LINE_MAX + 2];
    assert_eq!(refused(&long), Some(Malformed::LineTooLong));
    let after = |start: &[u8]| refused(&[start, &long].concat());
    assert_eq!(after(b"*"), Some(Malformed::ArgsLengthTooLong));
    assert_eq!(after(b"*1\0\r\n"), Some(Malformed::ArgsLengthTooLong));
    assert_eq!(after(b"*1\r\n$"), Some(Malformed::BulkLengthTooLong));
}

#[test]
fn words_are_what_people_type() {
    let words = |line: &[u8]| parsed(&[line]).0.concat();
    assert_eq!(words(b"  set a\t b \r\n"), [&b"set"[..], b"a", b"b"]);
    assert_eq!(
        words(b"a\"b c\"  'd\\'e' \"\"\n"),
        [&b"ab c"[..], b"d'e", b""]
    );
    assert_eq!(words(b"\"\\n\\x41\\q\\\"\"\n"), [&b"\nAq\""[..]]);
    assert_eq!(parsed(&[b"\r\n  \n"]).0, [Command::new(), Command::new()]);
}
