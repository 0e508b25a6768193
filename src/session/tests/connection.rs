//! One connection: routes, several requests, deadlines, limits, endings.

use super::*;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::RequestKind;
use crate::metrics::StatusClass;

#[test]
fn routes() {
    let world = World::open(|_| {});
    for (line, status, allow) in [
        ("GET / HTTP/1.1", 200, None),
        ("HEAD / HTTP/1.1", 200, None),
        ("POST / HTTP/1.1", 405, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS / HTTP/1.1", 204, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS * HTTP/1.1", 204, Some("GET, HEAD, POST, OPTIONS")),
        ("OPTIONS /.well-known/mercure HTTP/1.1", 204, Some("OPTIONS, GET, HEAD, POST")),
        ("PUT /.well-known/mercure HTTP/1.1", 405, Some("OPTIONS, GET, HEAD, POST")),
        ("GET /.well-known/mercure/subscriptions HTTP/1.1", 404, None),
        ("GET /.well-known/mercure/ HTTP/1.1", 404, None),
        ("GET /favicon.ico HTTP/1.1", 404, None),
        ("OPTIONS /nowhere HTTP/1.1", 404, None),
    ] {
        let answer = world.ask(&[line], "");
        assert_eq!((answer.status, answer.field("allow")), (status, allow), "{line}");
        assert!(matches!(answer.next, Next::Read), "{line}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{line}");
    }
}

#[test]
fn the_page_is_whole_and_guarded() {
    let world = World::open(|hub| hub.gap_event = "lost".into());
    let page = world.ask(&["GET / HTTP/1.1"], "");
    assert!(page.body.contains("EventSource") && page.body.contains("content=\"lost\""));
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.field("content-security-policy").unwrap().contains("script-src 'sha256-"));
    let length = page.body.len().to_string();
    assert_eq!(page.field("content-length"), Some(length.as_str()));
    let head = world.ask(&["HEAD / HTTP/1.1"], "");
    assert_eq!((head.field("content-length"), head.body.as_str()), (Some(length.as_str()), ""));
}

#[test]
fn requests_are_answered_in_order_until_one_closes() {
    let world = World::open(|_| {});
    let mut out = Vec::new();
    let input =
        b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /.well-known/mercure HTTP/1.1\r\nHost: h\r\n\
        Connection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let next = world.feed(&mut world.session(), input, &mut out);
    assert!(matches!(next, Next::Close(CloseReason::Answered)));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 404 ") && text.matches("HTTP/1.1 ").count() == 2);
    assert!(text.contains("HTTP/1.1 400 "));
}

#[test]
fn input_behind_a_subscribe_is_ignored() {
    let world = World::open(|_| {});
    let mut out = Vec::new();
    let input = b"GET /.well-known/mercure?topic=a HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n";
    let next = world.feed(&mut world.session(), input, &mut out);
    assert!(matches!(next, Next::Subscribe(_)) && out.ends_with(b"\r\n\r\n:\n"));
}

#[test]
fn version_1_0_closes_unless_asked_to_stay() {
    let world = World::open(|_| {});
    let answer = world.ask(&["GET /x HTTP/1.0"], "");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(matches!(answer.next, Next::Close(CloseReason::Answered)));
    let answer = world.ask(&["GET /x HTTP/1.0", "Connection: keep-alive"], "");
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    let stream = world.ask(&["GET /.well-known/mercure?topic=a HTTP/1.0"], "");
    assert!(stream.field("transfer-encoding").is_none());
    assert!(matches!(stream.next, Next::Subscribe(_)));
}

