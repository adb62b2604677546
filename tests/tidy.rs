//! The rules of the house that neither rustc nor clippy hold. A rule is a function from a file to
//! what is wrong in it; each has a test that shows it a file that breaks it.

#[path = "tidy/ends.rs"]
mod ends;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/texts.rs"]
mod texts;

use std::fs;
use std::path::Path;

use lexer::Token;

/// One file of the project, its path relative to the root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        lexer::tokens(&self.text)
    }
}

type Rule = fn(&Source) -> Vec<(usize, String)>;

fn hold(rule: Rule, applies: impl Fn(&str) -> bool) {
    let mut broken = Vec::new();
    let mut seen = 0;
    for source in project().iter().filter(|source| applies(&source.path)) {
        seen += 1;
        for (line, what) in rule(source) {
            broken.push(format!("{}:{line}: {what}", source.path));
        }
    }
    // A rule that sees no file holds nothing.
    assert!(seen > 0, "the rule applies to no file");
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Every text file but those that tools write.
fn project() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    collect(root, root, &mut sources);
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    // A target directory may have any name; cargo marks it.
    if folder.join("CACHEDIR.TAG").exists() {
        return;
    }
    for entry in fs::read_dir(folder).expect("a folder of the project can be read") {
        let path = entry.expect("its entries too").path();
        let name = path
            .strip_prefix(root)
            .expect("it is inside")
            .display()
            .to_string();
        let skipped = matches!(name.as_str(), ".git" | "target" | "Cargo.lock");
        if skipped || name.starts_with("LICENSE") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, sources);
        } else if let Ok(text) = fs::read_to_string(&path) {
            sources.push(Source { path: name, text });
        }
    }
}

#[test]
fn imports_point_down() {
    hold(layers::imports_point_down, rust);
}

#[test]
fn unsafe_stays_where_it_is_argued_for() {
    hold(rules::unsafe_stays_where_it_is_argued_for, rust);
}

#[test]
fn files_are_short() {
    hold(rules::files_are_short, rust);
}

#[test]
fn futures_say_what_dropping_does() {
    let shipped = |path: &str| path.starts_with("src/") && rust(path);
    hold(texts::futures_say_what_dropping_does, shipped);
}

#[test]
fn functions_are_short() {
    hold(rules::functions_are_short, rust);
}

#[test]
fn nothing_is_exported_by_a_glob() {
    hold(rules::nothing_is_exported_by_a_glob, rust);
}

#[test]
fn names_say_something() {
    hold(rules::names_say_something, rust);
}

#[test]
fn only_tests_loom_and_features_are_conditional() {
    hold(rules::only_tests_loom_and_features_are_conditional, rust);
}

#[test]
fn no_macro_defines_a_type() {
    hold(rules::no_macro_defines_a_type, rust);
}

#[test]
fn nothing_is_left_open() {
    hold(rules::nothing_is_left_open, rust);
}

#[test]
fn imports_stand_in_three_blocks() {
    hold(rules::imports_stand_in_three_blocks, rust);
}

#[test]
fn lines_fit_the_screen() {
    hold(texts::lines_fit_the_screen, |_| true);
}

#[test]
fn no_path_of_one_machine() {
    hold(texts::no_path_of_one_machine, |_| true);
}

#[test]
fn the_changelog_has_its_form() {
    hold(texts::the_changelog_has_its_form, |path| {
        path == "CHANGELOG.md"
    });
}

/// `driver/` sends a few opcodes of its own: cancels, and what wakes a core.
#[test]
fn every_opcode_has_its_row_in_the_kernel_check() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel-check.sh"))
        .expect("kernel-check.sh stands beside this crate's manifest");
    let mut sent = 0;
    for source in project()
        .iter()
        .filter(|source| source.path.starts_with("src/") && rust(&source.path))
    {
        for (line, opcode) in opcodes_sent(source) {
            sent += 1;
            let row = format!("|{opcode}|");
            assert!(
                table.contains(&row),
                "{}:{line}: {opcode} has no row",
                source.path
            );
        }
    }
    assert!(sent > 0, "no opcode is sent at all");
}

/// `sqe.op(opcode::RECV)` is how an SQE begins.
fn opcodes_sent(source: &Source) -> Vec<(usize, String)> {
    let tokens = source.tokens();
    let mut found = Vec::new();
    for part in tokens.windows(6) {
        let texts: Vec<_> = part.iter().map(|token| token.text).collect();
        if texts[..5] == ["op", "(", "opcode", ":", ":"] {
            found.push((part[5].line, texts[5].to_string()));
        }
    }
    found
}

#[test]
fn every_file_of_the_catalogue_is_listed() {
    let sources = project();
    let catalogue = sources.iter().find(|source| source.path == "src/op/mod.rs");
    let listed = catalogue
        .map(|source| source.text.as_str())
        .unwrap_or_default();
    for source in &sources {
        let Some(name) = source
            .path
            .strip_prefix("src/op/")
            .and_then(|p| p.strip_suffix(".rs"))
        else {
            continue;
        };
        let line = format!("mod {name};");
        assert!(
            name == "mod" || listed.lines().any(|l| l == line),
            "{}: not listed",
            source.path
        );
    }
}

#[test]
fn every_op_has_its_row_in_the_harness() {
    let missing = ends::without_a_row(&project());
    assert!(
        missing.is_empty(),
        "no row of tests/ends.rs or src/driver/tests/ends.rs ends {missing:?}"
    );
}
