//! Values: short ones in place, long ones shared with the replies that they are in.

use std::mem;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

use super::super::reply::{Replies, SHARED_FROM};

/// The bytes of a value.
#[derive(Debug)]
pub(crate) enum Value {
    Short(Vec<u8>),
    Long(Bytes),
}

impl Value {
    pub(crate) fn new(bytes: &[u8]) -> Value {
        if bytes.len() < SHARED_FROM {
            Value::Short(bytes.to_vec())
        } else {
            Value::Long(Bytes::copy_from_slice(bytes))
        }
    }

    /// Replaces all of it, in the memory that it has if that fits.
    #[inline]
    pub(crate) fn set(&mut self, bytes: &[u8]) {
        match self {
            Value::Short(old) if bytes.len() <= old.capacity() && fits(old, bytes.len()) => {
                old.clear();
                old.extend_from_slice(bytes);
            }
            _ => *self = Value::new(bytes),
        }
    }

    /// Adds to its end.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        match self {
            Value::Short(old) => {
                old.extend_from_slice(bytes);
                if old.len() >= SHARED_FROM {
                    *self = Value::Long(mem::take(old).into());
                }
            }
            Value::Long(old) => {
                // Its memory grows in place unless a reply has it still.
                let mut grown = mem::take(old).try_into_mut().unwrap_or_else(BytesMut::from);
                grown.extend_from_slice(bytes);
                *old = grown.freeze();
            }
        }
    }

    #[inline]
    pub(crate) fn reply(&self, replies: &mut Replies) {
        match self {
            Value::Short(bytes) => replies.bulk(bytes),
            Value::Long(bytes) => replies.shared(bytes),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Value::Short(bytes) => bytes,
            Value::Long(bytes) => bytes,
        }
    }
}

/// Whether little of the memory would be left over.
#[inline]
fn fits(old: &Vec<u8>, len: usize) -> bool {
    old.capacity() <= 2 * len + 64
}
