//! The peers that the worlds are peopled with, drawn from a seed.
//!
//! Invariants: names are unique within a world, and topics are few, so that subscriptions overlap.

use std::time::Duration;
use tidegate::base::chance::Chance;
use tidegate::config::LagPolicy;
use tidegate::io::Remote;
use tidegate::sim::peers::Peer;
use tidegate::sim::peers::broadcaster::Broadcaster;
use tidegate::sim::peers::broadcaster::Manners;
use tidegate::sim::peers::caller::Caller;
use tidegate::sim::peers::caller::Calls;
use tidegate::sim::peers::follower::Follower;
use tidegate::sim::peers::follower::Pursuit;
use tidegate::sim::peers::publisher::Habits;
use tidegate::sim::peers::publisher::Publisher;
use tidegate::sim::peers::responder::Conduct;
use tidegate::sim::peers::responder::Responder;
use tidegate::sim::peers::subscriber::Manner;
use tidegate::sim::peers::subscriber::Subscriber;
use tidegate::sim::peers::subscriber::Taste;
use tidegate::sim::place::Wish;

/// Peers, and when each begins.
pub(crate) type Peers = Vec<(Box<dyn Peer>, Duration)>;

pub(crate) fn topics() -> Vec<String> {
    ["a", "b", "c/ä?&=%", "d"].map(str::to_owned).into()
}

pub(crate) fn below(chance: &mut Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).unwrap()
}

pub(crate) fn millis(chance: &mut Chance, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + chance.below(to - from))
}

/// Publishers of small and large events.
pub(crate) fn publishers(
    chance: &mut Chance,
    count: usize,
    pause_max: Duration,
    data_max: usize,
) -> Peers {
    (0..count)
        .map(|n| {
            let habits = Habits {
                name: format!("p{n}"),
                topics: topics(),
                pause_max,
                data_max,
                private: 6,
                burst: 8,
            };
            let peer: Box<dyn Peer> = Box::new(Publisher::new(habits));
            (peer, millis(chance, 0, 50))
        })
        .collect()
}

/// Subscribers that behave in one of these manners.
pub(crate) fn subscribers(
    chance: &mut Chance,
    count: usize,
    manners: &[Manner],
    policy: LagPolicy,
    start: Duration,
) -> Peers {
    (0..count)
        .map(|n| {
            let all = topics();
            let many = below(chance, 3);
            let first = below(chance, all.len());
            let taste = Taste {
                name: format!("s{n}"),
                wish: Wish { topics: all.into_iter().cycle().skip(first).take(many).collect() },
                manner: manners[below(chance, manners.len())],
                earliest: chance.one_in(4),
                policy,
            };
            let peer: Box<dyn Peer> = Box::new(Subscriber::new(taste));
            let span = u64::try_from(start.as_millis()).unwrap() + 1;
            (peer, millis(chance, 0, span))
        })
        .collect()
}

/// Channels of the upstreams, by name.
const CHANNELS: [&str; 3] = ["a", "b", "c"];

fn at(address: &str) -> Remote {
    Remote::Tcp(address.parse().unwrap())
}

/// Two upstreams: one of plain channels, one of channels that may be merged. Only the first refuses
/// for good: a merged stream goes on without the channel, and is not told when there is one again.
pub(crate) fn broadcasters(chance: &mut Chance, forbids: bool) -> Peers {
    [("10.2.0.1:80", "/s/"), ("10.2.0.2:80", "/rooms/")]
        .map(|(address, prefix)| {
            let manners = Manners {
                at: at(address),
                paths: CHANNELS.map(|name| format!("{prefix}{name}")).into(),
                from_start: chance.one_in(2),
                pause_max: millis(chance, 10, 150),
                data_max: 3000,
                flaps: 5 + chance.below(60),
                refuses: 2 + chance.below(6),
                forbids: if forbids && prefix == "/s/" { 1 + chance.below(6) } else { 0 },
            };
            let peer: Box<dyn Peer> = Box::new(Broadcaster::new(manners));
            (peer, Duration::ZERO)
        })
        .into()
}

/// Followers of one plain channel, or of some merged ones.
pub(crate) fn followers(chance: &mut Chance, count: usize, strict: bool, prompt: bool) -> Peers {
    let manners = [Manner::Steady, Manner::Steady, Manner::Slow, Manner::Stalling];
    (0..count)
        .map(|n| {
            let merged = chance.one_in(2);
            let many = if merged { 1 + below(chance, 3) } else { 1 };
            let first = if merged { below(chance, 3) } else { below(chance, 4) / 3 };
            let names: Vec<&str> = CHANNELS.into_iter().cycle().skip(first).take(many).collect();
            let (prefix, target) = if merged {
                ("/rooms/", format!("/rooms?channel={}", names.join("&channel=")))
            } else {
                ("/s/", format!("/up/{}", names[0]))
            };
            let manner =
                if chance.one_in(3) { Manner::Vanishing } else { manners[below(chance, 4)] };
            let pursuit = Pursuit {
                name: format!("f{n}"),
                target,
                paths: names.iter().map(|name| format!("{prefix}{name}")).collect(),
                merged,
                manner,
                strict,
                prompt,
            };
            let peer: Box<dyn Peer> = Box::new(Follower::new(pursuit));
            (peer, millis(chance, 0, 600))
        })
        .collect()
}

/// The two servers of a backend.
pub(crate) fn responders(chance: &mut Chance, fails: u64) -> Peers {
    ["10.2.0.1:80", "10.2.0.2:80"]
        .map(|address| {
            let stall_max = millis(chance, 10, 4000);
            let conduct = Conduct { at: at(address), fails, stall_max };
            let peer: Box<dyn Peer> = Box::new(Responder::new(conduct));
            (peer, Duration::ZERO)
        })
        .into()
}

/// Callers, some of which vanish, and some of which are slow.
pub(crate) fn callers(chance: &mut Chance, count: usize) -> Peers {
    (0..count)
        .map(|n| {
            let calls = Calls {
                name: format!("c{n}"),
                pause_max: millis(chance, 5, 100),
                body_max: 30_000,
                vanishes: [0, 2, 8][below(chance, 3)],
                slow: [0, 3, 20][below(chance, 3)],
            };
            let peer: Box<dyn Peer> = Box::new(Caller::new(calls));
            (peer, millis(chance, 1, 50))
        })
        .collect()
}
