//! Exchanges with a backend: bytes both ways, backpressure both ways, and who goes first.

use super::World;
use super::ground::Door;
use super::stage::ONE;
use super::stage::answer;
use super::stage::ask;
use super::stage::upload;
use crate::base::phase::Phase;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::Direction;
use crate::metrics::Gauge;
use crate::metrics::RelayEnd;
use crate::metrics::RequestKind;
use crate::metrics::StatusClass;

/// One receive of a worker.
const RECEIVE: usize = 64 * 1024;

#[test]
fn an_exchange_from_end_to_end() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&ask("/a?b=1"));
    let asked = world.heard(backend);
    assert!(asked.starts_with("GET /a?b=1 HTTP/1.1\r\nHost: a.test\r\n"), "{asked}");
    assert!(asked.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{asked}");
    assert_eq!((world.gauge(Gauge::Relays), world.heard(client)), (1, String::new()));
    world.say(backend, &answer("hello"));
    world.settle();
    let heard = world.heard(client);
    assert!(
        heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("\r\n\r\nhello"),
        "{heard}"
    );
    assert_eq!((world.gauge(Gauge::Relays), world.ends(RelayEnd::Done)), (0, 1));
    let bytes = world.counters.counter(Counter::RelayBytes(Direction::Response));
    assert_eq!(bytes, heard.len() as u64);
    assert_eq!(world.answers(StatusClass::Success), 1);
    // Both connections take the next one.
    world.say(client, ask("/c").as_bytes());
    world.settle();
    assert!(world.heard(backend).starts_with("GET /c "));
    assert_eq!(world.dialled().len(), 1);
    world.say(backend, &answer("again"));
    world.settle();
    assert!(world.heard(client).ends_with("again"));
    world.ground.with(client, |peer| peer.ended = true);
    world.pass(15_000);
    world.check_empty();
}

#[test]
fn a_client_that_is_stuck_stops_its_backend() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&ask("/"));
    world.ground.with(client, |peer| peer.room = 1000);
    let text = "x".repeat(1 << 20);
    world.say(backend, &answer(&text));
    for _ in 0..20 {
        world.turn();
    }
    let left = world.ground.with(backend, |peer| peer.input.len());
    assert!(left > (1 << 20) - 2 * RECEIVE, "{left} bytes are left to be read");
    let held = world.worker.unsent_bytes();
    assert!(held > 0 && held <= RECEIVE + 1000, "{held}");
    let mut got = world.heard(client);
    // It goes on by drips, and is no silent client meanwhile.
    for _ in 0..30 {
        world.pass(5000);
        world.ground.with(client, |peer| peer.room += 10_000);
        world.turn();
        got += &world.heard(client);
        assert!(!world.is_closed(client));
    }
    world.ground.with(client, |peer| peer.room = usize::MAX);
    world.settle();
    got += &world.heard(client);
    assert!(got.ends_with(&format!("\r\n\r\n{text}")) && got.len() > text.len());
    assert_eq!(world.worker.unsent_bytes(), 0);
}

#[test]
fn a_client_that_takes_nothing_loses_its_exchange() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&ask("/"));
    world.ground.with(client, |peer| peer.room = 10);
    world.say(backend, &answer(&"x".repeat(200_000)));
    let limit = world.worker.site.config().limits.write_timeout.as_millis();
    world.pass(u64::try_from(limit).unwrap() + 1000);
    assert!(world.is_closed(client) && world.is_closed(backend));
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::WriteTimeout)), 1);
    assert_eq!(world.ends(RelayEnd::ClientGone), 1);
    world.check_empty();
}

