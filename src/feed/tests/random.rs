//! Random operations from one seed, judged by the model.
//!
//! A failing seed is printed; this runs it alone:
//! `FEED_SEED=<seed> cargo test --lib feed::tests::random`.

use super::{Kernel, MILLION, NEVER, Rig, Wish, kept, roomy};
use crate::base::chance::Chance;
use crate::config::LagPolicy;
use crate::feed::{Beat, FanoutLimits, Until};
use crate::log;

const SEEDS: u64 = 300;
const STEPS: usize = 220;
const TOPICS: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("replay: FEED_SEED={seed} cargo test --lib feed::tests::random");
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed to replay comes from outside")]
fn every_client_gets_its_events_in_order_once_or_an_announced_gap() {
    let one = std::env::var("FEED_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let mut seen = Seen::default();
    for seed in seeds {
        let _tell = Tell(seed);
        World::new(seed).run(&mut seen);
    }
    // A world in which nothing happens proves nothing.
    let Seen { events, skipped, conflated, expired, dropped, half } = seen;
    let rare = [events, skipped, conflated, expired, dropped, half].into_iter().min().unwrap();
    assert!(one.is_some() || rare >= 50, "{seen:?}");
}

/// What happened in all worlds together.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    events: u64,
    skipped: u64,
    conflated: u64,
    expired: u64,
    dropped: u64,
    half: u64,
}

struct World {
    rig: Rig,
    chance: Chance,
    /// Sends out of 10 that fall short.
    slow: u64,
    big: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let policies = [LagPolicy::Close, LagPolicy::Skip, LagPolicy::Latest];
        let policy = policies[seed as usize % 3];
        let limits = if chance.one_in(4) {
            roomy(policy)
        } else {
            FanoutLimits {
                lag_bytes_max: 200 + chance.below(6000),
                lag_policy: policy,
                unsent_bytes_max: 20_000 + chance.below(100_000) as usize,
                page_bytes: 1 + chance.below(4000) as usize,
                pages_bytes_max: chance.below(20_000) as usize,
            }
        };
        let kept = if chance.one_in(2) {
            kept(1 + chance.below(150) as usize)
        } else {
            log::Limits { age_max_millis: 5_000, ..kept(MILLION) }
        };
        let big = [0, 0, 0, 15, 60][chance.below(5) as usize];
        Self { rig: Rig::new(limits, kept), slow: chance.below(6), big, chance }
    }

    fn run(mut self, seen: &mut Seen) {
        for _ in 0..STEPS {
            self.step(seen);
        }
        self.rig.finish();
        seen.events += self.rig.events.len() as u64;
        for peer in 0..self.rig.peers.len() {
            let gone = self.rig.peers[peer].gone;
            self.rig.judge(peer, !gone);
            seen.dropped += u64::from(self.rig.peers[peer].dropped.is_some());
        }
        let tally = self.rig.fanout.tally();
        seen.skipped += tally.skipped;
        seen.conflated += tally.conflated;
        seen.expired += tally.expired;
        for peer in 0..self.rig.peers.len() {
            if !self.rig.peers[peer].gone {
                self.rig.remove(peer);
            }
        }
        self.rig.fanout.forget_pages();
        let fanout = &self.rig.fanout;
        assert_eq!((fanout.clients(), fanout.feeds(), fanout.unsent_bytes()), (0, (0, 0), 0));
        assert!(fanout.foreign.is_empty() && fanout.wishes.is_empty());
    }

    fn step(&mut self, seen: &mut Seen) {
        match self.chance.below(100) {
            0..=8 => self.subscribe(),
            9..=40 => self.publish(),
            41..=58 => {
                let budget = [1, 2, 5, 1000][self.chance.below(4) as usize];
                self.rig.route(budget);
                seen.half += u64::from(self.rig.fanout.is_routing());
            }
            59..=66 => {
                let budget = 1 + self.chance.below(4) as usize;
                self.rig.catch_up(budget);
            }
            67..=86 => self.sweep(),
            87..=91 => self.with_peer(|rig, peer| {
                if rig.peers[peer].blocked {
                    rig.unblock(peer);
                }
            }),
            92 => self.with_peer(Rig::remove),
            93 => self.with_peer(|rig, peer| rig.end(peer, Until::Drain)),
            94..=95 => self.beat(),
            96 => self.rig.fanout.forget_pages(),
            97 => {
                self.rig.unix_millis += self.chance.below(4000);
                self.rig.channel.expire(self.rig.unix_millis);
            }
            _ => self.with_peer(|rig, peer| {
                let (id, until) = (rig.peers[peer].id, rig.now + 40);
                rig.fanout.end_by(id, until, Until::Token);
            }),
        }
    }

    fn subscribe(&mut self) {
        let mut names = |bound: u64| -> Vec<&'static str> {
            if self.chance.one_in(8) {
                return vec!["*"];
            }
            let count = self.chance.below(bound);
            (0..count).map(|_| TOPICS[self.chance.below(5) as usize]).collect()
        };
        let mut topics = names(3);
        topics.push("a");
        if topics.len() > 1 {
            topics.pop();
        }
        let wish = Wish { topics, grants: names(3) };
        let tail = self.rig.channel.tail();
        let head = tail - self.rig.channel.kept().0 as u64;
        let after = match self.chance.below(4) {
            0 => 0,
            1 => head + self.chance.below(tail - head + 1),
            _ => tail,
        };
        let until = if self.chance.one_in(4) { self.rig.now + 100 } else { NEVER };
        self.rig.subscribe_until(wish, after, until);
    }

    fn publish(&mut self) {
        for _ in 0..=self.chance.below(3) {
            let count = if self.chance.one_in(3) { 1 + self.chance.below(3) } else { 1 };
            let topics: Vec<&str> =
                (0..count).map(|_| TOPICS[self.chance.below(5) as usize]).collect();
            let size = match self.chance.below(100) {
                n if n < self.big / 30 => 200_000 + self.chance.below(200_000),
                n if n < self.big => 4000 + self.chance.below(8000),
                0..=69 => self.chance.below(100),
                _ => self.chance.below(1500),
            };
            let private = self.chance.one_in(4);
            self.rig.unix_millis += self.chance.below(40);
            self.rig.publish(&topics, private, size as usize);
        }
    }

    fn sweep(&mut self) {
        self.rig.now += self.chance.below(3) as u32;
        let count = 1 + self.chance.below(8) as usize;
        let bytes_max = 1 + self.chance.below(100_000) as usize;
        let (chance, slow) = (&mut self.chance, self.slow);
        self.rig.sweep(count, bytes_max, |_, bytes| match chance.below(10) {
            n if n < slow && chance.one_in(60) => Kernel::Fail(32),
            n if n < slow => Kernel::Short(chance.below(bytes.len() as u64) as usize),
            _ => Kernel::All,
        });
    }

    fn with_peer(&mut self, act: impl Fn(&mut Rig, usize)) {
        let peers = self.rig.peers.len() as u64;
        let peer = self.chance.below(peers) as usize;
        if peers > 0 && !self.rig.peers[peer].gone {
            act(&mut self.rig, peer);
        }
    }

    fn beat(&mut self) {
        self.rig.now += self.chance.below(20) as u32;
        let (_, due) = self.rig.beat(Beat { heartbeat: 15, write_timeout: 150 });
        for (id, why) in due {
            if let Some(peer) = self.rig.peers.iter().position(|p| !p.gone && p.id == id) {
                self.rig.end(peer, why);
            }
        }
    }
}
