//! The numbers of simulated descriptors.
//!
//! Linux gives out no number above 2³⁰, so bit 30 tells a simulated descriptor from a real one.
//! Below it stand the world (so that what outlives its world means nothing in the next one), the
//! host, and the index in the host's own table.

use super::kernel::HostId;

const SIMULATED: i32 = 1 << 30;
const WORLD_SHIFT: u32 = 22;
const HOST_SHIFT: u32 = 16;
/// Hosts of one world.
pub(super) const HOSTS: usize = 64;

thread_local! {
    static WORLD: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

/// Begins to number the descriptors of another world.
pub(super) fn next_world() -> u8 {
    WORLD.with(|world| {
        world.set(world.get().wrapping_add(1));
        world.get()
    })
}

fn world() -> u8 {
    WORLD.try_with(std::cell::Cell::get).unwrap_or(0)
}

pub(super) fn is_simulated(fd: i32) -> bool {
    fd >= SIMULATED
}

/// The same number in every world.
pub(super) fn without_world(fd: i32) -> i32 {
    if is_simulated(fd) {
        fd & !(0xff << WORLD_SHIFT)
    } else {
        fd
    }
}

pub(super) fn descriptor(host: HostId, index: usize) -> i32 {
    let world = i32::from(world()) << WORLD_SHIFT;
    SIMULATED | world | (host as i32) << HOST_SHIFT | index as i32
}

/// The place of `fd` in the table of `host`, if it is one of its descriptors.
pub(super) fn index_of(host: HostId, fd: i32) -> Option<usize> {
    let base = descriptor(host, 0);
    (is_simulated(fd) && fd & !0xffff == base).then_some((fd & 0xffff) as usize)
}

/// The host that a descriptor of this world belongs to.
pub(super) fn host_of(fd: i32) -> Option<HostId> {
    let host = fd >> HOST_SHIFT & (HOSTS as i32 - 1);
    index_of(host as usize, fd).map(|_| host as usize)
}
