//! The fan-out's state and its membership: clients come, are blocked, end and leave.
//!
//! Invariants: see the module. The lists' membership follows from `Client::place`.

use super::block::Pool;
use super::client::{Body, Client, Extra, NEVER, Newcomer, Piece, Place, Stage, Tick, Until};
use super::directory::Directory;
use super::list::{List, NONE};
use super::page::Pages;
use super::route::Routing;
use crate::base::map::{Hasher, Map, Set};
use crate::base::slots::{Handle, Slots};
use crate::base::sync::Arc;
use crate::config::LagPolicy;
use crate::log::{Selector, Subscription, Topic};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A client's name, with a generation.
pub type ClientId = Handle;

/// The fan-out's limits.
#[derive(Clone, Debug)]
pub struct FanoutLimits {
    /// Bytes that a client may lag.
    pub lag_bytes_max: u64,
    /// What happens past that.
    pub lag_policy: LagPolicy,
    /// Bytes held for clients that have not taken them.
    pub unsent_bytes_max: usize,
    /// Bytes of one page of history.
    pub page_bytes: usize,
    /// Bytes of the pages that are kept for others.
    pub pages_bytes_max: usize,
}

/// A gap that a client must be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It lagged too far and was moved to the tail.
    Skipped,
    /// It lagged too far and gets the newest event of each topic.
    Conflated,
    /// Events left the history before it could read them.
    Expired,
}

/// Who writes the notices of gaps.
pub trait Announce {
    /// The bytes of a notice, whole lines or whole events; `upto`: the position where the client
    /// goes on.
    fn gap(&self, gap: Gap, upto: u64) -> Vec<u8>;
}

/// Why a client was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The lag limit and policy `close`.
    Lag,
    /// The worker's budget of unsent bytes.
    Budget,
    /// No progress within the write timeout.
    WriteTimeout,
    /// A send failed with this errno.
    Failed(i32),
    /// It got its last bytes.
    Ended(Until),
}

/// What the worker must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The socket is full: arm a watch for room to write.
    Full {
        /// Whose.
        client: ClientId,
        /// Its socket.
        socket: i32,
    },
    /// The client is known no more: end its connection.
    Dropped {
        /// Its socket.
        socket: i32,
        /// The worker's word.
        tag: u32,
        /// Why.
        why: Dropped,
    },
}

/// What happened, for metrics; the worker takes and clears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Appends of an event to a feed.
    pub appends: u64,
    /// Pages made, and their bytes.
    pub pages: u64,
    /// Bytes of those.
    pub page_bytes: u64,
    /// Clients moved to the tail.
    pub skipped: u64,
    /// Clients that get the newest event of each topic.
    pub conflated: u64,
    /// Gaps announced because history had expired.
    pub expired: u64,
    /// Sends of which a socket with room took nothing: the kernel is short of memory.
    pub starved: u64,
}

/// The feeds and clients of one worker.
#[derive(Debug)]
pub struct Fanout {
    pub(super) limits: FanoutLimits,
    pub(super) clients: Slots<Client>,
    pub(super) directory: Directory,
    pub(super) ready: List,
    pub(super) waiting: VecDeque<ClientId>,
    /// Clients that have seen what this worker has not yet read: up to where, and who (packed).
    pub(super) ahead: BinaryHeap<Reverse<(u64, u64)>>,
    /// Everything up to this sequence number is in the feeds.
    pub(super) routed: u64,
    pub(super) routing: Option<Routing>,
    /// Feeds that lost their last client while an event was half routed.
    pub(super) bury: Vec<u32>,
    /// Feeds with a client that may be past its lag limit.
    pub(super) lagging: Vec<u32>,
    /// Clients with grants outside their selectors.
    pub(super) foreign: Map<Topic, Set<u32>>,
    pub(super) wishes: Map<u32, Arc<Subscription>>,
    pub(super) pool: Pool,
    pub(super) pages: Pages,
    /// Bytes of pieces that belong to one client.
    pub(super) own_bytes: usize,
    /// Clients whose socket is full.
    pub(super) blocked: u32,
    pub(super) effects: Vec<Effect>,
    pub(super) tally: Tally,
    pub(super) hasher: Hasher,
    /// What other fan-outs hold that share the budget of unsent bytes with this one.
    pub(super) elsewhere: usize,
}

