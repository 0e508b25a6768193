//! The drain: no new connections, what is queued is delivered, then clients end one by one.
//!
//! Each client's end is drawn evenly over the period, and its `retry:` over the time that the
//! fleet needs to take all of them, so neither the closes nor the reconnects come as a storm.
//!
//! Invariants:
//! 1. A client ends behind everything that was queued for it, on an event boundary, after a
//!    `retry:`.
//! 2. At the deadline, the period and a little more, whoever is left is closed.
//! 3. Connections between requests stay until the clients are gone: a publisher's next request is
//!    answered, and closes its connection, instead of meeting a closed one.

use super::Progress;
use super::Worker;
use super::clients::tick;
use super::groups::Group;
use crate::base::time::{Clock, Moment};
use crate::feed::{ClientId, Tick, Until};
use crate::io::Driver;
use crate::metrics::CloseReason;
use std::io;
use std::time::Duration;

/// How long after the period a client may still take its last bytes.
const GRACE: Duration = Duration::from_secs(5);
/// The reconnection time that browsers use when they were told none, in milliseconds.
const RETRY: u64 = 3000;

/// Where the drain stands.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// When it began.
    since: Option<Moment>,
    /// When this worker saw that the period is over: late, if the clock leapt or it was held up.
    over: Option<Moment>,
    /// Subscribers of the process when it began, about.
    crowd: u64,
}

impl Drain {
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// One step of the drain.
    ///
    /// # Errors
    /// The driver is broken.
    pub(super) fn drain(&mut self, now: Moment) -> io::Result<Progress> {
        let Some(since) = self.drain.since else {
            self.begin_drain(now);
            return Ok(Progress::Running);
        };
        let period = self.site.config().drain.period;
        if self.groups.clients() == 0 {
            let idle: Vec<_> = self.idle().collect();
            for handle in idle {
                self.end_idle(handle, now);
            }
            // Clients of other workers may read what this one's upstreams send.
            if self.connections.is_empty() && !self.feeds_others() {
                self.close_all();
                return Ok(Progress::Done);
            }
        }
        if now >= since.after(period) {
            let over = self.drain.over.unwrap_or(now);
            if self.drain.over.replace(over).is_none() {
                self.end_all();
                self.cancel_relays(now)?;
            }
            if now >= over.after(GRACE) {
                self.close_all();
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Running)
    }

    fn begin_drain(&mut self, now: Moment) {
        self.driver.stop_listening();
        self.accept_at = None;
        self.drain = Drain { since: Some(now), over: None, crowd: self.load.accepted() as u64 };
        for (number, id) in self.everybody() {
            let end = self.drain_end(now);
            if let Some((group, end)) = self.groups.find_mut(number).zip(end) {
                group.fanout.end_by(id, end, Until::Drain);
            }
        }
        self.drain_relays(now);
        // What is connected for ever has been so for long enough; whoever reads it has a lease.
        self.always = Some(Vec::new());
    }

    /// The period is over: whoever is left gets its last words now.
    fn end_all(&mut self) {
        for (number, id) in self.everybody() {
            let last = self.last_words(number, Until::Drain);
            if let Some(group) = self.groups.find_mut(number) {
                group.fanout.end(id, last, Until::Drain);
            }
        }
    }

    /// Every client, with the number of its group.
    fn everybody(&self) -> Vec<(usize, ClientId)> {
        let of_group = |group: &Group| {
            let slots = 0..group.fanout.slots();
            let ids: Vec<ClientId> =
                slots.filter_map(|slot| group.fanout.client_at(slot)).collect();
            let number = group.number;
            ids.into_iter().map(move |id| (number, id))
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// When a client ends that is here during the drain: drawn from what is left of the period.
    pub(super) fn drain_end(&mut self, now: Moment) -> Option<Tick> {
        self.drain_moment(now).map(tick)
    }

    /// The same, as a moment.
    pub(super) fn drain_moment(&mut self, now: Moment) -> Option<Moment> {
        let since = self.drain.since?;
        let left = since.after(self.site.config().drain.period).since(now);
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Some(now.after(Duration::from_millis(self.chance.below(left + 1))))
    }

    /// The reconnection time of one client of this group, in milliseconds.
    pub(super) fn drain_retry(&mut self, group: usize) -> u64 {
        let retry = self.site.groups().get(group).and_then(|group| group.terms.retry);
        let base = retry.unwrap_or(RETRY);
        let rate = u64::from(self.site.config().drain.reconnects_per_second).max(1);
        let spread = self.drain.crowd.saturating_mul(1000) / rate;
        base + self.chance.below(spread + 1)
    }

    /// Closes everything now: clients, connections, and those to servers, also kept ones.
    pub(super) fn close_all(&mut self) {
        for (number, id) in self.everybody() {
            let removed = self.groups.find_mut(number).and_then(|group| group.fanout.remove(id));
            if let Some((socket, tag)) = removed {
                self.close_client(socket, tag, CloseReason::DrainDeadline);
            }
        }
        self.release_all();
        self.release_outbounds();
    }
}
