//! HTTP/1.1 through the server: keep-alive, pipelining, HTTP/1.0, Expect, any cut of the input.

use crate::common::Io;
use crate::common::peer::Peer;
use crate::common::server::HUB;
use crate::common::server::Server;
use crate::common::stream::Stream;
use std::time::Duration;

crate::on_both_drivers!(
    a_connection_is_kept_alive,
    pipelined_requests_are_answered_in_order,
    http_1_0_closes_unless_asked_to_stay,
    a_body_waits_for_continue,
    a_request_may_come_in_single_bytes,
    a_chunked_body_publishes,
    what_follows_a_subscribe_is_ignored,
    ambiguous_requests_are_refused_and_closed,
    a_refusal_reaches_a_peer_that_still_sends,
);

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn post(body: &str, fields: &str) -> String {
    let length = body.len();
    format!(
        "POST {HUB} HTTP/1.1\r\nHost: h\r\n{FORM}{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn a_connection_is_kept_alive(io: Io) {
    let server = Server::start(io, "");
    let mut peer = Peer::connect(server.address);
    for n in 0..5 {
        peer.send(post(&format!("topic=a&id=i{n}"), ""));
        let answer = peer.response();
        assert_eq!((answer.status, answer.text()), (200, format!("i{n}")));
        assert_eq!(answer.field("connection"), None);
    }
    peer.send(post("topic=a", "Connection: close\r\n"));
    let last = peer.response();
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    peer.assert_closes();
}

fn pipelined_requests_are_answered_in_order(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let mut peer = Peer::connect(server.address);
    let mut all = String::new();
    for n in 0..50 {
        all += &post(&format!("topic=a&id=i{n}"), "");
        all += "GET /none HTTP/1.1\r\nHost: h\r\n\r\n";
    }
    peer.send(all);
    for n in 0..50 {
        assert_eq!(peer.response().text(), format!("i{n}"));
        assert_eq!(peer.response().status, 404);
    }
    for n in 0..50 {
        assert_eq!(stream.id(), format!("i{n}"));
    }
}

fn http_1_0_closes_unless_asked_to_stay(io: Io) {
    let server = Server::start(io, "");
    let old = |fields: &str| {
        let fields = format!("{FORM}{fields}Content-Length: 7\r\n");
        format!("POST {HUB} HTTP/1.0\r\n{fields}\r\ntopic=a")
    };
    let mut peer = Peer::connect(server.address);
    peer.send(old(""));
    assert_eq!(peer.response().status, 200);
    peer.assert_closes();
    let mut peer = Peer::connect(server.address);
    for _ in 0..2 {
        peer.send(old("Connection: keep-alive\r\n"));
        let answer = peer.response();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
    }
    let mut peer = Peer::connect(server.address);
    peer.send(format!("GET {HUB}?topic=a HTTP/1.0\r\n\r\n"));
    assert_eq!(peer.head().status, 200);
    server.publish(&[("topic", "a"), ("id", "live"), ("data", "x")]);
    let want = b"id: live\ndata: x\n\n";
    while !peer.held().ends_with(want) {
        assert!(peer.fill(), "the stream goes on");
    }
}

fn a_body_waits_for_continue(io: Io) {
    let server = Server::start(io, "[limits]\nbody_bytes_max = \"1KiB\"\n");
    let head = |length: usize| {
        let fields = format!("{FORM}Expect: 100-continue\r\nContent-Length: {length}\r\n");
        format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    };
    let mut peer = Peer::connect(server.address);
    for _ in 0..2 {
        peer.send(head(7));
        assert_eq!(peer.head().status, 100, "before the body");
        peer.send("topic=a");
        assert_eq!(peer.response().status, 200);
    }
    let mut peer = Peer::connect(server.address);
    peer.send(head(1025));
    assert_eq!(peer.response().status, 413, "instead of the invitation");
    peer.assert_closes();
    let mut peer = Peer::connect(server.address);
    peer.send(format!("POST {HUB} HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n"));
    assert_eq!(peer.response().status, 417);
}

fn a_request_may_come_in_single_bytes(io: Io) {
    let server = Server::start(io, "");
    let mut peer = Peer::connect(server.address);
    for byte in post("topic=a&id=slow", "").as_bytes().chunks(1) {
        peer.send(byte);
    }
    assert_eq!(peer.response().text(), "slow");
}

fn a_chunked_body_publishes(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let mut peer = Peer::connect(server.address);
    for n in 0..2 {
        let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{FORM}");
        peer.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n7\r\ntopic=a\r\n"));
        peer.send(format!("6;x=y\r\n&id=c{n}\r\n0\r\nT: v\r\n\r\n"));
        assert_eq!(peer.response().text(), format!("c{n}"));
        assert_eq!(stream.id(), format!("c{n}"));
    }
}

/// Behind an endless answer no other can come (H7): the bytes are dropped, the stream lives.
fn what_follows_a_subscribe_is_ignored(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    stream.peer().send(post("topic=a&id=never", ""));
    stream.peer().send("garbage \0 \n");
    for n in 0..3 {
        let id = format!("e{n}");
        server.publish(&[("topic", "a"), ("id", &id)]);
        assert_eq!(stream.id(), id);
    }
    server.await_clients(1);
}

fn ambiguous_requests_are_refused_and_closed(io: Io) {
    let server = Server::start(io, "");
    let body = "7\r\ntopic=a\r\n0\r\n\r\n";
    let both = "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n";
    let cases = [
        format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{both}\r\n{body}"),
        format!("POST {HUB} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n{body}"),
        format!("POST {HUB} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n{body}"),
        format!("POST {HUB} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
        format!("GET {HUB}?topic=a HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n"),
        format!("GET {HUB}?topic=a HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
        format!("GET {HUB}?topic=a HTTP/1.1\r\n\r\n"),
        format!("GET {HUB}?topic=a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
        format!("GET /../{HUB}?topic=a HTTP/1.1\r\nHost: h\r\n\r\n"),
        "hello\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let mut peer = Peer::connect(server.address);
        peer.send(&case);
        let answer = peer.response();
        assert_eq!((answer.status, answer.field("connection")), (400, Some("close")), "{case:?}");
        // The attack's tail must not be answered as a request of its own.
        peer.try_send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        peer.assert_closes();
    }
    let mut peer = Peer::connect(server.address);
    peer.send("GET / HTTP/3.0\r\n\r\n");
    assert_eq!(peer.response().status, 505);
    server.await_metric("tidegate_requests_total", "kind=\"malformed\"", 1.0);
}

/// H8: closing at once would reset the connection and eat the answer.
fn a_refusal_reaches_a_peer_that_still_sends(io: Io) {
    let server = Server::start(io, "[limits]\nbody_bytes_max = \"1KiB\"\n");
    for _ in 0..10 {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("POST {HUB} HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"));
        for _ in 0..20 {
            peer.try_send([b'x'; 10_000]);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(peer.response().status, 413);
    }
}
