//! A file that breaks it, for each rule.

use super::{Rule, Source, ends, opcodes_sent, rules, texts};

fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text))
        .into_iter()
        .map(|(line, _)| line)
        .collect()
}

#[test]
fn unsafe_in_the_wrong_place_is_noticed() {
    let rule = rules::unsafe_stays_where_it_is_argued_for;
    assert_eq!(
        lines(
            rule,
            "src/net/tcp.rs",
            "#![allow(unsafe_code)]\nunsafe { f() }"
        ),
        [1, 2]
    );
    assert_eq!(
        lines(rule, "src/op/recv.rs", "unsafe impl Op {}\nunsafe { f() }"),
        [2]
    );
    assert_eq!(lines(rule, "examples/echo.rs", "unsafe fn f() {}"), [1]);
    assert_eq!(lines(rule, "src/driver/slot.rs", "unsafe { f() }"), []);
    assert_eq!(
        lines(rule, "src/net/tcp.rs", "// unsafe\nlet a = \"unsafe\";"),
        []
    );
}

#[test]
fn a_long_file_is_noticed() {
    let rule = rules::files_are_short;
    assert_eq!(lines(rule, "src/net/tcp.rs", &"a\n".repeat(500)), [500]);
    assert_eq!(lines(rule, "src/net/tcp.rs", &"a\n".repeat(499)), []);
    assert_eq!(lines(rule, "src/op/recv.rs", &"a\n".repeat(81)), [81]);
    assert_eq!(lines(rule, "src/op/recv.rs", &"a\n".repeat(80)), []);
}

#[test]
fn a_future_that_does_not_say_what_dropping_does_is_noticed() {
    let rule = texts::futures_say_what_dropping_does;
    let with =
        |docs: &str| format!("{docs}pub struct Read<'a>(&'a u8);\nimpl Future for Read<'_> {{");
    assert_eq!(lines(rule, "src/a.rs", &with("/// Reads.\n")), [2]);
    let whole = "/// Reads.\n///\n/// # Cancellation\n///\n/// None.\n#[must_use]\n";
    assert_eq!(lines(rule, "src/a.rs", &with(whole)), []);
    let hidden = "struct Read;\nimpl Future for Read {";
    assert_eq!(lines(rule, "src/a.rs", hidden), []);
}

#[test]
fn a_long_function_is_noticed() {
    let rule = rules::functions_are_short;
    let body = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}\n", "a();\n".repeat(lines));
    assert_eq!(lines(rule, "src/a.rs", &body(69)), [1]);
    assert_eq!(lines(rule, "src/a.rs", &body(68)), []);
    let inside = format!("impl A {{\n    const B: fn() = b;\n{}}}", body(69));
    assert_eq!(lines(rule, "src/a.rs", &inside), [3]);
    let declared = format!("trait A {{\nfn f();\n{}}}", "const B: u8 = 1;\n".repeat(80));
    assert_eq!(lines(rule, "src/a.rs", &declared), []);
}

#[test]
fn a_glob_re_export_is_noticed() {
    let rule = rules::nothing_is_exported_by_a_glob;
    let text = "use a::*;\npub use b::*;\npub(crate) use c::{\n    d::*,\n};\npub use e::f;";
    assert_eq!(lines(rule, "src/a.rs", text), [2, 3]);
}

#[test]
fn an_empty_name_is_noticed() {
    let rule = rules::names_say_something;
    let text =
        "struct Inner;\nenum PoolInner {}\nmod util;\nfn get_a() {}\nlet b_2 = 1;\nfn get() {}";
    assert_eq!(lines(rule, "src/a.rs", text), [1, 2, 3, 4, 5]);
}

#[test]
fn a_condition_on_the_platform_is_noticed() {
    let rule = rules::only_tests_loom_and_features_are_conditional;
    let text = "#[cfg(all(test, not(loom)))]\n#[cfg(feature = \"hyper\")]\n\
                #[cfg(target_os = \"a\")]\n#[cfg_attr(test, derive(Debug))]\n\
                if cfg!(debug_assertions) {}";
    assert_eq!(lines(rule, "src/a.rs", text), [3, 5]);
}

#[test]
fn a_macro_that_defines_a_type_is_noticed() {
    let rule = rules::no_macro_defines_a_type;
    let text = "macro_rules! a {\n    () => { fn f() {} }\n}\nstruct B;\n\
                macro_rules! c {\n    () => { struct D; }\n}";
    assert_eq!(lines(rule, "src/a.rs", text), [6]);
}

