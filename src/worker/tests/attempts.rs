//! Connections to backends: made, refused, late, kept for the next exchange; and who is told.

use super::World;
use super::ground::Door;
use super::stage::ONE;
use super::stage::PROXY;
use super::stage::answer;
use super::stage::ask;
use super::stage::upload;
use crate::base::sync::atomic::Ordering;
use crate::metrics::ConnectResult;
use crate::metrics::Counter;
use crate::metrics::RelayEnd;
use std::net::IpAddr;

/// A backend with a name.
const NAMED: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://app.test:80"]
connect_timeout = "2s"
[[route]]
backend = "app"
retries = 0
"#;

impl World {
    fn reused(&self) -> u64 {
        self.counters.counter(Counter::BackendReused)
    }

    fn retries(&self) -> u64 {
        self.counters.counter(Counter::BackendRetries)
    }

    /// Requests under way at the backend's endpoints.
    fn in_flight(&self) -> u32 {
        self.backends.seats(0).iter().map(|seat| seat.endpoint.in_flight()).sum()
    }
}

#[test]
fn a_connection_is_kept_for_its_time_and_no_longer() {
    let mut world = World::toml(ONE);
    for round in 0..3 {
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, &answer("x"));
        world.settle();
        assert!(world.heard(client).ends_with("x"));
        world.ground.with(client, |peer| peer.ended = true);
        world.settle();
        assert_eq!((world.dialled().len(), world.reused()), (1, round));
        assert_eq!(world.worker.outbounds(), 1);
    }
    world.pass(8000);
    assert!(!world.is_closed(world.backend()));
    world.pass(3000);
    assert!(world.is_closed(world.backend()));
    world.check_empty();
}

#[test]
fn a_busy_connection_stays_and_has_one_timer() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&ask("/"));
    for _ in 0..100 {
        world.say(backend, &answer("x"));
        world.pass(500);
        assert!(world.heard(client).ends_with("x"));
        world.say(client, ask("/").as_bytes());
        world.settle();
    }
    assert_eq!((world.dialled().len(), world.reused()), (1, 100));
    let timers = world.worker.wheel.len();
    assert!(timers < 10, "{timers} timers for two connections");
}

#[test]
fn a_stream_that_its_client_leaves_is_no_failure_and_clears_those_before() {
    let mut world = World::toml(ONE);
    let (_client, backend) = world.passing(&ask("/"));
    world.ground.with(backend, |peer| peer.ended = true);
    world.settle();
    for (said, failures) in [("", 1), ("HTTP/1.1 200 OK\r\n\r\ndata: x\n\n", 0)] {
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, said.as_bytes());
        world.settle();
        world.ground.with(client, |peer| peer.ended = true);
        world.settle();
        assert_eq!(world.failures(), [failures]);
    }
}

#[test]
fn a_kept_connection_that_speaks_or_ends_is_closed() {
    for speaks in [false, true] {
        let mut world = World::toml(ONE);
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, &answer("x"));
        world.settle();
        world.ground.with(backend, |peer| {
            peer.input.extend(b"HTTP/1.1 200 OK\r\n".iter().filter(|_| speaks));
            peer.ended = !speaks;
        });
        world.settle();
        assert!(world.is_closed(backend));
        world.say(client, ask("/").as_bytes());
        world.settle();
        assert_eq!((world.dialled().len(), world.reused()), (2, 0));
    }
}

#[test]
fn a_kept_connection_that_has_just_spoken_is_not_used() {
    for speaks in [false, true] {
        let mut world = World::toml(ONE);
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, &answer("x"));
        world.settle();
        world.heard(client);
        // Both come in one turn, and the request is looked at first.
        world.say(client, ask("/next").as_bytes());
        world.ground.with(backend, |peer| {
            peer.input.extend(answer("stale").iter().filter(|_| speaks));
            peer.ended = !speaks;
        });
        world.settle();
        let fresh = world.backend();
        assert!(fresh != backend && world.is_closed(backend), "{speaks}");
        assert!(world.heard(fresh).starts_with("GET /next "), "{speaks}");
        world.say(fresh, &answer("y"));
        world.settle();
        let heard = world.heard(client);
        assert!(heard.ends_with("y") && !heard.contains("stale"), "{heard}");
        assert_eq!((world.reused(), world.failures()), (0, vec![0]));
    }
}

