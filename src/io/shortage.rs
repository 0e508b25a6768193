//! What this host lacks, told from what is wrong with a peer.
//!
//! Invariants: a shortage says nothing about the other side, and must not be blamed on it.

use crate::io::sys;

/// Whether the error says that no descriptor is left, to this process or to the host.
#[must_use]
pub const fn of_descriptors(errno: i32) -> bool {
    matches!(errno, sys::EMFILE | sys::ENFILE)
}

/// Whether the error says that the kernel has no memory left for a socket.
#[must_use]
pub const fn of_memory(errno: i32) -> bool {
    matches!(errno, sys::ENOBUFS | sys::ENOMEM)
}

/// Whether it says either.
#[must_use]
pub const fn of_either(errno: i32) -> bool {
    of_descriptors(errno) || of_memory(errno)
}
