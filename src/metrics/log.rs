//! Log lines: `time level event key=value`, one write each.
//!
//! Invariants:
//! 1. A line is one line: values with anything but plain characters are quoted and escaped, and
//!    cut at 512 characters, so a peer cannot forge or flood one.
//! 2. What a peer can cause at will is below `warn`, or goes through a [`Throttle`].
//! 3. A secret has no `Display`, so it cannot become a value.

use crate::base::shown;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::base::time::Moment;
use std::fmt::Display;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::time::Duration;

const VALUE_CHARS_MAX: usize = 512;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The life of one client.
    Debug,
    /// An operator's day.
    Info,
    /// Something that an operator should look at.
    Warn,
    /// Something does not work.
    Error,
}

impl Level {
    /// Its name in a line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A key and its value.
pub type Field<'a> = (&'a str, &'a dyn Display);

/// Where lines go. Cheap to clone; lines of several threads do not mix.
#[derive(Clone)]
pub struct Log {
    level: Level,
    clock: Arc<dyn Clock + Send + Sync>,
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    Nowhere,
    Stderr,
    Memory(Sender<String>),
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Log {
    /// Lines from `level` up, to standard error.
    #[must_use]
    pub fn stderr(level: Level, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        Self { level, clock, sink: Sink::Stderr }
    }

    /// All lines, to whoever holds the other end.
    #[must_use]
    pub fn memory(clock: Arc<dyn Clock + Send + Sync>) -> (Self, Receiver<String>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Self { level: Level::Debug, clock, sink: Sink::Memory(sender) }, receiver)
    }

    /// No lines at all.
    #[must_use]
    pub fn nowhere(clock: Arc<dyn Clock + Send + Sync>) -> Self {
        Self { level: Level::Error, clock, sink: Sink::Nowhere }
    }

    /// Writes a line of level `debug`.
    pub fn debug(&self, event: &str, fields: &[Field<'_>]) {
        self.write(Level::Debug, event, fields);
    }

    /// Writes a line of level `info`.
    pub fn info(&self, event: &str, fields: &[Field<'_>]) {
        self.write(Level::Info, event, fields);
    }

    /// Writes a line of level `warn`.
    pub fn warn(&self, event: &str, fields: &[Field<'_>]) {
        self.write(Level::Warn, event, fields);
    }

    /// Writes a line of level `error`.
    pub fn error(&self, event: &str, fields: &[Field<'_>]) {
        self.write(Level::Error, event, fields);
    }

    /// Writes a line of level `warn` unless `throttle` holds it back; the next line that passes
    /// says how many were held back.
    pub fn warn_rarely(
        &self,
        throttle: &mut Throttle,
        now: Moment,
        event: &str,
        fields: &[Field<'_>],
    ) -> bool {
        let held = throttle.pass(now);
        self.write_rarely(Level::Warn, held, event, fields);
        held.is_some()
    }

    /// The same with a line of level `info`.
    pub fn info_rarely(
        &self,
        throttle: &mut Throttle,
        now: Moment,
        event: &str,
        fields: &[Field<'_>],
    ) {
        self.write_rarely(Level::Info, throttle.pass(now), event, fields);
    }

    fn write_rarely(&self, level: Level, held: Option<u64>, event: &str, fields: &[Field<'_>]) {
        match held {
            None => {}
            Some(0) => self.write(level, event, fields),
            Some(held) => {
                let mut fields = fields.to_vec();
                fields.push(("suppressed", &held));
                self.write(level, event, &fields);
            }
        }
    }

    fn write(&self, level: Level, event: &str, fields: &[Field<'_>]) {
        if level < self.level || matches!(self.sink, Sink::Nowhere) {
            return;
        }
        let mut line = rfc3339(self.clock.unix_millis());
        let _ = write!(line, " {} {event}", level.name());
        for (key, value) in fields {
            let _ = write!(line, " {key}=");
            append(&mut line, &value.to_string());
        }
        line.push('\n');
        match &self.sink {
            Sink::Nowhere => {}
            // A log that cannot be written is no reason to stop serving.
            Sink::Stderr => drop(std::io::stderr().lock().write_all(line.as_bytes())),
            Sink::Memory(sender) => drop(sender.send(line)),
        }
    }
}

/// Lets one line through per interval and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    next: Moment,
    held: u64,
}

impl Throttle {
    /// One line per `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, next: Moment::START, held: 0 }
    }

    /// Whether a line may pass now, and how many were held back since the last.
    pub fn pass(&mut self, now: Moment) -> Option<u64> {
        if now < self.next {
            self.held += 1;
            return None;
        }
        self.next = now.after(self.interval);
        Some(std::mem::take(&mut self.held))
    }

    /// Whether the next line would pass.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.next
    }
}

/// Appends a value: bare if it is plain, else quoted.
pub fn append(line: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.len() <= VALUE_CHARS_MAX && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for (n, c) in value.chars().enumerate() {
        if n == VALUE_CHARS_MAX {
            line.push('…');
            break;
        }
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c => shown::push(c, line),
        }
    }
    line.push('"');
}

/// A time in UTC with milliseconds (RFC 3339 5.6).
#[must_use]
pub fn rfc3339(unix_millis: u64) -> String {
    let (seconds, millis) = (unix_millis / 1000, unix_millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date, counted in eras of 400 years from 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            Moment::START
        }

        fn unix_millis(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn times_are_right() {
        for (millis, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(millis), want);
        }
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let (log, lines) = Log::memory(Arc::new(Fixed(0)));
        log.info("x", &[("a", &1), ("b", &"two words"), ("c", &"q\"\\\nerror y"), ("d", &"")]);
        let line = lines.try_recv().unwrap();
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z info x a=1 b=\"two words\" c=\"q\\\"\\\\\\nerror y\" d=\"\"\n"
        );
        log.info("x", &[("a", &"é".repeat(600))]);
        let line = lines.try_recv().unwrap();
        assert_eq!(line.chars().filter(|c| *c == 'é').count(), VALUE_CHARS_MAX);
        log.info("x", &[("a", &"\u{202e}\u{2028}\u{1b}")]);
        assert!(lines.try_recv().unwrap().is_ascii());
    }

    #[test]
    fn repeated_warnings_are_held_back_and_counted() {
        let (log, lines) = Log::memory(Arc::new(Fixed(0)));
        let mut throttle = Throttle::new(Duration::from_secs(1));
        for millis in [0, 1, 999, 1000] {
            let now = Moment::from_millis(millis);
            log.warn_rarely(&mut throttle, now, "accept_failed", &[("errno", &24)]);
        }
        let warnings: Vec<_> = lines.try_iter().collect();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].ends_with("warn accept_failed errno=24\n"));
        assert!(warnings[1].ends_with("errno=24 suppressed=2\n"));
        let mut throttle = Throttle::new(Duration::from_secs(1));
        for millis in [0, 1, 1000] {
            log.info_rarely(&mut throttle, Moment::from_millis(millis), "up", &[]);
        }
        let told: Vec<_> = lines.try_iter().collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].ends_with("info up\n") && told[1].ends_with("info up suppressed=1\n"));
    }
}
