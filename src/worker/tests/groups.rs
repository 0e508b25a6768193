//! Clients of several groups on one worker.

use super::World;
use super::data;
use super::get;
use crate::base::phase::Phase;
use crate::base::slots::Handle;
use crate::base::sync::atomic::Ordering;
use crate::config::Config;
use crate::config::gateway::Backend;
use crate::config::gateway::Upstream;
use crate::log::Draft;
use crate::log::Grants;
use crate::log::Selector;
use crate::log::Start;
use crate::log::Subscription;
use crate::log::Topic;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::Gauge;
use crate::session::GROUPS_MAX;
use crate::session::Subscribe;
use crate::worker::Owner;
use crate::worker::Progress;
use std::time::Duration;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

fn upstream(name: &str) -> Upstream {
    Upstream {
        public: true,
        multiplex: true,
        history_events_max: 3,
        history_bytes_max: 1 << 24,
        heartbeat: Duration::ZERO,
        ..Upstream::named(name)
    }
}

/// A worker with a hub and this many upstreams.
pub(super) fn world(upstreams: usize, change: impl FnOnce(&mut Config)) -> World {
    World::new(|config| {
        let names = (0..upstreams).map(|n| upstream(&format!("u{n}")));
        config.gateway.upstreams = names.collect();
        config.gateway.backends = vec![Backend::named("u")];
        change(config);
    })
}

impl World {
    fn topic(&self, group: usize, name: &str) -> Topic {
        Topic::new(name, self.worker.site.groups()[group].channel.hasher())
    }

    /// A client of a group, as a session would hand it over.
    fn join(&mut self, group: usize, topics: &[&str], start: Option<Start>) -> i32 {
        let socket = self.connect(b"");
        self.turn();
        let newest = |(handle, _): (Handle, _)| handle;
        let handle = self.worker.connections.iter().map(newest).last().unwrap();
        let exact = |name: &&str| Selector::Exact(self.topic(group, name));
        let selectors = topics.iter().map(exact).collect();
        let wish = Subscribe {
            group,
            subscription: Subscription::new(selectors, Grants::default()),
            after: start.map(|start| start.after),
            told: start.map_or(0, |start| start.told),
            until_unix_millis: None,
        };
        let now = self.now();
        self.worker.subscribe(handle, wish, HEAD, now);
        socket
    }

    /// A client of a group that has its head.
    pub(super) fn live(&mut self, group: usize, topic: &str) -> i32 {
        let socket = self.join(group, &[topic], None);
        self.settle();
        assert_eq!(self.heard(socket).as_bytes(), HEAD);
        socket
    }

    /// An event of an upstream comes in, with the worker asleep.
    pub(super) fn tell(&self, group: usize, topic: &str, text: &str) {
        let channel = &self.worker.site.groups()[group].channel;
        let draft = Draft { topics: [self.topic(group, topic)].into(), private: false, id: None };
        let encode = |_: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("data: {text}\n\n").as_bytes());
        };
        channel.append(draft, 1, encode).unwrap();
    }
}

#[test]
fn each_group_gets_its_own_events_and_one_flush_carries_them_all() {
    let mut world = world(3, |_| {});
    let clients = [0, 1, 2, 3].map(|group| world.live(group, "a"));
    let sends = world.counters.counter(Counter::Sends);
    let turns = world.counters.counter(Counter::Turns);
    for group in 0..4 {
        world.tell(group, "a", &format!("of {group}"));
    }
    // In one turn they are gathered, and sent with the call that begins the next.
    world.turn();
    world.turn();
    for (group, client) in clients.iter().enumerate() {
        assert_eq!(data(&world.heard(*client)), [format!("of {group}")]);
    }
    assert_eq!(world.counters.counter(Counter::Sends) - sends, 4);
    assert_eq!(world.counters.counter(Counter::Turns) - turns, 2);
    assert_eq!((world.worker.clients(), world.gauge(Gauge::Clients)), (4, 4));
    world.pass(200);
    assert_eq!(world.gauge(Gauge::Feeds), 4, "the sum of the groups");
}

