//! Requests as they come: RESP arrays and lines of words, cut anywhere.
//!
//! A [`Parser`] is shown the bytes of one command, from its first one, and more of them each time
//! that some are missing. It remembers how far it has come and where the arguments are, so that
//! nothing is looked at twice, and copies nothing: [`Args`] lie in the bytes that it was shown.
//! Only the words of a line are copied, since they may have quotes in them.

use super::integer;
use super::words;

/// Bytes that a line, or a length, may have before its end is there.
const LINE_MAX: usize = 64 * 1024;
/// Arguments that a command may have.
const ARGS_MAX: i64 = i32::MAX as i64;

/// Why a connection cannot be understood any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Malformed {
    ArgsLength,
    ArgsLengthTooLong,
    BulkLength,
    BulkLengthTooLong,
    NoBulk(u8),
    LineTooLong,
    Quotes,
}

impl Malformed {
    /// What Redis tells the client before it closes.
    pub(crate) fn message(self) -> Vec<u8> {
        let text = match self {
            Malformed::ArgsLength => "invalid multibulk length",
            Malformed::ArgsLengthTooLong => "too big mbulk count string",
            Malformed::BulkLength => "invalid bulk length",
            Malformed::BulkLengthTooLong => "too big bulk count string",
            Malformed::NoBulk(found) => {
                let mut message = b"ERR Protocol error: expected '$', got '".to_vec();
                message.extend_from_slice(&[found, b'\'']);
                return message;
            }
            Malformed::LineTooLong => "too big inline request",
            Malformed::Quotes => "unbalanced quotes in request",
        };
        format!("ERR Protocol error: {text}").into_bytes()
    }
}

/// Where an argument is in the bytes of its command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

/// A command: its name and what it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { bytes, spans }
    }

    /// How many there are, the name included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The name is at 0.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start..span.end]
    }

    /// Those from `first` on.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let spans = self.spans.iter().skip(first);
        spans.map(move |span| &bytes[span.start..span.end])
    }
}

/// Bytes and where arguments are in them, to be filled one by one.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Arguments {
    pub(crate) fn push(&mut self, argument: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(argument);
        let end = self.bytes.len();
        self.spans.push(Span { start, end });
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Those from `first` on, `count` of them.
    pub(crate) fn args(&self, first: usize, count: usize) -> Args<'_> {
        Args::new(&self.bytes, &self.spans[first..first + count])
    }

    pub(crate) fn all(&self) -> Args<'_> {
        self.args(0, self.len())
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }
}

impl<'a> FromIterator<&'a [u8]> for Arguments {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(args: I) -> Arguments {
        let mut arguments = Arguments::default();
        args.into_iter().for_each(|arg| arguments.push(arg));
        arguments
    }
}

/// What is known of the command whose bytes come.
#[derive(Debug)]
pub(crate) struct Parser {
    bulk_max: usize,
    state: State,
    /// How much of the command was understood.
    at: usize,
    spans: Vec<Span>,
    /// The words of a line: the spans are in here then.
    words: Arguments,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// No byte of a command was understood.
    Fresh,
    /// So many arguments are still to come; the next begins with its length.
    Length { missing: i64 },
    /// As before, and the next has so many bytes.
    Bulk { missing: i64, len: usize },
    /// A command was found whole.
    Whole,
    /// The same, as a line.
    Line,
}

impl Parser {
    /// For arguments of at most so many bytes.
    pub(crate) fn new(bulk_max: usize) -> Parser {
        Parser {
            bulk_max,
            state: State::Fresh,
            at: 0,
            spans: Vec::new(),
            words: Arguments::default(),
        }
    }

