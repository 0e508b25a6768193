//! What depends on time: the connections' deadlines, the beat over the clients, the history's age.
//!
//! Invariants: every client slot is visited about once a second while the worker runs; a sleep
//! ends in time for the next visit.

use super::Worker;
use super::clients::{tick, ticks};
use crate::base::phase::Phase;
use crate::base::time::{Clock, Moment};
use crate::feed::{Beat, Until};
use crate::io::Driver;
use crate::metrics::{Counter, Gauge};
use crate::sse;
use std::io;
use std::time::Duration;

/// In this time the beat visits every slot once.
const ROUND: Duration = Duration::from_secs(1);
/// How often it goes on, at least, while there are clients.
const STEP: Duration = Duration::from_millis(100);
/// Slots visited in one turn at most.
const SLOTS_MAX: u64 = 64 * 1024;
/// Deadlines of connections met in one turn.
const EXPIRES: usize = 256;
/// How often a worker looks whether another one needs room, while it has connections to give.
const LOOK: Duration = Duration::from_secs(1);
/// How often what is too old is dropped.
const TIDY: Duration = Duration::from_secs(5);

impl<D: Driver, C: Clock> Worker<D, C> {
    pub(super) fn timers(&mut self, now: Moment) -> io::Result<()> {
        // Connections that came in together expire together: what is left is for the next turns.
        if self.overdue.is_empty() {
            self.wheel.expired(now, &mut self.overdue);
        }
        for _ in 0..EXPIRES {
            let Some(handle) = self.overdue.pop() else { break };
            self.expire(handle, now)?;
        }
        if now.since(self.beat_at) >= STEP {
            self.beat(now);
            self.gauges();
        }
        if now.since(self.swept_at) >= TIDY {
            self.swept_at = now;
            self.site.channel().expire(self.clock.unix_millis());
            if !self.fanout.is_waiting() {
                self.fanout.forget_pages();
            }
        }
        Ok(())
    }

    /// How long nothing is due.
    pub(super) fn next_timer(&self, now: Moment) -> Option<Duration> {
        let beat = (self.fanout.clients() > 0 || self.drain.is_on())
            .then(|| self.beat_at.after(STEP).since(now));
        let serving = self.site.phase() == Phase::Serving;
        let accept = self.accept_at.filter(|_| serving).map(|at| at.since(now));
        let tidy = Some(self.swept_at.after(TIDY).since(now));
        let look = (!self.connections.is_empty()).then_some(LOOK);
        [self.wheel.wait(now), beat, accept, tidy, look].into_iter().flatten().min()
    }

    fn beat(&mut self, now: Moment) {
        let slots = self.fanout.slots();
        let passed = now.since(self.beat_at);
        self.beat_at = now;
        let share = u128::from(slots) * passed.as_millis() / ROUND.as_millis();
        let share = u64::try_from(share).unwrap_or(u64::MAX) + 1;
        let count = u32::try_from(share.min(SLOTS_MAX).min(u64::from(slots))).unwrap_or(0);
        let (hub, limits) = (&self.site.config().hub, &self.site.config().limits);
        let beat =
            Beat { heartbeat: ticks(hub.heartbeat), write_timeout: ticks(limits.write_timeout) };
        let mut due = std::mem::take(&mut self.scratch.due);
        let from = if self.beat_slot >= slots { 0 } else { self.beat_slot };
        let upto = from.saturating_add(count).min(slots);
        let mut comments = self.fanout.beat(from, upto, tick(now), beat, &mut due);
        self.beat_slot = upto;
        let left = count - (upto - from);
        if left > 0 {
            comments += self.fanout.beat(0, left.min(from), tick(now), beat, &mut due);
            self.beat_slot = left.min(from);
        }
        self.recorder.add(Counter::Heartbeats, comments);
        for (id, why) in due.drain(..) {
            let last = self.last_words(why);
            self.fanout.end(id, last, why);
        }
        self.scratch.due = due;
        self.carry_out(now);
    }

    /// The last bytes of a stream: a reconnection time on a drain, else a comment.
    pub(super) fn last_words(&mut self, why: Until) -> Vec<u8> {
        let mut last = Vec::new();
        match why {
            Until::Age => sse::encode_comment("the connection's time is over", &mut last),
            Until::Token => sse::encode_comment("the token's time is over", &mut last),
            Until::Drain => sse::encode_ending(self.drain_retry(), &mut last),
        }
        last
    }

    pub(super) fn gauges(&self) {
        let (feeds, topics) = self.fanout.feeds();
        self.recorder.set(Gauge::Feeds, feeds as u64);
        self.recorder.set(Gauge::Topics, topics as u64);
        self.recorder.set(Gauge::UnsentBytes, self.unsent_bytes() as u64);
        let left = if self.drain.is_on() { self.fanout.clients() as u64 } else { 0 };
        self.recorder.set(Gauge::DrainLeft, left);
    }
}