#[test]
fn work_that_was_left_open_is_noticed() {
    let rule = rules::nothing_is_left_open;
    // In pieces, so that a search through the files finds nothing here either.
    let text = format!("{}!();\n#[{}]\nfn f() {{}}", "todo", "ignore = \"slow\"");
    assert_eq!(lines(rule, "src/a.rs", &text), [1, 2]);
}

#[test]
fn an_import_in_the_wrong_block_is_noticed() {
    let rule = rules::imports_stand_in_three_blocks;
    let good = "mod a;\n\nuse std::io;\n\nuse bytes::Bytes;\n\nuse crate::b;\nuse a::c;\n";
    assert_eq!(lines(rule, "src/a.rs", good), []);
    assert_eq!(
        lines(rule, "src/a.rs", "use crate::a;\n\nuse std::io;\n"),
        [3]
    );
    assert_eq!(
        lines(rule, "src/a.rs", "use std::io;\nuse bytes::Bytes;\n"),
        [2]
    );
}

#[test]
fn a_long_line_is_noticed() {
    let rule = texts::lines_fit_the_screen;
    let long = format!("ok\n{}\n", "é".repeat(101));
    assert_eq!(lines(rule, "src/a.rs", &long), [2]);
    assert_eq!(lines(rule, "src/a.rs", &"é".repeat(100)), []);
    let row = format!("//! | {} |\n", "é".repeat(100));
    assert_eq!(lines(rule, "src/a.rs", &row), []);
    assert_eq!(lines(rule, "README.md", &long), []);
}

#[test]
fn a_path_of_one_machine_is_noticed() {
    let rule = texts::no_path_of_one_machine;
    let text = format!(
        "/{}/main\nsee ../{}\n$x/{}/a\nnet{}",
        "work", "shared", "root", "/works"
    );
    assert_eq!(lines(rule, "README.md", &text), [1, 2]);
}

#[test]
fn a_changelog_out_of_form_is_noticed() {
    let rule = texts::the_changelog_has_its_form;
    let good = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- a\n\n## [0.1.0] - 2026-01-31\n";
    assert_eq!(lines(rule, "CHANGELOG.md", good), []);
    let bad =
        "# Changes\n\n## 0.1.0\n\n### News\n\n## [0.1] - 2026-01-31\n## [0.1.0] - 31.1.2026\n";
    assert_eq!(lines(rule, "CHANGELOG.md", bad), [1, 3, 5, 7, 8]);
    assert_eq!(lines(rule, "CHANGELOG.md", "# Changelog\n"), [1]);
}

#[test]
fn an_opcode_is_seen_where_it_is_sent() {
    let text = "sqe.op(opcode::RECV).fd(a);\nopcode::POLL_FIRST;";
    let sent = opcodes_sent(&Source::new("src/op/recv.rs", text));
    assert_eq!(sent, [(1, "RECV".to_string())]);
}

#[test]
fn an_op_without_a_row_is_noticed() {
    let op = |name: &str| Source::new(&format!("src/op/{name}.rs"), "struct Op;");
    let row = "    const FILES: &'static [&'static str] = &[\"recv.rs\", \"send.rs\"];\n";
    let rows = |path: &str| Source::new(path, row);
    let harness = rows("tests/ends/receive.rs");
    let missing = |sources: &[Source]| ends::without_a_row(sources);
    let none: [&str; 0] = [];
    assert_eq!(missing(&[op("mod"), op("recv"), op("send"), harness]), none);
    let harness = rows("tests/ends/receive.rs");
    assert_eq!(
        missing(&[op("recv"), op("splice"), harness]),
        ["src/op/splice.rs"]
    );
    // Of a list, and not of any text; of the harness, and not of any file.
    let comment = Source::new("tests/ends.rs", "// \"splice.rs\" has no row yet\n");
    assert_eq!(missing(&[op("splice"), comment]), ["src/op/splice.rs"]);
    let elsewhere = rows("tests/dropped.rs");
    assert_eq!(missing(&[op("recv"), elsewhere]), ["src/op/recv.rs"]);
    // The driver's own has the same form.
    assert_eq!(
        missing(&[op("recv"), rows("src/driver/tests/ends.rs")]),
        none
    );
}
