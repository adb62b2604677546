//! Sets of operations.

/// A bit for each of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opcodes(u64);

impl Opcodes {
    pub(super) const NONE: Opcodes = Opcodes(0);
    /// None that the simulated kernel knows has a higher number.
    pub(super) const MAX: u8 = 64;

    pub(super) const fn of(opcodes: &[u8]) -> Opcodes {
        let (mut set, mut at) = (Opcodes::NONE, 0);
        while at < opcodes.len() {
            set = set.and(opcodes[at]);
            at += 1;
        }
        set
    }

    /// This set with `op`.
    pub(super) const fn and(self, op: u8) -> Opcodes {
        Opcodes(self.0 | 1 << op)
    }

    #[inline]
    pub(super) const fn has(self, op: u8) -> bool {
        op < Opcodes::MAX && self.0 >> op & 1 == 1
    }
}
