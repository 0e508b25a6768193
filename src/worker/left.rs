//! What a turn leaves to be sent: it goes with the call to the kernel that begins the next turn, so
//! that a turn costs one call and not two.
//!
//! ```text
//!  … intake ▸ route ▸ sweep ─leave─▶ (next turn) send and sleep in one call ▸ settle ▸ reap …
//! ```
//!
//! Invariants:
//! 1. Between leaving and sending nothing touches the clients that it is for: whatever might, which
//!    is a timer, sends it first.
//! 2. A client is in it once, and its socket is open.
//! 3. The call sleeps only if there is nothing to do once everything is sent, and all was taken.

use super::Worker;
use super::arrivals::READS;
use super::clients::tick;
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::feed::{BATCH, Batch};
use crate::io::{Driver, Outgoing, Ready, Short, Socket};
use crate::metrics::{CloseReason, Counter, Direction, Histogram};
use arrayvec::ArrayVec;
use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

/// A turn's share for clients of relays, and its batch for subscribers.
const SENDS: usize = READS + BATCH;

type Sends<'a> = ArrayVec<Outgoing<'a>, SENDS>;

/// What is left.
#[derive(Default)]
pub(super) struct Left {
    /// Of backends, for the clients of relays.
    pub(super) bytes: Vec<u8>,
    /// Whose, and where in the bytes.
    pub(super) relayed: Vec<(Handle, Socket, Range<usize>)>,
    /// For subscribers.
    pub(super) batch: Batch,
    /// Whose a stretch of the batch is: a place among the busy groups.
    pub(super) parts: Vec<(usize, Range<usize>)>,
    /// Subscribers will have something to do again when the batch is sent.
    pub(super) more: bool,
    /// When the batch was made, and that in milliseconds of the Unix epoch.
    pub(super) since: Moment,
    pub(super) unix_millis: u64,
    shorts: Vec<Short>,
}

impl Left {
    pub(super) fn is_empty(&self) -> bool {
        self.relayed.is_empty() && self.batch.is_empty()
    }
}

/// Without what is in it: credentials may be among its bytes.
impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (relayed, batch) = (self.relayed.len(), self.batch.len());
        f.debug_struct("Left").field("relayed", &relayed).field("batch", &batch).finish()
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Sends what was left, and sleeps up to `wait` if there is nothing else to do.
    pub(super) fn send_and_sleep(
        &mut self,
        wait: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        if self.left.is_empty() {
            return self.driver.turn(wait, ready);
        }
        self.send(|driver, sends, shorts| driver.flush_and_turn(sends, wait, ready, shorts))
    }

    /// Sends what was left at once.
    pub(super) fn send_left(&mut self) -> io::Result<()> {
        if self.left.is_empty() {
            return Ok(());
        }
        self.send(|driver, sends, shorts| {
            shorts.extend_from_slice(driver.flush(sends)?);
            Ok(())
        })
    }

    fn send(
        &mut self,
        how: impl FnOnce(&mut D, &[Outgoing<'_>], &mut Vec<Short>) -> io::Result<()>,
    ) -> io::Result<()> {
        let swept = !self.left.batch.is_empty();
        let mut shorts = std::mem::take(&mut self.left.shorts);
        shorts.clear();
        {
            let Left { bytes, relayed, batch, parts, .. } = &self.left;
            let mut sends = Sends::new();
            for (_, socket, range) in relayed {
                let bytes = bytes.get(range.clone()).unwrap_or_default();
                sends.push(Outgoing { socket: *socket, bytes });
            }
            for (place, part) in parts {
                let Some(group) = self.groups.at(*place) else { continue };
                for (index, _) in batch.get(part.clone()).unwrap_or_default() {
                    let (socket, bytes) = group.fanout.range(*index);
                    sends.push(Outgoing { socket: Socket(socket), bytes });
                }
            }
            how(&mut self.driver, &sends, &mut shorts)?;
        }
        // The relays' sends stand before those of the batch.
        let first = self.left.relayed.len();
        self.settle_relayed(&shorts);
        self.settle_batch(first, &shorts);
        self.left.shorts = shorts;
        if swept {
            self.carry_out();
        }
        Ok(())
    }

    /// What the kernel did not take for clients of relays waits with them.
    fn settle_relayed(&mut self, shorts: &[Short]) {
        let mut bytes = std::mem::take(&mut self.left.bytes);
        let mut relayed = std::mem::take(&mut self.left.relayed);
        self.recorder.add(Counter::RelayBytes(Direction::Response), bytes.len() as u64);
        for short in shorts {
            let Some((client, _, range)) = relayed.get(short.index) else { continue };
            match short.sent {
                Ok(sent) => {
                    let rest = bytes.get(range.start + sent..range.end).unwrap_or_default();
                    self.stick(*client, rest, self.clock.now());
                }
                Err(_) => self.client_gone(*client, CloseReason::PeerReset),
            }
        }
        bytes.clear();
        relayed.clear();
        (self.left.bytes, self.left.relayed) = (bytes, relayed);
    }

    /// Tells each group what became of its part of the batch.
    fn settle_batch(&mut self, first: usize, shorts: &[Short]) {
        let Left { batch, parts, more, since, unix_millis, .. } = &mut self.left;
        if batch.is_empty() {
            return;
        }
        self.recorder.add(Counter::Sends, batch.len() as u64);
        self.recorder.observe(Histogram::SweepBatch, batch.len() as u64);
        for (place, part) in parts.drain(..) {
            let Some(group) = self.groups.at_mut(place) else { continue };
            let of_part = |short: &Short| {
                let index = short.index.checked_sub(first).filter(|index| part.contains(index))?;
                Some((index - part.start, short.sent))
            };
            // Collecting would copy the whole of its room.
            let mut own = ArrayVec::<_, BATCH>::new();
            own.extend(shorts.iter().filter_map(of_part));
            let part = batch.get(part).unwrap_or_default();
            let settled = group.fanout.settle(part, &own, tick(*since));
            self.recorder.add(Counter::SentBytes, settled.bytes);
            self.recorder.add(Counter::Shorts, settled.shorts);
            if group.newest_millis != 0 {
                let late = unix_millis.saturating_sub(group.newest_millis);
                self.recorder.observe(Histogram::DeliveryNanos, late.saturating_mul(1_000_000));
            }
        }
        batch.clear();
        *more = false;
    }
}
