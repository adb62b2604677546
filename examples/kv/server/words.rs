//! Lines that people type: words, some of them in quotes.

use super::request::Arguments;

/// Splits a line into its words. `None` if a quote is left open, or has something right behind it.
///
/// In double quotes there are `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH`, and any other character stands
/// for itself behind a `\`; in single quotes there is only `\'`.
pub(crate) fn split(mut line: &[u8], words: &mut Arguments) -> Option<()> {
    words.clear();
    let mut word = Vec::new();
    loop {
        let blanks = line.iter().take_while(|&&byte| is_blank(byte)).count();
        line = &line[blanks..];
        if line.is_empty() {
            return Some(());
        }
        word.clear();
        line = next(line, &mut word)?;
        words.push(&word);
    }
}

/// Takes one word off the line, and returns what is behind it.
fn next<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match line {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(line),
            [b'"', rest @ ..] => return closed(double(rest, word)?),
            [b'\'', rest @ ..] => return closed(single(rest, word)?),
            [byte, rest @ ..] => {
                word.push(*byte);
                line = rest;
            }
        }
    }
}

/// A word ends with its quotes.
fn closed(line: &[u8]) -> Option<&[u8]> {
    line.first()
        .is_none_or(|&byte| is_blank(byte))
        .then_some(line)
}

fn double<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, rest) = match line {
            [] => return None,
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'x', high, low, rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (digit(*high) * 16 + digit(*low), rest)
            }
            [b'\\', escaped, rest @ ..] => (meant(*escaped), rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        word.push(byte);
        line = rest;
    }
}

fn single<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, rest) = match line {
            [] => return None,
            [b'\'', rest @ ..] => return Some(rest),
            [b'\\', b'\'', rest @ ..] => (b'\'', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        word.push(byte);
        line = rest;
    }
}

fn meant(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