#[test]
fn a_worker_is_woken_by_the_groups_that_it_has_clients_of() {
    let mut world = world(2, |_| {});
    let client = world.live(1, "a");
    let woken = |world: &World| world.ground.woken.load(Ordering::Relaxed);
    world.tell(1, "a", "for one");
    assert!(!woken(&world), "it is awake after a sleep");
    world.settle();
    assert_eq!(data(&world.heard(client)), ["for one"]);
    world.worker.bell.park();
    world.tell(2, "a", "for nobody");
    world.tell(0, "a", "for nobody");
    assert!(!woken(&world));
    world.tell(1, "a", "for one");
    assert!(woken(&world));
    world.settle();
    assert_eq!(data(&world.heard(client)), ["for one"]);
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    world.worker.bell.park();
    world.tell(1, "a", "for nobody");
    assert!(!woken(&world));
    assert_eq!(world.worker.groups.len(), 0);
    world.check_empty();
}

#[test]
fn a_group_is_left_and_entered_again() {
    let mut world = world(2, |_| {});
    for round in 0..3 {
        let clients = [2, 0, 1].map(|group| world.live(group, "a"));
        for (n, client) in clients.into_iter().enumerate() {
            world.ground.with(client, |peer| peer.ended = true);
            world.settle();
            assert_eq!(world.worker.groups.len(), 2 - n);
            world.tell(1, "a", &format!("{round}.{n}"));
            world.settle();
            let want: &[String] = if n < 2 { &[format!("{round}.{n}")] } else { &[] };
            assert_eq!(data(&world.heard(clients[2])), want);
        }
    }
    world.check_empty();
}

#[test]
fn room_and_hangup_find_their_client() {
    let mut world = world(3, |_| {});
    let clients = [0, 1, 2, 3].map(|group| world.live(group, "a"));
    for client in clients {
        world.ground.with(client, |peer| peer.room = 3);
    }
    (0..4).for_each(|group| world.tell(group, "a", "whole"));
    world.settle();
    for client in clients {
        assert_eq!(world.heard(client), "dat");
        world.ground.with(client, |peer| peer.room = usize::MAX);
    }
    world.settle();
    assert!(clients.iter().all(|client| world.heard(*client) == "a: whole\n\n"));
    world.ground.with(clients[2], |peer| peer.ended = true);
    world.settle();
    assert!(world.is_closed(clients[2]) && world.worker.clients() == 3);
}

#[test]
fn a_token_says_whose_it_is() {
    for index in [0, 1, u32::MAX] {
        for generation in [0, 1, (1 << 22) - 1] {
            let handle = Handle::unpack(generation << 32 | u64::from(index));
            for owner in [
                Owner::Connection(handle),
                Owner::Client(0, handle),
                Owner::Client(7, handle),
                Owner::Client(GROUPS_MAX - 1, handle),
            ] {
                assert_eq!(Owner::of(owner.token()), owner);
            }
        }
    }
}

#[test]
fn each_group_has_its_own_terms() {
    let mut world = world(2, |config| {
        config.hub.heartbeat = Duration::from_secs(60);
        config.gateway.upstreams[0].heartbeat = Duration::from_secs(2);
        config.gateway.upstreams[1].age_max = Duration::from_secs(3);
    });
    let clients = [0, 1, 2].map(|group| world.live(group, "a"));
    world.pass(4500);
    assert_eq!(world.heard(clients[0]), "");
    assert!(world.heard(clients[1]).starts_with(":\n"));
    assert_eq!(world.heard(clients[2]), ": the connection's time is over\n");
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::AgeLimit)), 1);
}

#[test]
fn a_gap_is_told_in_the_words_of_its_group() {
    let mut world = world(1, |config| {
        config.gateway.upstreams[0].gap_event = "hole".to_owned();
    });
    world.worker.site.groups()[1].channel.open(&world.topic(1, "a"));
    (0..6).for_each(|n| world.tell(1, "a", &n.to_string()));
    let client = world.join(1, &["a"], Some(Start { after: 1, told: 0 }));
    world.settle();
    let heard = world.heard(client);
    assert!(heard.contains("event: hole\nid: urn:tide:0000000000000008:1\n"), "{heard}");
    assert_eq!(data(&heard)[1..], ["3", "4", "5"]);
    let recent = world.worker.site.groups()[1].channel.recent(&[world.topic(1, "a")], 2);
    let fresh = world.join(1, &["a"], Some(recent));
    world.settle();
    assert_eq!(data(&world.heard(fresh)), ["4", "5"]);
}

