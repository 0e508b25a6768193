//! What the subscribers of one thread or one process have seen, ready to be merged and to travel
//! between processes as JSON.
//!
//! Invariants: latencies are counted from the due time that the event itself carries. Merging is
//! commutative, so the order of threads and processes does not matter.

use super::verdict::Faults;
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde::Serialize;

/// The width of one [`Bin`], in nanoseconds.
pub const BIN: u64 = 100_000_000;

/// The longest time that a histogram holds: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Events received in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Which stretch: monotonic nanoseconds over [`BIN`].
    pub at: u64,
    /// Events.
    pub events: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From due time to arrival, in microseconds.
    pub latency: Histogram<u64>,
    /// From connect to the response's head, in microseconds.
    pub connect: Histogram<u64>,
    /// What was wrong.
    pub faults: Faults,
    /// For each event, when its last subscriber had it, in monotonic nanoseconds (0: nobody).
    pub last: Vec<u64>,
    /// Events over time.
    pub bins: Vec<Bin>,
    /// When the last byte came, in monotonic nanoseconds.
    pub last_byte: u64,
    /// The first answer to a subscriber that was not a stream.
    pub refusal: Option<String>,
}

/// A histogram of times in microseconds with three digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are valid")
}

/// Adds a time in nanoseconds; times beyond an hour count as an hour.
pub fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos.div_ceil(1000).max(1));
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            latency: histogram(),
            connect: histogram(),
            faults: Faults::default(),
            last: Vec::new(),
            bins: Vec::new(),
            last_byte: 0,
            refusal: None,
        }
    }
}

impl Outcome {
    /// Adds what others have seen.
    pub fn merge(&mut self, other: Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.connect.add(&other.connect).expect("all histograms have the same bounds");
        self.faults.add(other.faults);
        if other.last.len() > self.last.len() {
            self.last.resize(other.last.len(), 0);
        }
        for (mine, theirs) in self.last.iter_mut().zip(other.last) {
            *mine = theirs.max(*mine);
        }
        for bin in other.bins {
            self.add_bin(bin);
        }
        self.last_byte = self.last_byte.max(other.last_byte);
        self.refusal = self.refusal.take().or(other.refusal);
    }

    /// Adds to a stretch of time. Cheap when it is the latest one.
    pub fn add_bin(&mut self, bin: Bin) {
        let place = match self.bins.last() {
            Some(last) if last.at == bin.at => Ok(self.bins.len() - 1),
            Some(last) if last.at < bin.at => Err(self.bins.len()),
            _ => self.bins.binary_search_by_key(&bin.at, |bin| bin.at),
        };
        match place {
            Ok(at) => {
                if let Some(found) = self.bins.get_mut(at) {
                    found.events += bin.events;
                    found.bytes += bin.bytes;
                }
            }
            Err(at) => self.bins.insert(at, bin),
        }
    }
}

/// The wire form of an [`Outcome`]: histograms as pairs of value and count.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parcel {
    latency: Vec<(u64, u64)>,
    connect: Vec<(u64, u64)>,
    faults: Faults,
    last: Vec<u64>,
    bins: Vec<Bin>,
    last_byte: u64,
    refusal: Option<String>,
}

fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
}

fn unpair(pairs: &[(u64, u64)]) -> Histogram<u64> {
    let mut out = histogram();
    for (value, count) in pairs {
        out.saturating_record_n(*value, *count);
    }
    out
}

impl From<Outcome> for Parcel {
    fn from(outcome: Outcome) -> Self {
        Self {
            latency: pairs(&outcome.latency),
            connect: pairs(&outcome.connect),
            faults: outcome.faults,
            last: outcome.last,
            bins: outcome.bins,
            last_byte: outcome.last_byte,
            refusal: outcome.refusal,
        }
    }
}

impl From<Parcel> for Outcome {
    fn from(parcel: Parcel) -> Self {
        Self {
            latency: unpair(&parcel.latency),
            connect: unpair(&parcel.connect),
            faults: parcel.faults,
            last: parcel.last,
            bins: parcel.bins,
            last_byte: parcel.last_byte,
            refusal: parcel.refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_and_merges() {
        let mut a = Outcome::default();
        for nanos in [1, 999_999, 250_000_000, u64::MAX] {
            record(&mut a.latency, nanos);
        }
        a.last = vec![5, 0];
        a.add_bin(Bin { at: 7, events: 1, bytes: 10 });
        a.add_bin(Bin { at: 9, events: 1, bytes: 10 });
        let parcel = serde_json::to_string(&Parcel::from(a.clone())).unwrap();
        let mut back = Outcome::from(serde_json::from_str::<Parcel>(&parcel).unwrap());
        assert_eq!(back.latency.len(), 4);
        assert_eq!(back.latency.max(), a.latency.max());
        assert_eq!(back.latency.min(), 1);

        let mut b = Outcome { last: vec![3, 4, 8], ..Outcome::default() };
        b.add_bin(Bin { at: 8, events: 2, bytes: 1 });
        b.add_bin(Bin { at: 9, events: 2, bytes: 1 });
        back.merge(b);
        assert_eq!(back.last, [5, 4, 8]);
        let bins: Vec<_> = back.bins.iter().map(|b| (b.at, b.events, b.bytes)).collect();
        assert_eq!(bins, [(7, 1, 10), (8, 2, 1), (9, 3, 11)]);
    }
}
