//! What a turn leaves to be sent: it goes with the call that sleeps, and before whatever depends
//! on its being sent; each is told what became of its own.

use super::World;
use super::data;
use super::groups::world;
use super::stage::ONE;
use super::stage::ask;
use crate::base::sync::Arc;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::Direction;
use crate::metrics::Gauge;
use crate::metrics::Histogram;
use crate::metrics::RelayEnd;
use crate::session::HUB;
use std::time::Duration;

/// The begin of a response that goes on.
const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun";

impl World {
    /// Time passes, without a turn.
    fn wait(&self, millis: u64) {
        self.ground.now.set(self.now().after(Duration::from_millis(millis)));
    }
}

#[test]
fn relays_and_subscribers_share_a_flush_and_each_gets_its_own_rest() {
    let mut world = World::toml(ONE);
    let [slow, first, second] = [0, 1, 2].map(|_| world.live(HUB, "a"));
    let (asker, backend) = world.passing(&ask("/"));
    world.ground.with(asker, |peer| peer.room = 20);
    world.ground.with(slow, |peer| peer.room = 3);
    world.say(backend, BEGUN);
    world.turn();
    // Another worker appends an event between the stage that left this and the one that routes.
    world.tell(HUB, "a", "whole");
    let (site, now) = (Arc::clone(&world.worker.site), world.now());
    world.worker.groups.route(&site);
    world.worker.sweep(now);
    world.turn();
    let mut got = world.heard(asker);
    assert_eq!((got.len(), world.heard(slow)), (20, "dat".to_owned()));
    for client in [first, second] {
        assert_eq!(world.heard(client), "data: whole\n\n");
    }
    assert_eq!(world.counters.counter(Counter::Shorts), 1, "of subscribers");
    for client in [asker, slow] {
        world.ground.with(client, |peer| peer.room = usize::MAX);
    }
    world.settle();
    got += &world.heard(asker);
    assert!(got.ends_with("\r\n\r\nbegun"), "{got}");
    assert_eq!(world.heard(slow), "a: whole\n\n");
    assert!([first, second].iter().all(|client| world.heard(*client).is_empty()));
}

#[test]
fn who_cannot_be_sent_to_is_closed_then_and_there() {
    let mut world = World::toml(ONE);
    let closed = |world: &World| world.counters.counter(Counter::Closed(CloseReason::PeerReset));
    // Each is reset while something is left for it, so that the send is the first to know.
    let subscriber = world.live(HUB, "a");
    world.tell(HUB, "a", "lost");
    world.turn();
    world.ground.with(subscriber, |peer| peer.broken = true);
    world.turn();
    assert!(world.is_closed(subscriber) && closed(&world) == 1);
    let (asker, backend) = world.passing(&ask("/"));
    world.say(backend, BEGUN);
    world.turn();
    world.ground.with(asker, |peer| peer.broken = true);
    world.turn();
    assert!(world.is_closed(asker) && world.is_closed(backend) && closed(&world) == 2);
    assert_eq!(world.ends(RelayEnd::ClientGone), 1);
    world.check_empty();
}

#[test]
fn the_call_that_sends_sleeps_as_well_and_in_time_for_the_beat() {
    let mut world = world(0, |_| {});
    let client = world.live(HUB, "a");
    let before = world.now().millis();
    world.turn();
    assert_eq!(world.now().millis() - before, 100, "nothing is left, and the beat goes on");
    world.tell(HUB, "a", "one");
    world.turn();
    assert_eq!((world.now().millis() - before, world.heard(client)), (100, String::new()));
    world.turn();
    assert_eq!(data(&world.heard(client)), ["one"]);
    assert!(world.ground.slept.get());
    assert_eq!(world.now().millis() - before, 200);
}

#[test]
fn bytes_of_backends_wait_for_the_sleep_and_for_no_subscriber() {
    let mut world = World::toml(ONE);
    world.live(HUB, "a");
    let (asker, backend) = world.passing(&ask("/"));
    world.say(backend, BEGUN);
    world.turn();
    assert_eq!(world.heard(asker), "", "it is sent with the call that begins the next turn");
    world.turn();
    let heard = world.heard(asker);
    assert!(heard.ends_with("begun"));
    // A flush that has nothing of a relay counts nothing for it.
    world.tell(HUB, "a", "for one");
    world.settle();
    let bytes = world.counters.counter(Counter::RelayBytes(Direction::Response));
    assert_eq!(bytes, heard.len() as u64);
    // Routing an event to many may take a while: that is not waited for.
    world.tell(HUB, "a", "for many");
    world.say(backend, b" and on");
    world.turn();
    assert_eq!(world.heard(asker), " and on");
}

#[test]
fn half_a_head_of_a_response_sends_nothing() {
    let mut world = World::toml(ONE);
    let (asker, backend) = world.passing(&ask("/"));
    let (half, rest) = BEGUN.split_at(20);
    world.say(backend, half);
    world.settle();
    assert_eq!(world.heard(asker), "");
    world.say(backend, rest);
    world.settle();
    assert!(world.heard(asker).ends_with("\r\n\r\nbegun"));
}

