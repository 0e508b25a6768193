//! Subscribers: from a session to the fan-out, the sweep, and their ends.
//!
//! Invariants:
//! 1. The log is read while there is a client, and not otherwise.
//! 2. A client's descriptor is closed where its `Effect::Dropped` is handled, or on hang-up.

use super::{AddressKey, Owner, Worker};
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::feed::{Announce, BATCH, ClientId, Dropped, Effect, Gap, NEVER, Newcomer, Tick, Until};
use crate::hub;
use crate::io::{Driver, Interest, Outgoing, Socket};
use crate::metrics::{CloseReason, Counter, GapReason, Gauge, Histogram, LagAction};
use crate::session::{Site, Subscribe};
use arrayvec::ArrayVec;
use std::io;
use std::time::Duration;

/// Sends of one turn.
const SENDS: usize = BATCH;
/// Bytes of one turn's sends, about.
const SEND_BYTES: usize = 4 * 1024 * 1024;

/// Writes the notices of gaps.
pub(super) struct Notices<'a> {
    pub(super) site: &'a Site,
}

impl Announce for Notices<'_> {
    fn gap(&self, gap: Gap, upto: u64) -> Vec<u8> {
        let reason = match gap {
            Gap::Skipped | Gap::Conflated => hub::gap::Reason::Lag,
            Gap::Expired => hub::gap::Reason::Expired,
        };
        let mut out = Vec::new();
        let to = self.site.channel().id(upto);
        hub::gap::Gap { reason, from: None, to: &to }.encode(&self.site.config().hub, &mut out);
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
    /// A session became a stream: `head` is sent first.
    pub(super) fn subscribe(&mut self, handle: Handle, wish: Subscribe, head: &[u8], now: Moment) {
        let Some((socket, key)) = self.promote(handle) else { return };
        if self.reader.is_none() {
            let (reader, routed) = self.site.channel().reader(&self.bell);
            self.reader = Some(reader);
            self.fanout.start(routed);
        }
        let newcomer = Newcomer {
            socket: socket.0,
            tag: key.0,
            after: wish.after.unwrap_or_else(|| self.site.channel().tail()),
            until: self.until(wish.until_unix_millis, now),
            subscription: wish.subscription,
            head: head.to_vec(),
        };
        let id = self.fanout.subscribe(newcomer, tick(now));
        self.recorder.raise(Gauge::Clients, 1);
        self.watch(socket, Owner::Client(id), Interest::Hangup);
    }

    /// When a client that starts now is to be ended.
    fn until(&mut self, token_end: Option<u64>, now: Moment) -> (Tick, Until) {
        let mut until = (NEVER, Until::Age);
        let age = self.site.config().hub.age_max;
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
    pub(super) fn client_event(&mut self, id: ClientId, writable: bool, hangup: bool) {
        if hangup {
            if let Some((socket, tag)) = self.fanout.remove(id) {
                self.close_client(socket, tag, CloseReason::PeerGone);
            }
        } else if writable {
            self.fanout.unblock(id);
        }
    }

    /// Sends ready clients what they have not got, one batch.
    pub(super) fn sweep(&mut self, now: Moment) -> io::Result<()> {
        let mut batch = std::mem::take(&mut self.scratch.batch);
        self.fanout.gather(SENDS, SEND_BYTES, &mut batch);
        if !batch.is_empty() {
            let mut shorts: ArrayVec<(usize, Result<usize, i32>), BATCH> = ArrayVec::new();
            {
                let mut sends: ArrayVec<Outgoing<'_>, BATCH> = ArrayVec::new();
                for (index, _) in &batch {
                    let (socket, bytes) = self.fanout.range(*index);
                    sends.push(Outgoing { socket: Socket(socket), bytes });
                }
                for short in self.driver.flush(&sends)? {
                    shorts.push((short.index, short.sent));
                }
            }
            let settled = self.fanout.settle(&batch, &shorts, tick(now));
            self.recorder.add(Counter::Sends, batch.len() as u64);
            self.recorder.add(Counter::SentBytes, settled.bytes);
            self.recorder.add(Counter::Shorts, settled.shorts);
            self.recorder.observe(Histogram::SweepBatch, batch.len() as u64);
            if self.newest_millis != 0 {
                let late = self.clock.unix_millis().saturating_sub(self.newest_millis);
                self.recorder.observe(Histogram::DeliveryNanos, late.saturating_mul(1_000_000));
            }
        }
        if self.fanout.ready() == 0 {
            self.newest_millis = 0;
        }
        self.scratch.batch = batch;
        self.carry_out(now);
        Ok(())
    }

    /// Does what the fan-out asked for, and takes over what it counted.
    pub(super) fn carry_out(&mut self, now: Moment) {
        let mut effects = std::mem::take(self.fanout.effects());
        for effect in effects.drain(..) {
            match effect {
                Effect::Full { client, socket } => {
                    self.watch(Socket(socket), Owner::Client(client), Interest::Write);
                }
                Effect::Dropped { socket, tag, why } => self.dropped(socket, tag, why, now),
            }
        }
        *self.fanout.effects() = effects;
        let tally = self.fanout.tally();
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
        self.leave_log();
    }

    /// Without clients the log need not be read.
    fn leave_log(&mut self) {
        if self.reader.is_some() && self.fanout.clients() == 0 {
            self.fanout.start(0);
            self.reader = None;
            // Without clients the worker may sleep for long: what it last told must be true.
            self.gauges();
        }
    }

    fn dropped(&mut self, socket: i32, tag: u32, why: Dropped, now: Moment) {
        match why {
            Dropped::Ended(until) => {
                let reason = match until {
                    Until::Age => CloseReason::AgeLimit,
                    Until::Token => CloseReason::TokenExpired,
                    Until::Drain => CloseReason::Drained,
                };
                self.recorder.add(Counter::Closed(reason), 1);
                self.recorder.lower(Gauge::Clients, 1);
                self.linger(Socket(socket), AddressKey(tag), now);
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
