//! Subscribers: from a session to the fan-out, the sweep, and their ends.
//!
//! Invariants:
//! 1. A group's log is read while the group has a client, and not otherwise.
//! 2. A client's descriptor is closed where its `Effect::Dropped` is handled, or on hang-up.

use super::left::Left;
use super::{AddressKey, Owner, Worker};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::feed::{Announce, BATCH, ClientId, Dropped, Effect, Gap};
use crate::feed::{NEVER, Newcomer, Tally, Tick, Until};
use crate::hub;
use crate::io::{Driver, Interest, Socket};
use crate::metrics::{CloseReason, Counter, GapReason, Gauge, LagAction};
use crate::session::{Group, Subscribe};
use std::time::Duration;

/// Sends of one turn.
const SENDS: usize = BATCH;
/// Bytes of one turn's sends, about.
const SEND_BYTES: usize = 4 * 1024 * 1024;

/// Writes the notices of gaps.
pub(super) struct Notices<'a> {
    pub(super) group: &'a Group,
}

impl Announce for Notices<'_> {
    fn gap(&self, gap: Gap, upto: u64) -> Vec<u8> {
        let reason = match gap {
            Gap::Skipped | Gap::Conflated => hub::gap::Reason::Lag,
            Gap::Expired => hub::gap::Reason::Expired,
        };
        let mut out = Vec::new();
        let to = self.group.channel.id(upto);
        let kind = self.group.terms.gap_kind.as_deref();
        hub::gap::Gap { reason, from: None, to: &to }.encode(kind, &mut out);
        out
    }
}

/// A moment as the fan-out counts time.
pub(super) fn tick(moment: Moment) -> Tick {
    Tick::try_from(moment.millis() / 100).unwrap_or(NEVER)
}

