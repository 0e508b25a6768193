//! The machine of one tap's connection: connects, asks, reads, and comes back after every end.
//!
//! | state | input | next |
//! |---|---|---|
//! | `Waiting` | its time | says `Connect`; `Connecting` |
//! | `Connecting` | `connected` | writes the request; `Asked` |
//! | `Connecting` | `failed`, its time | says `Close`; `Waiting` |
//! | `Asked` | a head that opens | `Streaming` |
//! | `Asked` | a redirect that is followed | says `Close`; `Waiting`, for no time |
//! | `Asked` | a refusal | says `Refused`; `Refused` for ever |
//! | `Asked` | any other head, end, fault, its time | says `Close`; `Waiting` |
//! | `Streaming` | events, comments | to the sink; stays |
//! | `Streaming` | the sink is full | says `Paused` until `resume` |
//! | `Streaming` | end, fault, silence | says `Close`; `Waiting` |
//! | any | `close` | `Closed` for ever |
//!
//! The worker obeys each [`Step`], calls [`Source::due`] at [`Source::deadline`], and tells what
//! happens to the connection. What comes too late, of a connection that was given up, changes
//! nothing.
//!
//! Invariants:
//! 1. At most one attempt at a time: `Connect` is only said in `Waiting`.
//! 2. A wait is over after what `pace` says, and not before.
//! 3. The last id and the reconnection time outlive connections (C5, C6); decoders do not.
//! 4. An id that a client brought is a claim (see `claim`).

mod claim;

use super::HEALTHY_AFTER;
use super::REFUSED_FOR;
use super::answer;
use super::answer::Answer;
use super::board::Phase;
use super::cause::Cause;
use super::open::Full;
use super::open::Open;
use super::open::Progress;
use super::open::Sink;
use super::pace::Pace;
use super::request;
use super::tap::Tap;
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::http::h1::response::ResponseHead;
use claim::Claim;
pub use claim::Vain;
use std::time::Duration;

/// What a source takes from outside: time and chance; and where its news go.
#[derive(Debug)]
pub struct Outside<'a> {
    /// Now.
    pub now: Moment,
    /// Now, by the calendar.
    pub unix_millis: u64,
    /// Jitter.
    pub chance: &'a mut Chance,
    /// What an operator may want to read; appended.
    pub notices: &'a mut Vec<Notice>,
}

/// News of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The stream is open, for the first time or after an orderly end.
    Opened,
    /// The stream is open again after failures.
    Recovered {
        /// How many.
        failures: u32,
    },
    /// A healthy stream ended in an orderly way.
    Ended {
        /// The wait before the next.
        retry_in: Duration,
    },
    /// An attempt or a stream failed.
    Lost {
        /// Why.
        cause: Cause,
        /// Failures in a row; 0: the stream was healthy.
        failures: u32,
        /// The wait before the next attempt.
        retry_in: Duration,
    },
    /// The id that a client opened the stream with led nowhere: it is asked for without. Readers
    /// may have missed events.
    Unseeded {
        /// Why.
        vain: Vain,
    },
    /// The upstream refuses for good.
    Refused {
        /// With this status.
        status: u16,
    },
}

/// What the worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something happens, or [`Source::deadline`]. A connection is read on.
    Wait,
    /// Make a connection to the backend; then say `connected` or `failed`.
    Connect,
    /// Close the connection, or stop making one; then wait for [`Source::deadline`].
    Close,
    /// Do not read the connection; call [`Source::resume`] when the log may have room.
    Paused,
    /// Close the connection, tell [`super::Registry::refuse`], and forget the source.
    Refused {
        /// The upstream's status.
        status: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Connecting,
    Asked,
    Streaming,
    Refused,
    Closed,
}