#[test]
fn a_kept_connection_that_ends_as_the_request_goes_out_costs_no_attempt() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, &answer("x"));
    world.settle();
    world.heard(client);
    // Its end is not reported before the next request is on it.
    world.say(client, ask("/again").as_bytes());
    world.ground.with(backend, |peer| peer.broken = true);
    world.settle();
    let fresh = world.backend();
    assert!(fresh != backend && world.is_closed(backend));
    assert!(world.heard(fresh).starts_with("GET /again "));
    world.say(fresh, &answer("y"));
    world.settle();
    assert!(world.heard(client).ends_with("y"));
    assert_eq!(world.failures(), [0], "nobody is to blame");
}

#[test]
fn a_connect_has_its_time() {
    let mut world = World::toml(ONE);
    world.door("10.9.0.1:80", Door::Silent);
    let (client, backend) = world.passing(&ask("/"));
    world.pass(2500);
    let heard = world.heard(client);
    assert!(heard.starts_with("HTTP/1.1 504 "), "{heard}");
    assert!(world.is_closed(backend) && !world.is_closed(client));
    assert_eq!((world.failures(), world.in_flight()), (vec![1], 0));
    // The client keeps its connection.
    world.door("10.9.0.1:80", Door::Open);
    world.say(client, ask("/").as_bytes());
    world.settle();
    let backend = world.backend();
    world.say(backend, &answer("x"));
    world.settle();
    assert!(world.heard(client).ends_with("x"));
    assert_eq!(world.failures(), [0]);
}

#[test]
fn another_server_is_tried() {
    for door in [Door::Shut, Door::ShutLater, Door::Silent] {
        let mut world = World::toml(PROXY);
        world.door("10.9.0.1:80", door);
        for _ in 0..4 {
            let (client, _) = world.passing(&ask("/"));
            world.pass(2500);
            let backend = world.backend();
            world.say(backend, &answer("x"));
            world.settle();
            assert!(world.heard(client).ends_with("x"), "{door:?}");
        }
        let tried = world.places();
        assert!(tried.iter().any(|place| place == "10.9.0.1"), "{tried:?}");
        assert_eq!(u64::from(world.failures()[0]), world.retries(), "{door:?}");
        assert_eq!((world.failures()[1], world.in_flight()), (0, 0), "{door:?}");
    }
}

