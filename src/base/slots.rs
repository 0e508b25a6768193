//! A slab whose handles carry a generation, grown in chunks that never move.
//!
//! Invariants:
//! 1. A handle finds its value or nothing: a stale one (value removed, slot reused) is harmless.
//! 2. Growing allocates one chunk and copies nothing, so memory per value is what a value needs.
//! 3. A vacant slot's generation is the one that its next handle will carry.

#![allow(
    clippy::indexing_slicing,
    reason = "chunk and slot are derived from the length by the two functions at the bottom"
)]

use super::prefetch::prefetch;

const CHUNK: usize = 1024;
const NONE: u32 = u32::MAX;

/// A place in a [`Slots`]: index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// Index and generation, packed for a driver's token.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`Handle::pack`].
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the two halves of the packed word")]
    pub fn unpack(packed: u64) -> Self {
        Self { index: packed as u32, generation: (packed >> 32) as u32 }
    }

    /// The slot's number: stable while the value lives.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next: u32 },
    Filled(T),
}

/// Values in slots, found by handle.
#[derive(Debug)]
pub struct Slots<T> {
    chunks: Vec<Vec<Slot<T>>>,
    free: u32,
    len: usize,
    mask: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slots<T> {
    /// Empty, with generations of the full 32 bits.
    #[must_use]
    pub fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, mask: u32::MAX }
    }

    /// Empty, with generations of `bits` bits, for callers that pack more into a token.
    #[must_use]
    pub fn with_generation_bits(bits: u32) -> Self {
        Self { mask: (1_u32 << bits.min(31)) - 1, ..Self::new() }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the highest slot number ever used.
    #[must_use]
    pub fn high(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Stores a value and returns its handle.
    ///
    /// # Panics
    /// With 2³² − 1 values, which connection limits exclude.
    pub fn insert(&mut self, value: T) -> Handle {
        self.len += 1;
        if self.free != NONE {
            let index = self.free;
            let slot = self.slot_mut(index).expect("the free list holds slots that exist");
            let generation = slot.generation;
            let Entry::Vacant { next } = slot.entry else {
                unreachable!("the free list holds vacant slots")
            };
            slot.entry = Entry::Filled(value);
            self.free = next;
            return Handle { index, generation };
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let index = u32::try_from(self.high()).expect("fewer than 2³² slots");
        assert!(index != NONE, "fewer than 2³² slots");
        let chunk = self.chunks.last_mut().expect("pushed above");
        chunk.push(Slot { generation: 0, entry: Entry::Filled(value) });
        Handle { index, generation: 0 }
    }

    /// Takes the value out; `None` if the handle is stale.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let (free, mask) = (self.free, self.mask);
        let slot = self.slot_mut(handle.index)?;
        if slot.generation != handle.generation || matches!(slot.entry, Entry::Vacant { .. }) {
            return None;
        }
        slot.generation = slot.generation.wrapping_add(1) & mask;
        let entry = std::mem::replace(&mut slot.entry, Entry::Vacant { next: free });
        self.free = handle.index;
        self.len -= 1;
        match entry {
            Entry::Filled(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// Asks for the memory of a value that is about to be found.
    pub fn prefetch(&self, handle: Handle) {
        if let Some(slot) = self.slot(handle.index) {
            prefetch(slot);
        }
    }

    /// The value, or `None` if the handle is stale.
    #[must_use]
    pub fn find(&self, handle: Handle) -> Option<&T> {
        let slot = self.slot(handle.index)?;
        match &slot.entry {
            Entry::Filled(value) if slot.generation == handle.generation => Some(value),
            _ => None,
        }
    }

    /// The value, or `None` if the handle is stale.
    pub fn find_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slot_mut(handle.index)?;
        match &mut slot.entry {
            Entry::Filled(value) if slot.generation == handle.generation => Some(value),
            _ => None,
        }
    }

    /// The value in slot `index`, whatever its generation, with its handle.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(Handle, &T)> {
        let slot = self.slot(index)?;
        match &slot.entry {
            Entry::Filled(value) => Some((Handle { index, generation: slot.generation }, value)),
            Entry::Vacant { .. } => None,
        }
    }

    /// The value in slot `index`, for links that are kept exact and so need no generation.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match &mut self.slot_mut(index)?.entry {
            Entry::Filled(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// All values with their handles, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        (0..self.high()).filter_map(|i| self.at(u32::try_from(i).ok()?))
    }

    /// Bytes held, filled or not.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Slot<T>>()
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_find_nothing() {
        let mut slots = Slots::new();
        let a = slots.insert("a");
        assert_eq!(slots.remove(a), Some("a"));
        let b = slots.insert("b");
        assert_eq!(a.index(), b.index(), "the slot is reused");
        assert_eq!(slots.find(a), None);
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.find(b), Some(&"b"));
        assert_eq!(Handle::unpack(b.pack()), b);
    }

    #[test]
    fn grows_over_chunks_and_counts() {
        let mut slots = Slots::with_generation_bits(8);
        let handles: Vec<_> = (0..3000).map(|n| slots.insert(n)).collect();
        assert_eq!((slots.len(), slots.high()), (3000, 3000));
        for (n, handle) in handles.iter().enumerate() {
            assert_eq!(slots.find(*handle), Some(&n));
        }
        for _ in 0..600 {
            let h = slots.at(7).map(|(h, _)| h).unwrap();
            let value = slots.remove(h).unwrap();
            slots.insert(value);
        }
        assert!(slots.at(7).unwrap().0.pack() >> 32 < 256, "generations stay within their bits");
    }
}