#[test]
fn a_crowd_in_one_group_does_not_hold_up_another() {
    let mut world = world(2, |_| {});
    for _ in 0..3000 {
        world.connect(&get("topic=a"));
    }
    world.settle();
    let others = [1, 2].map(|group| world.live(group, "a"));
    world.tell(0, "a", "for many");
    world.turn();
    for round in 0..5 {
        for (group, client) in [1, 2].into_iter().zip(others) {
            world.tell(group, "a", &round.to_string());
            let turns = (1..).take_while(|_| {
                world.turn();
                data(&world.heard(client)).is_empty()
            });
            assert!(turns.count() < 4, "each group is first in one turn of three, then it is sent");
        }
        assert!(world.worker.ready() > 0 || round > 2, "the crowd is still being served");
        world.tell(0, "a", "for many");
    }
    world.settle();
}

#[test]
fn who_holds_most_pays_for_the_budget() {
    let mut world = world(2, |config| {
        config.limits.unsent_bytes_max = 1 << 20;
        config.hub.lag_bytes_max = 1 << 20;
    });
    let heavy: Vec<i32> = (0..3).map(|n| world.live(1, &format!("h{n}"))).collect();
    let light = world.live(2, "a");
    let reader = world.live(2, "a");
    for client in heavy.iter().chain([&light]) {
        world.ground.with(*client, |peer| peer.room = 0);
    }
    world.tell(2, "a", "small");
    let text = "x".repeat(100_000);
    for round in 0..6 {
        for n in 0..3 {
            world.tell(1, &format!("h{n}"), &text);
            world.settle();
            let unsent = world.worker.unsent_bytes();
            assert!(unsent <= (1 << 20) + 110_000, "{unsent}");
        }
        world.tell(2, "a", &round.to_string());
        world.settle();
    }
    assert!(!world.is_closed(light), "the others' lag is not its fault");
    let closed = heavy.iter().filter(|client| world.is_closed(**client)).count();
    assert!((1..3).contains(&closed), "as many as it takes: {closed}");
    assert_eq!(data(&world.heard(reader)), ["small", "0", "1", "2", "3", "4", "5"]);
    world.ground.with(light, |peer| peer.room = usize::MAX);
    world.settle();
    assert_eq!(data(&world.heard(light)).len(), 7);
}

#[test]
fn a_large_event_of_an_upstream_arrives() {
    let mut world = world(1, |config| {
        config.gateway.upstreams[0].lag_bytes_max = 8 << 20;
    });
    let clients = [0, 1, 2].map(|_| world.live(1, "a"));
    let text = "y".repeat(6 << 20);
    world.tell(1, "a", &text);
    world.settle();
    let late = world.join(1, &["a"], Some(Start::default()));
    world.settle();
    for client in clients.into_iter().chain([late]) {
        assert!(data(&world.heard(client)) == [text.as_str()]);
    }
    assert!(world.worker.unsent_bytes() <= 8 << 20, "nothing but a page for others");
    world.pass(11_000);
    assert_eq!(world.worker.unsent_bytes(), 0);
}

#[test]
fn a_drain_ends_the_clients_of_all_groups() {
    let mut world = world(2, |config| {
        config.drain.period = Duration::from_secs(10);
        config.gateway.upstreams[0].retry = Some(77_000);
    });
    let clients = [0, 1, 2].map(|group| world.live(group, "a"));
    world.phase.advance(Phase::Draining);
    while world.turn() == Progress::Running {
        assert!(world.now().millis() < 30_000);
    }
    let heard = clients.map(|client| world.heard(client));
    assert!(heard.iter().all(|heard| heard.starts_with("retry: ")), "{heard:?}");
    assert!(heard[1].starts_with("retry: 77"), "{heard:?}");
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::Drained)), 3);
    world.check_empty();
}

#[test]
fn the_second_signal_ends_all_groups() {
    let mut world = world(2, |_| {});
    (0..3).for_each(|group| _ = world.live(group, "a"));
    world.phase.advance(Phase::Draining);
    world.turn();
    world.phase.advance(Phase::Closed);
    assert_eq!(world.turn(), Progress::Done);
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::DrainDeadline)), 3);
    world.check_empty();
}
