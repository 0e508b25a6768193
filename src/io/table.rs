//! What a kernel driver remembers of each socket: 12 bytes, found by descriptor.
//!
//! Invariants:
//! 1. A report carries descriptor and generation; one that is stale finds nothing.
//! 2. Growing allocates one chunk and copies nothing. Nothing is allocated per connection.
//! 3. The generation moves on when the descriptor is freed, and never otherwise.

use crate::io::Interest;
use crate::io::Token;

const CHUNK: usize = 1024;

/// Interests as bits, so that several fit one word.
pub(super) const HANGUP: u32 = 1;
pub(super) const READ: u32 = 2;
pub(super) const WRITE: u32 = 4;
/// All interests.
pub(super) const INTERESTS: u32 = HANGUP | READ | WRITE;
/// The connection has been closed by us; its descriptor waits for the kernel.
pub(super) const CLOSING: u32 = 8;
/// The epoll set knows the descriptor.
pub(super) const REGISTERED: u32 = 16;
/// The ring is to receive for it before it is asked to.
pub(super) const EAGER: u32 = 16;
/// `Read` is armed, and answered from what the ring receives.
pub(super) const ASKED: u32 = 32;
/// A receive is under way in the ring, until it says that it has ended.
pub(super) const RECEIVING: u32 = 64;
/// It has been told to end.
pub(super) const STOPPING: u32 = 128;

const FLAG_BITS: u32 = 8;

/// Generations fit beside a descriptor and a kind in the 64 bits that the kernel gives back.
pub(super) const GENERATION_MASK: u32 = (1 << 24) - 1;

/// The bit of an interest.
pub(super) fn bit(interest: Interest) -> u32 {
    match interest {
        Interest::Hangup => HANGUP,
        Interest::Read => READ,
        Interest::Write => WRITE,
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// In halves, so that an entry needs no padding.
    token: [u32; 2],
    /// Generation above, flags below.
    word: u32,
}

const _: () = assert!(size_of::<Entry>() == 12);

impl Entry {
    pub(super) fn generation(self) -> u32 {
        self.word >> FLAG_BITS
    }

    pub(super) fn has(self, flags: u32) -> bool {
        self.word & flags != 0
    }

    /// The interests that are armed.
    pub(super) fn armed(self) -> u32 {
        self.word & INTERESTS
    }

    /// What the ring has under way for it.
    pub(super) fn under_way(self) -> u32 {
        self.word & (INTERESTS | RECEIVING)
    }

    pub(super) fn raise(&mut self, flags: u32) {
        self.word |= flags;
    }

    pub(super) fn lower(&mut self, flags: u32) {
        self.word &= !flags;
    }

    pub(super) fn token(self) -> Token {
        let [high, low] = self.token;
        Token(u64::from(high) << 32 | u64::from(low))
    }

    #[allow(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    pub(super) fn set_token(&mut self, token: Token) {
        self.token = [(token.0 >> 32) as u32, token.0 as u32];
    }

    /// The descriptor is free: no flags, and the next generation.
    pub(super) fn free(&mut self) {
        let next = self.generation().wrapping_add(1) & GENERATION_MASK;
        *self = Self { token: [0; 2], word: next << FLAG_BITS };
    }
}

/// Something for each descriptor, in chunks that are made when first needed.
#[derive(Debug, Default)]
pub(super) struct Chunks<T> {
    chunks: Vec<Option<Box<[T; CHUNK]>>>,
}

impl<T: Copy + Default> Chunks<T> {
    /// What belongs to `fd`, made if new; `None` if `fd` is no descriptor.
    pub(super) fn make(&mut self, fd: i32) -> Option<&mut T> {
        let index = usize::try_from(fd).ok()?;
        let chunk = index / CHUNK;
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks.get_mut(chunk)?;
        chunk.get_or_insert_with(|| Box::new([T::default(); CHUNK])).get_mut(index % CHUNK)
    }

    /// What belongs to `fd`, if its chunk has been made.
    pub(super) fn find(&mut self, fd: i32) -> Option<&mut T> {
        let index = usize::try_from(fd).ok()?;
        self.chunks.get_mut(index / CHUNK)?.as_mut()?.get_mut(index % CHUNK)
    }
}

/// Entries by descriptor.
#[derive(Debug, Default)]
pub(super) struct Table(Chunks<Entry>);

impl Table {
    /// The entry of `fd`, made if new; `None` if `fd` is no descriptor.
    pub(super) fn entry(&mut self, fd: i32) -> Option<&mut Entry> {
        self.0.make(fd)
    }

    /// The entry of `fd`, if it is still the one of that generation.
    pub(super) fn find(&mut self, fd: i32, generation: u32) -> Option<&mut Entry> {
        self.0.find(fd).filter(|entry| entry.generation() == generation)
    }

    /// Calls `each` with every descriptor that waits to be freed.
    pub(super) fn each_closing(&self, each: impl Fn(i32)) {
        for (number, chunk) in self.0.chunks.iter().enumerate() {
            for (index, entry) in chunk.iter().flat_map(|chunk| chunk.iter()).enumerate() {
                if entry.has(CLOSING) {
                    i32::try_from(number * CHUNK + index).into_iter().for_each(&each);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_generation_finds_nothing() {
        let mut table = Table::default();
        let entry = table.entry(5000).unwrap();
        entry.set_token(Token(u64::MAX - 7));
        entry.raise(HANGUP | WRITE);
        let generation = entry.generation();
        assert_eq!(entry.token(), Token(u64::MAX - 7));
        assert_eq!(entry.armed(), HANGUP | WRITE);
        entry.free();
        assert!(table.find(5000, generation).is_none());
        assert_eq!(table.find(5000, generation + 1).unwrap().armed(), 0);
        assert!(table.find(1, 0).is_none(), "no chunk was made for it");
        assert!(table.entry(-1).is_none());
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        let mut entry = Entry { token: [0; 2], word: GENERATION_MASK << FLAG_BITS };
        entry.raise(INTERESTS | CLOSING | REGISTERED);
        entry.free();
        assert_eq!((entry.generation(), entry.word), (0, 0));
    }
}
