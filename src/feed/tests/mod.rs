//! The fan-out against a model: a rig with a real log and a kernel that the test plays.
//!
//! Invariants: after every operation of the rig the fan-out's books are recounted
//! (`check_invariants`), so a test that passes has not left a count wrong behind it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of a test are small"
)]

mod directed;
mod lagging;
mod model;
mod random;
mod resuming;
mod sources;

use super::client::Stage;
use super::{Announce, Batch, Beat, ClientId, Dropped, Effect, Fanout, FanoutLimits, Gap};
use super::{NEVER, Newcomer, Settled, Tick, Until};
use crate::base::map::Hasher;
use crate::base::sync::Arc;
use crate::config::LagPolicy;
use crate::log::{
    self, Bell, Channel, Draft, Event, Grants, Reader, Selector, Start, Subscription, Topic,
};
use crate::sse;

/// The response head of every client.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// The last bytes of every client that is ended.
const LAST: &[u8] = b"retry: 42\n\n";
const MILLION: usize = 1_000_000;

/// What the kernel makes of one send.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    All,
    Short(usize),
    Fail(i32),
}

/// Topics and grants by name: how the model sees a subscription. `*` is every topic.
#[derive(Clone, Debug, Default)]
struct Wish {
    topics: Vec<&'static str>,
    grants: Vec<&'static str>,
}