#[test]
fn faults_are_answered_and_close() {
    let world = World::open(|_| {});
    let big = "Content-Length: 1048577";
    for (lines, status, reason) in [
        (&["GET / HTTP/1.1", "a b: c"][..], 400, CloseReason::BadRequest),
        (&["POST /.well-known/mercure HTTP/1.1", big], 413, CloseReason::OverLimit),
        (&["GET / HTTP/2.0"], 505, CloseReason::BadRequest),
    ] {
        let answer = world.ask(lines, "");
        assert_eq!(answer.status, status, "{lines:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(matches!(answer.next, Next::Close(r) if r == reason), "{:?}", answer.next);
    }
    let malformed = Counter::Requests(RequestKind::Malformed, StatusClass::Client);
    assert_eq!(world.recorder.counters().counter(malformed), 2);
}

#[test]
fn every_answer_is_counted_by_kind_and_class() {
    let world = World::open(|_| {});
    world.get("?topic=a", &[]);
    world.get("", &[]);
    world.post("topic=a", &[]);
    world.ask(&["GET /x HTTP/1.1"], "");
    let count = |kind, class| world.recorder.counters().counter(Counter::Requests(kind, class));
    assert_eq!(count(RequestKind::Subscribe, StatusClass::Success), 1);
    assert_eq!(count(RequestKind::Subscribe, StatusClass::Client), 1);
    assert_eq!(count(RequestKind::Publish, StatusClass::Success), 1);
    assert_eq!(count(RequestKind::Other, StatusClass::Client), 1);
}

/// Lets `seconds` pass and says what the session does about it.
fn wait(world: &mut World, session: &mut Session, seconds: u64) -> (Next, String) {
    world.now = world.now.after(std::time::Duration::from_secs(seconds));
    let mut out = Vec::new();
    let next = session.expire(&world.at(), &mut out);
    (next, String::from_utf8(out).unwrap())
}

#[test]
fn a_head_has_ten_seconds_from_accept_however_it_drips() {
    let mut world = World::open(|_| {});
    let mut session = world.session();
    for byte in b"GET / HT" {
        let (next, _) = wait(&mut world, &mut session, 1);
        assert!(matches!(next, Next::Read));
        let _ = world.feed(&mut session, &[*byte], &mut Vec::new());
    }
    assert!(matches!(wait(&mut world, &mut session, 1).0, Next::Read));
    let (next, out) = wait(&mut world, &mut session, 1);
    assert!(matches!(next, Next::Close(CloseReason::HeadTimeout)));
    assert!(out.starts_with("HTTP/1.1 408 ") && out.contains("Connection: close"));
}

#[test]
fn silence_is_ended_in_silence() {
    let mut world = World::open(|_| {});
    let mut session = world.session();
    assert!(session.is_idle());
    let (next, out) = wait(&mut world, &mut session, 10);
    assert!(matches!(next, Next::Close(CloseReason::HeadTimeout)) && out.is_empty());

    let mut session = world.session();
    let _ = world.feed(&mut session, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &mut Vec::new());
    assert!(matches!(wait(&mut world, &mut session, 299).0, Next::Read));
    let (next, out) = wait(&mut world, &mut session, 1);
    assert!(matches!(next, Next::Close(CloseReason::KeepAliveTimeout)) && out.is_empty());
}

#[test]
fn a_later_head_has_its_own_time() {
    let mut world = World::open(|_| {});
    let mut session = world.session();
    let _ = world.feed(&mut session, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &mut Vec::new());
    assert!(matches!(wait(&mut world, &mut session, 200).0, Next::Read));
    let _ = world.feed(&mut session, b"G", &mut Vec::new());
    assert!(!session.is_idle());
    assert!(matches!(wait(&mut world, &mut session, 9).0, Next::Read));
    let (next, out) = wait(&mut world, &mut session, 1);
    assert!(matches!(next, Next::Close(CloseReason::HeadTimeout)) && !out.is_empty());
}

#[test]
fn a_body_has_its_time_however_it_drips() {
    let mut world = World::open(|_| {});
    let mut session = world.session();
    let head = b"POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n";
    let _ = world.feed(&mut session, head, &mut Vec::new());
    for _ in 0..29 {
        assert!(matches!(wait(&mut world, &mut session, 1).0, Next::Read));
        let _ = world.feed(&mut session, b"x", &mut Vec::new());
    }
    let (next, out) = wait(&mut world, &mut session, 1);
    assert!(matches!(next, Next::Close(CloseReason::BodyTimeout)));
    assert!(out.starts_with("HTTP/1.1 408 "));
}

#[test]
fn each_body_has_a_time_of_its_own() {
    let mut world = World::open(|_| {});
    let mut session = world.session();
    let post = b"POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
    let _ = world.feed(&mut session, post, &mut Vec::new());
    assert!(matches!(wait(&mut world, &mut session, 29).0, Next::Read));
    let end_and_next = [b"x", &post[..]].concat();
    let _ = world.feed(&mut session, &end_and_next, &mut Vec::new());
    assert!(matches!(wait(&mut world, &mut session, 29).0, Next::Read));
    let (next, _) = wait(&mut world, &mut session, 1);
    assert!(matches!(next, Next::Close(CloseReason::BodyTimeout)));
}

#[test]
fn who_pipelines_without_reading_is_cut() {
    let world = World::open(|_| {});
    let input = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    let mut out = Vec::new();
    let next = world.feed(&mut world.session(), &input, &mut out);
    assert!(matches!(next, Next::Close(CloseReason::OverLimit)));
    assert!(out.len() < 1_200_000, "{}", out.len());
}

#[test]
fn between_requests_a_session_holds_nothing() {
    let world = World::open(|_| {});
    let mut session = world.session();
    let mut out = Vec::new();
    let _ = world.feed(&mut session, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &mut out);
    assert!(session.is_idle() && session.exchange.is_none());
    assert_eq!(session.decoder.held_bytes(), 0);
}
