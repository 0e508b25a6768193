//! The groups that a worker has clients of: a fan-out and a place in the log for each.
//!
//! Invariants:
//! 1. A group is made when its first client comes, and stays: the generations of its clients' names
//!    go on. Without clients it does not read its log, holds next to nothing, and is not visited.
//! 2. `busy` lists exactly the groups that read their log.
//! 3. One budget of unsent bytes is shared by all: each fan-out is told what the others hold before
//!    it may take more, and when it is spent, the group that holds most gives first.

use super::clients::Notices;
use crate::base::sync::Arc;
use crate::config::Config;
use crate::feed::{Fanout, FanoutLimits};
use crate::log::{Bell, Reader};
use crate::session::{self, Site};
use std::cmp::Reverse;

/// Bytes of one page of history.
const PAGE_BYTES: usize = 256 * 1024;
/// Bytes of pages that a group keeps for other clients.
const PAGES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Feeds that are looked at in one turn, by all groups.
const ROUTE_BUDGET: usize = 2048;
/// Clients that are given a page in one turn, by all groups.
const CATCH_UP_BUDGET: usize = 256;

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// Its place in [`Site::groups`].
    pub(super) number: usize,
    pub(super) fanout: Fanout,
    pub(super) reader: Option<Reader>,
    /// Where the beat's scan of its clients stands.
    pub(super) beat_slot: u32,
    /// When the newest event was appended that is routed and not yet sent to all who were ready, in
    /// milliseconds of the Unix epoch.
    pub(super) newest_millis: u64,
}

impl Group {
    fn new(number: usize, group: &session::Group, config: &Config) -> Self {
        let unsent_bytes_max = config.limits.unsent_bytes_max;
        let limits = FanoutLimits {
            lag_bytes_max: group.terms.lag_bytes_max as u64,
            lag_policy: group.terms.lag_policy,
            unsent_bytes_max,
            page_bytes: PAGE_BYTES,
            pages_bytes_max: PAGES_BYTES_MAX.min(unsent_bytes_max / 4),
        };
        let fanout = Fanout::new(limits, group.channel.hasher());
        Self { number, fanout, reader: None, beat_slot: 0, newest_millis: 0 }
    }

    fn can_go_on(&self) -> bool {
        self.fanout.ready() > 0 || self.fanout.is_routing() || self.fanout.can_catch_up()
    }
}

/// All groups of a worker.
#[derive(Debug)]
pub(super) struct Groups {
    /// By their place in [`Site::groups`]; `None`: never had a client here.
    all: Box<[Option<Box<Group>>]>,
    /// Those with clients.
    busy: Vec<usize>,
    /// Which of the busy ones is first in this turn; not past their end.
    first: usize,
    unsent_bytes_max: usize,
}

