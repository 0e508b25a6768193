//! Which events came: missing, doubled, out of order, foreign.
//!
//! Each subscriber sees one or more lanes; within a lane the events count up from 0 without holes.
//! A jump ahead leaves a hole. An event that arrives later and lies in a hole was out of order; one
//! that lies behind and in no hole was doubled. What is in a hole at the end, or was never reached,
//! is missing.
//!
//! Invariants: every received event adds to at most one count; memory grows with holes, not with
//! events.

use std::collections::BTreeMap;

/// What was wrong, summed over all subscribers. Each must be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Faults {
    /// Events that a subscriber should have had and never got.
    pub missing: u64,
    /// Events that a subscriber got again.
    pub doubled: u64,
    /// Events that came after a later one.
    pub out_of_order: u64,
    /// Events that a subscriber had not asked for.
    pub foreign: u64,
}

impl Faults {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.foreign += other.foreign;
    }

    /// Whether there were none.
    #[must_use]
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// What came, by slot: one slot for each lane of each subscriber.
#[derive(Debug, Default)]
pub struct Ledger {
    /// For each slot, the number expected next.
    next: Vec<u64>,
    /// Holes left behind, as half-open ranges.
    holes: BTreeMap<usize, Vec<(u64, u64)>>,
    faults: Faults,
}

impl Ledger {
    /// Makes room for slots below `slots`.
    pub fn grow(&mut self, slots: usize) {
        if slots > self.next.len() {
            self.next.resize(slots, 0);
        }
    }

    /// Notes that `number` has come in `slot`.
    pub fn note(&mut self, slot: usize, number: u64) {
        let Some(next) = self.next.get_mut(slot) else {
            self.faults.foreign += 1;
            return;
        };
        if number == *next {
            *next += 1;
        } else if number > *next {
            self.holes.entry(slot).or_default().push((*next, number));
            *next = number + 1;
        } else {
            self.note_late(slot, number);
        }
    }

    /// Notes an event that nobody asked for.
    pub fn note_foreign(&mut self) {
        self.faults.foreign += 1;
    }

    fn note_late(&mut self, slot: usize, number: u64) {
        let holes = self.holes.entry(slot).or_default();
        let Some(at) = holes.iter().position(|(from, to)| (*from..*to).contains(&number)) else {
            self.faults.doubled += 1;
            return;
        };
        self.faults.out_of_order += 1;
        let (from, to) = holes.swap_remove(at);
        holes.extend([(from, number), (number + 1, to)].into_iter().filter(|(a, b)| a < b));
    }

    /// The sum, given how many events each slot should have had.
    #[must_use]
    pub fn close(&self, expected: impl Fn(usize) -> u64) -> Faults {
        let mut faults = self.faults;
        for (slot, next) in self.next.iter().enumerate() {
            faults.missing += expected(slot).saturating_sub(*next);
        }
        for (slot, holes) in &self.holes {
            let end = expected(*slot);
            faults.missing +=
                holes.iter().map(|(a, b)| (*b).min(end).saturating_sub(*a)).sum::<u64>();
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(numbers: &[u64], expected: u64) -> Faults {
        let mut ledger = Ledger::default();
        ledger.grow(1);
        for number in numbers {
            ledger.note(0, *number);
        }
        ledger.close(|_| expected)
    }

    #[test]
    fn all_in_order_is_no_fault() {
        assert!(judge(&[0, 1, 2, 3], 4).none());
    }

    #[test]
    fn finds_what_was_planted() {
        let missing = |missing| Faults { missing, ..Faults::default() };
        assert_eq!(judge(&[0, 1, 2], 5), missing(2), "the end never came");
        assert_eq!(judge(&[], 5), missing(5), "nothing came");
        assert_eq!(judge(&[0, 3, 4], 5), missing(2), "a hole");
        assert_eq!(judge(&[0, 1, 1, 2, 0], 3), Faults { doubled: 2, ..Faults::default() });
        let late = Faults { out_of_order: 1, ..Faults::default() };
        assert_eq!(judge(&[0, 2, 1, 3], 4), late, "a hole filled later");
        let both = Faults { out_of_order: 1, doubled: 1, missing: 1, foreign: 0 };
        assert_eq!(judge(&[0, 3, 1, 1, 4], 5), both, "filled in part, and twice");
    }

    #[test]
    fn slots_are_judged_apart() {
        let mut ledger = Ledger::default();
        ledger.grow(2);
        ledger.note(0, 0);
        ledger.note(1, 0);
        ledger.note(1, 1);
        ledger.note(2, 0);
        ledger.note_foreign();
        let faults = ledger.close(|_| 2);
        assert_eq!(faults, Faults { missing: 1, foreign: 2, ..Faults::default() });
    }
}