/// The machine.
#[derive(Debug)]
pub struct Source {
    tap: Arc<Tap>,
    /// While a connection is open.
    open: Option<Box<Open>>,
    /// When the state ends by itself.
    until: Option<Moment>,
    /// The id to go on after; empty: none.
    last_id: String,
    /// Where a redirect of this attempt led.
    target: Option<Box<str>>,
    /// Where a permanent redirect led once.
    moved: Option<Box<str>>,
    /// Redirects of this attempt.
    hops: u32,
    pace: Pace,
    state: State,
    /// All redirects of this attempt were permanent.
    permanent: bool,
    /// A stream was open before.
    opened: bool,
    /// Whether the last id is a client's.
    claim: Claim,
}

// There are thousands of them; the decoders are boxed and live with the connection only.
const _: () = assert!(size_of::<Source>() <= 128);
const _: () = assert!(size_of::<Open>() <= 512);

impl Source {
    /// A source that is due at once.
    #[must_use]
    pub fn new(tap: Arc<Tap>, now: Moment) -> Self {
        let last_id = tap.seed.as_deref().unwrap_or_default().to_owned();
        let claim = Claim::of(&last_id, now);
        Self {
            tap,
            open: None,
            until: Some(now),
            last_id,
            target: None,
            moved: None,
            hops: 0,
            pace: Pace::default(),
            state: State::Waiting,
            permanent: true,
            opened: false,
            claim,
        }
    }

