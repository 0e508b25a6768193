//! The peers that the worlds are peopled with, drawn from a seed.
//!
//! Invariants: names are unique within a world, and topics are few, so that subscriptions overlap.

use std::time::Duration;
use tidegate::base::chance::Chance;
use tidegate::config::LagPolicy;
use tidegate::sim::peers::Peer;
use tidegate::sim::peers::publisher::Habits;
use tidegate::sim::peers::publisher::Publisher;
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
