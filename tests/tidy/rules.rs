//! The rules on a Rust file by itself.

use super::Source;
use super::lexer::Token;

type Findings = Vec<(usize, String)>;

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 500;
const OP_FILE_LINES: usize = 80;

/// Where the kernel or a raw allocation is touched: DESIGN.md says why.
const UNSAFE: &[&str] = &[
    "buffers/src/",
    // Pins its threads, for which std has nothing.
    "examples/echo/",
    "src/driver/erased.rs",
    "src/driver/multi.rs",
    "src/driver/op.rs",
    "src/driver/slot.rs",
    "src/driver/tests/",
    "src/ring/",
    "src/task/",
];
/// Only `unsafe impl` there: what an op promises, not what it does.
const UNSAFE_IMPL: &str = "src/op/";

pub(crate) fn unsafe_stays_where_it_is_argued_for(source: &Source) -> Findings {
    let shipped = ["src/", "buffers/src/", "macros/src/", "examples/"];
    let path = source.path.as_str();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if !starts(&shipped) || starts(UNSAFE) || path == EXPANSIONS {
        return Vec::new();
    }
    let implements = path.starts_with(UNSAFE_IMPL);
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let followed_by_impl = tokens.get(at + 1).is_some_and(|next| next.text == "impl");
        if token.text == "unsafe" && !(implements && followed_by_impl) {
            findings.push((token.line, "unsafe has no place in this file".into()));
        }
        if token.text == "unsafe_code" && !implements {
            findings.push((token.line, "this file may not allow unsafe code".into()));
        }
    }
    findings
}

pub(crate) fn files_are_short(source: &Source) -> Findings {
    let lines = source.text.lines().count();
    let op = source.path.starts_with("src/op/") && !source.path.ends_with("/mod.rs");
    let too_many = if op { OP_FILE_LINES + 1 } else { FILE_LINES };
    if lines < too_many {
        return Vec::new();
    }
    vec![(
        lines,
        format!("{lines} lines, where less than {too_many} are allowed"),
    )]
}

pub(crate) fn functions_are_short(source: &Source) -> Findings {
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || !pair[1].is_word() {
            continue;
        }
        let (name, first) = (pair[1].text, pair[0].line);
        let lines = last_line(&tokens[at..]).map_or(1, |last| last - first + 1);
        if lines > FUNCTION_LINES {
            findings.push((
                first,
                format!("{name} has {lines} lines; {FUNCTION_LINES} at most"),
            ));
        }
    }
    findings
}

