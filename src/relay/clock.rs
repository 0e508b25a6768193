//! Deadlines: five timers and the heartbeat.
//!
//! | timer | runs | when it ends |
//! |---|---|---|
//! | request | from the start to the response's end; not in a tunnel | 504, or a cut |
//! | request body | while more of the body is wanted and no head of a response has come | 408 |
//! | backend request | from `connected` to the response's head | a retry, or 504 |
//! | response head | from the sent request's end to the response's head | 504 |
//! | idle | after the response's head, from the last byte of either side | a cut |
//! | heartbeat | from the last byte sent of an event stream, between two events | a comment |
//!
//! Invariants: a heartbeat is no sign of life, so it never holds off the idle timer. The deadline
//! moves with every byte; a worker may ask again only when the one it knows has come.

use super::At;
use super::Out;
use super::Phase;
use super::Relay;
use super::ending::End;
use super::ending::Step;
use super::ending::Timer;
use super::events::HEARTBEAT;
use super::opening::after;
use super::upload::Upload;
use crate::base::time::Moment;

impl Relay {
    /// When [`Self::expire`] is to be called if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let heartbeat = self.heartbeat_due().map(|due| (due, ()));
        sooner(self.timer().map(|(due, _)| (due, ())), heartbeat).map(|(due, ())| due)
    }

    /// A socket took bytes that had been waiting for it: a slow peer is not a silent one. Not for
    /// sends that passed at once.
    pub fn moved(&mut self, now: Moment) {
        self.life = now;
    }

    /// Time has passed: what is due is done.
    pub fn expire(&mut self, at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        if let Some((_, timer)) = self.timer().filter(|(due, _)| *due <= at.now) {
            return self.time_out(timer, at, out);
        }
        if self.heartbeat_due().is_some_and(|due| due <= at.now) {
            self.events.beat(at.now);
            self.download.write(&[HEARTBEAT], out.client);
        }
        Step::On
    }

    fn heartbeat_due(&self) -> Option<Moment> {
        if self.end.is_some() { None } else { self.events.due() }
    }

    /// The timer that ends first, and when.
    fn timer(&self) -> Option<(Moment, Timer)> {
        if self.end.is_some() {
            return None;
        }
        let silent = |by, timer| after(Some(self.life), by).map(|due| (due, timer));
        let until = self.until.filter(|_| self.phase != Phase::Tunnel);
        let whole = until.map(|due| (due, Timer::Request));
        let (one, other) = match &self.opening {
            None => (silent(self.idle, Timer::Idle), None),
            Some(opening) => {
                let body = self.upload != Upload::Complete && self.wants_client_input();
                let body = body.then(|| opening.plan().timers.request_body);
                (body.and_then(|by| silent(by, Timer::RequestBody)), opening.due())
            }
        };
        sooner(sooner(whole, one), other)
    }

    fn time_out(&mut self, timer: Timer, at: &At<'_>, out: &mut Out<'_>) -> Step {
        let end = End::TimedOut(timer);
        if self.has_begun() {
            return self.cut(end);
        }
        let (status, text) = match timer {
            Timer::RequestBody => (408, "the request's body did not come in time"),
            Timer::BackendRequest if self.repeat(true) => return Step::Retry,
            _ => (504, "the backend did not answer in time"),
        };
        self.refuse(status, text, end, at, out.client)
    }

    /// Begins another attempt, if there may be one.
    pub(super) fn repeat(&mut self, timed_out: bool) -> bool {
        let again = self.opening.as_mut().is_some_and(|o| o.retry_lost(timed_out));
        if again {
            self.phase = Phase::Connecting;
        }
        again
    }
}

/// What comes first; of two at once, `one`.
fn sooner<T>(one: Option<(Moment, T)>, other: Option<(Moment, T)>) -> Option<(Moment, T)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, None) => one,
        (None, other) => other,
    }
}
