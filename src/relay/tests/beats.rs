//! Heartbeats: only where they may stand, only when nothing else was sent, and never life.

use super::*;
use proptest::prelude::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";

fn stream(request: &str, head: &str) -> Pair {
    let mut pair = Pair::with(request, |plan| {
        plan.heartbeat = secs(15);
        plan.timers.idle = secs(100);
    });
    pair.connect();
    pair.backend(head);
    pair
}

/// What the client has read, after this long without a word of the backend.
fn after(pair: &mut Pair, seconds: u64) -> String {
    pair.pass(secs(seconds));
    String::from_utf8(pair.seen().body).unwrap()
}

#[test]
fn silence_is_filled_with_comments() {
    for request in [GET, "GET / HTTP/1.0\r\n\r\n"] {
        let mut pair = stream(request, HEAD);
        pair.backend("data: 1\n\n");
        assert_eq!(after(&mut pair, 14), "data: 1\n\n");
        assert_eq!(after(&mut pair, 1), "data: 1\n\n:\n");
        assert_eq!(after(&mut pair, 30), "data: 1\n\n:\n:\n:\n");
        pair.backend("data: 2\n\n");
        assert_eq!(after(&mut pair, 14), "data: 1\n\n:\n:\n:\ndata: 2\n\n");
        assert_eq!(pair.relay.is_between_events(), Some(true));
    }
}

#[test]
fn a_heartbeat_is_no_life() {
    let mut pair = stream(GET, HEAD);
    pair.backend("data: 1\n\n");
    assert_eq!(after(&mut pair, 100), format!("data: 1\n\n{}", ":\n".repeat(6)));
    assert_eq!(pair.end(), Some(End::TimedOut(Timer::Idle)));
}

#[test]
fn only_between_events_and_after_lf() {
    let places = [
        ("data: 1", false),
        ("data: 1\n", false),
        ("data: 1\r\n", false),
        ("data: 1\r", false),
        ("data: 1\r\r", false),
        ("data: 1\r\n\r", false),
        (": comment\n", false),
        ("data: 1\n\n", true),
        ("data: 1\r\n\r\n", true),
        ("data: 1\n\r\n", true),
        ("data: 1\r\n\n", true),
        ("data: 1\r\r\n", true),
        ("\n", true),
        ("\r\n", true),
        ("\r", false),
        ("", true),
        ("\u{feff}", false),
        ("\u{feff}\n", false),
    ];
    for (text, may) in places {
        for cut in 0..=text.len() {
            let mut pair = stream(GET, HEAD);
            pair.backend(&text.as_bytes()[..cut]);
            pair.backend(&text.as_bytes()[cut..]);
            let want = if may { format!("{text}:\n") } else { text.to_owned() };
            assert_eq!(after(&mut pair, 15), want, "{text:?} cut at {cut}");
            assert_eq!(pair.relay.is_between_events(), Some(may), "{text:?}");
        }
    }
}

#[test]
fn the_stream_that_answers_a_post_may_not_end_early() {
    let mut pair = stream("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", HEAD);
    pair.backend("data: 1\n\n");
    assert_eq!(after(&mut pair, 15), "data: 1\n\n:\n", "but it has heartbeats");
    assert_eq!(pair.relay.is_between_events(), None);
}

#[test]
fn all_conditions_must_hold() {
    let with = |field: &str| HEAD.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
    let heads = [
        HEAD.replace("200", "201"),
        HEAD.replace("event-stream", "plain"),
        with("Content-Length: 100"),
        with("Content-Encoding: gzip"),
        with("Cache-Control: no-cache, No-Transform"),
        with("Content-Digest: sha-256=:x:"),
        with("Repr-Digest: sha-256=:x:"),
    ];
    for head in heads {
        let mut pair = stream(GET, &head);
        pair.backend("data: 1\n\n");
        assert_eq!(after(&mut pair, 60), "data: 1\n\n", "{head}");
        assert_eq!(pair.end(), None);
    }
    let mut off = Pair::connected(GET);
    off.backend(format!("{HEAD}data: 1\n\n"));
    assert_eq!((off.relay.deadline(), off.relay.is_between_events()), (None, Some(true)));
    let mut head = stream("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", HEAD);
    assert_eq!(after(&mut head, 60), "");
}

#[test]
fn a_mark_behind_our_comment_is_dropped() {
    let marked = "\u{feff}data: 1\n\n".as_bytes();
    for cut in 0..marked.len() {
        let mut pair = stream(GET, HEAD);
        assert_eq!(after(&mut pair, 15), ":\n");
        pair.backend(&marked[..cut]);
        let quiet = pair.seen().body;
        let beats = after(&mut pair, 15).len() - quiet.len();
        assert_eq!(beats, if matches!(cut, 0 | 3) { 2 } else { 0 }, "{cut}");
        pair.backend(&marked[cut..]);
        let body = String::from_utf8(pair.seen().body).unwrap();
        assert_eq!(body.replace(":\n", ""), "data: 1\n\n", "{cut}");
    }
    let mut unmarked = stream(GET, HEAD);
    unmarked.backend(marked);
    assert_eq!(unmarked.seen().body, marked, "no comment, no change");
}

#[test]
fn what_only_looked_like_a_mark_is_not_lost() {
    for rest in ["", "x", "\u{feff}"] {
        for kept in 1..3 {
            let mut pair = stream(GET, HEAD);
            pair.pass(secs(15));
            let bytes = ["\u{feff}".as_bytes().split_at(kept).0, rest.as_bytes()].concat();
            bytes.iter().for_each(|byte| pair.backend([*byte]));
            pair.backend_ends(Lost::Clean);
            let seen = pair.seen();
            assert_eq!(seen.body, [b":\n", &bytes[..]].concat(), "{kept} {rest:?}");
            assert!(seen.is_whole);
        }
    }
}

/// What streams are made of.
const PARTS: &[&str] = &["\n", "\r", "\r\n", "data: x", "id", "\n\n"];

/// Without the comments that stand at the start or behind an empty line.
fn without_comments(mut text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    while let Some((byte, rest)) = text.split_first() {
        let line = [&b"\n\n"[..], b"\n\r\n", b"\r\r\n"].iter().any(|end| out.ends_with(end));
        let start = matches!(&out[..], b"" | b"\n" | b"\r\n");
        if let Some(rest) = text.strip_prefix(b":\n").filter(|_| line || start) {
            text = rest;
        } else {
            out.push(*byte);
            text = rest;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn without_comments_the_stream_is_the_backends(
        parts in proptest::collection::vec(
            (proptest::sample::select(PARTS), 0..40_u64),
            0..30,
        ),
        chunked in any::<bool>(),
    ) {
        let head = HEAD.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut pair = stream(GET, if chunked { &head } else { HEAD });
        let mut sent = String::new();
        for (part, quiet) in parts {
            let chunk = format!("{:x}\r\n{part}\r\n", part.len());
            pair.backend(if chunked { &chunk } else { part });
            sent.push_str(part);
            pair.pass(secs(quiet));
        }
        prop_assert_eq!(pair.end(), None);
        let got = pair.seen().body;
        prop_assert_eq!(without_comments(&got), sent.as_bytes(), "{:?}", String::from_utf8(got));
    }
}

#[test]
fn what_the_backend_says_puts_a_heartbeat_off() {
    let mut pair = stream(GET, HEAD);
    for n in 1..5 {
        pair.backend("data: x\n\n");
        assert_eq!(after(&mut pair, 14), "data: x\n\n".repeat(n));
    }
}