impl Groups {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            all: site.groups().iter().map(|_| None).collect(),
            busy: Vec::new(),
            first: 0,
            unsent_bytes_max: site.config().limits.unsent_bytes_max,
        }
    }

    /// The group of this number, which reads its log from now on.
    pub(super) fn open(
        &mut self,
        number: usize,
        site: &Site,
        bell: &Arc<Bell>,
    ) -> Option<&mut Group> {
        let shared = site.groups().get(number)?;
        let slot = self.all.get_mut(number)?;
        let make = || Box::new(Group::new(number, shared, site.config()));
        let group = slot.get_or_insert_with(make);
        if group.reader.is_none() {
            let (reader, routed) = shared.channel.reader(bell);
            group.reader = Some(reader);
            group.fanout.start(routed);
            self.busy.push(number);
        }
        Some(group)
    }

    /// The group of this number, if it ever had a client here.
    pub(super) fn find_mut(&mut self, number: usize) -> Option<&mut Group> {
        self.all.get_mut(number)?.as_deref_mut()
    }

    /// How many have clients.
    pub(super) fn len(&self) -> usize {
        self.busy.len()
    }

    /// The one at this place among those with clients.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Group> {
        let number = *self.busy.get(place)?;
        self.find_mut(number)
    }

    /// The same, to look at.
    pub(super) fn at(&self, place: usize) -> Option<&Group> {
        self.all.get(*self.busy.get(place)?)?.as_deref()
    }

    /// Those with clients.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.busy.iter().filter_map(|number| self.all.get(*number)?.as_deref())
    }

    /// The places of those with clients, beginning with another one in each turn.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        (self.first..self.busy.len()).chain(0..self.first)
    }

    /// Another group is the first to be served.
    fn rotate(&mut self) {
        self.first = if self.first + 1 < self.busy.len() { self.first + 1 } else { 0 };
    }

    /// The one at this place has no clients any more: it leaves its log.
    pub(super) fn leave(&mut self, place: usize) {
        if let Some(group) = self.at_mut(place) {
            group.fanout.start(0);
            (group.reader, group.newest_millis) = (None, 0);
            self.busy.swap_remove(place);
            self.first = self.first.min(self.busy.len());
        }
    }

    pub(super) fn clients(&self) -> usize {
        self.iter().map(|group| group.fanout.clients()).sum()
    }

    pub(super) fn ready(&self) -> usize {
        self.iter().map(|group| group.fanout.ready()).sum()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.iter().map(|group| group.fanout.unsent_bytes()).sum()
    }

    /// Tells each what the others hold; returns what all hold.
    fn share(&mut self) -> usize {
        let total = self.unsent_bytes();
        for place in 0..self.busy.len() {
            if let Some(group) = self.at_mut(place) {
                group.fanout.share(total - group.fanout.unsent_bytes());
            }
        }
        total
    }

    /// Whether some group has something to do that needs no event from outside.
    pub(super) fn is_busy(&mut self) -> bool {
        self.share();
        self.iter().any(Group::can_go_on) || self.has_unread()
    }

    pub(super) fn is_over_budget(&self) -> bool {
        self.unsent_bytes() > self.unsent_bytes_max
    }

    /// Whether there are events to route, and room for them or somebody to take it from.
    pub(super) fn has_unread(&mut self) -> bool {
        if self.is_over_budget() && !self.iter().any(|group| group.fanout.can_shed()) {
            return false;
        }
        (0..self.busy.len()).any(|place| {
            let reader = self.at_mut(place).and_then(|group| group.reader.as_mut());
            reader.is_some_and(|reader| reader.peek().is_some())
        })
    }

    /// Nobody has caught up for a while: pages that are kept for others go.
    pub(super) fn tidy(&mut self) {
        for place in 0..self.busy.len() {
            if let Some(group) = self.at_mut(place).filter(|group| !group.fanout.is_waiting()) {
                group.fanout.forget_pages();
            }
        }
    }

    /// From the logs to the feeds, and pages for those who catch up: a bounded piece of both, of
    /// which each group has its share.
    pub(super) fn route(&mut self, site: &Site) {
        self.rotate();
        let count = self.busy.len().max(1);
        let (feeds, pages) = (ROUTE_BUDGET.div_ceil(count), CATCH_UP_BUDGET.div_ceil(count));
        let mut total = self.share();
        if total > self.unsent_bytes_max && count > 1 {
            self.shed(site);
            total = self.share();
        }
        for place in self.in_turn() {
            let Some(group) = self.at_mut(place) else { continue };
            let Some(shared) = site.groups().get(group.number) else { continue };
            let Some(reader) = &mut group.reader else { continue };
            let elsewhere = total - group.fanout.unsent_bytes();
            group.fanout.share(elsewhere);
            let announce = Notices { group: shared };
            if let Some(newest) = group.fanout.route(reader, feeds, &announce) {
                group.newest_millis = newest.unix_millis;
            }
            if group.fanout.is_waiting() {
                group.fanout.catch_up(&shared.channel, pages, &announce);
            }
            total = elsewhere + group.fanout.unsent_bytes();
        }
    }

    /// The budget is spent by several: pages that are only kept go first, then those who lag in the
    /// group that holds most, then in the next.
    fn shed(&mut self, site: &Site) {
        for place in 0..self.busy.len() {
            if let Some(group) = self.at_mut(place) {
                group.fanout.forget_pages();
            }
        }
        let mut order: Vec<(Reverse<usize>, usize)> =
            self.iter().map(|g| (Reverse(g.fanout.unsent_bytes()), g.number)).collect();
        order.sort_unstable();
        for (_, number) in order {
            if self.share() <= self.unsent_bytes_max {
                return;
            }
            let group = self.find_mut(number).zip(site.groups().get(number));
            if let Some((group, shared)) = group {
                group.fanout.shed(&Notices { group: shared });
            }
        }
    }
}