/// A span as the fan-out counts time, rounded up; zero means never.
pub(super) fn ticks(span: Duration) -> Tick {
    match span.as_millis().div_ceil(100) {
        0 => NEVER,
        ticks => Tick::try_from(ticks).unwrap_or(NEVER),
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// A session became a stream of a group: `head` is sent first.
    pub(super) fn subscribe(&mut self, handle: Handle, wish: Subscribe, head: &[u8], now: Moment) {
        let site = Arc::clone(&self.site);
        let Some(shared) = site.groups().get(wish.group) else {
            debug_assert!(false, "a session names a group of its site");
            return self.release(handle, CloseReason::Answered);
        };
        let Some((socket, key)) = self.promote(handle) else { return };
        let until = self.until(wish.until_unix_millis, shared.terms.age_max, now);
        let Some(group) = self.groups.open(wish.group, &site, &self.bell) else { return };
        let newcomer = Newcomer {
            socket: socket.0,
            tag: key.0,
            after: wish.after.unwrap_or_else(|| shared.channel.tail()),
            told: wish.told,
            until,
            subscription: wish.subscription,
            head: head.to_vec(),
        };
        let id = group.fanout.subscribe(newcomer, tick(now));
        self.recorder.raise(Gauge::Clients, 1);
        self.watch(socket, Owner::Client(wish.group, id), Interest::Hangup);
    }

    /// When a client that starts now is to be ended.
    fn until(&mut self, token_end: Option<u64>, age: Duration, now: Moment) -> (Tick, Until) {
        let mut until = (NEVER, Until::Age);
        if !age.is_zero() {
            // Drawn from 80 to 100 %, so that clients that came together do not go together.
            let fifth = u64::try_from(age.as_millis() / 5).unwrap_or(u64::MAX);
            let span = Duration::from_millis(fifth * 4 + self.chance.below(fifth + 1));
            until = (tick(now).saturating_add(ticks(span)), Until::Age);
        }
        if let Some(end) = token_end {
            let left = end.saturating_sub(self.clock.unix_millis());
            // Rounded down and a round of the beat earlier, so that the stream ends before the
            // token does; a token near its end still gets half of what is left.
            let left = Tick::try_from(left / 100).unwrap_or(NEVER);
            let end = tick(now).saturating_add(left.saturating_sub(10).max(left / 2));
            if end < until.0 {
                until = (end, Until::Token);
            }
        }
        if let Some(drain) = self.drain_end(now)
            && drain < until.0
        {
            until = (drain, Until::Drain);
        }
        until
    }

    /// The kernel reports a client.
    pub(super) fn client_event(&mut self, number: usize, id: ClientId, room: bool, hangup: bool) {
        let Some(group) = self.groups.find_mut(number) else { return };
        if hangup {
            if let Some((socket, tag)) = group.fanout.remove(id) {
                self.close_client(socket, tag, CloseReason::PeerGone);
            }
        } else if room {
            group.fanout.unblock(id);
        }
    }

    /// Gathers what ready clients have not got, to be sent: one batch, in which groups take turns
    /// to be first.
    pub(super) fn sweep(&mut self, now: Moment) {
        // Nobody is removed while the batch is under way.
        self.carry_out();
        // When it is sent there is room again for what waits in the log.
        let over = self.groups.is_over_budget();
        let Left { batch, parts, more, since, unix_millis, .. } = &mut self.left;
        *more = false;
        debug_assert!(batch.is_empty(), "the last one has been sent");
        let mut bytes = 0;
        for place in self.groups.in_turn() {
            let Some(group) = self.groups.at_mut(place) else { continue };
            let from = batch.len();
            let room = SEND_BYTES - bytes.min(SEND_BYTES);
            let gathered = group.fanout.gather(SENDS, room, batch);
            bytes += gathered.bytes;
            *more |= gathered.more;
            if batch.len() > from {
                parts.push((place, from..batch.len()));
            }
        }
        if !batch.is_empty() {
            *more |= over;
            (*since, *unix_millis) = (now, self.clock.unix_millis());
        }
    }

    /// Does what the fan-outs asked for, and takes over what they counted.
    pub(super) fn carry_out(&mut self) {
        // From the end: a group that has lost its last client is replaced by the last one.
        for place in (0..self.groups.len()).rev() {
            let Some(group) = self.groups.at_mut(place) else { continue };
            if group.fanout.ready() == 0 {
                group.newest_millis = 0;
            }
            let number = group.number;
            let mut effects = std::mem::take(group.fanout.effects());
            let tally = group.fanout.tally();
            for effect in effects.drain(..) {
                match effect {
                    Effect::Full { client, socket } => {
                        self.watch(Socket(socket), Owner::Client(number, client), Interest::Write);
                    }
                    Effect::Dropped { socket, tag, why } => self.dropped(socket, tag, why),
                }
            }
            self.count_tally(tally);
            let Some(group) = self.groups.at_mut(place) else { continue };
            *group.fanout.effects() = effects;
            if group.fanout.clients() == 0 {
                self.groups.leave(place);
                // Without clients the worker may sleep for long: what it last told must be true.
                self.gauges();
            }
        }
    }

    fn count_tally(&self, tally: Tally) {
        let recorder = &self.recorder;
        recorder.add(Counter::Routed, tally.appends);
        recorder.add(Counter::CatchUpPages, tally.pages);
        recorder.add(Counter::CatchUpBytes, tally.page_bytes);
        recorder.add(Counter::Lagged(LagAction::Skip), tally.skipped);
        recorder.add(Counter::Lagged(LagAction::Latest), tally.conflated);
        recorder.add(Counter::Gaps(GapReason::LagSkip), tally.skipped);
        recorder.add(Counter::Gaps(GapReason::LagLatest), tally.conflated);
        recorder.add(Counter::Gaps(GapReason::HistoryEnd), tally.expired);
        recorder.add(Counter::Starved, tally.starved);
    }

    fn dropped(&mut self, socket: i32, tag: u32, why: Dropped) {
        match why {
            Dropped::Ended(until) => {
                let reason = match until {
                    Until::Age => CloseReason::AgeLimit,
                    Until::Token => CloseReason::TokenExpired,
                    Until::Drain => CloseReason::Drained,
                    Until::Source => CloseReason::UpstreamEnded,
                };
                self.recorder.add(Counter::Closed(reason), 1);
                self.recorder.lower(Gauge::Clients, 1);
                self.linger(Socket(socket), AddressKey(tag), self.clock.now());
            }
            Dropped::Lag => {
                self.recorder.add(Counter::Lagged(LagAction::Close), 1);
                self.reset_client(socket, tag, CloseReason::LagClosed);
            }
            Dropped::Budget => self.reset_client(socket, tag, CloseReason::UnsentBudget),
            Dropped::WriteTimeout => self.reset_client(socket, tag, CloseReason::WriteTimeout),
            Dropped::Failed(_) => self.close_client(socket, tag, CloseReason::PeerReset),
        }
    }

    /// Ends a client that does not read: what the kernel holds for it is thrown away.
    fn reset_client(&mut self, socket: i32, tag: u32, reason: CloseReason) {
        self.driver.reset(Socket(socket));
        self.count_out(tag, reason);
    }

    pub(super) fn close_client(&mut self, socket: i32, tag: u32, reason: CloseReason) {
        self.driver.close(Socket(socket));
        self.count_out(tag, reason);
    }

    fn count_out(&mut self, tag: u32, reason: CloseReason) {
        self.recorder.add(Counter::Closed(reason), 1);
        self.recorder.lower(Gauge::Clients, 1);
        self.forget(AddressKey(tag));
    }
}
