//! Per-thread counters: one writer, any number of readers, no locked instruction.
//!
//! Invariants:
//! 1. A `Recorder` is the only writer of its `Counters`: it is neither `Clone` nor `Sync`. So an
//!    addition is a plain load and a plain store, and nothing is lost.
//! 2. Readers see each value whole and perhaps a little late; values of one scrape need not be of
//!    one instant.

#![allow(
    clippy::indexing_slicing,
    reason = "slots and buckets are bounded by the tables that size the arrays"
)]

use super::declared::BUCKETS;
use super::declared::COUNTER_SERIES;
use super::declared::Counter;
use super::declared::GAUGES;
use super::declared::Gauge;
use super::declared::HISTOGRAMS;
use super::declared::Histogram;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicI64;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;
use std::cell::Cell;
use std::marker::PhantomData;

/// What one recorder has counted; read by whoever renders it.
#[derive(Debug)]
pub struct Counters {
    counters: [AtomicU64; COUNTER_SERIES],
    gauges: [AtomicI64; GAUGES.len()],
    histograms: [Buckets; HISTOGRAMS.len()],
}

#[derive(Debug)]
struct Buckets {
    counts: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Counters {
    fn new() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; COUNTER_SERIES],
            gauges: [const { AtomicI64::new(0) }; GAUGES.len()],
            histograms: [const {
                Buckets {
                    counts: [const { AtomicU64::new(0) }; BUCKETS + 1],
                    sum: AtomicU64::new(0),
                }
            }; HISTOGRAMS.len()],
        }
    }

    /// A counter's value.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counter_at(counter.slot())
    }

    /// A gauge's value; below 0 if another recorder holds the other half.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges[gauge as usize].load(Relaxed)
    }

    /// How many values a histogram has seen.
    #[must_use]
    pub fn count(&self, histogram: Histogram) -> u64 {
        (0..=BUCKETS).map(|bucket| self.bucket(histogram as usize, bucket)).sum()
    }

    pub(super) fn counter_at(&self, slot: usize) -> u64 {
        self.counters[slot].load(Relaxed)
    }

    pub(super) fn gauge_at(&self, index: usize) -> i64 {
        self.gauges[index].load(Relaxed)
    }

    pub(super) fn bucket(&self, histogram: usize, bucket: usize) -> u64 {
        self.histograms[histogram].counts[bucket].load(Relaxed)
    }

    pub(super) fn sum(&self, histogram: usize) -> u64 {
        self.histograms[histogram].sum.load(Relaxed)
    }
}

/// The writing side, owned by one thread.
#[derive(Debug)]
pub struct Recorder {
    counters: Arc<Counters>,
    /// Not `Sync`: two writers would lose additions.
    one_writer: PhantomData<Cell<()>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A recorder with every value at 0.
    #[must_use]
    pub fn new() -> Self {
        Self { counters: Arc::new(Counters::new()), one_writer: PhantomData }
    }

    /// The reading side, for the one who renders.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, by: u64) {
        bump(&self.counters.counters[counter.slot()], by);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, gauge: Gauge, to: u64) {
        self.counters.gauges[gauge as usize].store(signed(to), Relaxed);
    }

    /// Raises a gauge.
    #[inline]
    pub fn raise(&self, gauge: Gauge, by: u64) {
        let cell = &self.counters.gauges[gauge as usize];
        cell.store(cell.load(Relaxed).saturating_add(signed(by)), Relaxed);
    }

    /// Lowers a gauge. One recorder may lower what another raised: only the sum is told.
    #[inline]
    pub fn lower(&self, gauge: Gauge, by: u64) {
        let cell = &self.counters.gauges[gauge as usize];
        cell.store(cell.load(Relaxed).saturating_sub(signed(by)), Relaxed);
    }

    /// Counts one value into a histogram.
    #[inline]
    pub fn observe(&self, histogram: Histogram, value: u64) {
        self.observe_many(histogram, value, 1);
    }

    /// Counts the same value `times` times.
    #[inline]
    pub fn observe_many(&self, histogram: Histogram, value: u64, times: u64) {
        let buckets = &self.counters.histograms[histogram as usize];
        bump(&buckets.counts[histogram.bucket(value)], times);
        bump(&buckets.sum, value.saturating_mul(times));
    }
}

#[inline]
fn bump(cell: &AtomicU64, by: u64) {
    // One writer: a load and a store lose nothing, and spare the locked addition.
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::CloseReason;

    #[test]
    fn readers_see_what_the_writer_counted() {
        let recorder = Recorder::new();
        let counters = recorder.counters();
        recorder.add(Counter::Closed(CloseReason::AgeLimit), 2);
        recorder.add(Counter::Closed(CloseReason::AgeLimit), 3);
        recorder.raise(Gauge::Clients, 2);
        recorder.lower(Gauge::Clients, 3);
        recorder.observe_many(Histogram::SweepBatch, 128, 4);
        assert_eq!(counters.counter(Counter::Closed(CloseReason::AgeLimit)), 5);
        assert_eq!(counters.counter(Counter::Closed(CloseReason::Drained)), 0);
        assert_eq!(counters.gauge(Gauge::Clients), -1);
        assert_eq!(counters.count(Histogram::SweepBatch), 4);
        assert_eq!(counters.sum(Histogram::SweepBatch as usize), 512);
    }
}