#[test]
fn a_backend_that_is_stuck_stops_its_client() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&upload(1 << 20));
    world.ground.with(backend, |peer| peer.room = 1000);
    world.heard(backend);
    let text = "y".repeat(1 << 20);
    world.say(client, text.as_bytes());
    for _ in 0..20 {
        world.turn();
    }
    let left = world.ground.with(client, |peer| peer.input.len());
    assert!(left > (1 << 20) - 2 * RECEIVE, "{left} bytes are left to be read");
    let mut got = world.heard(backend);
    for _ in 0..30 {
        world.pass(5000);
        world.ground.with(backend, |peer| peer.room += 10_000);
        world.turn();
        got += &world.heard(backend);
    }
    world.ground.with(backend, |peer| peer.room = usize::MAX);
    world.settle();
    got += &world.heard(backend);
    assert!(got == text);
    world.say(backend, &answer("taken"));
    world.settle();
    assert!(world.heard(client).ends_with("taken"));
}

#[test]
fn who_hangs_up_takes_the_request_along_in_the_same_turn() {
    let mut world = World::toml(ONE);
    // Before the connection is there, before the answer, and in the middle of it.
    let client = world.connect(ask("/").as_bytes());
    world.turn();
    world.turn();
    assert_eq!(world.worker.outbounds(), 1);
    world.ground.with(client, |peer| peer.ended = true);
    world.turn();
    assert!(world.is_closed(client) && world.is_closed(world.backend()));
    for begun in [false, true] {
        let (client, backend) = world.passing(&ask("/"));
        if begun {
            world.say(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            world.settle();
            assert!(world.heard(client).ends_with("half"));
        }
        world.ground.with(client, |peer| peer.ended = true);
        world.turn();
        assert!(world.is_closed(client) && world.is_closed(backend));
    }
    // While its own bytes are stuck, and while it uploads to a backend that is stuck.
    let (client, backend) = world.passing(&ask("/"));
    world.ground.with(client, |peer| peer.room = 10);
    world.say(backend, &answer(&"x".repeat(200_000)));
    world.settle();
    world.ground.with(client, |peer| peer.ended = true);
    world.turn();
    assert!(world.is_closed(client) && world.is_closed(backend));
    let (client, backend) = world.passing(&upload(1 << 20));
    world.ground.with(backend, |peer| peer.room = 0);
    world.say(client, &[b'y'; 1000]);
    world.settle();
    world.ground.with(client, |peer| peer.ended = true);
    world.turn();
    assert!(world.is_closed(client) && world.is_closed(backend));
    assert_eq!(world.ends(RelayEnd::ClientGone), 5);
    world.check_empty();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::toml(ONE);
    let both = ask("/1") + &ask("/2");
    let (client, backend) = world.passing(&both);
    assert!(world.heard(backend).starts_with("GET /1 "));
    world.say(backend, &answer("one"));
    world.settle();
    assert!(world.heard(client).ends_with("one"));
    assert!(world.heard(backend).starts_with("GET /2 "));
    world.say(backend, &answer("two"));
    world.settle();
    assert!(world.heard(client).ends_with("two"));
}

#[test]
fn a_request_that_comes_with_the_end_of_a_body_is_answered_too() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&upload(4));
    world.say(client, ("body".to_owned() + &ask("/next")).as_bytes());
    world.settle();
    assert!(world.heard(backend).ends_with("\r\n\r\nbody"));
    world.say(backend, &answer("one"));
    world.settle();
    assert!(world.heard(client).ends_with("one"));
    assert!(world.heard(backend).starts_with("GET /next "));
    world.say(backend, &answer("two"));
    world.settle();
    assert!(world.heard(client).ends_with("two"));
}

#[test]
fn a_pipelined_request_is_not_forgotten_behind_an_answer_that_was_stuck() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&(ask("/1") + &ask("/2")));
    world.heard(backend);
    world.ground.with(client, |peer| peer.room = 10);
    world.say(backend, &answer("one"));
    world.settle();
    world.ground.with(client, |peer| peer.room = usize::MAX);
    world.settle();
    assert!(world.heard(client).ends_with("one"));
    assert!(world.heard(backend).starts_with("GET /2 "), "nobody has to knock again for it");
}

#[test]
fn a_cut_that_only_a_reset_can_show_gives_back_what_was_stuck() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    world.ground.with(client, |peer| peer.room = 100);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let broken = format!("{head}3e8\r\n{}no chunk", "z".repeat(1000));
    world.say(backend, broken.as_bytes());
    world.settle();
    assert!(world.ground.with(client, |peer| peer.reset), "its body lasts until the close");
    assert_eq!(world.ends(RelayEnd::Malformed), 1);
    world.check_empty();
}

