//! Which CPUs a thread may run on:
//! <https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html>
#![allow(unsafe_code)]

use std::io;

/// More than any Linux has by default (8,192).
const CPUS_MAX: usize = 1 << 14;
const WORD: usize = u64::BITS as usize;

type Mask = [u64; CPUS_MAX / WORD];

/// The CPUs that the calling thread may run on, in ascending order.
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    let mut mask: Mask = [0; CPUS_MAX / WORD];
    // SAFETY: the kernel writes at most `size_of_val` bytes to `mask`.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), (&raw mut mask).cast()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_set = |cpu: &usize| mask[cpu / WORD] & (1 << (cpu % WORD)) != 0;
    Ok((0..CPUS_MAX).filter(is_set).collect())
}

/// Has the calling thread run on `cpu` and no other.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    restrict(&[cpu])
}

/// Has the calling thread run on `cpu` until this is dropped, so that a thread that is spawned
/// meanwhile begins there, with its stack.
pub(crate) fn visit(cpu: usize) -> io::Result<Visit> {
    let home = affinity()?;
    pin(cpu)?;
    Ok(Visit { home })
}

/// The calling thread is not where it was.
#[derive(Debug)]
#[must_use = "the visit ends when this is dropped"]
pub(crate) struct Visit {
    home: Vec<usize>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        // It fails only if the machine has none of these CPUs any more.
        let _ = restrict(&self.home);
    }
}

fn restrict(cpus: &[usize]) -> io::Result<()> {
    let mut mask: Mask = [0; CPUS_MAX / WORD];
    for cpu in cpus {
        let Some(word) = mask.get_mut(cpu / WORD) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        *word |= 1 << (cpu % WORD);
    }
    // SAFETY: the kernel reads at most `size_of_val` bytes of `mask`.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of_val(&mask), (&raw const mask).cast()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
