//! The rules on files of any kind.

use super::Source;

type Findings = Vec<(usize, String)>;

const COLUMNS: usize = 100;

pub(crate) fn lines_fit_the_screen(source: &Source) -> Findings {
    let code = [".rs", ".sh", ".c", "/run"]
        .iter()
        .any(|end| source.path.ends_with(end));
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        // Neither an address nor a row of a table in a comment can be broken.
        let row = line.trim_start().starts_with("//") && line.ends_with(" |");
        if code && columns > COLUMNS && !row && !line.contains("https://") {
            findings.push((number + 1, format!("{columns} columns; {COLUMNS} at most")));
        }
    }
    findings
}

/// Whoever clones the project has other directories.
pub(crate) fn no_path_of_one_machine(source: &Source) -> Findings {
    // In pieces, so that this file passes.
    let roots = ["wo\u{72}k", "ro\u{6f}t", "far\u{6d}"];
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for root in roots {
            for (at, found) in line.match_indices(&format!("/{root}")) {
                let before = line[..at].chars().next_back();
                let after = line[at + found.len()..].chars().next();
                let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let joined = before.is_some_and(|c| matches!(c, '.' | '}' | '-' | '/' | '*'));
                if !inside(before) && !inside(after) && !joined {
                    findings.push((number + 1, format!("a path of one machine: {found}")));
                }
            }
        }
        if line.contains(concat!("../", "shared")) {
            findings.push((number + 1, "a path outside of the project".into()));
        }
    }
    findings
}

/// `# Changelog`, then versions with their dates, the newest first, then kinds of changes.
pub(crate) fn the_changelog_has_its_form(source: &Source) -> Findings {
    let kinds = [
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    ];
    let mut findings = Vec::new();
    if source.text.lines().next() != Some("# Changelog") {
        findings.push((1, "the first line is `# Changelog`".into()));
    }
    let mut versions = 0;
    for (number, line) in source.text.lines().enumerate() {
        let found = if let Some(kind) = line.strip_prefix("### ") {
            (!kinds.contains(&kind)).then(|| format!("{kind}: one of {}", kinds.join(", ")))
        } else if let Some(version) = line.strip_prefix("## ") {
            versions += 1;
            (!is_version(version)).then(|| "`## [Unreleased]` or `## [1.2.3] - 2026-01-31`".into())
        } else {
            None
        };
        findings.extend(found.map(|what| (number + 1, what)));
    }
    if versions == 0 {
        findings.push((1, "no version".into()));
    }
    findings
}

fn is_version(heading: &str) -> bool {
    if heading == "[Unreleased]" {
        return true;
    }
    let Some((version, date)) = heading.split_once("] - ") else {
        return false;
    };
    let numbers = |text: &str, separator: char, lengths: &[usize]| {
        let parts: Vec<_> = text.split(separator).collect();
        parts.len() == 3
            && parts.iter().all(|part| part.parse::<u32>().is_ok())
            && parts
                .iter()
                .zip(lengths)
                .all(|(part, len)| part.len() == *len)
    };
    let lengths: Vec<_> = version[1..].split('.').map(str::len).collect();
    version.starts_with('[')
        && numbers(&version[1..], '.', &lengths)
        && numbers(date, '-', &[4, 2, 2])
}

/// Every future that users see says what dropping it does.
pub(crate) fn futures_say_what_dropping_does(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<_> = source.text.lines().map(str::trim_start).collect();
    let mut findings = Vec::new();
    for future in lines.iter().filter_map(|line| future_of(line)) {
        let public = format!("pub struct {future}");
        let declares = |line: &&str| {
            line.strip_prefix(public.as_str())
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let Some(at) = lines.iter().position(declares) else {
            continue;
        };
        let above = lines[..at].iter().rev();
        let mut docs = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
        if !docs.any(|line| *line == "/// # Cancellation") {
            findings.push((at + 1, format!("{future} has no section on cancellation")));
        }
    }
    findings
}

/// `impl<F> Future for Timeout<F> {` is one of `Timeout`.
fn future_of(line: &str) -> Option<&str> {
    let (_, future) = line.strip_prefix("impl")?.split_once("Future for ")?;
    future.split(['<', ' ']).next()
}
