//! Slow clients: the lag limit and its policies, and the worker's budget of unsent bytes.
//!
//! Invariants:
//! 1. Only a blocked client is punished: one that is ready was not yet given its turn.
//! 2. No client is sent a torn event: the rest of the event that its cursor stands in goes first,
//!    then the notice of the gap, then what the policy says.
//! 3. A lagging client costs its feed nothing once it was skipped or conflated.

use super::block::SHARED_FROM;
use super::client::{Body, Client, Piece, Stage};
use super::fanout::{Announce, Dropped, Fanout, Gap};
use crate::config::LagPolicy;
use crate::sse;
use std::rc::Rc;

impl Fanout {
    /// Looks at the feeds that may have a client past its limit.
    pub(super) fn police(&mut self, announce: &dyn Announce) {
        while let Some(feed) = self.lagging.pop() {
            let limit = self.limits.lag_bytes_max;
            let Some((_, found)) = self.directory.feeds.at(feed) else { continue };
            let tail = found.bytes.tail();
            let (mut past, mut check, mut next) = (Vec::new(), u64::MAX, found.blocked.first());
            // O(blocked clients), but only when the slowest of them may be past its limit.
            while let Some(index) = next {
                let Some((_, client)) = self.clients.at(index) else { break };
                if client.stage == Stage::Live {
                    if client.lag(tail) > limit {
                        past.push(index);
                    } else {
                        check = check.min(client.lag_check(limit));
                    }
                }
                next = client.following();
            }
            if let Some(feed) = self.directory.feeds.at_mut(feed) {
                feed.lag_check = check;
            }
            for index in past {
                self.punish(index, Dropped::Lag, announce);
            }
        }
    }

    /// Whether there is somebody from whom [`Self::shed`] would take bytes when the budget of
    /// unsent bytes is spent.
    #[must_use]
    pub fn can_shed(&self) -> bool {
        self.blocked > 0
    }

    /// The budget of unsent bytes is spent: the policy falls on those who lag most. The fan-out
    /// does it itself when it alone has spent the budget; else its owner chooses which of those
    /// that share it must.
    ///
    /// O(clients), but only while some are blocked: then enough of them are moved on or dropped.
    pub fn shed(&mut self, announce: &dyn Announce) {
        if self.blocked == 0 {
            return;
        }
        let mut blocked: Vec<(u64, u32)> = self
            .clients
            .iter()
            .filter(|(_, client)| client.blocked)
            .map(|(id, client)| (client.unsent(self.tail_of(id.index())), id.index()))
            .collect();
        blocked.sort_unstable_by(|a, b| b.cmp(a));
        let enough = self.limits.unsent_bytes_max / 8 * 7;
        for (_, index) in blocked {
            if self.unsent_bytes() + self.elsewhere <= enough {
                return;
            }
            self.punish(index, Dropped::Budget, announce);
        }
    }

    fn punish(&mut self, index: u32, why: Dropped, announce: &dyn Announce) {
        // One that has no event left to give up holds what must be sent: only its end frees that.
        let tail = self.tail_of(index);
        let live =
            self.clients.at(index).is_some_and(|(_, c)| c.stage == Stage::Live && c.lag(tail) > 0);
        match self.limits.lag_policy {
            LagPolicy::Skip if live => self.skip(index, announce),
            LagPolicy::Latest if live => self.conflate(index, announce),
            _ => self.drop_client(index, why),
        }
    }

    /// Sees to it that a blocked client is noticed when its feed grows past its limit.
    pub(super) fn watch_lag(&mut self, index: u32) {
        let Some((_, client)) = self.clients.at(index) else { return };
        let Some(feed) = self.directory.feeds.at_mut(client.feed) else { return };
        feed.lag_check = feed.lag_check.min(client.lag_check(self.limits.lag_bytes_max));
    }

    /// Moves a blocked client to the tail, with a notice.
    fn skip(&mut self, index: u32, announce: &dyn Announce) {
        self.tally.skipped += 1;
        let ending = self.clients.at(index).is_some_and(|(_, c)| c.is_ending());
        self.cut(index);
        let routed = self.routed;
        let Some(client) = self.clients.at_mut(index) else { return };
        if let Some(feed) = self.directory.feeds.at_mut(client.feed) {
            feed.bytes.leave(client.cursor, &mut self.pool);
            client.cursor = feed.bytes.enter();
        }
        let extra = client.extra.get_or_insert_default();
        for piece in &mut extra.pieces {
            piece.at = client.cursor;
        }
        if !ending {
            let notice: Box<[u8]> = announce.gap(Gap::Skipped, routed).into();
            self.own_bytes += notice.len();
            let body = Body::Notice(notice);
            extra.pieces.push_back(Piece { at: client.cursor, sent: 0, body });
        }
        // It stays blocked, and may lag again.
        self.watch_lag(index);
    }

