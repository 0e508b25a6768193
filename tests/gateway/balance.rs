//! Which endpoint a request goes to: in turn, by weight, the one with less to do, the cookie's.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::tape::STREAM;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    round_robin_takes_turns_by_weight,
    least_request_spreads_streams,
    a_dead_endpoint_is_left_alone,
    an_ejected_endpoint_comes_back,
    a_silent_stream_ends_no_ejection,
    a_shortage_of_ours_ejects_nobody,
    a_cookie_keeps_to_its_endpoint,
);

fn named(name: &'static str) -> Origin {
    Origin::start(move |call| {
        if call.asked.path() == "/stream" {
            call.send(STREAM);
            return call.hold();
        }
        call.respond(200, "", name)
    })
}

fn start(io: Io, endpoints: &str, more: &str, route: &str) -> Server {
    let backend = format!("[[backend]]\nname = \"b\"\nendpoints = [{endpoints}]\n{more}\n");
    Server::start(io, &format!("workers = 1\n{backend}[[route]]\nbackend = \"b\"\n{route}\n"))
}

fn round_robin_takes_turns_by_weight(io: Io) {
    let origins = [named("a"), named("b"), named("c")];
    let [a, b, c] = origins.each_ref().map(Origin::url);
    let endpoints =
        format!("\"{a}\", {{ url = \"{b}\", weight = 3 }}, {{ url = \"{c}\", weight = 0 }}");
    let server = start(io, &endpoints, "balance = \"round-robin\"", "");
    let mut peer = Peer::connect(server.address);
    for _ in 0..40 {
        assert_eq!(peer.request("GET", "/", "", "").status, 200);
    }
    let counts = origins.each_ref().map(|origin| origin.asked().len());
    assert_eq!(counts, [10, 30, 0]);
}

fn least_request_spreads_streams(io: Io) {
    let origins = [named("a"), named("b")];
    let [a, b] = origins.each_ref().map(Origin::url);
    let server = start(io, &format!("\"{a}\", \"{b}\""), "balance = \"least-request\"", "");
    let mut peers = Vec::new();
    for _ in 0..40 {
        let mut peer = Peer::connect(server.address);
        peer.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.head().status, 200);
        peers.push(peer);
    }
    let open = origins.each_ref().map(Origin::open);
    // Of two drawn with replacement at worst: by chance alone 9 and less would be rare as well,
    // but streams that stay must not gather at one.
    assert!(open.iter().all(|n| (12..=28).contains(n)), "{open:?}");
}

fn a_dead_endpoint_is_left_alone(io: Io) {
    let alive = named("alive");
    let broken = Origin::start(|_| crate::common::call::Next::Close);
    let endpoints = format!("\"{}\", \"{}\"", broken.url(), alive.url());
    let more = "balance = \"round-robin\"\neject_failures = 3\neject_time = \"10m\"";
    let server = start(io, &endpoints, more, "retries = 1");
    let mut peer = Peer::connect(server.address);
    for n in 0..40 {
        assert_eq!(peer.request("GET", "/", "", "").text(), "alive", "request {n}");
    }
    assert_eq!(broken.asked().len(), 3, "three failures, then nothing");
    server.await_metric("tidegate_backend_endpoints_out", "", 1.0);
}

fn an_ejected_endpoint_comes_back(io: Io) {
    let other = named("other");
    let origin = Origin::start(|call| {
        if call.number < 2 {
            return crate::common::call::Next::Close;
        }
        call.respond(200, "", "ok")
    });
    let more = "balance = \"round-robin\"\neject_failures = 2\neject_time = \"1s\"";
    let endpoints = format!("\"{}\", \"{}\"", origin.url(), other.url());
    let server = start(io, &endpoints, more, "retries = 1");
    let mut peer = Peer::connect(server.address);
    let mut next = || {
        let response = peer.request("GET", "/", "", "");
        assert_eq!(response.status, 200);
        response.text()
    };
    let mut before = Instant::now();
    while origin.asked().len() < 2 {
        before = Instant::now();
        assert_eq!(next(), "other", "what failed went to the other one");
    }
    eventually("the endpoint is back", || (next() == "ok").then_some(()));
    let away = before.elapsed();
    assert!(away >= Duration::from_millis(990), "asked again after {away:?}");
    let mut both = [next(), next()];
    both.sort_unstable();
    assert_eq!(both, ["ok", "other"], "it has its turns again");
}

