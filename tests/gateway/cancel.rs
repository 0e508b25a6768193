//! A client that goes takes its request along: the backend notices at once.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::tape::STREAM;
use crate::stage::proxy;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    a_backend_notices_within_50_ms,
    wherever_the_exchange_stands,
    a_client_that_says_it_will_send_no_more_is_gone,
);

/// The fastest of several tries counts: a machine that is busy elsewhere delays some of them.
fn a_backend_notices_within_50_ms(io: Io) {
    const TRIES: usize = 10;
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}data: token\n\n"));
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let mut best = Duration::MAX;
    for n in 0..TRIES {
        let mut peer = Peer::connect(server.address);
        peer.send("POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
        assert_eq!(peer.head().status, 200);
        while !peer.held().windows(5).any(|w| w == b"token") {
            assert!(peer.fill(), "the stream goes on");
        }
        let gone = Instant::now();
        if n % 2 == 0 {
            drop(peer)
        } else {
            peer.reset()
        }
        let seen = origin.await_gone(n);
        best = best.min(seen.saturating_duration_since(gone));
    }
    assert!(best < Duration::from_millis(50), "cancelled after {best:?} at best");
    origin.await_open(0);
}

fn wherever_the_exchange_stands(io: Io) {
    let origin = Origin::start(|call| {
        match call.asked.path() {
            "/silent" | "/pipelined" => {}
            "/interim" => call.say("HTTP/1.1 103 Early Hints\r\n\r\n"),
            "/half-head" => call.say("HTTP/1.1 200 OK\r\nX: "),
            "/head" => call.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            "/body" => call.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf"),
            // More than the client takes: the gateway holds some of it.
            _ => {
                call.say("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
                while call.send([b'x'; 65_536]) {}
            }
        }
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let stages = ["/silent", "/pipelined", "/interim", "/half-head", "/head", "/body", "/stuck"];
    let mut number = 0;
    for reset in [false, true] {
        for body in ["GET", "POST"] {
            for stage in stages {
                let mut peer = Peer::connect(server.address);
                let length = if body == "POST" { "Content-Length: 9\r\n\r\nhalf" } else { "\r\n" };
                peer.send(format!("{body} {stage} HTTP/1.1\r\nHost: h\r\n{length}"));
                if stage == "/pipelined" && body == "GET" {
                    // What is not read yet does not hide the end behind it.
                    peer.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
                }
                origin.await_asked(number + 1);
                if matches!(stage, "/head" | "/body" | "/stuck") {
                    assert_eq!(peer.head().status, 200);
                }
                if reset {
                    peer.reset()
                } else {
                    drop(peer)
                }
                origin.await_gone(number);
                number += 1;
            }
        }
    }
    origin.await_open(0);
    assert_eq!(origin.asked().len(), number, "nothing was tried again for nobody");
}

/// A half-closed connection is what is left of a client whose other half nobody can see.
fn a_client_that_says_it_will_send_no_more_is_gone(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.head().status, 200);
    peer.socket().shutdown(std::net::Shutdown::Write).unwrap();
    origin.await_gone(0);
}
