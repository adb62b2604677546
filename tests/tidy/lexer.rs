//! The words and signs of a Rust file, without its comments and what stands in its literals.

/// One word (identifier, keyword, number) or one sign. A literal string is the sign `"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

impl Token<'_> {
    pub(crate) fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (len, keep) = next(rest, first);
        if let Some(keep) = keep {
            found.push(Token {
                line,
                text: &rest[..keep],
            });
        }
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    found
}

/// How many bytes to step over, and how many of them to keep as a token.
fn next(rest: &str, first: char) -> (usize, Option<usize>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(len) = raw_string(rest) {
        return (len, Some(0));
    }
    match first {
        '"' => (quoted(rest, '"'), Some(1)),
        '\'' if is_char_literal(rest) => (quoted(rest, '\''), None),
        // A lifetime; its name is no identifier.
        '\'' => (1 + word(&rest[1..]), None),
        c if c.is_whitespace() => (c.len_utf8(), None),
        c if c.is_alphanumeric() || c == '_' => (word(rest), Some(word(rest))),
        c => (c.len_utf8(), Some(c.len_utf8())),
    }
}

fn word(text: &str) -> usize {
    let end = |c: char| !(c.is_alphanumeric() || c == '_');
    text.find(end).unwrap_or(text.len())
}

/// They nest, unlike those of C.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Up to and with the closing quote; a backslash protects what follows it.
fn quoted(text: &str, quote: char) -> usize {
    let mut protected = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if protected => protected = false,
            '\\' => protected = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `br#"…"#` and the like. The word before it has been taken whole, so `r` starts a word.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let start = text.len() - after.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text[start..].find(&close)?;
    Some(start + end + close.len())
}

/// `'a'` and `'\n'`, but not the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut inside = text.chars().skip(1);
    inside.next() == Some('\\') || inside.next() == Some('\'')
}

#[test]
fn comments_and_literals_hide_what_they_hold() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" r#\"i \" j\"# 'k' '\\'' l<'m> n";
    let words: Vec<_> = tokens(text).into_iter().filter(Token::is_word).collect();
    let seen: Vec<_> = words.iter().map(|word| (word.line, word.text)).collect();
    assert_eq!(seen, [(1, "a"), (1, "e"), (2, "l"), (2, "n")]);
}