#[test]
fn a_server_that_takes_requests_and_says_nothing_is_told_of_each_failure() {
    let mut world = World::toml(PROXY);
    for _ in 0..40 {
        let (client, mut backend) = world.passing(&ask("/"));
        while world.places().last().unwrap() == "10.9.0.1" {
            world.ground.with(backend, |peer| peer.ended = true);
            world.settle();
            backend = world.backend();
        }
        world.say(backend, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
        world.settle();
        assert!(world.heard(client).ends_with("x"));
        world.ground.with(client, |peer| peer.ended = true);
        world.settle();
    }
    let tried = world.places().iter().filter(|place| *place == "10.9.0.1").count();
    assert_eq!(tried, 5, "after five failures in a row it is left alone");
}

#[test]
fn a_failure_that_is_not_repeated_counts_against_the_server_too() {
    let mut world = World::toml(ONE);
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    for (failures, said) in [(1, ""), (2, cut), (3, "no HTTP\r\n\r\n")] {
        let (_, backend) = world.passing(&upload(0));
        world.say(backend, said.as_bytes());
        world.settle();
        if !world.is_closed(backend) {
            world.ground.with(backend, |peer| peer.ended = true);
        }
        world.settle();
        assert_eq!(world.failures(), [failures], "{said:?}");
    }
    let (client, backend) = world.passing(&upload(0));
    world.say(backend, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 503 "));
    assert_eq!(world.failures(), [0], "an answer is one, whatever it says");
}

#[test]
fn without_any_server_there_is_an_answer() {
    let mut world = World::toml(PROXY);
    world.door("10.9.0.1:80", Door::Shut);
    world.door("10.9.0.2:80", Door::ShutLater);
    let (client, _) = world.passing(&ask("/"));
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 502 "));
    assert_eq!((world.places().len(), world.ends(RelayEnd::Unavailable)), (3, 1));
    let failed = world.counters.counter(Counter::BackendConnects(ConnectResult::Failed));
    assert_eq!(failed, 3);
    assert!(!world.is_closed(client), "it may ask again");
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    world.check_empty();
}

#[test]
fn names_are_waited_for_and_a_wake_goes_on() {
    let mut world = World::toml(NAMED);
    let client = world.connect(ask("/").as_bytes());
    let gone = world.connect(ask("/gone").as_bytes());
    world.settle();
    assert!(world.dialled().is_empty());
    world.ground.with(gone, |peer| peer.ended = true);
    world.settle();
    assert!(world.is_closed(gone));
    // A wake without news changes nothing.
    world.ground.woken.store(true, Ordering::Relaxed);
    world.settle();
    assert!(world.dialled().is_empty());
    let found: IpAddr = "10.9.0.7".parse().unwrap();
    assert!(world.backends.looked_up("app.test", Ok(&[found])));
    world.ground.woken.store(true, Ordering::Relaxed);
    world.settle();
    assert_eq!(world.places(), ["10.9.0.7"]);
    world.say(world.backend(), &answer("x"));
    world.settle();
    assert!(world.heard(client).ends_with("x"));
}

#[test]
fn names_that_do_not_come_are_an_answer() {
    let mut world = World::toml(NAMED);
    let client = world.connect(ask("/").as_bytes());
    world.pass(2500);
    assert!(world.heard(client).starts_with("HTTP/1.1 504 "));
    assert!(world.backends.looked_up("app.test", Err("no such name")));
    world.say(client, ask("/").as_bytes());
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 503 "));
}

/// Two servers, the first of which has nearly all requests.
const UNEVEN: &str = r#"
[[backend]]
name = "app"
endpoints = [{ url = "http://10.9.0.1:80", weight = 99 }, "http://10.9.0.2:80"]
balance = "round-robin"
[[route]]
backend = "app"
retries = 1
timeouts = { backend_request = "1s" }
"#;

#[test]
fn who_has_lost_a_request_does_not_get_it_again_while_there_is_another() {
    let mut world = World::toml(UNEVEN);
    for _ in 0..4 {
        let (client, backend) = world.passing(&ask("/"));
        let first = world.places().len();
        world.ground.with(backend, |peer| peer.ended = true);
        world.settle();
        let places = world.places();
        assert_eq!(places.len(), first + 1);
        assert!(places[first] != places[first - 1], "{places:?}");
        world.say(
            world.backend(),
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        );
        world.settle();
        assert!(world.heard(client).ends_with("x"));
    }
}

#[test]
fn a_late_answer_on_a_kept_connection_counts_against_the_server() {
    let mut world = World::toml(
        &ONE.replace("retries = 0", "retries = 1\ntimeouts = { backend_request = \"1s\" }"),
    );
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, &answer("x"));
    world.settle();
    world.say(client, ask("/slow").as_bytes());
    world.settle();
    assert_eq!((world.reused(), world.failures()), (1, vec![0]));
    world.pass(1500);
    assert_eq!((world.retries(), world.failures()), (1, vec![1]));
}

#[test]
fn who_waited_for_names_keeps_to_its_server() {
    let sticky = "connect_timeout = \"2s\"\naffinity = { cookie = \"at\" }";
    let mut world = World::toml(&NAMED.replace("connect_timeout = \"2s\"", sticky));
    let found = ["10.9.0.1", "10.9.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    // Where the cookie leads is learned in another life of the process.
    let mut before = World::toml(&NAMED.replace("connect_timeout = \"2s\"", sticky));
    assert!(before.backends.looked_up("app.test", Ok(&found)));
    let (client, backend) = before.passing(&ask("/"));
    before.say(backend, &answer("x"));
    before.settle();
    let heard = before.heard(client);
    let cookie = heard.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\n\r\n");
    let clients: Vec<i32> = (0..8).map(|_| world.connect(request.as_bytes())).collect();
    world.settle();
    assert!(world.backends.looked_up("app.test", Ok(&found)));
    world.ground.woken.store(true, Ordering::Relaxed);
    world.settle();
    assert_eq!(world.places().len(), clients.len());
    let home = before.places()[0].clone();
    assert!(world.places().iter().all(|place| *place == home), "{home}: {:?}", world.places());
}

#[test]
fn a_limit_of_ours_is_no_fault_of_a_server() {
    let mut world = World::toml(&format!("[limits]\nconnections_max = 1\n{ONE}"));
    let client = world.connect(ask("/").as_bytes());
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 503 "), "{}", world.heard(client));
    assert_eq!((world.failures(), world.places().len()), (vec![0], 0));
}

#[test]
fn a_wake_gives_nobody_more_time_for_its_names() {
    let mut world = World::toml(NAMED);
    let client = world.connect(ask("/").as_bytes());
    for _ in 0..5 {
        world.pass(500);
        world.ground.woken.store(true, Ordering::Relaxed);
    }
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 504 "), "two seconds are over");
}
