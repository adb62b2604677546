//! Whether this process may use its processors as it likes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Whether a CPU quota is set on this process's control group, or on one above it. Under a quota
/// time spent spinning is taken from time to work.
pub(super) fn has_cpu_quota() -> bool {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else {
        return false;
    };
    groups.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        match (fields.next(), fields.next()) {
            (Some(""), Some(path)) => limited("/sys/fs/cgroup", path, "cpu.max", |text| {
                !text.starts_with("max")
            }),
            (Some(names), Some(path)) if names.split(',').any(|name| name == "cpu") => {
                limited("/sys/fs/cgroup/cpu", path, "cpu.cfs_quota_us", |text| {
                    !text.starts_with('-')
                })
            }
            _ => false,
        }
    })
}

/// On how many processors the threads of this process may run, taken together: one that was pinned
/// says nothing of the others.
pub(super) fn processors() -> usize {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let masks = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let allowed: BTreeSet<usize> = masks.flat_map(|status| allowed(&status)).collect();
    match allowed.len() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        processors => processors,
    }
}

/// The processors in the line `Cpus_allowed_list` of a status file: `0-3,8`.
fn allowed(status: &str) -> Vec<usize> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    parse_list(line.unwrap_or_default())
}

/// A list of processors as the kernel writes it: `0-3,8`.
pub(crate) fn parse_list(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',');
    let bounds = ranges.filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    bounds.flatten().collect()
}

/// Looks at `file` in the group at `path` below `root` and in all above it.
fn limited(root: &str, path: &str, file: &str, is_limit: impl Fn(&str) -> bool) -> bool {
    Path::new(path).ancestors().any(|group| {
        let group = group.strip_prefix("/").unwrap_or(group);
        let text = fs::read_to_string(Path::new(root).join(group).join(file));
        text.is_ok_and(|text| is_limit(text.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_of_a_status_file_are_read() {
        assert_eq!(
            allowed("Name:\tx\nCpus_allowed_list:\t0-2,5\n"),
            [0, 1, 2, 5]
        );
        assert_eq!(allowed("Name:\tx\n"), []);
        assert!(processors() >= 1);
    }

    #[test]
    fn a_limit_is_found_in_a_group_above() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cpu.max"), "max 100000\n").unwrap();
        let is_limit = |text: &str| !text.starts_with("max");
        let root_path = root.path().to_str().unwrap();
        assert!(!limited(root_path, "/a/b", "cpu.max", is_limit));
        fs::write(root.path().join("a/cpu.max"), "50000 100000\n").unwrap();
        assert!(limited(root_path, "/a/b", "cpu.max", is_limit));
    }
}