#[test]
fn a_tunnel_carries_what_came_before_it_was_there() {
    let mut world = World::toml(ONE);
    let request = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let (client, backend) = world.passing(&format!("{request}early"));
    assert!(world.heard(backend).ends_with("\r\n\r\n"));
    world.say(backend, b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nserver");
    world.settle();
    assert!(world.heard(client).ends_with("\r\n\r\nserver"));
    assert_eq!(world.heard(backend), "early");
    world.say(client, b" and late");
    world.settle();
    assert_eq!(world.heard(backend), " and late");
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    assert_eq!(world.ends(RelayEnd::TunnelDone), 1);
    world.check_empty();
}

#[test]
fn a_response_that_is_cut_is_seen_to_be() {
    for (head, reset) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nhalf", true),
    ] {
        let mut world = World::toml(ONE);
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, head.as_bytes());
        world.settle();
        world.ground.with(backend, |peer| (peer.broken, peer.ended) = (reset, !reset));
        world.settle();
        let heard = world.heard(client);
        assert!(heard.contains("half") && !heard.ends_with("0\r\n\r\n"), "{heard}");
        assert!(world.ground.with(client, |peer| peer.finished || peer.reset));
        assert_eq!(world.ends(RelayEnd::BackendGone), 1);
        world.ground.with(client, |peer| peer.ended = true);
        world.settle();
        world.check_empty();
    }
}

#[test]
fn a_body_until_the_close_never_looks_whole_when_it_is_not() {
    let old = "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";
    let whole = answer(&"x".repeat(10_000));
    for (bytes, reason) in [
        (&whole[..], CloseReason::WriteTimeout),
        (&whole[..9000], CloseReason::WriteTimeout),
        (&whole[..9000], CloseReason::DrainDeadline),
    ] {
        let mut world = World::toml(ONE);
        let (client, backend) = world.passing(old);
        world.ground.with(client, |peer| peer.room = 1000);
        let chunked = "HTTP/1.1 200 OK\r\n\r\n";
        world.say(backend, chunked.as_bytes());
        world.say(backend, bytes);
        world.ground.with(backend, |peer| peer.ended = bytes.len() == whole.len());
        world.settle();
        if reason == CloseReason::DrainDeadline {
            world.phase.advance(Phase::Closed);
            world.turn();
        } else {
            world.pass(31_000);
        }
        assert!(world.ground.with(client, |peer| peer.reset), "{reason:?}");
        world.check_empty();
    }
}

