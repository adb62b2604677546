//! What is read from a submission while it is taken.
#![allow(unsafe_code)]

use socket2::{SockAddr, SockAddrStorage};

use super::kernel::Args;
use super::memory::{self, Lent};
use super::messages::Outbound;
use super::opcodes::Opcodes;
use crate::ring::sqe::RawSqe;
use crate::ring::{ControlData, Name, Rooms, opcode};

/// What a ring does.
const ALLOWED: Opcodes = Opcodes::of(&opcode::ALLOWED);

pub(super) fn is_allowed(code: u8) -> bool {
    ALLOWED.has(code)
}

/// Whether the op works on the descriptor in its submission, and refers to it while it runs.
pub(super) fn has_descriptor(code: u8) -> bool {
    !matches!(
        code,
        opcode::NOP
            | opcode::OPENAT
            | opcode::STATX
            | opcode::RENAMEAT
            | opcode::UNLINKAT
            | opcode::MKDIRAT
            | opcode::CLOSE
            | opcode::ASYNC_CANCEL
    )
}

/// Whether the kernel writes into the memory that the op lends.
pub(super) fn writes(code: u8) -> bool {
    matches!(code, opcode::READ | opcode::RECV | opcode::STATX)
}

pub(super) fn take(sqe: &RawSqe) -> Result<Args, i32> {
    // SAFETY: who pushed the submission keeps what it points to until its final completion was
    // popped (`Sqe::into_raw`), and an op is dropped, with this in it, when that is posted. The op
    // vouches for the ranges that its kind reads and writes (`Op`).
    unsafe {
        Ok(match sqe.opcode {
            opcode::SEND if sqe.off != 0 => {
                // The length is the first half of the field.
                let [low, high, ..] = sqe.file_index.to_ne_bytes();
                let len = u16::from_ne_bytes([low, high]);
                let name = name(sqe.off, usize::from(len))?;
                let outbound = Outbound {
                    name,
                    control: ControlData::default(),
                    passes_descriptors: false,
                };
                Args::Message(vec![lent(sqe)], Box::new(outbound))
            }
            opcode::READ | opcode::WRITE | opcode::SEND | opcode::SEND_ZC => {
                Args::Memory(lent(sqe))
            }
            opcode::RECV if sqe.flags & opcode::BUFFER_SELECT == 0 => Args::Memory(lent(sqe)),
            opcode::SENDMSG => {
                let header = memory::value::<libc::msghdr>(sqe.addr);
                if header.msg_namelen == 0 && header.msg_controllen == 0 {
                    return Ok(Args::Vectors(vectors(&header)?));
                }
                let name = header.msg_name.expose_provenance() as u64;
                let name = self::name(name, header.msg_namelen as usize)?;
                let control = header.msg_control.expose_provenance() as u64;
                let control = Lent::new(control, header.msg_controllen);
                let asked = control.read(header.msg_controllen);
                let control = ControlData::of_sender(&asked);
                let outbound = Outbound {
                    name,
                    // They are what it leaves out.
                    passes_descriptors: control.encoded().len() < asked.len(),
                    control,
                };
                Args::Message(vectors(&header)?, Box::new(outbound))
            }
            opcode::RECVMSG => {
                let header = memory::value::<libc::msghdr>(sqe.addr);
                Args::Rooms(Rooms {
                    name: header.msg_namelen,
                    control: header.msg_controllen as u32,
                })
            }
            opcode::CONNECT => Args::Address(Box::new(address(sqe.addr, sqe.off)?)),
            opcode::OPENAT | opcode::UNLINKAT | opcode::MKDIRAT => {
                Args::Paths(path(sqe.addr)?, Vec::new())
            }
            opcode::RENAMEAT => Args::Paths(path(sqe.addr)?, path(sqe.off)?),
            opcode::STATX => {
                let into = Lent::new(sqe.off, size_of::<libc::statx>());
                Args::Status(path(sqe.addr)?, into)
            }
            _ => Args::None,
        })
    }
}

/// # Safety
///
/// See [`take`].
unsafe fn lent(sqe: &RawSqe) -> Lent {
    // SAFETY: as there.
    unsafe { Lent::new(sqe.addr, sqe.len as usize) }
}

/// # Safety
///
/// See [`take`].
unsafe fn name(address: u64, len: usize) -> Result<Name, i32> {
    if len > Name::MAX {
        return Err(libc::EINVAL);
    }
    if len == 0 {
        return Ok(Name::default());
    }
    // SAFETY: as there: the op lends `len` bytes.
    let bytes = unsafe { Lent::new(address, len) }.read(len);
    Ok(Name::from_bytes(&bytes))
}

/// # Safety
///
/// See [`take`].
unsafe fn path(address: u64) -> Result<Vec<u8>, i32> {
    // SAFETY: as there.
    let path = unsafe { memory::path(address) };
    if path.len() >= libc::PATH_MAX as usize {
        return Err(libc::ENAMETOOLONG);
    }
    Ok(path)
}

/// # Safety
///
/// See [`take`].
unsafe fn vectors(header: &libc::msghdr) -> Result<Vec<Lent>, i32> {
    if header.msg_iovlen > libc::UIO_MAXIOV as usize {
        return Err(libc::EMSGSIZE);
    }
    let first = header.msg_iov.expose_provenance() as u64;
    let each = (0..header.msg_iovlen).map(|at| {
        // SAFETY: as there: the op lends `msg_iovlen` vectors, and what each of them names.
        unsafe {
            let at = first + (at * size_of::<libc::iovec>()) as u64;
            let vector = memory::value::<libc::iovec>(at);
            Lent::new(vector.iov_base.expose_provenance() as u64, vector.iov_len)
        }
    });
    Ok(each.collect())
}

/// # Safety
///
/// See [`take`].
unsafe fn address(at: u64, len: u64) -> Result<SockAddr, i32> {
    let mut storage = SockAddrStorage::zeroed();
    let len = usize::try_from(len).map_err(|_| libc::EINVAL)?;
    if len > size_of::<SockAddrStorage>() {
        return Err(libc::EINVAL);
    }
    // SAFETY: as there: the op lends `len` bytes, which fit into the storage; any bytes are a
    // value of it.
    unsafe {
        let bytes = Lent::new(at, len).read(len);
        let start = (&raw mut storage).cast::<u8>();
        start.copy_from_nonoverlapping(bytes.as_ptr(), len);
        Ok(SockAddr::new(storage, len as libc::socklen_t))
    }
}
