//! Whether every op of the catalogue is ended in every way: whether a row of the harness names it.

use super::Source;

/// The harness of what users call, and that of what only the driver can do.
const PARTS: &[&str] = &["tests/ends.rs", "tests/ends/", "src/driver/tests/ends.rs"];
/// A row lists the files of the catalogue that it goes through: `const FILES: ... = &["recv.rs"];`.
const LIST: &str = "const FILES:";

/// The files of the catalogue that no row names.
pub(crate) fn without_a_row(sources: &[Source]) -> Vec<String> {
    let harness = |source: &&Source| PARTS.iter().any(|part| source.path.starts_with(part));
    let mut named = Vec::new();
    for source in sources.iter().filter(harness) {
        for list in source.text.split(LIST).skip(1) {
            let list = list.split(';').next().unwrap_or_default();
            // What stands between quotes is every second part.
            named.extend(list.split('"').skip(1).step_by(2));
        }
    }
    let ops = sources.iter().filter_map(|source| {
        let file = source.path.strip_prefix("src/op/")?;
        let has_row = file == "mod.rs" || named.contains(&file);
        (!has_row).then(|| source.path.clone())
    });
    ops.collect()
}
