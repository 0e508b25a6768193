//! Upgrades: after a 101 bytes pass as they are, both ways, until one side ends.

use crate::common::Io;
use crate::common::PATIENCE;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::stage::proxy;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

crate::on_both_drivers!(
    bytes_pass_both_ways,
    each_end_ends_the_other,
    what_a_client_sent_before_it_went_reaches_a_slow_backend,
    a_backend_that_takes_nothing_sees_a_cut,
    an_upgrade_that_is_declined_is_an_answer,
    an_upgrade_that_nobody_asked_for_is_502,
    a_silent_tunnel_ends,
);

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                      \r\n";

/// Sends back what comes.
fn echo() -> Origin {
    Origin::start(|call| {
        call.send(format!("{SWITCH}hello"));
        while let Some(bytes) = call.read_raw() {
            if bytes.ends_with(b"bye") {
                return Next::Close;
            }
            call.send(bytes);
        }
        call.hold()
    })
}

fn read(peer: &mut Peer, count: usize) -> Vec<u8> {
    while peer.held().len() < count {
        assert!(peer.fill(), "closed in the middle");
    }
    peer.held().drain(..count).collect()
}

fn open(peer: &mut Peer, early: &str) {
    peer.send(format!("{ASK}{early}"));
    let response = peer.head();
    assert_eq!((response.status, response.field("upgrade")), (101, Some("websocket")));
    assert_eq!(response.field("connection"), Some("Upgrade"));
    assert_eq!(response.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(read(peer, 5), b"hello", "what came with the 101");
}

fn bytes_pass_both_ways(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    open(&mut peer, "early");
    assert_eq!(read(&mut peer, 5), b"early", "what was sent before the 101 came");
    let asked = origin.await_asked(1).remove(0);
    assert_eq!(asked.field("upgrade"), Some("websocket"));
    assert!(asked.field("connection").unwrap().contains("Upgrade"));
    assert_eq!(asked.field("sec-websocket-version"), Some("13"));
    for n in 0..200_usize {
        // No byte has a meaning: neither ends of heads nor chunks.
        let bytes: Vec<u8> = match n % 3 {
            0 => b"GET / HTTP/1.1\r\n\r\n0\r\n\r\n".to_vec(),
            1 => (0..=255).collect(),
            _ => vec![n as u8; n * 50 + 1],
        };
        peer.send(&bytes);
        assert!(read(&mut peer, bytes.len()) == bytes, "message {n}");
    }
    let large = vec![7; 8 << 20];
    let mut writer = Peer::over(peer.socket().try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| writer.send(&large));
        assert!(read(&mut peer, large.len()) == large);
    });
}

fn each_end_ends_the_other(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    open(&mut peer, "");
    peer.send("bye");
    peer.assert_closes();
    for reset in [false, true] {
        let mut peer = Peer::connect(server.address);
        open(&mut peer, "");
        let number = origin.asked().len() - 1;
        if reset {
            peer.reset()
        } else {
            drop(peer)
        }
        origin.await_gone(number);
    }
    origin.await_open(0);
}

/// Takes nothing for this long, then everything; tells how much that was, and whether it ended
/// without a cut.
fn slow(pause: Duration) -> (Origin, mpsc::Receiver<(usize, bool)>) {
    let (tell, told) = mpsc::channel();
    let origin = Origin::start(move |call| {
        call.send(format!("{SWITCH}hello"));
        std::thread::sleep(pause);
        tell.send(call.drain()).unwrap();
        Next::Close
    });
    (origin, told)
}

fn what_a_client_sent_before_it_went_reaches_a_slow_backend(io: Io) {
    let (origin, told) = slow(Duration::from_millis(300));
    let server = proxy(io, &origin, "");
    // With few, all wait in the gateway's socket with the end behind them; with many, the end is
    // still the client's.
    for (half, count) in [(false, 300_000), (true, 300_000), (false, 1_000_000), (true, 2_500_000)]
    {
        let bytes = vec![7; count];
        let mut peer = Peer::connect(server.address);
        open(&mut peer, "");
        peer.send(&bytes);
        if half {
            peer.socket().shutdown(std::net::Shutdown::Write).unwrap();
            peer.assert_closes();
        } else {
            drop(peer);
        }
        assert_eq!(told.recv_timeout(PATIENCE), Ok((bytes.len(), true)), "{half}");
    }
}

fn a_backend_that_takes_nothing_sees_a_cut(io: Io) {
    let (origin, told) = slow(Duration::from_secs(2));
    let settings = "[limits]\nwrite_timeout = \"500ms\"\n";
    let server = Server::start(io, &format!("{}{settings}", crate::stage::route(&origin, "")));
    let mut peer = Peer::connect(server.address);
    open(&mut peer, "");
    // More than all buffers between take.
    peer.socket().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    peer.socket().write_all(&vec![7; 64 << 20]).unwrap_err();
    peer.reset();
    let (count, whole) = told.recv_timeout(PATIENCE).unwrap();
    assert!(count < 64 << 20 && !whole, "{count} {whole}");
}

fn an_upgrade_that_is_declined_is_an_answer(io: Io) {
    let origin = Origin::start(|call| call.respond(400, "", "no websocket here"));
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for _ in 0..2 {
        peer.send(ASK);
        let response = peer.response();
        assert_eq!((response.status, response.text().as_str()), (400, "no websocket here"));
    }
    assert_eq!(origin.connections(), 1);
}

fn an_upgrade_that_nobody_asked_for_is_502(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{SWITCH}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"));
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let response = crate::stage::get(&server, "/", "");
    assert_eq!(response.status, 502, "{response:?}");
    assert!(!response.text().contains("forged"));
    for (offered, status) in [("irc, WebSocket", 101), ("irc", 502), ("websocket/13", 502)] {
        let ask = ASK.replace("Upgrade: websocket", &format!("Upgrade: {offered}"));
        let mut peer = Peer::connect(server.address);
        peer.send(ask);
        assert_eq!(peer.head().status, status, "{offered}");
    }
}

fn a_silent_tunnel_ends(io: Io) {
    let origin = echo();
    let more = "timeouts = { idle = \"1s\", request = \"1s\" }";
    let server = proxy(io, &origin, more);
    let mut peer = Peer::connect(server.address);
    open(&mut peer, "");
    // The whole exchange has no limit; only silence has.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        peer.send("x");
        assert_eq!(read(&mut peer, 1), b"x");
    }
    assert!(peer.rest().is_empty());
    origin.await_open(0);
}