/// A server that hangs: it answers nothing new, and what it streamed before falls silent.
fn a_silent_stream_ends_no_ejection(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/stream" {
            call.send(STREAM);
        }
        call.hold()
    });
    let more = "eject_failures = 2\neject_time = \"10m\"";
    let times = "retries = 0\ntimeouts = { response_head = \"100ms\", idle = \"1500ms\" }";
    let server = start(io, &format!("\"{}\"", origin.url()), more, times);
    let mut stream = Peer::connect(server.address);
    stream.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut head = stream.head();
    assert_eq!(head.status, 200);
    for _ in 0..2 {
        assert_eq!(server.request("GET", "/", "", "").status, 504);
    }
    server.await_metric("tidegate_backend_endpoints_out", "", 1.0);
    assert!(!stream.try_body(&mut head), "the silent stream was cut");
    server.await_metric("tidegate_relay_ends_total", "reason=\"idle\"", 1.0);
    assert_eq!(server.metric("tidegate_backend_endpoints_out", ""), 1.0, "still left alone");
}

/// Without a descriptor left here, no endpoint was even asked.
fn a_shortage_of_ours_ejects_nobody(io: Io) {
    let origin = named("a");
    let health = "health = { interval = \"20ms\", unhealthy = 1 }\n";
    let url = origin.url();
    let backend = format!("[[backend]]\nname = \"b\"\nendpoints = [\"{url}\"]\n{health}");
    let route = "[[route]]\nbackend = \"b\"\nretries = 0\n";
    let limits = "workers = 1\n[limits]\nconnections_max = 1000\n";
    let server = Server::start_limited(io, &format!("{limits}{backend}{route}"), Some(64));
    let streams: Vec<_> = (0..60)
        .map(|_| {
            let mut peer = Peer::connect(server.address);
            peer.try_send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
            peer
        })
        .collect();
    server.await_log("os error 24");
    // Some probes long.
    std::thread::sleep(Duration::from_millis(300));
    drop(streams);
    // Asked first: a request that is answered would end an ejection.
    eventually("the admin listener answers", || {
        let admin = std::net::TcpStream::connect(server.admin).ok()?;
        let mut peer = Peer::over(admin);
        peer.try_send("GET /backends HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut answer = peer.try_head()?;
        peer.body(&mut answer);
        assert!(answer.text().contains("state=serving"), "{}", answer.text());
        assert!(!server.log().contains("endpoint_unhealthy"), "{}", server.log());
        Some(())
    });
    // The descriptors of clients that have gone come back one by one.
    eventually("the endpoint is asked", || {
        (server.request("GET", "/", "", "").text() == "a").then_some(())
    });
}

fn a_cookie_keeps_to_its_endpoint(io: Io) {
    let origins = [named("a"), named("b"), named("c")];
    let [a, b, c] = origins.each_ref().map(Origin::url);
    let endpoints = format!("\"{a}\", \"{b}\", \"{c}\"");
    let affinity = "affinity = { cookie = \"sid\", max_age = \"1h\" }";
    let more = format!("{affinity}\nbalance = \"round-robin\"");
    let server = start(io, &endpoints, &more, "");
    let mut seen = Vec::new();
    for _ in 0..6 {
        let first = server.request("GET", "/", "", "");
        let cookie = first.field("set-cookie").expect("a cookie").to_owned();
        assert!(cookie.contains("Max-Age=3600"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert!(pair.starts_with("sid="), "{cookie}");
        seen.push(first.text());
        for _ in 0..5 {
            let fields = format!("Cookie: x=y; {pair}; z=1\r\n");
            let again = server.request("GET", "/", &fields, "");
            assert_eq!(again.text(), first.text(), "{pair}");
            // As a proxy that speaks HTTP/2 to clients may split them.
            let fields = format!("Cookie: x=y\r\nCookie: {pair}\r\n");
            let again = server.request("GET", "/", &fields, "");
            assert_eq!(again.text(), first.text(), "{pair}");
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 1, "clients without a cookie are spread: {seen:?}");
    let forged = server.request("GET", "/", "Cookie: sid=nonsense\r\n", "");
    assert_eq!(forged.status, 200);
}