/// Bits of a client's generation, so that a worker's token has room for more than its name.
///
/// A name need not be unique for ever. It goes to the driver, which forgets it with the socket, so
/// one that is stale is met within the turn in which its client went, and no slot is taken four
/// million times in a turn. And it waits in a queue for its page: there a stale one that fits a
/// newcomer gives that newcomer, if it waits as well, its turn a little earlier.
pub const CLIENT_GENERATION_BITS: u32 = 22;

impl Fanout {
    /// Without clients. `hasher` is the channel's.
    #[must_use]
    pub fn new(limits: FanoutLimits, hasher: &Hasher) -> Self {
        Self {
            pages: Pages::new(limits.pages_bytes_max),
            limits,
            clients: Slots::with_generation_bits(CLIENT_GENERATION_BITS),
            directory: Directory::new(hasher),
            ready: List::new(),
            waiting: VecDeque::new(),
            ahead: BinaryHeap::new(),
            routed: 0,
            routing: None,
            bury: Vec::new(),
            lagging: Vec::new(),
            foreign: hasher.map(),
            wishes: hasher.map(),
            pool: Pool::new(),
            own_bytes: 0,
            blocked: 0,
            effects: Vec::new(),
            tally: Tally::default(),
            hasher: hasher.clone(),
            elsewhere: 0,
        }
    }

    /// Says where the reader of the log starts; only without clients. Memory that was kept for
    /// use again is given back.
    pub fn start(&mut self, routed: u64) {
        debug_assert!(self.clients.is_empty(), "a worker's reader starts before its first client");
        self.routed = routed;
        self.routing = None;
        self.waiting.clear();
        self.ahead.clear();
        self.pages.clear();
        self.bury();
        self.pool.release();
    }

    /// Number of clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Number of feeds, and of exact topics that they follow.
    #[must_use]
    pub fn feeds(&self) -> (usize, usize) {
        (self.directory.feeds.len(), self.directory.topics())
    }

