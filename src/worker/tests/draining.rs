//! A drain with exchanges and upstreams: what is under way gets its time, and nothing more.

use super::World;
use super::data;
use super::stage::answer;
use super::stage::ask;
use crate::base::phase::Phase;
use crate::base::sync::atomic::Ordering;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::Gauge;
use crate::metrics::RelayEnd;
use crate::worker::Progress;

const CONFIG: &str = r#"
[drain]
period = "10s"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80"]
[[upstream]]
name = "news"
url = "http://10.9.0.2:80/news"
always_on = true
[[route]]
path = "/news"
upstream = "news"
[[route]]
backend = "app"
"#;

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

impl World {
    fn drain(&mut self) {
        self.phase.advance(Phase::Draining);
        self.ground.woken.store(true, Ordering::Relaxed);
        self.turn();
    }

    /// Turns until the worker has returned; how long that took, in milliseconds.
    fn end(&mut self) -> u64 {
        let from = self.now().millis();
        while self.turn() == Progress::Running {
            assert!(self.now().millis() < from + 60_000, "it does not end");
        }
        self.now().millis() - from
    }
}

#[test]
fn responses_under_way_end_and_close_their_connections() {
    let mut world = World::toml(CONFIG);
    let (client, backend) = world.passing(&ask("/"));
    world.drain();
    world.pass(3000);
    assert!(!world.is_closed(client));
    world.say(backend, &answer("late"));
    world.settle();
    let heard = world.heard(client);
    assert!(heard.contains("Connection: close\r\n") && heard.ends_with("late"), "{heard}");
    assert!(world.ground.with(client, |peer| peer.finished));
    world.ground.with(client, |peer| peer.ended = true);
    let took = world.end();
    assert!(took < 1000, "nothing is left to wait for: {took} ms");
    assert_eq!(world.ends(RelayEnd::Done), 1);
    world.check_empty();
}

#[test]
fn event_streams_end_between_two_events() {
    let mut world = World::toml(CONFIG);
    let streams: Vec<(i32, i32)> = (0..8).map(|_| world.passing(&ask("/"))).collect();
    for (_, backend) in &streams {
        world.say(*backend, STREAM);
        world.say(*backend, b"data: 1\n\ndata: 2\n");
    }
    world.settle();
    world.drain();
    world.pass(9000);
    let open = |world: &World| streams.iter().filter(|(c, _)| !world.is_over(*c)).count();
    assert_eq!(open(&world), 8, "in the middle of an event");
    for (_, backend) in &streams {
        world.say(*backend, b"\n");
    }
    world.pass(1500);
    assert_eq!(open(&world), 0);
    for (client, backend) in &streams {
        assert!(world.heard(*client).ends_with("data: 2\n\r\n1\r\n\n\r\n"));
        assert!(world.is_closed(*backend));
        world.ground.with(*client, |peer| peer.ended = true);
    }
    world.end();
    assert_eq!(world.ends(RelayEnd::Drained), 8);
    world.check_empty();
}

#[test]
fn a_stream_that_begins_late_ends_between_two_events_too() {
    let mut world = World::toml(CONFIG);
    let streams: Vec<(i32, i32)> = (0..8).map(|_| world.passing(&ask("/"))).collect();
    world.drain();
    world.pass(8500);
    for (_, backend) in &streams {
        world.say(*backend, STREAM);
        world.say(*backend, b"data: 1\n\n");
    }
    world.pass(1000);
    let over = streams.iter().filter(|(client, _)| world.is_over(*client)).count();
    assert!(over > 4, "those whose time is over have ended: {over}");
    streams.iter().for_each(|(client, _)| world.ground.with(*client, |peer| peer.ended = true));
    world.end();
    world.check_empty();
}

#[test]
fn whoever_ends_during_a_drain_is_told_when_to_come_back() {
    let mut world = World::toml(&CONFIG.replace("always_on = true", "age_max = \"3s\""));
    let clients: Vec<i32> = (0..20).map(|_| world.connect(ask("/news").as_bytes())).collect();
    world.settle();
    world.drain();
    world.pass(4000);
    let aged = world.counters.counter(Counter::Closed(CloseReason::AgeLimit));
    assert!(aged > 0 && world.worker.clients() == 0, "{aged}");
    for client in &clients {
        let heard = world.heard(*client);
        assert!(heard.contains("\nretry: "), "{heard}");
        world.ground.with(*client, |peer| peer.ended = true);
    }
    world.end();
    world.check_empty();
}

