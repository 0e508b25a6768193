//! Buffers that the kernel takes by itself to receive into: a ring of them, registered once.
//!
//! # Safety
//! The kernel writes to memory that no lifetime follows. What the blocks below rely on:
//! 1. A buffer is the kernel's from `give` until an answer names it, and ours from then until it is
//!    given again: it is read only then. Each is given once at a time; `Pool` above keeps count.
//! 2. The memory lives until the kernel has let go of the ring: `close` is called before it is
//!    freed, on the ring that it was registered with.
//! 3. The ring's entries are written by this thread alone, and read by the kernel up to the tail,
//!    which is published last.

use std::alloc::Layout;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// How many there are; a power of two.
pub(super) const BUFFERS: u16 = 1024;
/// Bytes of one: what sends little and often seldom sends more at a time.
pub(super) const BUFFER: usize = 1024;
/// Their group's name; the ring has no other.
pub(super) const GROUP: u16 = 1;
const PAGE: usize = 4096;

/// The buffers and the ring that offers them.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    /// Registers them; the kernel has them all.
    pub(super) fn open(ring: &IoUring) -> io::Result<Self> {
        let entries = allocate(entries_layout())?.cast::<BufRingEntry>();
        let bytes = allocate(bytes_layout())?;
        let mut buffers = Self { entries, bytes, tail: 0 };
        let address = entries.as_ptr() as u64;
        // SAFETY: (2).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }?;
        (0..BUFFERS).for_each(|id| buffers.give(id));
        Ok(buffers)
    }

    /// The kernel is to use them no more.
    pub(super) fn close(&self, ring: &IoUring) {
        // A ring that is going anyway cannot be told anything worse.
        let _ = ring.submitter().unregister_buf_ring(GROUP);
    }

    /// Gives a buffer to the kernel.
    pub(super) fn give(&mut self, id: u16) {
        debug_assert!(id < BUFFERS, "a buffer's number");
        let at = usize::from(self.tail & (BUFFERS - 1));
        let address = self.start(id).as_ptr() as u64;
        // SAFETY: masked to within what was allocated.
        let entry = unsafe { self.entries.add(at) };
        // SAFETY: aligned and zeroed at first; (3).
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(u32::try_from(BUFFER).unwrap_or(0));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the address of the first entry, which holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: it is aligned, and shared with the kernel alone.
        let tail = unsafe { &*tail.cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Bytes of a buffer that an answer has named.
    pub(super) fn get(&self, id: u16, from: u16, upto: u16) -> &[u8] {
        let (from, upto) = (usize::from(from), usize::from(upto).min(BUFFER));
        debug_assert!(id < BUFFERS && from <= upto, "a range of a buffer");
        // SAFETY: (1), within what was allocated and zeroed.
        let whole = unsafe { std::slice::from_raw_parts(self.start(id).as_ptr(), BUFFER) };
        whole.get(from..upto).unwrap_or_default()
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        // SAFETY: masked to within what was allocated.
        unsafe { self.bytes.add(usize::from(id & (BUFFERS - 1)) * BUFFER) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; (2).
        unsafe { std::alloc::dealloc(self.entries.as_ptr().cast(), entries_layout()) };
        // SAFETY: as above.
        unsafe { std::alloc::dealloc(self.bytes.as_ptr(), bytes_layout()) };
    }
}

fn entries_layout() -> Layout {
    let size = usize::from(BUFFERS) * size_of::<BufRingEntry>();
    Layout::from_size_align(size, PAGE).expect("a small size")
}

fn bytes_layout() -> Layout {
    Layout::from_size_align(usize::from(BUFFERS) * BUFFER, PAGE).expect("a small size")
}

fn allocate(layout: Layout) -> io::Result<NonNull<u8>> {
    // SAFETY: the size is not zero.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(memory).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
