//! Upstream streams on their worker: opened, shared, paused, refused, given up.

use super::World;
use super::data;
use super::ground::Door;
use super::stage::ask;
use crate::base::sync::Arc;
use crate::base::sync::atomic::Ordering;
use crate::log::Bell;
use crate::metrics::CloseReason;
use crate::metrics::ConnectResult;
use crate::metrics::Counter;
use crate::metrics::GapReason;
use crate::metrics::Gauge;
use crate::metrics::UpstreamFailure;
use std::net::IpAddr;

const FEED: &str = r#"
[[upstream]]
name = "feed"
url = "http://10.9.0.1:80/s{rest}"
linger = "5s"
heartbeat = "0s"
[[route]]
path = "/up"
upstream = "feed"
"#;

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

impl World {
    /// A client that has the head of a stream.
    fn reader(&mut self, path: &str) -> i32 {
        let client = self.connect(ask(path).as_bytes());
        self.settle();
        assert!(self.heard(client).starts_with("HTTP/1.1 200 "));
        client
    }

    /// The upstream has answered with a stream.
    fn stream(&mut self) -> i32 {
        let upstream = self.backend();
        self.say(upstream, STREAM);
        self.settle();
        upstream
    }

    fn leave(&mut self, client: i32) {
        self.ground.with(client, |peer| peer.ended = true);
        self.settle();
    }
}

#[test]
fn readers_of_one_stream_share_a_connection() {
    let mut world = World::toml(FEED);
    let clients = [world.reader("/up/a"), world.reader("/up/a"), world.reader("/up/b")];
    assert_eq!((world.dialled().len(), world.gauge(Gauge::Upstreams)), (2, 2));
    let [a, b] = world.dialled()[..] else { panic!() };
    assert!(world.heard(a).starts_with("GET /s/a HTTP/1.1\r\nHost: 10.9.0.1\r\n"));
    assert!(world.heard(b).starts_with("GET /s/b "));
    world.say(a, STREAM);
    world.say(a, b"id: 1\ndata: of a\n\n");
    world.say(b, STREAM);
    world.say(b, b"id: 1\ndata: of b\n\n");
    world.settle();
    let heard = clients.map(|client| world.heard(client));
    assert_eq!(heard.each_ref().map(|heard| data(heard)), [["of a"], ["of a"], ["of b"]]);
    assert!(heard[0].contains("id: 1\n"), "the upstream's own id");
}

#[test]
fn a_stream_that_nobody_reads_is_closed_after_its_linger() {
    let mut world = World::toml(FEED);
    let client = world.reader("/up/a");
    let upstream = world.stream();
    world.say(upstream, b"id: 1\ndata: one\n\n");
    world.settle();
    world.leave(client);
    world.pass(3000);
    assert!(!world.is_closed(upstream), "it lingers");
    // Who comes back meanwhile finds it as it was.
    let request = "GET /up/a HTTP/1.1\r\nHost: a.test\r\nLast-Event-ID: 1\r\n\r\n";
    let client = world.connect(request.as_bytes());
    world.settle();
    world.say(upstream, b"id: 2\ndata: two\n\n");
    world.settle();
    let heard = world.heard(client);
    assert_eq!((data(&heard), heard.contains("gap")), (vec!["two"], false));
    world.pass(20_000);
    assert!(!world.is_closed(upstream), "it is read");
    world.leave(client);
    world.pass(8000);
    assert!(world.is_closed(upstream));
    assert_eq!(world.worker.site.registry().live(0), 0);
    assert_eq!(world.worker.site.groups()[1].channel.kept().0, 0, "its history goes with it");
    world.check_empty();
    // And the next one opens it anew, after what it has seen.
    let client = world.connect(request.as_bytes());
    world.settle();
    assert!(world.heard(world.backend()).contains("\r\nLast-Event-ID: 1\r\n"));
    let upstream = world.stream();
    world.say(upstream, b"id: 2\ndata: two\n\n");
    world.settle();
    let heard = world.heard(client);
    assert_eq!((data(&heard), heard.contains("gap")), (vec!["two"], false));
}