#[test]
fn what_is_left_after_the_period_is_cancelled() {
    let mut world = World::toml(CONFIG);
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    let (silent, _) = world.passing(&ask("/"));
    world.drain();
    world.pass(9900);
    assert!(!world.is_over(client) && !world.is_over(silent));
    world.pass(600);
    assert!(world.is_over(client) && world.is_over(silent) && world.is_closed(backend));
    assert_eq!((world.ends(RelayEnd::Drained), world.gauge(Gauge::Relays)), (2, 0));
    world.end();
    world.check_empty();
}

#[test]
fn what_is_kept_open_does_not_hold_up_a_drain() {
    let mut world = World::toml(CONFIG);
    world.settle();
    assert_eq!(world.places(), ["10.9.0.2"], "connected from the start");
    world.say(world.backend(), STREAM);
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, &answer("x"));
    world.settle();
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    assert_eq!(world.worker.outbounds(), 2, "one of the pool, one of the upstream");
    world.drain();
    let took = world.end();
    assert!(took < 1000, "nobody reads: {took} ms");
    world.check_empty();
}

#[test]
fn readers_of_an_upstream_end_over_the_period() {
    let mut world = World::toml(CONFIG);
    world.settle();
    let upstream = world.backend();
    world.say(upstream, STREAM);
    let readers: Vec<i32> = (0..100).map(|_| world.connect(ask("/news").as_bytes())).collect();
    world.settle();
    world.say(upstream, b"id: 1\ndata: 1\n\n");
    world.settle();
    world.drain();
    world.pass(5000);
    let ended = readers.iter().filter(|reader| world.is_over(**reader)).count();
    assert!((30..70).contains(&ended), "{ended} of 100 at half time");
    assert!(!world.is_closed(upstream), "the others still read it");
    world.say(upstream, b"id: 2\ndata: 2\n\n");
    let took = world.end();
    assert!(took < 8000, "the rest of the period, and what lingers: {took} ms");
    let heard: Vec<String> = readers.iter().map(|reader| world.heard(*reader)).collect();
    let late = heard.iter().filter(|heard| data(heard) == ["1", "2"]).count();
    let early = heard.iter().filter(|heard| data(heard) == ["1"]).count();
    assert_eq!((early, late), (ended, 100 - ended));
    assert!(heard.iter().all(|heard| heard.contains("\nretry: ") && heard.ends_with('\n')));
    world.check_empty();
}

#[test]
fn an_upstream_stays_as_long_as_another_worker_has_readers() {
    let mut world = World::toml(CONFIG);
    world.settle();
    let upstream = world.backend();
    world.say(upstream, STREAM);
    let mut other = world.beside(1);
    let far = other.connect(ask("/news").as_bytes());
    other.settle();
    world.drain();
    other.ground.woken.store(true, Ordering::Relaxed);
    other.turn();
    // This worker has no client of its own. Its clock is not the other's, whose reader stays.
    world.pass(1000);
    world.say(upstream, b"id: 1\ndata: late\n\n");
    world.settle();
    other.turn();
    other.turn();
    assert_eq!(data(&other.heard(far)), ["late"]);
    other.end();
    let took = world.end();
    assert!(world.is_closed(upstream) && took < 1000, "the last one has gone: {took} ms");
    other.check_empty();
    world.check_empty();
}

#[test]
fn the_second_signal_closes_everything() {
    let mut world = World::toml(CONFIG);
    world.settle();
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, &answer("x"));
    world.settle();
    world.say(client, ask("/").as_bytes());
    let _ = world.passing(&ask("/"));
    let reader = world.connect(ask("/news").as_bytes());
    world.settle();
    assert!(world.heard(reader).starts_with("HTTP/1.1 200 "));
    world.phase.advance(Phase::Closed);
    assert_eq!(world.turn(), Progress::Done);
    assert_eq!(world.counters.counter(Counter::RelayEnds(RelayEnd::ClientGone)), 2);
    world.check_empty();
}

impl World {
    /// The worker has said its last word to this peer.
    fn is_over(&self, socket: i32) -> bool {
        self.ground.with(socket, |peer| peer.closed || peer.finished)
    }
}

#[test]
fn a_stream_that_is_asked_for_in_a_drain_ends_between_two_events_too() {
    let mut world = World::toml(CONFIG);
    let text = ask("/");
    let (head, rest) = text.split_at(20);
    let clients: Vec<i32> = (0..8).map(|_| world.connect(head.as_bytes())).collect();
    world.settle();
    world.drain();
    for client in &clients {
        world.say(*client, rest.as_bytes());
        world.settle();
        world.say(world.backend(), STREAM);
        world.say(world.backend(), b"data: 1\n\n");
        world.settle();
    }
    world.pass(8500);
    let over = clients.iter().filter(|client| world.is_over(**client)).count();
    assert!(over > 4, "they end over the period: {over}");
    clients.iter().for_each(|client| world.ground.with(*client, |peer| peer.ended = true));
    world.end();
    world.check_empty();
}