/// Of the function that begins with the first token; `None` if it has no body.
fn last_line(tokens: &[Token<'_>]) -> Option<usize> {
    let mut brackets = 0;
    let mut braces = 0;
    for token in tokens {
        match token.text {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets -= 1,
            ";" if brackets == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return Some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

pub(crate) fn nothing_is_exported_by_a_glob(source: &Source) -> Findings {
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let exported = at > 0 && matches!(tokens[at - 1].text, "pub" | ")");
        if token.text == "use" && exported {
            let path = tokens[at..].iter().take_while(|part| part.text != ";");
            if path.into_iter().any(|part| part.text == "*") {
                findings.push((token.line, "a glob re-export: name what it exports".into()));
            }
        }
    }
    findings
}

pub(crate) fn names_say_something(source: &Source) -> Findings {
    let declares = [
        "const", "enum", "fn", "let", "mod", "mut", "static", "struct", "trait", "type", "union",
    ];
    let mut findings = Vec::new();
    for pair in source.tokens().windows(2) {
        let (keyword, name) = (pair[0].text, pair[1].text);
        if !declares.contains(&keyword) {
            continue;
        }
        let is_type = matches!(keyword, "enum" | "struct" | "trait" | "type" | "union");
        let why = match keyword {
            _ if name.ends_with("_2") => "what is the difference to the first one?",
            _ if is_type && name.ends_with("Inner") => "every type is inside of something",
            "mod" if matches!(name, "util" | "utils" | "helpers" | "misc") => "what is it about?",
            // std has these as well.
            "fn" if ["get_ref", "get_mut", "get_or_init", "get_or_try_init"].contains(&name) => {
                continue;
            }
            "fn" if name.starts_with("get_") => "std leaves `get_` out",
            _ => continue,
        };
        findings.push((pair[1].line, format!("{keyword} {name}: {why}")));
    }
    findings
}

pub(crate) fn only_tests_loom_and_features_are_conditional(source: &Source) -> Findings {
    if !["src/", "buffers/src/", "macros/src/"]
        .iter()
        .any(|at| source.path.starts_with(at))
    {
        return Vec::new();
    }
    let known = ["test", "loom", "feature", "not", "all", "any"];
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !matches!(token.text, "cfg" | "cfg_attr") {
            continue;
        }
        let mut depth = 0;
        for part in tokens[at + 1..].iter().skip_while(|part| part.text == "!") {
            match part.text {
                "(" => depth += 1,
                ")" => depth -= 1,
                // What follows is the attribute, not the condition.
                "," if depth == 1 && token.text == "cfg_attr" => break,
                name if part.is_word() && depth > 0 && !known.contains(&name) => {
                    findings.push((part.line, format!("compiled on condition of {name}")));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    findings
}

pub(crate) fn no_macro_defines_a_type(source: &Source) -> Findings {
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "macro_rules" {
            continue;
        }
        let last = last_line(&tokens[at..]).unwrap_or(usize::MAX);
        let body = tokens[at..].iter().take_while(|part| part.line <= last);
        for part in body.filter(|part| matches!(part.text, "enum" | "struct" | "union")) {
            findings.push((part.line, format!("a macro that defines a {}", part.text)));
        }
    }
    findings
}

/// Its tokens are data: what the attributes make of a function.
const EXPANSIONS: &str = "macros/src/expand/tests.rs";

pub(crate) fn nothing_is_left_open(source: &Source) -> Findings {
    if source.path == EXPANSIONS {
        return Vec::new();
    }
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for pair in tokens.windows(2) {
        let text = match (pair[0].text, pair[1].text) {
            (name @ ("todo" | "unimplemented" | "dbg"), "!") => name,
            ("[", "ignore") => "ignore",
            _ => continue,
        };
        findings.push((pair[0].line, format!("{text} is for work that goes on")));
    }
    findings
}

/// std, then foreign crates, then ours, each block apart from the next by an empty line.
pub(crate) fn imports_stand_in_three_blocks(source: &Source) -> Findings {
    let modules = modules_declared(source);
    let mut findings = Vec::new();
    let mut before: Option<(usize, usize)> = None;
    let all: Vec<_> = source.text.lines().collect();
    for (number, line) in all.iter().enumerate() {
        let Some(path) = line.strip_prefix("use ") else {
            continue;
        };
        let head: String = path
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        // A name that comes from one place or another, on a condition: the two stand together.
        let conditional = number > 0 && all[number - 1].starts_with("#[cfg");
        let Some(block) = block_of(&head, &modules).filter(|_| !conditional) else {
            before = None;
            continue;
        };
        if let Some((last_block, last_number)) = before {
            let apart = all[last_number..number].contains(&"");
            if block < last_block || (block > last_block && !apart) {
                findings.push((number + 1, format!("`use {head}` is in the wrong block")));
            }
        }
        before = Some((block, number));
    }
    findings
}

/// `None` for a type's variants, and for this project's crates: where their users import them they
/// may stand with the foreign ones or alone.
fn block_of(head: &str, modules: &[&str]) -> Option<usize> {
    match head {
        // A group of paths, or one from `::`.
        "" => None,
        "std" | "core" | "alloc" => Some(0),
        "crate" | "self" | "super" => Some(2),
        head if head.starts_with("corering") || head.starts_with(char::is_uppercase) => None,
        head if modules.contains(&head) => Some(2),
        _ => Some(1),
    }
}

fn modules_declared(source: &Source) -> Vec<&str> {
    let tokens = source.tokens();
    let declared = tokens.windows(2).filter(|pair| pair[0].text == "mod");
    declared.map(|pair| pair[1].text).collect()
}
