//! How a tap is: written by its owner, read by metrics and admin.
//!
//! Invariants: one writer, so stores need no read-modify-write. A reader may see one counter of
//! this instant beside another of the last; no number is ever wrong by itself.

use super::HEALTHY_AFTER;
use super::cause;
use super::cause::Cause;
use crate::base::sync::atomic::AtomicU8;
use crate::base::sync::atomic::AtomicU16;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::time::Moment;
use std::fmt;
use std::time::Duration;

/// How far back a rate looks: at least this, at most twice as much.
const WINDOW: Duration = Duration::from_secs(5);

/// Where a tap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two attempts, or before the first.
    Waiting,
    /// A connection is being made.
    Connecting,
    /// The request was sent.
    Asked,
    /// Events flow.
    Streaming,
    /// The log has no room: the connection is not read.
    Paused,
    /// The upstream refused for good.
    Refused,
    /// Nobody reads it any more.
    Closed,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Connecting,
        Self::Asked,
        Self::Streaming,
        Self::Paused,
        Self::Refused,
        Self::Closed,
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Asked => "asked",
            Self::Streaming => "streaming",
            Self::Paused => "paused",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }

    fn number(self) -> u8 {
        let at = Self::ALL.iter().position(|phase| *phase == self);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
    }

    fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Waiting)
    }
}

/// What went wrong last, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// [`Cause::name`].
    pub name: &'static str,
    /// The status, if one was answered.
    pub status: Option<u16>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.status.map_or(Ok(()), |status| write!(f, "_{status}"))
    }
}

/// Counts at a moment.
#[derive(Debug, Default)]
struct Sample {
    nanos: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Sample {
    fn copy(&self, from: &Self) {
        self.set(from.nanos.load(Relaxed), from.events.load(Relaxed), from.bytes.load(Relaxed));
    }

    fn set(&self, nanos: u64, events: u64, bytes: u64) {
        self.nanos.store(nanos, Relaxed);
        self.events.store(events, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }
}

/// The counters of one tap.
#[derive(Debug, Default)]
pub(super) struct Board {
    phase: AtomicU8,
    /// A cause's number plus one; 0: none yet.
    cause: AtomicU8,
    status: AtomicU16,
    since: AtomicU64,
    heard: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    reconnects: AtomicU64,
    failures: AtomicU64,
    older: Sample,
    newer: Sample,
}

impl Board {
    pub(super) fn new(now: Moment) -> Self {
        let board = Self::default();
        for moment in [&board.since, &board.heard, &board.older.nanos, &board.newer.nanos] {
            moment.store(now.nanos(), Relaxed);
        }
        board
    }

    pub(super) fn enter(&self, phase: Phase, now: Moment) {
        self.phase.store(phase.number(), Relaxed);
        self.since.store(now.nanos(), Relaxed);
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Relaxed))
    }

    /// A stream or an attempt failed: so many in a row, as the pace counts them.
    pub(super) fn failed(&self, cause: Cause, failures: u32) {
        self.failures.store(failures.into(), Relaxed);
        self.trouble(cause);
    }

    /// What an operator reads as the last error.
    pub(super) fn trouble(&self, cause: Cause) {
        self.status.store(cause.status().unwrap_or(0), Relaxed);
        self.cause.store(cause.number() + 1, Relaxed);
    }

    /// The status that the upstream refuses with.
    pub(super) fn refused(&self, status: u16) {
        add(&self.failures, 1);
        self.trouble(Cause::Status(status));
    }

    pub(super) fn reconnected(&self) {
        add(&self.reconnects, 1);
    }

    /// Bytes of the connection came.
    pub(super) fn hear(&self, bytes: usize, now: Moment) {
        add(&self.bytes, bytes as u64);
        self.heard.store(now.nanos(), Relaxed);
        let newest = Moment::from_nanos(self.newer.nanos.load(Relaxed));
        if now.since(newest) >= WINDOW {
            self.older.copy(&self.newer);
            // What came just now belongs to the window that begins here.
            let bytes = self.bytes.load(Relaxed).saturating_sub(bytes as u64);
            self.newer.set(now.nanos(), self.events.load(Relaxed), bytes);
        }
    }

    /// An event was appended.
    pub(super) fn count_event(&self) {
        add(&self.events, 1);
        self.recovered();
    }

    /// The stream is healthy: what failed before it is over.
    pub(super) fn recovered(&self) {
        self.failures.store(0, Relaxed);
    }