    /// How many bytes the command has that `bytes` begin with; `None` if it is not there whole.
    /// Then the next call has to show the same bytes with more behind them.
    #[inline]
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        if matches!(self.state, State::Whole | State::Line) {
            self.forget();
        }
        if self.state == State::Fresh {
            match bytes.first() {
                None => return Ok(None),
                Some(b'*') => {
                    if !self.count(bytes)? {
                        return Ok(None);
                    }
                }
                Some(_) => return self.line(bytes),
            }
        }
        loop {
            match self.state {
                State::Length { missing: 0 } => break,
                State::Length { missing } => {
                    let Some(len) = self.length(bytes)? else {
                        return Ok(None);
                    };
                    self.state = State::Bulk { missing, len };
                }
                State::Bulk { missing, len } => {
                    let end = self.at + len;
                    // Nobody looks at the two bytes behind it, but they have to be there.
                    if bytes.len() < end + 2 {
                        return Ok(None);
                    }
                    let start = self.at;
                    self.spans.push(Span { start, end });
                    self.at = end + 2;
                    let missing = missing - 1;
                    self.state = State::Length { missing };
                }
                State::Fresh | State::Whole | State::Line => unreachable!("a command was begun"),
            }
        }
        self.state = State::Whole;
        Ok(Some(self.at))
    }

    /// The command that was found in `bytes`.
    #[inline]
    pub(crate) fn args<'a>(&'a self, bytes: &'a [u8]) -> Args<'a> {
        match self.state {
            State::Line => self.words.all(),
            _ => Args::new(bytes, &self.spans),
        }
    }

    /// Memory that the arguments of what was parsed so far are kept in.
    pub(crate) fn held(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.words.bytes()
    }

    fn forget(&mut self) {
        self.state = State::Fresh;
        self.at = 0;
        self.spans.clear();
        if self.spans.capacity() > 4096 {
            self.spans = Vec::new();
        }
        self.words.clear();
    }

    /// How many arguments come; false if that is not there whole.
    #[inline]
    fn count(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let Some(end) = line_end(bytes, 0, Malformed::ArgsLengthTooLong)? else {
            return Ok(false);
        };
        let missing = integer::parse(&bytes[1..end])
            .filter(|&count| count <= ARGS_MAX)
            .ok_or(Malformed::ArgsLength)?;
        self.at = end + 2;
        // A command without anything is none, and is not answered.
        let missing = missing.max(0);
        self.state = State::Length { missing };
        Ok(true)
    }

    /// How long the next argument is.
    #[inline]
    fn length(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(end) = line_end(bytes, self.at, Malformed::BulkLengthTooLong)? else {
            return Ok(None);
        };
        if bytes[self.at] != b'$' {
            return Err(Malformed::NoBulk(bytes[self.at]));
        }
        let len = integer::parse(&bytes[self.at + 1..end])
            .and_then(|len| usize::try_from(len).ok())
            .filter(|&len| len <= self.bulk_max)
            .ok_or(Malformed::BulkLength)?;
        self.at = end + 2;
        Ok(Some(len))
    }

    /// A command as a line, for who types it in.
    #[cold]
    fn line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        // As in C, a zero byte ends what is looked at: the line goes on until it is too long.
        let end = bytes.iter().position(|&byte| matches!(byte, b'\n' | 0));
        let Some(end) = end.filter(|&end| bytes[end] == b'\n' && end <= LINE_MAX) else {
            return if bytes.len() > LINE_MAX {
                Err(Malformed::LineTooLong)
            } else {
                Ok(None)
            };
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        words::split(line, &mut self.words).ok_or(Malformed::Quotes)?;
        self.state = State::Line;
        Ok(Some(end + 1))
    }
}

/// Where the line that begins at `start` ends, with the two bytes of its end there.
#[inline]
fn line_end(bytes: &[u8], start: usize, too_long: Malformed) -> Result<Option<usize>, Malformed> {
    let rest = &bytes[start.min(bytes.len())..];
    let len = rest.iter().position(|&byte| matches!(byte, b'\r' | 0));
    match len.filter(|&len| rest[len] == b'\r') {
        // Nobody looks at the second of them.
        Some(len) if len + 1 < rest.len() => Ok(Some(start + len)),
        Some(_) => Ok(None),
        None if rest.len() > LINE_MAX => Err(too_long),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