    /// Its tap.
    #[must_use]
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// When to call [`Source::due`]; `None`: not by time.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [self.until, self.look_at()].into_iter().flatten().min()
    }

    /// Whether it has asked for a connection that is not made yet.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.state == State::Connecting
    }

    /// Whether the connection must not be read.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_paused())
    }

    /// Time has passed.
    pub fn due(&mut self, outside: &mut Outside<'_>) -> Step {
        if let Some(step) = self.look(outside) {
            return step;
        }
        if self.until.is_none_or(|until| until > outside.now) {
            return if self.is_paused() { Step::Paused } else { Step::Wait };
        }
        match self.state {
            State::Waiting => {
                self.enter(State::Connecting, self.tap.family.connect_timeout, outside.now);
                Step::Connect
            }
            State::Connecting => self.lose(Cause::ConnectTimeout, None, outside),
            State::Asked => self.lose(Cause::HeadTimeout, None, outside),
            State::Streaming => self.lose(Cause::IdleTimeout, None, outside),
            State::Refused | State::Closed => Step::Wait,
        }
    }

    /// The connection is made: appends the request to `out`.
    pub fn connected(&mut self, now: Moment, out: &mut Vec<u8>) -> Step {
        if self.state != State::Connecting {
            return Step::Close;
        }
        request::write(&self.tap, self.asked(), &self.last_id, out);
        self.open = Some(Box::new(Open::new(now)));
        self.enter(State::Asked, self.tap.family.definition.head_timeout, now);
        Step::Wait
    }

    /// The connection could not be made, or broke before it was used.
    pub fn failed(&mut self, cause: Cause, outside: &mut Outside<'_>) -> Step {
        match self.state {
            State::Connecting | State::Asked | State::Streaming => self.lose(cause, None, outside),
            State::Waiting | State::Refused | State::Closed => Step::Close,
        }
    }

    /// Bytes of the connection. All are taken, whatever the step.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        outside: &mut Outside<'_>,
        sink: &mut dyn Sink,
    ) -> Step {
        let Some(open) = &mut self.open else { return Step::Close };
        let tap = Arc::clone(&self.tap);
        tap.board.hear(bytes.len(), outside.now);
        let mut counting = Counting { sink, tap: &tap, owed: &mut self.claim.owed };
        let head = match open.take(&mut bytes, &mut self.last_id, &mut counting) {
            Progress::Answer(head) => head,
            progress => return self.go_on(progress, outside),
        };
        match (self.answer(&head, outside), &mut self.open) {
            // What is left of the input is the body's.
            (Step::Wait, Some(open)) => {
                let mut counting = Counting { sink, tap: &tap, owed: &mut self.claim.owed };
                // If there is no room, it is told before the first event.
                let _ = counting.tell();
                let progress = open.take(&mut bytes, &mut self.last_id, &mut counting);
                self.go_on(progress, outside)
            }
            (step, _) => step,
        }
    }

    /// The log may have room again. Says `Paused` if it has not.
    pub fn resume(&mut self, outside: &mut Outside<'_>, sink: &mut dyn Sink) -> Step {
        let mut sink = Counting { sink, tap: &self.tap, owed: &mut self.claim.owed };
        let Some(open) = self.open.as_mut().filter(|open| open.is_paused()) else {
            return Step::Wait;
        };
        let progress = open.resume(&mut self.last_id, &mut sink);
        if !matches!(progress, Progress::Paused) {
            self.tap.board.enter(Phase::Streaming, outside.now);
        }
        self.go_on(progress, outside)
    }

    /// The connection has ended: in an orderly way (the peer said that it would send no more; under
    /// TLS inside the session), or cut.
    pub fn ended(&mut self, orderly: bool, outside: &mut Outside<'_>) -> Step {
        let Some(open) = &mut self.open else { return Step::Close };
        let progress = open.end(orderly);
        self.go_on(progress, outside)
    }

    /// Nobody reads any more, or the process ends.
    pub fn close(&mut self, now: Moment) -> Step {
        self.open = None;
        self.until = None;
        self.state = State::Closed;
        self.tap.board.enter(Phase::Closed, now);
        Step::Close
    }

    /// Path and query of the request.
    fn asked(&self) -> &str {
        let moved = self.target.as_deref().or(self.moved.as_deref());
        moved.unwrap_or(&self.tap.key.target)
    }

    fn enter(&mut self, state: State, limit: Duration, now: Moment) {
        self.state = state;
        self.until = Some(now.after(limit)).filter(|_| !limit.is_zero());
        self.tap.board.enter(
            match state {
                State::Waiting => Phase::Waiting,
                State::Connecting => Phase::Connecting,
                State::Asked => Phase::Asked,
                State::Streaming => Phase::Streaming,
                State::Refused => Phase::Refused,
                State::Closed => Phase::Closed,
            },
            now,
        );
    }

    fn go_on(&mut self, progress: Progress, outside: &mut Outside<'_>) -> Step {
        self.weigh();
        match progress {
            Progress::More => {
                if self.state == State::Streaming {
                    // P4: any byte is life, a comment's too.
                    let limit = self.tap.family.definition.idle_timeout;
                    self.until = Some(outside.now.after(limit)).filter(|_| !limit.is_zero());
                }
                Step::Wait
            }
            Progress::Paused => {
                // Who does not read cannot tell silence from a full log.
                self.until = None;
                if self.tap.board.phase() != Phase::Paused {
                    self.tap.board.enter(Phase::Paused, outside.now);
                }
                Step::Paused
            }
            // The second head of one exchange: the decoder does not let it through.
            Progress::Answer(head) => self.answer(&head, outside),
            Progress::Over(cause) => self.lose(cause, None, outside),
        }
    }

    fn answer(&mut self, head: &ResponseHead, outside: &mut Outside<'_>) -> Step {
        let family = &self.tap.family;
        let definition = &family.definition;
        match answer::judge(family, self.asked(), head, outside.unix_millis) {
            Answer::Open => {
                if let Some(open) = &mut self.open {
                    open.begin(definition.event_bytes_max, &self.last_id, outside.now);
                }
                outside.notices.push(match self.pace.failures() {
                    0 => Notice::Opened,
                    failures => Notice::Recovered { failures },
                });
                self.claim.watch(outside.now);
                if std::mem::replace(&mut self.opened, true) {
                    self.tap.board.reconnected();
                }
                self.enter(State::Streaming, self.tap.family.definition.idle_timeout, outside.now);
                Step::Wait
            }
            Answer::Move { .. } if self.hops >= definition.redirects_max => {
                self.moved = None;
                self.lose(Cause::RedirectOften, None, outside)
            }
            Answer::Move { target, permanent } => {
                self.hops += 1;
                self.permanent &= permanent;
                if self.permanent {
                    self.moved = Some(target.clone());
                }
                self.target = Some(target);
                self.open = None;
                self.enter(State::Waiting, Duration::ZERO, outside.now);
                self.until = Some(outside.now);
                Step::Close
            }
            // Not what others would be told, who ask without that id.
            Answer::Refuse(status) if self.claim.stands() => {
                self.ask_without(Vain::Answer(Cause::Status(status)), outside)
            }
            Answer::Fail { cause: cause @ Cause::Status(status), .. }
                if self.claim.stands() && !matches!(status, 408 | 425 | 429 | 502..=504) =>
            {
                self.ask_without(Vain::Answer(cause), outside)
            }
            // What is connected for ever is never refused for good.
            Answer::Refuse(status) if definition.always_on => {
                self.lose(Cause::Status(status), Some(REFUSED_FOR), outside)
            }
            Answer::Refuse(status) => {
                self.open = None;
                self.enter(State::Refused, Duration::ZERO, outside.now);
                self.tap.board.refused(status);
                outside.notices.push(Notice::Refused { status });
                Step::Refused { status }
            }
            Answer::Fail { cause, retry_after } => {
                // What a permanent redirect promised does not hold any more.
                self.moved = None;
                self.lose(cause, retry_after, outside)
            }
        }
    }

    /// The attempt or the stream is over; the next one comes after a wait.
    fn lose(
        &mut self,
        cause: Cause,
        retry_after: Option<Duration>,
        outside: &mut Outside<'_>,
    ) -> Step {
        let had_connection = self.state != State::Connecting;
        let legacy = self.open.take().and_then(|open| open.close(&mut self.last_id));
        let (mut healthy, mut lasted) = (false, false);
        if let Some(legacy) = legacy {
            lasted = outside.now.since(legacy.since) >= HEALTHY_AFTER;
            healthy = lasted || legacy.events > 0 || legacy.retry.is_some();
            if let Some(millis) = legacy.retry {
                self.pace.name(millis);
            }
        }
        if lasted || (healthy && !cause.is_fault()) {
            self.pace.reset();
            self.tap.board.recovered();
        }
        let definition = &self.tap.family.definition;
        let retry_in = if healthy && !cause.is_fault() {
            self.pace.after_end(definition, outside.chance)
        } else {
            self.pace.after_failure(definition, retry_after, outside.chance)
        };
        if healthy && cause == Cause::Ended {
            outside.notices.push(Notice::Ended { retry_in });
        } else {
            let failures = self.pace.failures();
            self.tap.board.failed(cause, failures);
            outside.notices.push(Notice::Lost { cause, failures, retry_in });
        }
        if had_connection {
            self.spend(healthy, outside);
        }
        (self.target, self.hops, self.permanent) = (None, 0, true);
        self.enter(State::Waiting, retry_in, outside.now);
        // A reconnection time of zero is a time, not its absence.
        self.until = Some(outside.now.after(retry_in));
        Step::Close
    }
}

/// Counts what the sink takes, and tells it of a gap first.
struct Counting<'a> {
    sink: &'a mut dyn Sink,
    tap: &'a Tap,
    owed: &'a mut bool,
}

impl Counting<'_> {
    fn tell(&mut self) -> Result<(), Full> {
        if *self.owed {
            self.sink.gap()?;
            *self.owed = false;
        }
        Ok(())
    }
}

impl Sink for Counting<'_> {
    fn event(&mut self, arrival: &super::open::Arrival<'_>) -> Result<(), Full> {
        self.tell()?;
        self.sink.event(arrival)?;
        self.tap.board.count_event();
        Ok(())
    }

    fn gap(&mut self) -> Result<(), Full> {
        self.sink.gap()
    }
}
