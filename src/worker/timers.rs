//! What depends on time: the connections' deadlines, the beat over the clients, the histories' age.
//!
//! Invariants: every client slot is visited about once a second while the worker runs; a sleep
//! ends in time for the next visit.

use super::clients::{tick, ticks};
use super::groups::Group;
use super::sources::REFUSED;
use super::{Timer, Worker};
use crate::base::phase::Phase;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::feed::{Beat, ClientId, Tick, Until};
use crate::io::Driver;
use crate::metrics::{Counter, Gauge};
use crate::sse;
use std::io;
use std::time::Duration;

/// In this time the beat visits every slot once.
const ROUND: Duration = Duration::from_secs(1);
/// How often it goes on, at least, while there are clients.
const STEP: Duration = Duration::from_millis(100);
/// Slots of a group visited in one turn at most.
const SLOTS_MAX: u64 = 64 * 1024;
/// Deadlines of connections met in one turn.
const EXPIRES: usize = 256;
/// How often a worker looks whether another one needs room, while it has connections to give.
const LOOK: Duration = Duration::from_secs(1);
/// How often what is too old is dropped.
const TIDY: Duration = Duration::from_secs(5);

impl Group {
    /// Goes on with the scan by as many slots as belong to the time that has passed.
    fn beat(
        &mut self,
        passed: Duration,
        now: Tick,
        beat: Beat,
        due: &mut Vec<(ClientId, Until)>,
    ) -> u64 {
        let slots = self.fanout.slots();
        let share = u128::from(slots) * passed.as_millis() / ROUND.as_millis();
        let share = u64::try_from(share).unwrap_or(u64::MAX) + 1;
        let count = u32::try_from(share.min(SLOTS_MAX).min(u64::from(slots))).unwrap_or(0);
        let from = if self.beat_slot >= slots { 0 } else { self.beat_slot };
        let upto = from.saturating_add(count).min(slots);
        let mut comments = self.fanout.beat(from, upto, now, beat, due);
        self.beat_slot = upto;
        let left = count - (upto - from);
        if left > 0 {
            comments += self.fanout.beat(0, left.min(from), now, beat, due);
            self.beat_slot = left.min(from);
        }
        comments
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Whether [`Self::timers`] has anything to do.
    pub(super) fn has_due(&self, now: Moment) -> bool {
        !self.overdue.is_empty()
            || self.wheel.has_turned(now)
            || now.since(self.beat_at) >= STEP
            || now.since(self.swept_at) >= TIDY
    }

    /// Does what is due.
    pub(super) fn timers(&mut self, now: Moment) -> io::Result<()> {
        // Connections that came in together expire together: what is left is for the next turns.
        if self.overdue.is_empty() {
            self.wheel.expired(now, &mut self.overdue);
        }
        let (beats, tidies) = (now.since(self.beat_at) >= STEP, now.since(self.swept_at) >= TIDY);
        if beats || tidies || !self.overdue.is_empty() {
            // Whom a timer ends gets first what was for it.
            self.send_left()?;
        }
        for _ in 0..EXPIRES {
            match self.overdue.pop() {
                Some(Timer::Connection(handle)) => self.expire(handle, now)?,
                Some(Timer::Source(handle)) => self.expire_source(handle, now)?,
                Some(Timer::Mirror(handle)) => self.end_mirror(handle),
                Some(Timer::Idle(handle)) => self.expire_idle(handle, now),
                None => break,
            }
        }
        if beats {
            self.end_refused();
            self.beat(now);
            self.gauges();
        }
        if tidies {
            self.swept_at = now;
            let unix_millis = self.clock.unix_millis();
            self.site.groups().iter().for_each(|group| group.channel.expire(unix_millis));
            self.groups.tidy();
        }
        Ok(())
    }

    /// How long nothing is due.
    pub(super) fn next_timer(&self, now: Moment) -> Option<Duration> {
        let beat = (self.groups.len() > 0 || self.drain.is_on())
            .then(|| self.beat_at.after(STEP).since(now));
        let serving = self.site.phase() == Phase::Serving;
        let accept = self.accept_at.filter(|_| serving).map(|at| at.since(now));
        let tidy = Some(self.swept_at.after(TIDY).since(now));
        let look = (!self.connections.is_empty()).then_some(LOOK);
        [self.wheel.wait(now), beat, accept, tidy, look].into_iter().flatten().min()
    }

    fn beat(&mut self, now: Moment) {
        let passed = now.since(self.beat_at);
        self.beat_at = now;
        let site = Arc::clone(&self.site);
        let write_timeout = ticks(site.config().limits.write_timeout);
        let mut due = std::mem::take(&mut self.scratch.due);
        for place in 0..self.groups.len() {
            let Some(group) = self.groups.at_mut(place) else { continue };
            let number = group.number;
            let Some(shared) = site.groups().get(number) else { continue };
            let beat = Beat { heartbeat: ticks(shared.terms.heartbeat), write_timeout };
            let comments = group.beat(passed, tick(now), beat, &mut due);
            self.recorder.add(Counter::Heartbeats, comments);
            for (id, why) in due.drain(..) {
                let last = self.last_words(number, why);
                if let Some(group) = self.groups.at_mut(place) {
                    group.fanout.end(id, last, why);
                }
            }
        }
        self.scratch.due = due;
        self.carry_out();
    }

    /// The last bytes of a stream of this group: a comment, or a reconnection time while the
    /// process drains, whatever ends the stream then.
    pub(super) fn last_words(&mut self, group: usize, why: Until) -> Vec<u8> {
        let mut last = Vec::new();
        match why {
            _ if self.drain.is_on() => sse::encode_ending(self.drain_retry(group), &mut last),
            Until::Age => sse::encode_comment("the connection's time is over", &mut last),
            Until::Token => sse::encode_comment("the token's time is over", &mut last),
            Until::Source => sse::encode_comment(REFUSED, &mut last),
            Until::Drain => sse::encode_ending(self.drain_retry(group), &mut last),
        }
        last
    }

    pub(super) fn gauges(&self) {
        let (mut feeds, mut topics) = (0, 0);
        for group in self.groups.iter() {
            let own = group.fanout.feeds();
            (feeds, topics) = (feeds + own.0 as u64, topics + own.1 as u64);
        }
        self.recorder.set(Gauge::Feeds, feeds);
        self.recorder.set(Gauge::Topics, topics);
        self.recorder.set(Gauge::UnsentBytes, self.unsent_bytes() as u64);
        self.recorder.set(Gauge::BackendIdle, self.pool.len() as u64);
        let left = if self.drain.is_on() { self.groups.clients() as u64 } else { 0 };
        self.recorder.set(Gauge::DrainLeft, left);
    }
}
