//! SIGTERM with exchanges and streams under way.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Block;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::stage::fanout;
use crate::stage::route;
use std::sync::Arc;

crate::on_both_drivers!(
    an_exchange_under_way_is_finished,
    a_proxied_stream_ends_between_events,
    shared_streams_end_spread_and_on_an_event,
    a_second_signal_ends_it_at_once,
);

fn await_draining(server: &Server) {
    eventually("draining", || (server.admin_get("/ready").status == 503).then_some(()));
}

fn an_exchange_under_way_is_finished(io: Io) {
    let gate = Tape::new();
    let opens = Arc::clone(&gate);
    let origin = Origin::start(move |call| {
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        if opens.wait(0, call).is_none() {
            return Next::Close;
        }
        call.send("rest");
        Next::Keep
    });
    let settings = format!("[drain]\nperiod = \"30s\"\n{}", route(&origin, ""));
    let mut server = Server::start(io, &settings);
    let mut peers: Vec<_> = (0..10).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let mut heads: Vec<_> = peers.iter_mut().map(Peer::head).collect();
    server.signal("TERM");
    await_draining(&server);
    gate.push("");
    for (peer, head) in peers.iter_mut().zip(&mut heads) {
        peer.body(head);
        assert_eq!(head.text(), "halfrest");
        peer.assert_closes();
    }
    assert!(server.ended().success());
    assert!(origin.connections() >= 10);
}

fn a_proxied_stream_ends_between_events(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        let mut n = 0;
        while call.send(format!("data: {n}\ndata: more\n\n")) {
            std::thread::sleep(std::time::Duration::from_millis(1));
            n += 1;
        }
        Next::Close
    });
    let settings = format!("[drain]\nperiod = \"1s\"\n{}", route(&origin, ""));
    let mut server = Server::start(io, &settings);
    let mut peers: Vec<_> = (0..10).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
        assert_eq!(peer.head().status, 200);
    }
    server.signal("TERM");
    for peer in &mut peers {
        let mut text = Vec::new();
        while let Some(piece) = peer.chunk() {
            if piece.is_empty() {
                break;
            }
            text.extend_from_slice(&piece);
        }
        assert!(text.ends_with(b"\n\n"), "torn: {:?}", String::from_utf8_lossy(&text));
    }
    server.ended();
    origin.await_open(0);
}

fn shared_streams_end_spread_and_on_an_event(io: Io) {
    const CLIENTS: usize = 30;
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let drain = "[drain]\nperiod = \"2s\"\nreconnects_per_second = 20\n";
    let mut server = Server::start(io, &format!("{drain}{}", fanout(&origin, "/e", "")));
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_clients(CLIENTS);
    origin.await_asked(1);
    (0..30).for_each(|n| tape.push(n.to_string()));
    server.await_metric("tidegate_upstream_events_total", "", 30.0);
    server.signal("TERM");
    let mut retries = Vec::new();
    for stream in &mut streams {
        let mut data = Vec::new();
        while let Some(block) = stream.block() {
            match block {
                Block::Event(event) => data.push(event.data),
                Block::Retry(millis) => retries.push(millis),
                Block::Comment(_) => {}
            }
        }
        assert!(!stream.is_cut, "ended inside an event");
        let want: Vec<_> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(data, want, "what had come is delivered");
    }
    assert_eq!(retries.len(), CLIENTS, "each is told when to come back");
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > CLIENTS / 4, "spread by chance: {retries:?}");
    assert!(server.ended().success());
    origin.await_open(0);
}

fn a_second_signal_ends_it_at_once(io: Io) {
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        call.hold()
    });
    let settings = format!("[drain]\nperiod = \"10m\"\n{}", route(&origin, ""));
    let mut server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut head = peer.head();
    server.signal("TERM");
    await_draining(&server);
    assert!(server.is_running(), "an exchange is under way");
    server.signal("TERM");
    server.ended();
    assert!(!peer.try_body(&mut head), "cut, and it shows");
    origin.await_open(0);
}
