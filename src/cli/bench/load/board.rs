//! The board between the coordinator and the subscriber threads of one process: commands one way,
//! counts the other.
//!
//! Invariants: commands only grow (more may connect, then go, then stop); counts only grow. All
//! accesses are relaxed: each word stands for itself, and results are handed over by joining.

use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;

/// Commands and counts.
#[derive(Debug, Default)]
pub struct Board {
    allowed: AtomicU64,
    go: AtomicBool,
    stop: AtomicBool,
    opened: AtomicU64,
    subscribed: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    delivered: AtomicU64,
    bytes: AtomicU64,
}

/// Counts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// TCP connections made.
    pub opened: u64,
    /// Subscribers whose response has begun with status 200.
    pub subscribed: u64,
    /// Connections that failed before that.
    pub refused: u64,
    /// Subscribers whose stream has ended.
    pub ended: u64,
    /// Events received.
    pub delivered: u64,
    /// Bytes received.
    pub bytes: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.subscribed += other.subscribed;
        self.refused += other.refused;
        self.ended += other.ended;
        self.delivered += other.delivered;
        self.bytes += other.bytes;
    }
}

impl Board {
    /// Lets subscribers with numbers below `subscribers` connect.
    pub fn allow(&self, subscribers: u64) {
        self.allowed.fetch_max(subscribers, Relaxed);
    }

    /// Lets held subscribers send their requests.
    pub fn release(&self) {
        self.go.store(true, Relaxed);
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Subscribers with numbers below this may connect.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        self.allowed.load(Relaxed)
    }

    /// Whether held subscribers may send their requests.
    #[must_use]
    pub fn released(&self) -> bool {
        self.go.load(Relaxed)
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Adds what happened since the last call.
    pub fn count(&self, news: Counts) {
        self.opened.fetch_add(news.opened, Relaxed);
        self.subscribed.fetch_add(news.subscribed, Relaxed);
        self.refused.fetch_add(news.refused, Relaxed);
        self.ended.fetch_add(news.ended, Relaxed);
        self.delivered.fetch_add(news.delivered, Relaxed);
        self.bytes.fetch_add(news.bytes, Relaxed);
    }

    /// Replaces the counts, for the mirror of another process's board.
    pub fn mirror(&self, counts: Counts) {
        self.opened.store(counts.opened, Relaxed);
        self.subscribed.store(counts.subscribed, Relaxed);
        self.refused.store(counts.refused, Relaxed);
        self.ended.store(counts.ended, Relaxed);
        self.delivered.store(counts.delivered, Relaxed);
        self.bytes.store(counts.bytes, Relaxed);
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            opened: self.opened.load(Relaxed),
            subscribed: self.subscribed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            ended: self.ended.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}
