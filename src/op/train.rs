//! Datagrams that go together.

use corering_buffers::IoBuf;

use super::Held;
use crate::ring::Name;

/// Datagrams to one address: all of one length but the last, which may be shorter.
pub(crate) struct Train {
    /// Without a name they go to the socket's peer.
    pub(crate) name: Name,
    pub(crate) first: Held,
    pub(crate) rest: Vec<Held>,
    bytes: usize,
}

/// The longest that one `sendmsg(2)` takes: a datagram by IPv4.
const BYTES_MAX: usize = 65_507;
/// Datagrams that the kernel cuts one message into at most, before 6.9.
const LEN_MAX: usize = 64;

impl Train {
    #[inline]
    pub(crate) fn new(name: Name, first: Held) -> Train {
        Train {
            name,
            bytes: first.parts().1,
            first,
            rest: Vec::new(),
        }
    }

    /// Puts a datagram at the end, or gives it back if it cannot go there.
    #[inline]
    pub(crate) fn push(&mut self, name: &Name, datagram: Held) -> Result<(), Held> {
        let (segment, len) = (self.first.parts().1, datagram.parts().1);
        let bytes = self.bytes + len;
        let is_whole = self.bytes == segment * self.len();
        let fits = bytes <= BYTES_MAX && self.len() < LEN_MAX;
        // One without bytes would be no segment.
        if !is_whole || !fits || len > segment || len == 0 || self.name != *name {
            return Err(datagram);
        }
        self.bytes = bytes;
        self.rest.push(datagram);
        Ok(())
    }

    /// The bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of datagrams.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        1 + self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_is_no_longer_than_the_kernel_cuts() {
        let datagram = || Held::new(vec![7; 10]);
        let mut train = Train::new(Name::default(), datagram());
        for len in 1..LEN_MAX {
            assert_eq!(train.len(), len);
            assert!(train.push(&Name::default(), datagram()).is_ok());
        }
        assert!(train.push(&Name::default(), datagram()).is_err());
    }
}