/// Late acknowledgements are for streams of small pieces, and for backends that were said to bear
/// them; the kernel must be told again and again.
#[test]
fn small_pieces_are_acknowledged_late_where_it_was_asked_for() {
    let delays = |text: &str, piece: usize| {
        let mut world = World::toml(text);
        let (client, backend) = world.passing(&ask("/"));
        world.say(backend, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        world.settle();
        for _ in 1..64 {
            world.say(backend, &vec![b'~'; piece]);
            world.settle();
        }
        assert_eq!(world.heard(client).matches('~').count(), 63 * piece);
        world.ground.with(backend, |peer| peer.delays)
    };
    let asked = ONE.replace("connect_timeout", "delayed_acks = true\nconnect_timeout");
    assert_eq!([delays(&asked, 40), delays(&asked, 5000), delays(ONE, 40)], [4, 0, 0]);
}

/// Whose answer it is, the backend's or ours: it counts when its head is there, and once.
#[test]
fn answers_are_counted_by_status() {
    let mut world = World::toml(ONE);
    let (_, backend) = world.passing(&ask("/"));
    world.say(backend, b"HTTP/1.1 100 Continue\r\n\r\n");
    world.settle();
    assert_eq!(world.answers(StatusClass::Success), 0, "it is no answer yet");
    world.say(backend, b"HTTP/1.1 404 x\r\nContent-Length: 9\r\n\r\n");
    world.settle();
    assert_eq!(world.answers(StatusClass::Client), 1, "the body is still to come");
    world.say(backend, b"not there");
    world.settle();
    world.door("10.9.0.1:80", Door::Shut);
    let client = world.connect(ask("/").as_bytes());
    world.ground.with(backend, |peer| peer.ended = true);
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 50"));
    let all = [StatusClass::Success, StatusClass::Client, StatusClass::Server];
    assert_eq!(all.map(|class| world.answers(class)), [0, 1, 1]);
}

impl World {
    fn answers(&self, class: StatusClass) -> u64 {
        self.counters.counter(Counter::Requests(RequestKind::Proxy, class))
    }
}

/// What a route answers by itself may be stuck when the next request is to be passed on.
#[test]
fn an_answer_of_ours_that_is_stuck_comes_before_that_of_a_backend() {
    let text = "z".repeat(5000);
    let ours =
        format!("[[route]]\npath = \"/ours\"\nrespond = {{ status = 200, body = \"{text}\" }}\n");
    let mut world = World::toml(&format!("{ONE}{ours}"));
    let client = world.connect((ask("/ours") + &ask("/theirs")).as_bytes());
    world.ground.peers.borrow_mut().get_mut(&client).unwrap().room = 1000;
    world.settle();
    world.ground.with(client, |peer| peer.room = usize::MAX);
    world.settle();
    let backend = world.backend();
    assert!(world.heard(backend).starts_with("GET /theirs "));
    world.say(backend, &answer("theirs"));
    world.settle();
    let heard = world.heard(client);
    assert!(heard.contains(&text) && heard.ends_with("theirs"), "{} bytes", heard.len());
}

#[test]
fn what_goes_to_a_backend_is_counted() {
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing(&upload(4));
    world.say(client, b"body");
    world.settle();
    let bytes = world.counters.counter(Counter::RelayBytes(Direction::Request));
    assert_eq!(bytes, world.heard(backend).len() as u64);
}

#[test]
fn an_early_answer_is_no_cut_and_a_cut_is_counted_as_one() {
    let closed = |world: &World, reason| world.counters.counter(Counter::Closed(reason));
    let mut world = World::toml(ONE);
    let (_, backend) = world.passing(&upload(100));
    world.say(backend, &answer("no"));
    world.settle();
    assert_eq!([CloseReason::RelayDone, CloseReason::RelayCut].map(|r| closed(&world, r)), [1, 0]);
    let mut world = World::toml(ONE);
    let (client, backend) = world.passing("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    world.say(backend, b"HTTP/1.1 200 OK\r\n\r\nhalf");
    world.settle();
    world.ground.with(backend, |peer| peer.broken = true);
    world.settle();
    assert!(world.ground.with(client, |peer| peer.reset));
    assert_eq!([CloseReason::RelayDone, CloseReason::RelayCut].map(|r| closed(&world, r)), [0, 1]);
}

#[test]
fn who_was_stuck_may_be_silent_from_then_on() {
    let mut world = World::toml(&ONE.replace("retries = 0", "timeouts = { idle = \"10s\" }"));
    let (client, backend) = world.passing(&ask("/"));
    world.ground.with(client, |peer| peer.room = 10);
    world.say(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    world.pass(9000);
    world.ground.with(client, |peer| peer.room = usize::MAX);
    world.pass(5000);
    assert!(!world.is_closed(backend), "it is silent for five seconds");
    world.pass(6000);
    assert!(world.is_closed(backend));
}

/// The last words of an exchange that closes its connection are sent, however slowly they go.
#[test]
fn what_is_stuck_is_sent_before_the_end() {
    let mut world = World::toml(ONE);
    let (client, backend) =
        world.passing("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    world.ground.with(client, |peer| peer.room = 10);
    world.say(backend, &answer("whole"));
    world.settle();
    assert!(!world.ground.with(client, |peer| peer.finished));
    world.ground.with(client, |peer| peer.room = usize::MAX);
    world.settle();
    assert!(world.heard(client).ends_with("whole"));
    assert!(world.ground.with(client, |peer| peer.finished));
}