    pub(super) fn read(&self, now: Moment) -> Health {
        let age = |moment: &AtomicU64| now.since(Moment::from_nanos(moment.load(Relaxed)));
        let number = self.cause.load(Relaxed).checked_sub(1);
        let status = self.status.load(Relaxed);
        let (events, bytes) = (self.events.load(Relaxed), self.bytes.load(Relaxed));
        let silent_for = age(&self.heard);
        let sample = if age(&self.newer.nanos) >= WINDOW { &self.newer } else { &self.older };
        // Before the first window is over, it is what has passed of it.
        let span = age(&sample.nanos).max(Duration::from_secs(1)).as_secs_f64();
        let rate = |count: u64, then: &AtomicU64| {
            if silent_for > 2 * WINDOW {
                return 0.0;
            }
            #[allow(clippy::cast_precision_loss, reason = "a rate is shown, not counted with")]
            let new = count.saturating_sub(then.load(Relaxed)) as f64;
            new / span
        };
        let (phase, phase_age) = (self.phase(), age(&self.since));
        let is_healthy = phase == Phase::Streaming && phase_age >= HEALTHY_AFTER;
        Health {
            phase,
            phase_age,
            silent_for,
            events,
            bytes,
            events_per_second: rate(events, &sample.events),
            bytes_per_second: rate(bytes, &sample.bytes),
            reconnects: self.reconnects.load(Relaxed),
            failures: if is_healthy { 0 } else { self.failures.load(Relaxed) },
            trouble: number.map(|number| Trouble {
                name: cause::name(number),
                status: Some(status).filter(|status| *status != 0),
            }),
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// How a tap is.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Where it stands.
    pub phase: Phase,
    /// For how long.
    pub phase_age: Duration,
    /// How long ago the last byte came, comments included; since the tap was opened if none did.
    pub silent_for: Duration,
    /// Events taken.
    pub events: u64,
    /// Bytes received, framing included.
    pub bytes: u64,
    /// Events per second over the last five to ten seconds.
    pub events_per_second: f64,
    /// Bytes per second over the same.
    pub bytes_per_second: f64,
    /// Streams that were opened after the first.
    pub reconnects: u64,
    /// Attempts and streams that failed in a row; orderly ends are none.
    pub failures: u64,
    /// The last failure.
    pub trouble: Option<Trouble>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_look_back_a_window_or_two_and_no_further() {
        let board = Board::new(Moment::START);
        let at = |millis| Moment::from_millis(millis);
        for tick in 1..=300 {
            board.hear(50, at(tick * 100));
            board.count_event();
            let health = board.read(at(tick * 100));
            assert!(tick < 20 || (9.0..11.5).contains(&health.events_per_second), "{health:?}");
            assert!(tick < 20 || (450.0..575.0).contains(&health.bytes_per_second), "{health:?}");
        }
        let health = board.read(at(30_000 + 10_001));
        assert_eq!((health.events, health.bytes), (300, 15_000));
        assert_eq!((health.events_per_second, health.bytes_per_second), (0.0, 0.0));
        assert_eq!(health.silent_for, Duration::from_millis(10_001));
    }

    #[test]
    fn phases_and_troubles_survive_their_numbers() {
        let board = Board::new(Moment::START);
        assert_eq!(board.read(Moment::START).trouble, None);
        for phase in Phase::ALL {
            board.enter(phase, Moment::from_millis(7));
            let health = board.read(Moment::from_millis(9));
            assert_eq!((health.phase, health.phase_age.as_millis()), (phase, 2));
        }
        board.failed(Cause::Status(503), 1);
        assert_eq!(board.read(Moment::START).trouble.unwrap().to_string(), "status_503");
        board.failed(Cause::HeadTimeout, 2);
        let health = board.read(Moment::START);
        assert_eq!(health.trouble.unwrap().to_string(), "head_timeout");
        assert_eq!(health.failures, 2);
    }

    #[test]
    fn failures_are_in_a_row_and_end_with_a_healthy_stream() {
        let (board, at) = (Board::new(Moment::START), Moment::from_millis);
        board.failed(Cause::Connect, 1);
        board.enter(Phase::Streaming, at(1000));
        assert_eq!(board.read(at(5999)).failures, 1);
        assert_eq!(board.read(at(6000)).failures, 0, "it has lasted");
        board.failed(Cause::Cut, 2);
        board.enter(Phase::Waiting, at(6000));
        assert_eq!(board.read(at(6000)).failures, 2);
        board.enter(Phase::Streaming, at(7000));
        board.count_event();
        assert_eq!(board.read(at(7000)).failures, 0, "it has brought an event");
    }
}
