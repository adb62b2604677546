//! Who may import whom.

use super::Source;
use super::lexer::Token;

/// A layer and what it may import. Nothing else may be named through `crate::` or `super::`.
const LAYERS: &[(&str, &[&str])] = &[
    ("ring", &[]),
    ("driver", &["ring"]),
    ("op", &["driver", "ring"]),
    ("task", &[]),
    ("time", &["op", "driver", "ring"]),
    ("io", &["time", "op", "driver", "ring"]),
    ("sync", &["time", "op", "driver", "ring"]),
    // `task` for the blocking pool, which looks names up.
    (
        "net",
        &["io", "sync", "time", "op", "driver", "ring", "task"],
    ),
    ("fs", &["io", "sync", "time", "op", "driver", "ring"]),
    ("signal", &["io", "sync", "time", "op", "driver", "ring"]),
    (
        "process",
        &["io", "signal", "sync", "time", "op", "driver", "ring"],
    ),
    ("compat", &["net", "io"]),
    // Text only.
    ("guide", &[]),
    (
        "cores",
        &["runtime", "signal", "sync", "time", "ring", "task"],
    ),
    ("sim", &["cores", "runtime", "ring", "task"]),
    (
        "runtime",
        &[
            "net", "fs", "process", "signal", "sync", "time", "io", "op", "driver", "ring", "task",
        ],
    ),
];

/// Crates that only these layers may name.
const FENCED_CRATES: &[(&str, &[&str])] = &[
    (
        "corering_buffers",
        &["driver", "op", "net", "fs", "io", "lib"],
    ),
    ("io_uring", &["ring"]),
];

pub(crate) fn imports_point_down(source: &Source) -> Vec<(usize, String)> {
    let Some(path) = module_path(&source.path) else {
        return Vec::new();
    };
    let layer = path.first().map_or("lib", String::as_str);
    let tokens = source.tokens();
    let mut findings = foreign(layer, &tokens);
    // The driver knows no opcode, so its tests borrow those of the catalogue.
    if path.starts_with(&["driver".into(), "tests".into()]) {
        return findings;
    }
    // Only re-exports stand in `lib.rs`.
    if layer != "lib" {
        findings.extend(local(layer, path.len(), &tokens));
    }
    findings
}

/// `src/net/stream/read.rs` is `["net", "stream", "read"]`.
fn module_path(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Vec<String> = inside.split('/').map(String::from).collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    Some(parts)
}

fn foreign(layer: &str, tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let mut findings = Vec::new();
    for token in tokens {
        for (name, layers) in FENCED_CRATES {
            if token.text == *name && !layers.contains(&layer) {
                findings.push((token.line, format!("{layer} may not name the crate {name}")));
            }
        }
    }
    findings
}

fn local(layer: &str, depth: usize, tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let allowed = LAYERS
        .iter()
        .find(|(name, _)| *name == layer)
        .map(|(_, below)| *below);
    let Some(allowed) = allowed else {
        return vec![(1, format!("{layer} is not in the table of layers"))];
    };
    let mut findings = Vec::new();
    for (start, head) in heads_at_root(depth, tokens) {
        if head != layer && !allowed.contains(&head) {
            findings.push((tokens[start].line, format!("{layer} may not import {head}")));
        }
    }
    findings
}

/// What follows each path that leads to the crate's root: its place and its first name.
fn heads_at_root<'a>(depth: usize, tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let mut heads = Vec::new();
    let mut inline = Vec::new();
    let mut braces = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text {
            "{" => {
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inline.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces -= 1;
                inline.pop_if(|opened| *opened == braces);
            }
            "crate" if path_follows(tokens, at) => heads.extend(names_after(tokens, at + 3)),
            "super" if path_follows(tokens, at) => {
                let mut climbed = 1;
                while tokens[at + 3].text == "super" && path_follows(tokens, at + 3) {
                    climbed += 1;
                    at += 3;
                }
                if climbed == depth + inline.len() {
                    heads.extend(names_after(tokens, at + 3));
                }
            }
            _ => {}
        }
        at += 1;
    }
    heads
}

fn path_follows(tokens: &[Token<'_>], at: usize) -> bool {
    let texts: Vec<_> = tokens[at + 1..]
        .iter()
        .take(3)
        .map(|token| token.text)
        .collect();
    texts.len() == 3 && texts[0] == ":" && texts[1] == ":"
}

/// One name, or those of a group in braces.
fn names_after<'a>(tokens: &[Token<'a>], at: usize) -> Vec<(usize, &'a str)> {
    if tokens[at].text != "{" {
        return vec![(at, tokens[at].text)];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[place - 1].text, "{" | ",") => {
                names.push((place, token.text));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[test]
fn an_import_that_points_up_is_noticed() {
    let lines = |path: &str, text: &str| -> Vec<usize> {
        let found = imports_point_down(&Source::new(path, text));
        found.into_iter().map(|(line, _)| line).collect()
    };
    assert_eq!(lines("src/ring/sqe.rs", "use crate::driver::Op;"), [1]);
    assert_eq!(
        lines(
            "src/driver/op.rs",
            "use crate::ring::Sqe;\nuse crate::net::Tcp;"
        ),
        [2]
    );
    assert_eq!(
        lines(
            "src/task/cell.rs",
            "use crate::{ring::Fd, task::{join, op}};"
        ),
        [1]
    );
    assert_eq!(
        lines("src/driver/mod.rs", "fn f() { super::net::lookup() }"),
        [1]
    );
    assert_eq!(
        lines("src/driver/slot.rs", "use super::super::op::Recv;"),
        [1]
    );
    assert_eq!(
        lines(
            "src/driver/mod.rs",
            "mod tests {\n    use super::super::net::A;\n}"
        ),
        [2]
    );
    assert_eq!(lines("src/op/recv.rs", "let a = io_uring::opcode();"), [1]);
    assert_eq!(lines("src/runtime/mod.rs", "use crate::compat::Io;"), [1]);
    assert_eq!(lines("src/novel/mod.rs", ""), [1]);
}

#[test]
fn an_import_that_points_down_is_left_alone() {
    let silent = |path: &str, text: &str| {
        assert_eq!(imports_point_down(&Source::new(path, text)), [], "{path}");
    };
    silent(
        "src/driver/mod.rs",
        "mod tests {\n    use super::net;\n}\npub(crate) use self::op::Op;",
    );
    silent(
        "src/driver/slot.rs",
        "use super::op::Op; // crate::net::Tcp\nuse crate::ring::Fd;",
    );
    silent(
        "src/net/tcp.rs",
        "use crate::{io::copy, driver::Driver};\nuse super::super::op::Recv;",
    );
    silent("src/lib.rs", "pub use crate::runtime::Runtime;");
    silent("tests/echo.rs", "use io_uring::opcode;");
}