impl Wish {
    fn of(topics: &[&'static str]) -> Self {
        Self { topics: topics.to_vec(), grants: Vec::new() }
    }

    fn granted(self, grants: &[&'static str]) -> Self {
        Self { grants: grants.to_vec(), ..self }
    }

    fn wants(&self, event: &Event) -> bool {
        let among = |names: &[&str]| {
            names.contains(&"*") || event.topics.iter().any(|t| names.contains(&t.name()))
        };
        among(&self.topics) && (!event.private || among(&self.grants))
    }
}

/// One client as the test sees it: `socket` is its place in `Rig::peers`.
#[derive(Debug)]
struct Peer {
    id: ClientId,
    wish: Wish,
    /// What it asked for; 0: everything kept.
    after: u64,
    /// What the kernel took.
    got: Vec<u8>,
    blocked: bool,
    gone: bool,
    dropped: Option<Dropped>,
    /// It was ended while live: everything up to here is due before its last bytes.
    owed: Option<u64>,
    /// While it is conflated: since which position.
    conflating: Option<u64>,
    /// Stretches that it got only the newest events of: after, up to.
    conflated: Vec<(u64, u64)>,
}

struct Notices;

impl Announce for Notices {
    fn gap(&self, gap: Gap, upto: u64) -> Vec<u8> {
        let kind = match gap {
            Gap::Skipped => "skipped",
            Gap::Conflated => "conflated",
            Gap::Expired => "expired",
        };
        format!(": gap {kind} {upto}\nevent: gap\ndata: {kind}\n\n").into_bytes()
    }
}

struct Rig {
    hasher: Hasher,
    channel: Channel,
    bell: Arc<Bell>,
    reader: Option<Reader>,
    fanout: Fanout,
    now: Tick,
    unix_millis: u64,
    events: Vec<Arc<Event>>,
    peers: Vec<Peer>,
    effects: Vec<Effect>,
}

/// Limits that no test reaches by accident.
fn roomy(lag_policy: LagPolicy) -> FanoutLimits {
    FanoutLimits {
        lag_bytes_max: 100 * MILLION as u64,
        lag_policy,
        unsent_bytes_max: 1000 * MILLION,
        page_bytes: 64 * 1024,
        pages_bytes_max: MILLION,
    }
}

fn kept(events_max: usize) -> log::Limits {
    log::Limits {
        events_max,
        bytes_max: usize::MAX,
        age_max_millis: 0,
        backlog_bytes_max: u64::MAX,
        per_topic: None,
    }
}

impl Rig {
    fn new(limits: FanoutLimits, kept: log::Limits) -> Self {
        let hasher = Hasher::new(7);
        Self {
            channel: Channel::new(kept, 0xabc, hasher.clone()),
            bell: Arc::new(Bell::new(Box::new(|| {}))),
            reader: None,
            fanout: Fanout::new(limits, &hasher),
            hasher,
            now: 0,
            unix_millis: 1,
            events: Vec::new(),
            peers: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn subscription(&self, wish: &Wish) -> Subscription {
        let selectors = |names: &[&str]| -> Vec<Selector> {
            let topic = |name: &&str| match *name {
                "*" => Selector::Any,
                name => Selector::Exact(Topic::new(name, &self.hasher)),
            };
            names.iter().map(topic).collect()
        };
        Subscription::new(selectors(&wish.topics), Grants::new(selectors(&wish.grants)))
    }

    fn publish(&mut self, topics: &[&str], private: bool, size: usize) -> u64 {
        let topics = topics.iter().map(|name| Topic::new(name, &self.hasher)).collect();
        let draft = Draft { topics, private, id: None };
        let data = "x".repeat(size);
        let encode = |id: &str, out: &mut Vec<u8>| {
            sse::encode(&sse::EventFields { id, data: &data, ..Default::default() }, out).unwrap();
        };
        let event = self.channel.append(draft, self.unix_millis, encode).unwrap();
        self.events.push(event);
        self.channel.tail()
    }

    fn subscribe(&mut self, wish: Wish, after: u64) -> usize {
        self.subscribe_until(wish, after, NEVER)
    }

    fn subscribe_until(&mut self, wish: Wish, after: u64, until: Tick) -> usize {
        let subscription = self.subscription(&wish);
        self.enter(wish, subscription, Start { after, told: 0 }, until)
    }

    fn enter(
        &mut self,
        wish: Wish,
        subscription: Subscription,
        start: Start,
        until: Tick,
    ) -> usize {
        let Start { after, told } = start;
        if self.reader.is_none() {
            let (reader, routed) = self.channel.reader(&self.bell);
            self.reader = Some(reader);
            self.fanout.start(routed);
        }
        let newcomer = Newcomer {
            socket: self.peers.len() as i32,
            tag: self.peers.len() as u32 + 1000,
            subscription,
            after,
            told,
            head: HEAD.to_vec(),
            until: (until, Until::Age),
        };
        let id = self.fanout.subscribe(newcomer, self.now);
        self.peers.push(Peer {
            id,
            wish,
            after,
            got: Vec::new(),
            blocked: false,
            gone: false,
            dropped: None,
            owed: None,
            conflating: None,
            conflated: Vec::new(),
        });
        self.check();
        self.peers.len() - 1
    }

    /// A client at the tail that has its response head.
    fn live(&mut self, wish: Wish) -> usize {
        let peer = self.subscribe(wish, self.channel.tail());
        self.drain();
        assert_eq!(self.peers[peer].got, HEAD);
        peer
    }

    fn route(&mut self, budget: usize) {
        if let Some(reader) = &mut self.reader {
            self.fanout.route(reader, budget, &Notices);
        }
        self.check();
    }

    fn catch_up(&mut self, budget: usize) {
        self.fanout.catch_up(&self.channel, budget, &Notices);
        self.check();
    }

    /// One batch; returns whose sends were in it, with the bytes that were offered.
    fn sweep(
        &mut self,
        count: usize,
        bytes_max: usize,
        mut kernel: impl FnMut(usize, &[u8]) -> Kernel,
    ) -> (Vec<(usize, usize)>, Settled) {
        let mut batch = Batch::new();
        let gathered = self.fanout.gather(count, bytes_max, &mut batch);
        let left = (self.fanout.ready(), self.fanout.is_waiting());
        let (mut shorts, mut sends) = (Vec::new(), Vec::new());
        for (place, (index, len)) in batch.iter().enumerate() {
            let (socket, bytes) = self.fanout.range(*index);
            assert_eq!(bytes.len(), *len as usize);
            let peer = &mut self.peers[socket as usize];
            assert!(!peer.gone && !peer.blocked, "nothing is sent to {peer:?}");
            sends.push((socket as usize, bytes.len()));
            let taken = match kernel(socket as usize, bytes) {
                Kernel::All => bytes.len(),
                Kernel::Short(taken) => {
                    shorts.push((place, Ok(taken)));
                    taken
                }
                Kernel::Fail(errno) => {
                    shorts.push((place, Err(errno)));
                    0
                }
            };
            peer.got.extend_from_slice(&bytes[..taken]);
        }
        let settled = self.fanout.settle(&batch, &shorts, self.now);
        self.check();
        if shorts.is_empty() && !gathered.more {
            let after = (self.fanout.ready(), self.fanout.is_waiting());
            assert_eq!(after, left, "a batch that is the last word leaves nothing to do");
        }
        for (to, _) in &sends {
            // A starved client is blocked without an effect: the beat sees to it.
            if let Some(client) = self.fanout.clients.find(self.peers[*to].id) {
                self.peers[*to].blocked = client.blocked;
            }
        }
        (sends, settled)
    }

    /// Sends what is ready, all of it.
    fn drain(&mut self) {
        while self.fanout.ready() > 0 {
            self.sweep(256, usize::MAX, |_, _| Kernel::All);
        }
    }

    /// One batch in which `peer` gets only `taken` bytes, so that it is blocked.
    fn block(&mut self, peer: usize, taken: usize) {
        let kernel = |to, _: &[u8]| if to == peer { Kernel::Short(taken) } else { Kernel::All };
        self.sweep(256, usize::MAX, kernel);
        assert!(self.peers[peer].blocked);
    }

    fn unblock(&mut self, peer: usize) {
        self.peers[peer].blocked = false;
        self.fanout.unblock(self.peers[peer].id);
        self.check();
    }

    fn end(&mut self, peer: usize, why: Until) {
        let at = &mut self.peers[peer];
        if let Some(client) = self.fanout.clients.find(at.id)
            && !client.is_ending()
            && client.stage == Stage::Live
            && at.conflating.is_none()
        {
            at.owed = Some(self.fanout.routed());
        }
        self.fanout.end(at.id, LAST.to_vec(), why);
        self.check();
    }

    fn remove(&mut self, peer: usize) {
        let removed = self.fanout.remove(self.peers[peer].id);
        assert_eq!(removed, Some((peer as i32, peer as u32 + 1000)));
        self.peers[peer].gone = true;
        self.check();
    }

    fn beat(&mut self, beat: Beat) -> (u64, Vec<(ClientId, Until)>) {
        let mut due = Vec::new();
        let slots = self.fanout.slots();
        let comments = self.fanout.beat(0, slots, self.now, beat, &mut due);
        for peer in self.peers.iter_mut().filter(|peer| !peer.gone) {
            // The starved are tried again, without anybody's word that there is room.
            let client = self.fanout.clients.find(peer.id);
            peer.blocked &= client.is_none_or(|client| client.blocked || !client.is_starved());
        }
        self.check();
        (comments, due)
    }

    /// Everything that can be done until nothing is left; blocked clients get room.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            self.route(100);
            self.catch_up(100);
            self.drain();
            for peer in 0..self.peers.len() {
                if self.peers[peer].blocked && !self.peers[peer].gone {
                    self.unblock(peer);
                }
            }
            let unread = self.reader.as_mut().is_some_and(|reader| reader.peek().is_some());
            let busy = self.fanout.is_routing() || self.fanout.is_waiting();
            if !unread && !busy && self.fanout.ready() == 0 {
                return;
            }
        }
        panic!("the fan-out does not come to rest");
    }

    /// Takes in the effects, and recounts.
    fn check(&mut self) {
        for effect in std::mem::take(self.fanout.effects()) {
            self.effects.push(effect);
            match effect {
                Effect::Full { client, socket } => {
                    let peer = &mut self.peers[socket as usize];
                    assert_eq!(peer.id, client);
                    peer.blocked = true;
                }
                Effect::Dropped { socket, tag, why } => {
                    assert_eq!(tag, socket as u32 + 1000);
                    let peer = &mut self.peers[socket as usize];
                    assert!(!peer.gone, "dropped once");
                    (peer.gone, peer.dropped) = (true, Some(why));
                }
            }
        }
        for peer in self.peers.iter_mut().filter(|peer| !peer.gone) {
            let client = self.fanout.clients.find(peer.id).expect("a client that was not dropped");
            let extra = client.extra.as_ref().filter(|extra| extra.newest);
            match (peer.conflating, extra) {
                (None, Some(extra)) => peer.conflating = Some(extra.after),
                (Some(after), None) => {
                    peer.conflated.push((after, self.fanout.routed()));
                    peer.conflating = None;
                }
                _ => {}
            }
        }
        self.fanout.check_invariants();
        if self.reader.is_some() && self.fanout.clients() == 0 {
            self.fanout.start(0);
            self.reader = None;
        }
    }

    /// Whether no client can lag too far.
    fn is_roomy(&self) -> bool {
        self.fanout.limits.lag_bytes_max >= roomy(LagPolicy::Close).lag_bytes_max
    }

    /// After the head of a client, its stream.
    fn stream(&self, peer: usize) -> &[u8] {
        self.peers[peer].got.strip_prefix(HEAD).expect("the response head comes first")
    }

    /// The numbers of the events that a client got, checked against the model.
    fn heard(&self, peer: usize) -> Vec<u64> {
        self.judge(peer, false);
        model::events(&self.parse(self.stream(peer)).0)
    }

    /// The same for a client that must have everything.
    fn heard_all(&self, peer: usize) -> Vec<u64> {
        self.judge(peer, true);
        self.heard(peer)
    }

    fn wire(&self, seq: u64) -> &[u8] {
        &self.events[seq as usize - 1].wire
    }
}