    /// Clients that have something to send and room for it.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len() as usize
    }

    /// Whether some client waits for a page.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.ahead.is_empty()
    }

    /// Whether [`Fanout::catch_up`] has something to do now.
    #[must_use]
    pub fn can_catch_up(&self) -> bool {
        !self.waiting.is_empty() && self.routing.is_none() && !self.pages_are_over()
    }

    /// Whether pages alone, with what others hold, have spent the budget of unsent bytes.
    pub(super) fn pages_are_over(&self) -> bool {
        self.pages.held() + self.elsewhere > self.limits.unsent_bytes_max
    }

    /// Bytes held because some client has not taken them: feeds, pages, pieces.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.pool.held() + self.pages.held() + self.own_bytes
    }

    /// Says what others hold that share the budget of unsent bytes with this fan-out. It must be
    /// right when [`Fanout::route`] and [`Fanout::catch_up`] are called, and when it is asked
    /// whether there is something to do.
    pub fn share(&mut self, elsewhere: usize) {
        self.elsewhere = elsewhere;
    }

    /// Whether the budget of unsent bytes is spent: nothing is routed until clients take some.
    #[must_use]
    pub fn is_over_budget(&self) -> bool {
        self.unsent_bytes() + self.elsewhere > self.limits.unsent_bytes_max
    }

    /// What is to be done; the caller empties it.
    pub fn effects(&mut self) -> &mut Vec<Effect> {
        &mut self.effects
    }

    /// What happened since the last call.
    pub fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Takes a new client. Its head is sent first, then what follows `after`.
    pub fn subscribe(&mut self, new: Newcomer, now: Tick) -> ClientId {
        let feed = self.directory.open(&new.subscription, self.routed);
        let mut extra = Extra { after: new.after, told: new.told, ..Extra::default() };
        if !new.head.is_empty() {
            let body = Body::Bytes(new.head.into());
            extra.pieces.push_back(Piece { at: 0, sent: 0, body });
        }
        self.own_bytes += extra.pieces.iter().map(Piece::own_bytes).sum::<usize>();
        let client = Client {
            cursor: 0,
            extra: Some(Box::new(extra)),
            socket: new.socket,
            feed,
            prev: NONE,
            next: NONE,
            tag: new.tag,
            touched: now,
            until: new.until.0,
            why: new.until.1,
            stage: Stage::Catching,
            blocked: false,
            hopes: 0,
        };
        let id = self.clients.insert(client);
        if let Some(feed) = self.directory.feeds.at_mut(feed) {
            feed.join();
        }
        if !new.subscription.foreign().is_empty() {
            self.remember(id.index(), new.subscription);
        }
        if self.routing.is_none() && new.after == self.routed {
            self.attach(id.index());
        } else if new.after > self.routed {
            self.ahead.push(Reverse((new.after, id.pack())));
        }
        self.list(id.index());
        id
    }

    /// Forgets a client, for whatever reason. Returns its socket and the worker's word.
    pub fn remove(&mut self, id: ClientId) -> Option<(i32, u32)> {
        self.clients.find(id)?;
        self.unlist(id.index());
        let client = self.clients.remove(id)?;
        if let Some(extra) = &client.extra {
            self.own_bytes -= extra.pieces.iter().map(Piece::own_bytes).sum::<usize>();
        }
        if let Some(wish) = self.wishes.remove(&id.index()) {
            for topic in wish.foreign() {
                if let Some(clients) = self.foreign.get_mut(topic) {
                    clients.remove(&id.index());
                    if clients.is_empty() {
                        self.foreign.remove(topic);
                    }
                }
            }
        }
        if let Some(feed) = self.directory.feeds.at_mut(client.feed) {
            if client.stage == Stage::Live {
                feed.bytes.leave(client.cursor, &mut self.pool);
            }
            if feed.leave() {
                self.bury.push(client.feed);
            }
        }
        if self.routing.is_none() {
            self.bury();
        }
        Some((client.socket, client.tag))
    }

    /// The socket has room again.
    pub fn unblock(&mut self, id: ClientId) {
        if self.clients.find(id).is_some_and(|client| client.blocked) {
            self.unlist(id.index());
            if let Some(client) = self.clients.at_mut(id.index()) {
                client.blocked = false;
                client.hopes = client.hopes.saturating_add(1);
            }
            self.list(id.index());
        }
    }

    /// Ends a client after what is queued for it: `last` is sent, then it is dropped.
    pub fn end(&mut self, id: ClientId, last: Vec<u8>, why: Until) {
        debug_assert!(!last.is_empty(), "the last bytes carry the ending");
        if self.clients.find(id).is_none_or(Client::is_ending) {
            return;
        }
        self.unlist(id.index());
        let tail = self.tail_of(id.index());
        if let Some(client) = self.clients.at_mut(id.index()) {
            let at = if client.stage == Stage::Live { tail } else { 0 };
            client.until = NEVER;
            client.why = why;
            if client.stage == Stage::Waiting {
                client.stage = Stage::Catching;
            }
            let extra = client.extra.get_or_insert_default();
            extra.ending = true;
            self.own_bytes += last.len();
            extra.pieces.push_back(Piece { at, sent: 0, body: Body::Bytes(last.into()) });
        }
        self.list(id.index());
    }

    /// The slot numbers in use are below this.
    #[must_use]
    pub fn slots(&self) -> u32 {
        u32::try_from(self.clients.high()).unwrap_or(u32::MAX)
    }

    /// Clients whose topics are all over. Costs a look at every client.
    pub fn readers_of(&self, is_over: impl Fn(&Topic) -> bool) -> Vec<ClientId> {
        let over = |selector: &Selector| match selector {
            Selector::Any => false,
            Selector::Exact(topic) => is_over(topic),
        };
        let feeds = self.directory.feeds.iter();
        let feeds = feeds.filter(|(_, feed)| feed.key.selectors().iter().all(over));
        let mut ended = self.hasher.set();
        ended.extend(feeds.map(|(feed, _)| feed.index()));
        if ended.is_empty() {
            return Vec::new();
        }
        let clients = self.clients.iter().filter(|(_, client)| ended.contains(&client.feed));
        clients.map(|(id, _)| id).collect()
    }

    /// The client in a slot, if there is one.
    #[must_use]
    pub fn client_at(&self, slot: u32) -> Option<ClientId> {
        self.clients.at(slot).map(|(id, _)| id)
    }

    pub(super) fn tail_of(&self, index: u32) -> u64 {
        let feed = self.clients.at(index).map_or(u32::MAX, |(_, client)| client.feed);
        self.directory.feeds.at(feed).map_or(0, |(_, feed)| feed.bytes.tail())
    }

    /// Puts a client into the list where it belongs.
    pub(super) fn list(&mut self, index: u32) {
        let tail = self.tail_of(index);
        let Some((id, client)) = self.clients.at(index) else { return };
        let feed = client.feed;
        match client.place(tail) {
            Place::Ready => self.ready.push_back(&mut self.clients, index),
            Place::Idle => {
                if let Some(feed) = self.directory.feeds.at_mut(feed) {
                    feed.idle.push_back(&mut self.clients, index);
                }
            }
            Place::Blocked => {
                self.watch_lag(index);
                if let Some(feed) = self.directory.feeds.at_mut(feed) {
                    feed.blocked.push_back(&mut self.clients, index);
                    self.blocked += 1;
                }
            }
            Place::Nowhere => {
                if client.stage == Stage::Catching {
                    let after = client.extra.as_ref().map_or(0, |extra| extra.after);
                    if after > self.routed {
                        self.ahead.push(Reverse((after, id.pack())));
                    } else {
                        self.waiting.push_back(id);
                    }
                    if let Some(client) = self.clients.at_mut(index) {
                        client.stage = Stage::Waiting;
                    }
                }
            }
        }
    }

    /// Takes a client out of the list that it is in.
    pub(super) fn unlist(&mut self, index: u32) {
        let tail = self.tail_of(index);
        let Some((_, client)) = self.clients.at(index) else { return };
        let feed = self.directory.feeds.at_mut(client.feed);
        match client.place(tail) {
            Place::Ready => self.ready.unlink(&mut self.clients, index),
            Place::Idle => {
                if let Some(feed) = feed {
                    feed.idle.unlink(&mut self.clients, index);
                }
            }
            Place::Blocked => {
                if let Some(feed) = feed {
                    feed.blocked.unlink(&mut self.clients, index);
                    self.blocked -= 1;
                }
            }
            Place::Nowhere => {}
        }
    }

    /// Puts a client at the tail of its feed; what it has in pieces is sent before.
    pub(super) fn attach(&mut self, index: u32) {
        let Some(client) = self.clients.at_mut(index) else { return };
        debug_assert!(client.stage != Stage::Live, "a client is attached once");
        if let Some(feed) = self.directory.feeds.at_mut(client.feed) {
            client.cursor = feed.bytes.enter();
            client.stage = Stage::Live;
        }
        if let Some(extra) = &mut client.extra {
            for piece in &mut extra.pieces {
                piece.at = client.cursor;
            }
            extra.newest = false;
            if extra.pieces.is_empty() && !extra.ending {
                client.extra = None;
            }
        }
    }

    /// Removes the feeds that nobody reads any more; not while an event is half routed.
    pub(super) fn bury(&mut self) {
        while let Some(index) = self.bury.pop() {
            if self.directory.feeds.at(index).is_some_and(|(_, feed)| feed.clients == 0) {
                self.directory.close(index);
            }
        }
    }

    fn remember(&mut self, index: u32, wish: Subscription) {
        for topic in wish.foreign() {
            let clients = self.foreign.entry(topic.clone());
            clients.or_insert_with(|| self.hasher.set()).insert(index);
        }
        self.wishes.insert(index, Arc::new(wish));
    }
}

#[cfg(test)]
impl Fanout {
    /// Everybody who is queued for a page, stale names included.
    pub(super) fn queued(&self) -> impl Iterator<Item = ClientId> {
        let ahead = self.ahead.iter().map(|Reverse((_, id))| Handle::unpack(*id));
        self.waiting.iter().copied().chain(ahead)
    }
}
