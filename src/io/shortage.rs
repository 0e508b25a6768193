//! What this host lacks, told from what is wrong with a peer.
//!
//! Invariants: a shortage says nothing about the other side, and must not be blamed on it.

// Linux's numbers, on every architecture that Rust's tier 1 and 2 hosts have.
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// Whether the error says that no descriptor is left, to this process or to the host.
#[must_use]
pub const fn of_descriptors(errno: i32) -> bool {
    matches!(errno, EMFILE | ENFILE)
}

/// Whether the error says that the kernel has no memory left for a socket.
#[must_use]
pub const fn of_memory(errno: i32) -> bool {
    matches!(errno, ENOBUFS | ENOMEM)
}

/// Whether it says either.
#[must_use]
pub const fn of_either(errno: i32) -> bool {
    of_descriptors(errno) || of_memory(errno)
}