#[test]
fn a_log_without_room_stops_the_upstream() {
    let mut world = World::toml(FEED);
    let client = world.reader("/up/a");
    let upstream = world.stream();
    // A reader of another worker, which does not read.
    let channel = Arc::clone(&world.worker.site.groups()[1].channel);
    let (mut sleeper, _) = channel.reader(&Arc::new(Bell::new(Box::new(|| {}))));
    let text = "x".repeat(100_000);
    let count = 500;
    for n in 0..count {
        world.say(upstream, format!("id: {n}\ndata: {n} {text}\n\n").as_bytes());
    }
    let mut got = Vec::new();
    let mut take = |world: &World| {
        let heard = world.heard(client);
        got.extend(heard.lines().filter(|line| line.starts_with("id: ")).map(str::to_owned));
        got.len()
    };
    for _ in 0..3000 {
        world.turn();
        take(&world);
    }
    let left = world.ground.with(upstream, |peer| peer.input.len());
    let want = usize::try_from(super::BACKLOG).unwrap() / text.len();
    let taken = take(&world);
    assert!((want..want + 3).contains(&taken), "{taken} of {want}");
    assert!(left > 10_000_000, "{left}");
    world.pass(2000);
    assert_eq!(world.ground.with(upstream, |peer| peer.input.len()), left, "it is not read");
    while sleeper.take().is_some() {}
    for _ in 0..3000 {
        world.turn();
        take(&world);
        while sleeper.take().is_some() {}
    }
    assert_eq!(take(&world), count);
    assert!(got.iter().enumerate().all(|(n, id)| *id == format!("id: {n}")));
}

#[test]
fn an_upstream_that_ends_while_the_log_has_no_room_loses_nothing() {
    let mut world = World::toml(FEED);
    let client = world.reader("/up/a");
    let upstream = world.stream();
    let channel = Arc::clone(&world.worker.site.groups()[1].channel);
    let (mut sleeper, _) = channel.reader(&Arc::new(Bell::new(Box::new(|| {}))));
    let text = "x".repeat(900_000);
    for n in 0..38 {
        world.say(upstream, format!("id: {n}\ndata: {text}\n\n").as_bytes());
        world.settle();
    }
    world.say(upstream, b"id: 38\ndata: last\n\n");
    world.ground.with(upstream, |peer| peer.ended = true);
    world.pass(1000);
    assert!(!data(&world.heard(client)).contains(&"last"));
    while sleeper.take().is_some() {}
    world.pass(500);
    assert_eq!(data(&world.heard(client)).last(), Some(&"last"));
    world.pass(2000);
    assert!(world.backend() != upstream, "and it comes back");
    assert!(world.heard(world.backend()).contains("\r\nLast-Event-ID: 38\r\n"));
}

