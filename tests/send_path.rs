//! What the send path and an idle client cost in memory, counted by the allocator.
//!
//! Invariants: one test in this binary, so nobody else allocates while it counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![allow(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tidegate::base::map::Hasher;
use tidegate::base::sync::Arc;
use tidegate::config::LagPolicy;
use tidegate::feed::{Announce, Batch, Fanout, FanoutLimits, Gap, NEVER, Newcomer, Until};
use tidegate::log::{Bell, Channel, Draft, Grants, Limits, Reader, Selector, Subscription, Topic};

/// The system's allocator, counted.
struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

fn count(bytes: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(i64::try_from(layout.size()).unwrap_or(i64::MAX), Ordering::Relaxed);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No client lags here, so no gap is announced.
struct Silent;

impl Announce for Silent {
    fn gap(&self, gap: Gap, upto: u64) -> Vec<u8> {
        unreachable!("{gap:?} at {upto}")
    }
}

struct World {
    channel: Channel,
    fanout: Fanout,
    reader: Reader,
    batch: Batch,
    sends: u64,
}

impl World {
    fn new() -> Self {
        let hasher = Hasher::new(1);
        let limits = Limits {
            events_max: 1000,
            bytes_max: 1 << 20,
            age_max_millis: 0,
            backlog_bytes_max: 1 << 20,
            per_topic: None,
        };
        let channel = Channel::new(limits, 7, hasher.clone());
        let limits = FanoutLimits {
            lag_bytes_max: 1 << 20,
            lag_policy: LagPolicy::Close,
            unsent_bytes_max: 64 << 20,
            page_bytes: 256 * 1024,
            pages_bytes_max: 8 << 20,
        };
        let mut fanout = Fanout::new(limits, &hasher);
        let (reader, routed) = channel.reader(&Arc::new(Bell::new(Box::new(|| ()))));
        fanout.start(routed);
        Self { channel, fanout, reader, batch: Batch::new(), sends: 0 }
    }

    fn topic(&self, name: &str) -> Topic {
        Topic::new(name, self.channel.hasher())
    }

    fn subscribe(&mut self, socket: i32, topics: &[&str]) {
        let selectors = topics.iter().map(|name| Selector::Exact(self.topic(name))).collect();
        let new = Newcomer {
            socket,
            tag: 0,
            subscription: Subscription::new(selectors, Grants::default()),
            after: self.channel.tail(),
            told: 0,
            head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            until: (NEVER, Until::Age),
        };
        self.fanout.subscribe(new, 0);
    }

    fn publish(&self, topic: &str, data: &str) {
        let draft = Draft { topics: [self.topic(topic)].into(), private: false, id: None };
        let wire = |id: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("id: {id}\ndata: {data}\n\n").as_bytes());
        };
        self.channel.append(draft, 1, wire).unwrap();
    }

    fn route(&mut self) {
        while self.reader.peek().is_some() || self.fanout.is_routing() {
            self.fanout.route(&mut self.reader, 64, &Silent);
        }
    }

    /// Sends everything, as a socket that takes all would.
    fn sweep(&mut self) {
        while self.fanout.ready() > 0 {
            self.batch.clear();
            self.fanout.gather(256, 4 << 20, &mut self.batch);
            for (index, len) in &self.batch {
                let (socket, bytes) = self.fanout.range(*index);
                assert!(socket > 0 && bytes.len() == *len as usize);
            }
            self.sends += self.batch.len() as u64;
            self.fanout.settle(&self.batch, &[], 1);
        }
        assert!(self.fanout.effects().is_empty());
    }
}

const CLIENTS: i32 = 20_000;

#[test]
fn the_sweep_allocates_nothing_and_an_idle_client_is_its_slot() {
    let mut world = World::new();
    world.subscribe(1, &["news"]);
    world.sweep();
    let before = BYTES.load(Ordering::Relaxed);
    for socket in 2..=CLIENTS {
        world.subscribe(socket, &["news"]);
    }
    world.sweep();
    let each = (BYTES.load(Ordering::Relaxed) - before) / i64::from(CLIENTS);
    assert!(each <= 64, "an idle client costs {each} B");

    for round in 0..3 {
        for n in 0..10 {
            world.publish("news", &format!("round {round} event {n}"));
        }
        world.route();
        let (calls, sends) = (CALLS.load(Ordering::Relaxed), world.sends);
        world.sweep();
        assert_eq!(CALLS.load(Ordering::Relaxed) - calls, 0, "the send path allocates nothing");
        assert_eq!(world.sends - sends, u64::try_from(CLIENTS).unwrap(), "ten events, one send");
    }
    assert_eq!(world.fanout.unsent_bytes(), 0, "a feed at rest holds no bytes");

    let before = BYTES.load(Ordering::Relaxed);
    for socket in 1..=CLIENTS {
        world.subscribe(CLIENTS + socket, &["news", &format!("/users/{socket}")]);
    }
    world.sweep();
    let each = (BYTES.load(Ordering::Relaxed) - before) / i64::from(CLIENTS);
    assert!(each <= 700, "an idle client with a topic of its own costs {each} B");

    world.publish("news", "for all");
    world.publish("/users/77", "for one");
    world.route();
    let (calls, sends) = (CALLS.load(Ordering::Relaxed), world.sends);
    world.sweep();
    assert_eq!(CALLS.load(Ordering::Relaxed) - calls, 0, "nor with a feed for each client");
    assert_eq!(world.sends - sends, 2 * u64::try_from(CLIENTS).unwrap());
    println!("with a topic of its own: {each} B");
}