    /// Takes a blocked client off its feed; when it has taken the rest of its event and the
    /// notice, it gets the newest event of each topic from the history.
    fn conflate(&mut self, index: u32, announce: &dyn Announce) {
        self.tally.conflated += 1;
        let after = self.after(index);
        let ending = self.clients.at(index).is_some_and(|(_, c)| c.is_ending());
        self.cut(index);
        let Some(client) = self.clients.at_mut(index) else { return };
        if let Some(feed) = self.directory.feeds.at_mut(client.feed) {
            feed.bytes.leave(client.cursor, &mut self.pool);
        }
        (client.cursor, client.stage) = (0, Stage::Catching);
        let extra = client.extra.get_or_insert_default();
        (extra.after, extra.newest) = (after, true);
        for piece in &mut extra.pieces {
            piece.at = 0;
        }
        if !ending {
            let notice: Box<[u8]> = announce.gap(Gap::Conflated, after).into();
            self.own_bytes += notice.len();
            extra.pieces.push_back(Piece { at: 0, sent: 0, body: Body::Notice(notice) });
        }
    }

    /// The number of the last event that the client has, the one included whose rest it will get.
    fn after(&self, index: u32) -> u64 {
        let Some((_, client)) = self.clients.at(index) else { return 0 };
        let Some((_, feed)) = self.directory.feeds.at(client.feed) else { return 0 };
        // At the tail it has all that is routed, and maybe the event that is half routed.
        let all = || self.routed.max(feed.last_seq);
        let mut has = feed.bytes.last_before(client.cursor).unwrap_or_else(all);
        for piece in client.extra.iter().flat_map(|extra| &extra.pieces) {
            has = match &piece.body {
                // `cut` drops what is left of a page and private events that were not begun.
                Body::Page(page) => has.min(page.last_before(piece.sent)),
                Body::Event(shared) if piece.sent == 0 => has.min(shared.event.seq - 1),
                Body::Event(shared) => has.max(shared.event.seq),
                Body::Bytes(_) | Body::Notice(_) | Body::Comment(_) | Body::Rest(..) => has,
            };
        }
        has
    }

    /// Reduces what a client is still sent to what must be sent: the rest of a cut event, its
    /// response head, its last bytes. The cursor stays.
    fn cut(&mut self, index: u32) {
        let rest = self.rest_of_event(index);
        let Some(client) = self.clients.at_mut(index) else { return };
        let at = client.cursor;
        let extra = client.extra.get_or_insert_default();
        let mut pieces = std::mem::take(&mut extra.pieces);
        pieces.retain(|piece| {
            let keep = piece.must_be_sent();
            if !keep {
                self.own_bytes -= piece.own_bytes();
            }
            keep
        });
        if let Some((body, sent)) = rest {
            let piece = Piece { at, sent, body };
            self.own_bytes += piece.own_bytes();
            pieces.push_front(piece);
        }
        extra.pieces = pieces;
    }

    /// The rest of the event that the client's next byte is inside of, where it is not a piece
    /// that is kept whole.
    fn rest_of_event(&self, index: u32) -> Option<(Body, usize)> {
        let (_, client) = self.clients.at(index)?;
        let end = |bytes: &[u8], from: usize| sse::boundary(bytes, from).unwrap_or(bytes.len());
        let Some(piece) = client.due() else {
            let (_, feed) = self.directory.feeds.at(client.feed)?;
            return feed.bytes.cut(client.cursor, end);
        };
        let Body::Page(page) = &piece.body else { return None };
        let upto = end(page.bytes(), piece.sent);
        let rest = page.bytes().get(piece.sent..upto).unwrap_or_default();
        match rest.len() {
            0 => None,
            // Copies of a large event, one for each client, would cost more than its page.
            SHARED_FROM.. => Some((Body::Rest(Rc::clone(page), upto), piece.sent)),
            _ => Some((Body::Bytes(rest.into()), 0)),
        }
    }
}

impl Client {
    /// The client behind it in its list.
    fn following(&self) -> Option<u32> {
        (self.next != super::list::NONE).then_some(self.next)
    }
}