#[test]
fn a_refusal_ends_the_readers_of_every_worker() {
    let mut world = World::toml(FEED);
    let mut other = world.beside(1);
    other.sockets = 500;
    let near = world.reader("/up/a");
    let far = other.reader("/up/a");
    let third = other.reader("/up/b");
    assert_eq!((world.dialled().len(), other.dialled().len()), (1, 1), "one each, and shared");
    world.say(world.backend(), b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    world.pass(300);
    other.pass(300);
    assert!(world.ground.with(near, |peer| peer.finished));
    assert!(other.ground.with(far, |peer| peer.finished));
    assert!(!other.ground.with(third, |peer| peer.finished));
    let ended = |world: &World| world.counters.counter(Counter::Closed(CloseReason::UpstreamEnded));
    assert_eq!((ended(&world), ended(&other)), (1, 1));
    // The next ones hear it at once, on either worker.
    for world in [&mut world, &mut other] {
        let late = world.connect(ask("/up/a").as_bytes());
        world.settle();
        assert!(world.heard(late).starts_with("HTTP/1.1 403 "));
    }
    assert_eq!(world.counters.counter(Counter::UpstreamFailures(UpstreamFailure::Status)), 1);
    assert!(world.is_closed(world.backend()));
}

#[test]
fn a_stream_comes_back_and_its_timers_do_not_pile_up() {
    let mut world = World::toml(FEED);
    let client = world.reader("/up/a");
    for n in 0..60 {
        let upstream = world.stream();
        let asked = world.heard(upstream);
        assert_eq!(asked.contains(&format!("\r\nLast-Event-ID: {}\r\n", n - 1)), n > 0, "{asked}");
        world.say(upstream, format!("id: {n}\ndata: {n}\n\n").as_bytes());
        world.settle();
        world.ground.with(upstream, |peer| peer.ended = true);
        world.pass(1500);
    }
    let heard = world.heard(client);
    let want: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(data(&heard), want);
    world.stream();
    let before = world.worker.wheel.len();
    assert!(before < 10, "{before} timers for one stream");
}

#[test]
fn a_stream_that_opens_clears_its_servers_failures() {
    let mut world = World::toml(FEED);
    world.door("10.9.0.1:80", Door::ShutLater);
    let _client = world.reader("/up/a");
    world.pass(4000);
    assert!(world.failures()[0] > 0);
    world.door("10.9.0.1:80", Door::Open);
    let before = world.dialled().len();
    while world.dialled().len() == before {
        world.pass(500);
    }
    world.stream();
    assert_eq!(world.failures(), [0]);
}

#[test]
fn all_servers_of_an_upstream_are_tried_before_it_waits() {
    for door in [Door::Shut, Door::ShutLater] {
        let several = "[[backend]]\nname = \"all\"\nendpoints = [\"http://10.9.0.1:80\", \
                       \"http://10.9.0.2:80\", \"http://10.9.0.3:80\"]\n[[upstream]]\n\
                       backend = \"all\"\n";
        let mut world = World::toml(&FEED.replace("[[upstream]]\n", several));
        let places = ["10.9.0.1", "10.9.0.2", "10.9.0.3"];
        places.iter().for_each(|place| world.door(&format!("{place}:80"), door));
        let begin = world.now();
        let client = world.reader("/up/a");
        assert_eq!(world.now(), begin, "without a pause");
        let mut tried = world.places();
        tried.sort_unstable();
        assert_eq!(tried, places, "{door:?}: each once");
        world.door("10.9.0.3:80", Door::Open);
        // Whichever is drawn first, the next attempt comes to the one that listens.
        world.pass(3000);
        assert_eq!(world.places().last().map(String::as_str), Some("10.9.0.3"), "{door:?}");
        let upstream = world.stream();
        world.say(upstream, b"id: 1\ndata: one\n\n");
        world.settle();
        assert_eq!(data(&world.heard(client)), ["one"]);
        world.pass(10_000);
        assert!(world.places().len() <= 6, "{:?}", world.places());
    }
}

#[test]
fn a_connect_that_takes_too_long_is_given_up() {
    let mut world = World::toml(FEED);
    world.door("10.9.0.1:80", Door::Silent);
    let client = world.reader("/up/a");
    let first = world.backend();
    world.pass(5500);
    assert!(world.is_closed(first));
    assert_eq!(world.failures(), [1]);
    let late = Counter::UpstreamConnects(ConnectResult::Timeout);
    assert_eq!(world.counters.counter(late), 1);
    world.pass(5000);
    assert!(world.dialled().len() > 1);
    assert!(!world.is_closed(client), "its stream goes on");
}

#[test]
fn a_server_that_takes_the_request_and_says_nothing_is_to_blame() {
    let mut world = World::toml(FEED);
    let _client = world.reader("/up/a");
    for n in 1..=3 {
        let upstream = world.backend();
        world.ground.with(upstream, |peer| peer.ended = true);
        world.settle();
        assert_eq!(world.failures(), [n]);
        while world.backend() == upstream {
            world.pass(500);
        }
    }
    world.stream();
    assert_eq!(world.failures(), [0]);
}

#[test]
fn each_attempt_may_go_to_any_server() {
    let mut world = World::toml(&FEED.replace("10.9.0.1", "feed.test"));
    let found = ["10.9.0.1", "10.9.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert!(world.backends.looked_up("feed.test", Ok(&found)));
    world.door("10.9.0.1:80", Door::Shut);
    world.door("10.9.0.2:80", Door::Silent);
    let client = world.reader("/up/a");
    world.pass(15_000);
    for place in ["10.9.0.1", "10.9.0.2"] {
        assert!(world.places().iter().any(|tried| tried == place), "{:?}", world.places());
    }
    // The one that was refused is there again; the other one stays silent.
    world.door("10.9.0.1:80", Door::Open);
    let before = world.dialled().len();
    let mut seconds = 0;
    while world.dialled().len() == before || world.places().last().unwrap() != "10.9.0.1" {
        world.pass(1000);
        seconds += 1;
        assert!(seconds < 120, "{:?}", world.places());
    }
    let upstream = world.stream();
    world.say(upstream, b"id: 1\ndata: one\n\n");
    world.settle();
    assert_eq!(data(&world.heard(client)), ["one"]);
}

#[test]
fn an_upstream_whose_names_come_later_is_connected_then() {
    let mut world = World::toml(&FEED.replace("10.9.0.1", "feed.test"));
    let _client = world.reader("/up/a");
    world.pass(100);
    assert!(world.dialled().is_empty());
    let found: IpAddr = "10.9.0.3".parse().unwrap();
    assert!(world.backends.looked_up("feed.test", Ok(&[found])));
    world.ground.woken.store(true, Ordering::Relaxed);
    world.settle();
    assert_eq!(world.places(), ["10.9.0.3"]);
    assert!(world.heard(world.backend()).starts_with("GET /s/a HTTP/1.1\r\nHost: feed.test\r\n"));
}

#[test]
fn a_limit_of_ours_is_no_fault_of_the_upstreams_server() {
    let mut world = World::toml(&format!("[limits]\nconnections_max = 1\n{FEED}"));
    let _client = world.reader("/up/a");
    assert_eq!((world.failures(), world.places().len()), (vec![0], 0));
    let connect = Counter::UpstreamFailures(UpstreamFailure::Connect);
    assert_eq!(world.counters.counter(connect), 1);
}

#[test]
fn a_claim_that_leads_nowhere_is_counted_as_a_gap() {
    let mut world = World::toml(FEED);
    let request = "GET /up/a HTTP/1.1\r\nHost: a.test\r\nLast-Event-ID: junk\r\n\r\n";
    let client = world.connect(request.as_bytes());
    world.settle();
    world.say(world.backend(), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    world.pass(300);
    let upstream = world.stream();
    world.say(upstream, b"id: 1\ndata: one\n\n");
    world.settle();
    assert!(world.heard(client).contains("gap"));
    assert_eq!(world.counters.counter(Counter::Gaps(GapReason::UnknownId)), 1);
}

#[test]
fn what_a_source_does_is_counted_and_told() {
    let mut world = World::toml(&FEED.replace("10.9.0.1", "feed.test"));
    let _client = world.reader("/up/a");
    assert!(world.backends.looked_up("feed.test", Err("no such name")));
    world.ground.woken.store(true, Ordering::Relaxed);
    world.settle();
    let dns = Counter::UpstreamFailures(UpstreamFailure::Dns);
    assert_eq!(world.counters.counter(dns), 1);

    let mut world = World::toml(FEED);
    let _client = world.reader("/up/a");
    let upstream = world.backend();
    world.ground.with(upstream, |peer| peer.ended = true);
    world.settle();
    let endpoint = world.backends.seats(0)[0].endpoint.clone();
    assert!(!endpoint.last_error().is_empty(), "why it failed is on /backends");
    assert_eq!(endpoint.in_flight(), 0, "nothing is under way while it waits");
    while world.backend() == upstream {
        world.pass(500);
    }
    let upstream = world.stream();
    world.say(upstream, b"id: 1\ndata: one\n\n");
    world.settle();
    assert_eq!(world.counters.counter(Counter::UpstreamReconnects), 1);
    let bytes = (STREAM.len() + "id: 1\ndata: one\n\n".len()) as u64;
    assert_eq!(world.counters.counter(Counter::UpstreamBytes), bytes);
    assert_eq!(endpoint.in_flight(), 1);
    world.ground.with(upstream, |peer| peer.ended = true);
    world.settle();
    assert_eq!(endpoint.in_flight(), 0);
}

#[test]
fn a_short_linger_is_kept() {
    let mut world = World::toml(&FEED.replace("linger = \"5s\"", "linger = \"1s\""));
    let client = world.reader("/up/a");
    let upstream = world.stream();
    world.pass(7000);
    world.leave(client);
    world.pass(3100);
    assert!(world.is_closed(upstream));
}
