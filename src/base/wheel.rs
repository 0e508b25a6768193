//! The timer wheel: many coarse deadlines, O(1) to set, no cancelling.
//!
//! Invariants:
//! 1. `expired` reports a key at its deadline or up to one tick later, never before.
//! 2. A timer is never taken back. The owner keeps the deadline that counts and checks it when the
//!    key comes up: stale keys (older generation, moved deadline) are harmless.
//! 3. Deadlines beyond the wheel's span wait in the last slot and are set again from there.

#![allow(clippy::indexing_slicing, reason = "slot numbers are taken modulo the slot count")]

use super::time::Moment;
use std::time::Duration;

const SLOTS: u64 = 512;
const WORDS: usize = 8;
const _: () = assert!(WORDS as u64 * 64 == SLOTS);

/// Deadlines of keys of type `K`.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<(Moment, K)>>,
    /// A bit for each slot that holds something: to find the next one costs a few words.
    filled: [u64; WORDS],
    /// Nanoseconds of a tick.
    tick: u64,
    /// The tick up to which slots were emptied.
    done: u64,
    len: usize,
}

impl<K: Copy> Wheel<K> {
    /// A wheel with this resolution; its span is 512 ticks.
    #[must_use]
    pub fn new(tick: Duration, now: Moment) -> Self {
        let filled = [0; WORDS];
        let tick = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mut wheel = Self { slots: Vec::new(), filled, tick, done: 0, len: 0 };
        wheel.slots.resize_with(usize::try_from(SLOTS).unwrap_or(512), Vec::new);
        wheel.done = wheel.tick_of(now);
        wheel
    }

    /// Reports `key` at `deadline`.
    pub fn set(&mut self, deadline: Moment, key: K) {
        let due = self.tick_of(deadline) + 1;
        let tick = due.clamp(self.done + 1, self.done + SLOTS - 1);
        self.slots[slot(tick)].push((deadline, key));
        self.filled[slot(tick) / 64] |= 1 << (slot(tick) % 64);
        self.len += 1;
    }

    /// Appends every key whose deadline has come.
    pub fn expired(&mut self, now: Moment, out: &mut Vec<K>) {
        let end = self.tick_of(now);
        if self.len == 0 {
            self.done = self.done.max(end);
            return;
        }
        // After a leap of the clock one round visits every slot: more would visit them twice.
        let first = (self.done + 1).max((end + 1).saturating_sub(SLOTS));
        for tick in first..=end {
            self.done = tick;
            let mut due = std::mem::take(&mut self.slots[slot(tick)]);
            self.filled[slot(tick) / 64] &= !(1 << (slot(tick) % 64));
            self.len -= due.len();
            for (deadline, key) in due.drain(..) {
                if deadline <= now { out.push(key) } else { self.set(deadline, key) }
            }
            if self.slots[slot(tick)].is_empty() {
                self.slots[slot(tick)] = due;
            }
        }
        self.done = self.done.max(end);
    }

    /// Whether a tick has passed that [`Wheel::expired`] has not looked at: before that nothing can
    /// have come due.
    #[must_use]
    pub fn has_turned(&self, now: Moment) -> bool {
        now.nanos() >= (self.done + 1).saturating_mul(self.tick)
    }

    /// How long until a slot must be looked at; `None` with no timer set.
    #[must_use]
    pub fn wait(&self, now: Moment) -> Option<Duration> {
        if self.len == 0 {
            return None;
        }
        let tick = self.next_filled(self.done + 1);
        let at = Moment::from_nanos(tick.saturating_mul(self.tick));
        Some(at.since(now))
    }

    /// The first tick from `from` on whose slot holds something; there is one within a round.
    fn next_filled(&self, from: u64) -> u64 {
        let (word, bit) = (slot(from) / 64, from % 64);
        // The word of `from` is looked at twice: its higher bits first, its lower ones last.
        for step in 0..=WORDS {
            let bits = self.filled[(word + step) % WORDS];
            let bits = match step {
                0 => bits >> bit << bit,
                _ => bits,
            };
            if bits != 0 {
                return from - bit + step as u64 * 64 + u64::from(bits.trailing_zeros());
            }
        }
        from
    }

    /// How many timers are set, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn tick_of(&self, moment: Moment) -> u64 {
        moment.nanos() / self.tick
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::Chance;

    /// Against a plain list: each key once, not early, at most one tick late.
    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 0..200 {
            let mut chance = Chance::new(seed);
            let tick = Duration::from_millis(10);
            let mut wheel = Wheel::new(tick, Moment::START);
            let (mut now, mut open, mut out) = (Moment::START, Vec::new(), Vec::new());
            for key in 0..300_u64 {
                let far = if chance.one_in(10) { 60_000 } else { 500 };
                let deadline = now.after(Duration::from_millis(chance.below(far)));
                wheel.set(deadline, key);
                open.push((deadline, key));
                let leap = if chance.one_in(50) { 30_000 } else { 20 };
                now = now.after(Duration::from_millis(chance.below(leap)));
                out.clear();
                let idle = !wheel.has_turned(now);
                wheel.expired(now, &mut out);
                assert!(!wheel.has_turned(now) && (!idle || out.is_empty()), "seed {seed}: idle");
                for key in &out {
                    let at = open.iter().position(|(_, k)| k == key).expect("reported once");
                    let (deadline, _) = open.remove(at);
                    assert!(deadline <= now, "seed {seed}: early");
                }
                assert!(open.iter().all(|(d, _)| d.after(tick) >= now), "seed {seed}: late");
                assert_eq!(wheel.len(), open.len());
                if let Some(wait) = wheel.wait(now) {
                    let first = wheel.done + 1;
                    let plain = (first..first + SLOTS).find(|t| !wheel.slots[slot(*t)].is_empty());
                    assert_eq!(Some(wheel.next_filled(first)), plain, "seed {seed}");
                    let next = open.iter().map(|(d, _)| *d).min().unwrap();
                    let wake = now.after(wait);
                    assert!(wake <= next.after(tick * 2), "seed {seed}: sleeps too long");
                }
            }
        }
    }
}