#[test]
fn whom_the_beat_ends_gets_first_what_was_left_for_it() {
    let mut world = world(1, |config| {
        config.gateway.upstreams[0].age_max = Duration::from_secs(3);
    });
    let client = world.live(1, "a");
    // Each turn has an event for it and a beat, that in which its time is over too.
    let mut told = 0;
    while !world.ground.with(client, |peer| peer.finished) {
        assert!(told < 50, "its time is over");
        world.tell(1, "a", &told.to_string());
        told += 1;
        world.wait(100);
        world.turn();
    }
    let heard = world.heard(client);
    assert!(heard.ends_with("\n\n: the connection's time is over\n"), "{heard}");
    let all: Vec<String> = (0..told).map(|n| n.to_string()).collect();
    let got = data(&heard);
    // The last one was told when its end had begun.
    assert_eq!(got, all[..told - 1]);
}

#[test]
fn whom_a_deadline_ends_gets_first_what_was_left_for_it() {
    let mut world = World::toml(&format!("{ONE}timeouts = {{ request = \"2s\" }}\n"));
    let (asker, backend) = world.passing(&ask("/"));
    world.say(backend, BEGUN);
    world.settle();
    // The deadline comes between two beats, in a turn that has something for the client.
    world.pass(1980);
    assert!(world.heard(asker).ends_with("begun"));
    world.say(backend, b" and on");
    world.wait(80);
    world.turn();
    assert_eq!(world.ends(RelayEnd::Timeout), 1);
    assert_eq!(world.heard(asker), " and on");
    assert!(world.ground.with(asker, |peer| peer.finished || peer.reset));
}

#[test]
fn a_worker_whose_last_client_has_got_its_last_words_sleeps() {
    let mut world = world(1, |config| {
        config.gateway.upstreams[0].age_max = Duration::from_secs(3);
    });
    let client = world.live(1, "a");
    world.pass(3500);
    assert_eq!(world.heard(client), ": the connection's time is over\n");
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    world.check_empty();
}

#[test]
fn room_in_the_budget_is_used_without_a_sleep() {
    let mut world = world(1, |config| {
        config.limits.unsent_bytes_max = 50_000;
        config.gateway.upstreams[0].lag_bytes_max = 1 << 20;
    });
    let client = world.live(1, "a");
    // Each event spends the whole budget: the next is routed when it has been sent.
    let text = "x".repeat(60_000);
    (0..3).for_each(|_| world.tell(1, "a", &text));
    world.settle();
    assert_eq!(data(&world.heard(client)).len(), 3);
}

#[test]
fn what_ends_with_the_last_client_of_a_group_ends_for_the_others_in_the_same_turn() {
    let mut world = world(2, |_| {});
    let clients = [1, 2].map(|group| world.live(group, "a"));
    for (group, client) in [1, 2].into_iter().zip(clients) {
        world.ground.with(client, |peer| peer.room = 0);
        world.tell(group, "a", "stuck");
    }
    world.settle();
    while !clients.iter().any(|client| world.is_closed(*client)) {
        world.turn();
        assert!(world.now().millis() < 60_000, "neither takes a byte");
    }
    assert!(clients.iter().all(|client| world.is_closed(*client)));
    world.check_empty();
}

#[test]
fn a_client_that_was_stuck_and_has_taken_everything_may_be_silent() {
    let mut world = World::toml(ONE);
    let (asker, backend) = world.passing(&ask("/"));
    world.ground.with(asker, |peer| peer.room = 10);
    world.say(backend, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: a\n");
    world.settle();
    world.ground.with(asker, |peer| peer.room = usize::MAX);
    world.settle();
    let limit = world.worker.site.config().limits.write_timeout.as_millis();
    world.pass(u64::try_from(limit).unwrap() + 1000);
    assert!(!world.is_closed(asker));
    world.say(backend, b"data: late\n\n");
    world.settle();
    assert_eq!(data(&world.heard(asker)), ["late"]);
}

#[test]
fn only_events_count_as_deliveries_and_who_is_left_alone_holds_no_feed() {
    let mut world = world(1, |_| {});
    let clients = [0, 1].map(|group| world.live(group, "a"));
    world.tell(1, "a", "one");
    world.settle();
    let count = world.counters.count(Histogram::DeliveryNanos);
    assert_eq!(count, 1);
    // The head of a response is no event that is late.
    let third = world.live(1, "a");
    assert_eq!(world.counters.count(Histogram::DeliveryNanos), count);
    world.pass(200);
    assert_eq!(world.gauge(Gauge::Feeds), 2);
    for client in clients.into_iter().chain([third]) {
        world.ground.with(client, |peer| peer.ended = true);
    }
    world.settle();
    assert_eq!(world.gauge(Gauge::Feeds), 0, "told before a sleep that may be long");
    world.check_empty();
}
