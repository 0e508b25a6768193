//! Limits and their exact edges: sizes, times, connections.

use crate::common::Io;
use crate::common::eventually;
use crate::common::peer::Peer;
use crate::common::server::HUB;
use crate::common::server::Server;
use crate::common::stream::Stream;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    sizes_have_exact_edges,
    a_slow_head_times_out,
    a_slow_body_times_out,
    an_idle_connection_is_closed,
    connections_are_limited_in_total,
    connections_are_limited_per_address,
);

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn answer(server: &Server, request: &str) -> u16 {
    let mut peer = Peer::connect(server.address);
    peer.send(request);
    let answer = peer.response();
    if answer.status >= 400 && answer.status != 404 {
        assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
        peer.assert_closes();
    }
    answer.status
}

fn sizes_have_exact_edges(io: Io) {
    let settings = "[limits]\nhead_bytes_max = 1024\nheaders_max = 8\ntarget_bytes_max = 256\n\
                    body_bytes_max = 1024\n";
    let server = Server::start(io, settings);
    let fill = |length: usize| "x".repeat(length);

    let start = "GET /n HTTP/1.1\r\nHost: h\r\nX: ";
    let head = |length: usize| format!("{start}{}\r\n\r\n", fill(length - start.len() - 4));
    assert_eq!((answer(&server, &head(1024)), answer(&server, &head(1025))), (404, 431));

    let fields = |count: usize| {
        format!("GET /n HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1))
    };
    assert_eq!((answer(&server, &fields(8)), answer(&server, &fields(9))), (404, 431));

    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", fill(length - 1));
    assert_eq!((answer(&server, &target(256)), answer(&server, &target(257))), (404, 414));

    let sized = |length: usize| {
        let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{FORM}Content-Length: {length}");
        format!("{head}\r\n\r\ntopic=a&data={}", fill(length - 13))
    };
    assert_eq!((answer(&server, &sized(1024)), answer(&server, &sized(1025))), (200, 413));
    let chunked = |length: usize| {
        let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{FORM}Transfer-Encoding: chunked");
        let rest = length - 13;
        format!("{head}\r\n\r\nd\r\ntopic=a&data=\r\n{rest:x}\r\n{}\r\n0\r\n\r\n", fill(rest))
    };
    assert_eq!((answer(&server, &chunked(1024)), answer(&server, &chunked(1025))), (200, 413));
}

/// Whatever the answer (408 or a plain close), it comes soon after the limit and not before.
fn assert_times_out(mut peer: Peer, limit: Duration, start: Instant) {
    let answer = peer.try_head();
    let took = start.elapsed();
    assert!(took >= limit.mul_f32(0.8), "{answer:?} after {took:?}");
    assert!(took < limit + Duration::from_secs(15), "only after {took:?}");
    if let Some(answer) = answer {
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
        peer.rest();
    }
}

fn a_slow_head_times_out(io: Io) {
    let server = Server::start(io, "[limits]\nhead_timeout = \"700ms\"\n");
    let limit = Duration::from_millis(700);
    let start = Instant::now();
    let silent = Peer::connect(server.address);
    let mut partial = Peer::connect(server.address);
    partial.send("GET / HTTP/1.1\r\nHo");
    // One byte now and then does not help: the limit is to the end of the head.
    let mut dribble = Peer::connect(server.address);
    dribble.send("GET / HTTP/1.1\r\nX: ");
    let mut gave_up = false;
    while start.elapsed() < Duration::from_secs(20) {
        if !dribble.try_send("x") || dribble.fill_within(Duration::from_millis(60)) > 0 {
            gave_up = true;
            break;
        }
    }
    assert!(gave_up && start.elapsed() >= limit.mul_f32(0.8), "after {:?}", start.elapsed());
    assert_times_out(partial, limit, start);
    assert_times_out(silent, limit, start);
    server.await_metric("tidegate_connections_closed_total", "head_timeout", 3.0);
    let mut later = Peer::connect(server.address);
    later.send("GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(later.response().status, 404);
    let again = Instant::now();
    later.send("GET /none HT");
    assert_times_out(later, limit, again);
}

fn a_slow_body_times_out(io: Io) {
    let server = Server::start(io, "[limits]\nbody_timeout = \"700ms\"\n");
    let limit = Duration::from_millis(700);
    let start = Instant::now();
    let mut stalled = Peer::connect(server.address);
    let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{FORM}Content-Length: 100\r\n\r\n");
    stalled.send(format!("{head}topic=a"));
    // The limit is on the whole: bytes that drip in do not extend it.
    let mut dripping = Peer::connect(server.address);
    let begun = Instant::now();
    dripping.send(format!("{head}topic=a&data="));
    while begun.elapsed() < limit / 2 {
        dripping.send("x");
        std::thread::sleep(Duration::from_millis(15));
    }
    assert_times_out(stalled, limit, start);
    assert_times_out(dripping, limit, begun);
    server.await_metric("tidegate_connections_closed_total", "body_timeout", 2.0);
}

fn an_idle_connection_is_closed(io: Io) {
    let server = Server::start(io, "[limits]\nkeep_alive_timeout = \"600ms\"\n");
    let mut peer = Peer::connect(server.address);
    peer.send("GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.response().status, 404);
    let start = Instant::now();
    peer.assert_closes();
    assert!(start.elapsed() > Duration::from_millis(400), "after {:?}", start.elapsed());
    server.await_metric("tidegate_connections_closed_total", "keep_alive_timeout", 1.0);
}

/// Whether the server serves this peer, or closes it without an answer or with a refusal.
fn is_served(mut peer: Peer) -> Option<Stream> {
    if !peer.try_send("") {
        return None;
    }
    let asked = format!("GET {HUB}?topic=a HTTP/1.1\r\nHost: h\r\n\r\n");
    if !peer.try_send(asked) {
        return None;
    }
    let answer = peer.try_head()?;
    match answer.status {
        200 => Some(Stream::resumed(peer, answer)),
        429 | 503 => None,
        status => panic!("{status}"),
    }
}

fn connections_are_limited_in_total(io: Io) {
    let server = Server::start(io, "[limits]\nconnections_max = 20\n");
    let connect = || is_served(Peer::connect(server.address));
    let mut streams: Vec<_> = (0..20).map(|_| connect().expect("within the limit")).collect();
    for _ in 0..5 {
        assert!(connect().is_none(), "one more than the limit");
    }
    server.await_metric("tidegate_connections_refused_total", "total", 5.0);
    streams.truncate(18);
    server.await_clients(18);
    let again = eventually("a place that was freed", connect);
    streams.push(again);
    assert_eq!(streams.len(), 19);
}

fn connections_are_limited_per_address(io: Io) {
    let server = Server::start(io, "[limits]\nconnections_per_address_max = 3\n");
    let from = |last: u8| {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        is_served(Peer::connect_from(server.address, Some(source), None).ok()?)
    };
    let mut first: Vec<_> = (0..3).map(|_| from(5).expect("within the limit")).collect();
    assert!(from(5).is_none() && from(5).is_none(), "a fourth from one address");
    let _others: Vec<_> = (0..3).map(|_| from(6).expect("another address")).collect();
    server.await_metric("tidegate_connections_refused_total", "address", 2.0);
    first.pop();
    eventually("a place that was freed", || from(5));
}
