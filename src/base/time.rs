//! Time as an argument: a moment on one monotonic clock, and the clock itself.
//!
//! Invariants: only `SystemClock` reads the clock. A `Moment` never goes back within one clock.
//! Wall-clock time (token expiry, event age) is a second reading of the same trait.

use std::time::Duration;

/// Nanoseconds since the clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The clock's start.
    pub const START: Self = Self(0);

    /// A moment `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A moment `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This moment, `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The two readings that a worker needs.
pub trait Clock {
    /// Now, monotonic.
    fn now(&self) -> Moment;
    /// Milliseconds since the Unix epoch, for token expiry and event age.
    fn unix_millis(&self) -> u64;
}

/// The machine's clock, the only one in production.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // In 64 bits: five centuries fit, and a turn reads this more than once.
        let since = self.start.elapsed();
        Moment(since.as_secs().saturating_mul(1_000_000_000) + u64::from(since.subsec_nanos()))
    }

    fn unix_millis(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The calendar for who asks at every turn: read now and then, reckoned in between. A calendar that
/// is set by hand is followed within [`Calendar::PERIOD`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Calendar {
    read: Option<(Moment, u64)>,
}

impl Calendar {
    /// From one reading to the next.
    pub const PERIOD: Duration = Duration::from_millis(100);

    /// Milliseconds since the Unix epoch at `now`, which is a reading of the same clock.
    pub fn unix_millis(&mut self, now: Moment, clock: &impl Clock) -> u64 {
        let (at, millis) = match self.read {
            Some(read) if now.since(read.0) < Self::PERIOD => read,
            _ => *self.read.insert((now, clock.unix_millis())),
        };
        millis.saturating_add(now.millis().saturating_sub(at.millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64, std::cell::Cell<u32>);

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            unreachable!("the caller has read it")
        }

        fn unix_millis(&self) -> u64 {
            self.1.set(self.1.get() + 1);
            self.0
        }
    }

    #[test]
    fn the_calendar_is_read_now_and_then() {
        let (mut calendar, mut clock) = (Calendar::default(), Fixed(1_000_000, 0.into()));
        let mut at = |millis, clock: &Fixed| {
            calendar.unix_millis(Moment::from_millis(millis), clock) - 1_000_000
        };
        assert_eq!([5, 6, 104].map(|millis| at(millis, &clock)), [0, 1, 99]);
        clock.0 += 7000;
        assert_eq!((at(104, &clock), at(105, &clock), at(106, &clock)), (99, 7000, 7001));
        assert_eq!(clock.1.get(), 2);
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Moment::from_nanos(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Moment::START.since(end), Duration::ZERO);
        assert_eq!(Moment::from_millis(5).millis(), 5);
    }
}
