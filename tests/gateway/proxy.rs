//! Proxied event streams: as they come, with comments where the backend is silent, for ever.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::tape::CHUNKED;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::common::tape::chunk;
use crate::stage::proxy;
use std::sync::Arc;

crate::on_both_drivers!(
    a_stream_passes_event_by_event,
    a_posted_stream_passes_event_by_event,
    comments_stand_only_between_events,
    no_comment_stands_in_what_is_no_event_stream,
    a_quiet_stream_lives,
    many_streams_do_not_wait_for_each_other,
);

/// Reads so many bytes of a chunked body.
fn take(peer: &mut Peer, got: &mut Vec<u8>, bytes: usize) {
    while got.len() < bytes {
        let piece = peer.chunk().expect("the stream goes on");
        assert!(!piece.is_empty(), "ended after {}", String::from_utf8_lossy(got));
        got.extend_from_slice(&piece);
    }
}

/// Sends each event only once the test has seen the one before it.
fn stepwise(head: &'static str) -> (Arc<Tape>, Origin) {
    let tape = Tape::new();
    let events = Arc::clone(&tape);
    let origin = Origin::start(move |call| {
        call.read_body();
        call.send(head);
        for n in 0..20 {
            let Some(event) = events.wait(n, call) else { return Next::Close };
            let text = format!("data: {event}\n\n");
            call.send(if head == CHUNKED { chunk(text) } else { text.into_bytes() });
        }
        if head == CHUNKED {
            call.send("0\r\n\r\n");
        }
        Next::Close
    });
    (tape, origin)
}

fn pass_stepwise(io: Io, request: &str) {
    for head in [STREAM, CHUNKED] {
        let (tape, origin) = stepwise(head);
        let server = proxy(io, &origin, "");
        let mut peer = Peer::connect(server.address);
        peer.send(request);
        let response = peer.head();
        assert_eq!(response.field("content-type"), Some("text/event-stream"));
        for n in 0..20 {
            tape.push(n.to_string());
            let (mut got, want) = (Vec::new(), format!("data: {n}\n\n"));
            take(&mut peer, &mut got, want.len());
            assert_eq!(String::from_utf8(got).unwrap(), want);
        }
        assert_eq!(peer.chunk(), Some(Vec::new()), "an orderly end");
    }
}

fn a_stream_passes_event_by_event(io: Io) {
    pass_stepwise(io, "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
}

fn a_posted_stream_passes_event_by_event(io: Io) {
    pass_stepwise(io, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
}

fn comments_stand_only_between_events(io: Io) {
    const CUTS: [&str; 9] = [
        "",
        "data: a",
        "\n",
        "data: b\r\n\r",
        "\n",
        "data: c\n\n",
        ": comment\n\nid: 5\n",
        "data: d\r\n\r\n",
        "data: e\r\r",
    ];
    let seen = Tape::new();
    let next = Arc::clone(&seen);
    let origin = Origin::start(move |call| {
        call.send(STREAM);
        for (n, piece) in CUTS.iter().enumerate() {
            call.send(piece);
            if next.wait(n, call).is_none() {
                return Next::Close;
            }
        }
        Next::Close
    });
    let server = proxy(io, &origin, "heartbeat = \"20ms\"");
    let mut peer = Peer::connect(server.address);
    peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.head().status, 200);
    let (mut text, mut comments) = (String::new(), 0);
    for (n, piece) in CUTS.iter().enumerate() {
        let between = matches!(n, 0 | 4 | 5 | 7);
        let mut due = piece.len();
        // Where a comment may stand two of them are awaited, elsewhere the piece alone.
        let mut beats = if between { 2 } else { 0 };
        while due > 0 || beats > 0 {
            let chunk = String::from_utf8(peer.chunk().expect("goes on")).unwrap();
            if chunk == ":\n" {
                comments += 1;
                beats -= beats.min(1);
                let whole =
                    text.is_empty() || ["\n\n", "\n\r\n"].iter().any(|end| text.ends_with(end));
                assert!(whole, "a comment inside an event: {text:?}");
            } else {
                due = due.checked_sub(chunk.len()).expect("what was sent");
                text.push_str(&chunk);
            }
        }
        seen.push("");
    }
    assert_eq!(text, CUTS.concat());
    assert!(comments >= 8);
}

fn no_comment_stands_in_what_is_no_event_stream(io: Io) {
    let origin = Origin::start(|call| {
        let kind = call.asked.field("x-kind").unwrap().to_owned();
        call.send(format!("HTTP/1.1 200 OK\r\n{}\r\n", kind.replace('|', "\r\n")));
        call.send("first");
        std::thread::sleep(std::time::Duration::from_millis(120));
        call.send("last.");
        Next::Close
    });
    let server = proxy(io, &origin, "heartbeat = \"10ms\"");
    for kind in [
        "Content-Type: text/plain|",
        "Content-Type: text/event-stream|Content-Length: 10|",
        "Content-Type: text/event-stream|Content-Encoding: gzip|",
        "Content-Type: text/event-stream|Cache-Control: no-transform|",
    ] {
        let response = crate::stage::get(&server, "/", &format!("X-Kind: {kind}\r\n"));
        assert_eq!(response.text(), "firstlast.", "{kind}");
    }
}

fn a_quiet_stream_lives(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        std::thread::sleep(std::time::Duration::from_millis(700));
        call.send("data: late\n\n");
        Next::Close
    });
    let off = "timeouts = { request = \"0s\", response_head = \"100ms\", idle = \"0s\" }";
    let server = proxy(io, &origin, off);
    let response = crate::stage::get(&server, "/", "");
    assert_eq!(response.text(), "data: late\n\n", "zero is no limit");
}

fn many_streams_do_not_wait_for_each_other(io: Io) {
    const STREAMS: usize = 100;
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = proxy(io, &origin, "");
    let mut peers: Vec<_> = (0..STREAMS).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for peer in &mut peers {
        assert_eq!(peer.head().status, 200);
    }
    assert_eq!(origin.connections(), STREAMS, "each its own");
    for n in 0..10 {
        tape.push(n.to_string());
        for peer in &mut peers {
            let want = format!("id: {n}\ndata: {n}\n\n");
            let mut got = Vec::new();
            take(peer, &mut got, want.len());
            assert_eq!(String::from_utf8(got).unwrap(), want);
        }
    }
    drop(peers);
    origin.await_open(0);
}
