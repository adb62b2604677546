//! Owned buffers that may be lent to the kernel.
