//! Which CPUs there are, and which of them belong together.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use crate::ring::affinity;
use crate::runtime::parse_list;

/// A CPU that this process may use, and where it is in the machine.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// for cpu in corering::cores::cpus()? {
///     println!("CPU {} on node {}, beside {:?}", cpu.id, cpu.node, cpu.siblings);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cpu {
    /// Its number, as `taskset` and `lscpu` have it.
    pub id: usize,
    /// The CPUs that share its execution units (SMT), itself included, in ascending order.
    pub siblings: Vec<usize>,
    /// Its NUMA node; 0 where there is only one, or nobody says.
    pub node: usize,
}

/// The CPUs that the calling thread may use: its affinity mask, in ascending order.
///
/// # Errors
///
/// Those of `sched_getaffinity`, which does not fail in practice.
///
/// # Source
///
/// [`sched_getaffinity(2)`](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html),
/// [sysfs](https://docs.kernel.org/admin-guide/cputopology.html)
pub fn cpus() -> io::Result<Vec<Cpu>> {
    let ids = affinity::affinity()?;
    let root = Path::new("/sys/devices/system");
    Ok(ids.into_iter().map(|id| read(root, id)).collect())
}

/// The CPUs for one core each: as many as the affinity mask and the control group's quota allow. If
/// that is not all of them, one of each set of siblings comes first.
pub(super) fn usable() -> io::Result<Vec<usize>> {
    let cpus = cpus()?;
    // Heeds the quota, and the mask.
    let limit = thread::available_parallelism().map_or(cpus.len(), usize::from);
    Ok(choose(&cpus, limit))
}

fn choose(cpus: &[Cpu], limit: usize) -> Vec<usize> {
    let is_first = |cpu: &&Cpu| {
        let mut before = cpus.iter().take_while(|other| other.id != cpu.id);
        !before.any(|other| other.siblings.contains(&cpu.id))
    };
    let (mut chosen, rest): (Vec<&Cpu>, Vec<&Cpu>) = cpus.iter().partition(is_first);
    chosen.extend(rest);
    chosen.truncate(limit.max(1));
    let mut ids: Vec<usize> = chosen.iter().map(|cpu| cpu.id).collect();
    ids.sort_unstable();
    ids
}

fn read(root: &Path, id: usize) -> Cpu {
    let directory = root.join(format!("cpu/cpu{id}"));
    let siblings = fs::read_to_string(directory.join("topology/thread_siblings_list"));
    let mut siblings = siblings.map(|list| parse_list(&list)).unwrap_or_default();
    if !siblings.contains(&id) {
        siblings.push(id);
    }
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let node = names.filter_map(|name| name.strip_prefix("node")?.parse().ok());
    Cpu {
        id,
        siblings,
        node: node.min().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(id: usize, siblings: &[usize]) -> Cpu {
        Cpu {
            id,
            siblings: siblings.to_vec(),
            node: 0,
        }
    }

    #[test]
    fn siblings_come_last_where_not_all_cpus_are_used() {
        let cpus = [
            cpu(0, &[0, 1]),
            cpu(1, &[0, 1]),
            cpu(2, &[2, 3]),
            cpu(3, &[2, 3]),
        ];
        assert_eq!(choose(&cpus, 2), [0, 2]);
        assert_eq!(choose(&cpus, 3), [0, 1, 2]);
        assert_eq!(choose(&cpus, 9), [0, 1, 2, 3]);
        assert_eq!(choose(&cpus, 0), [0]);
    }

    #[test]
    fn topology_is_read_where_the_kernel_writes_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("cpu/cpu5");
        fs::create_dir_all(directory.join("topology")).unwrap();
        fs::create_dir_all(directory.join("node1")).unwrap();
        fs::write(directory.join("topology/thread_siblings_list"), "1,5\n").unwrap();
        let expected = Cpu {
            id: 5,
            siblings: vec![1, 5],
            node: 1,
        };
        assert_eq!(read(root.path(), 5), expected);
        assert_eq!(read(root.path(), 6), cpu(6, &[6]));
    }

    #[test]
    fn every_cpu_of_the_mask_is_there_and_its_own_sibling() {
        let cpus = cpus().unwrap();
        assert!(!cpus.is_empty());
        assert!(cpus.iter().all(|cpu| cpu.siblings.contains(&cpu.id)));
        assert!(usable().unwrap().len() <= cpus.len());
    }
}
