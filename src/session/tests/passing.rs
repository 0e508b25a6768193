//! Requests that are passed on: the plan of the exchange, and what goes along.

use super::*;
use crate::http::h1::Framing;
use crate::http::h1::Stage;
use crate::metrics::CloseReason;
use crate::relay::Plan;
use crate::session::Passage;
use std::time::Duration;

const APP: &str = r#"
[limits]
body_bytes_max = "2KiB"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80"]
[[backend]]
name = "copy"
endpoints = ["http://10.9.0.2:80"]
[[route]]
path = "/api/v1"
backends = [{ name = "app", filters = [
    { request_headers = { set = { X-Env = "inner" } } },
    { response_headers = { add = { X-Two = "2" } } },
] }]
heartbeat = "20s"
retries = 3
timeouts = { request = "30s", backend_request = "10s", response_head = "5s", idle = "7s" }
filters = [
    { rewrite = { hostname = "inner.test", path = { prefix = "/v1" } } },
    { request_headers = { set = { X-Env = "prod" }, add = { X-Tag = "b" }, remove = ["X-Debug"] } },
    { response_headers = { set = { X-One = "1" } } },
    { mirror = { backend = "copy" } },
]
[[route]]
path = "/fixed"
respond = { body = "fixed" }
[[route]]
path = "/hub"
hub = true
[[route]]
path = "/plain"
backend = "app"
"#;

impl World {
    /// The request is passed on at once; what with.
    fn passage(&self, request: &str) -> Passage {
        let mut out = Vec::new();
        match self.feed(&mut self.session(), request.as_bytes(), &mut out) {
            Next::Relay(passage) if out.is_empty() => *passage,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&out)),
        }
    }
}

fn text(plan: &Plan) -> String {
    let mut out = Vec::new();
    plan.fields.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_plan_of_an_exchange() {
    let world = World::toml(APP);
    let passage = world.passage(
        "GET /api/v1/a%20b?c=d HTTP/1.1\r\nHost: out.test:81\r\nX-Debug: 1\r\nX-Tag: a\r\n\
         Connection: x-hop\r\nX-Hop: 1\r\nCookie: s=1; t=2\r\nTE: trailers\r\n\r\n",
    );
    let plan = &passage.plan;
    assert_eq!((&*plan.method, &*plan.target), ("GET", "/v1/a%20b?c=d"));
    let fields = text(plan);
    for line in [
        "Host: inner.test",
        "X-Tag: a,b",
        "X-Env: inner",
        "Cookie: s=1; t=2",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: out.test:81",
        "X-Forwarded-Proto: http",
        "TE: trailers",
    ] {
        assert!(fields.contains(&format!("{line}\r\n")), "{line} in {fields}");
    }
    for gone in ["X-Debug", "X-Hop", "x-hop"] {
        assert!(!fields.contains(gone), "{gone} in {fields}");
    }
    assert_eq!(passage.cookies.as_deref(), Some(&b"s=1; t=2"[..]));
    assert_eq!((passage.backend, plan.framing, plan.retries), (0, Framing::None, 3));
    assert_eq!(
        (plan.takes_trailers, plan.upgrade.is_some(), plan.is_event_source),
        (true, false, false)
    );
    let seconds = Duration::from_secs;
    assert_eq!(plan.heartbeat, seconds(20));
    let timers = plan.timers;
    assert_eq!((timers.request, timers.backend_request), (seconds(30), seconds(10)));
    assert_eq!((timers.response_head, timers.idle), (seconds(5), seconds(7)));
    assert_eq!(timers.request_body, world.site.config().limits.body_timeout);
    let changed: Vec<_> = plan.changes.iter().map(|c| (c.set.len(), c.add.len())).collect();
    assert_eq!(changed, [(1, 0), (0, 1)], "those of the rule, then those of the backend");
    let [(copy, copied)] = &passage.mirrors[..] else { panic!("one copy") };
    assert_eq!((*copy, &*copied.target, copied.retries), (1, "/v1/a%20b?c=d", 0));
}

#[test]
fn only_what_has_an_end_and_no_body_is_copied() {
    let world = World::toml(APP);
    let mirrors = |line: &str, fields: &str| {
        let request = format!("{line} /api/v1 HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        world.passage(&request).mirrors.len()
    };
    assert_eq!(mirrors("GET", ""), 1);
    assert_eq!(mirrors("DELETE", ""), 1);
    assert_eq!(mirrors("POST", "Content-Length: 1\r\n"), 0);
    assert_eq!(mirrors("POST", "Transfer-Encoding: chunked\r\n"), 0);
    assert_eq!(mirrors("GET", "Connection: upgrade\r\nUpgrade: websocket\r\n"), 0);
    assert_eq!(mirrors("GET", "Accept: text/html, text/event-stream\r\n"), 0);
}

#[test]
fn an_upgrade_and_an_event_source_are_known() {
    let world = World::toml(APP);
    let plan = |fields: &str| {
        world.passage(&format!("GET /plain HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).plan
    };
    let switching = plan("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(switching.upgrade.as_deref(), Some(&b"websocket"[..]));
    assert!(plan("Accept: text/event-stream\r\n").is_event_source);
    let plain = plan("Accept: */*\r\n");
    assert!(plain.upgrade.is_none() && !plain.is_event_source && plain.changes.is_empty());
    assert_eq!(plain.timers.response_head, Duration::from_secs(60), "the default");
}

#[test]
fn bodies_are_passed_on_whatever_their_size() {
    let world = World::toml(APP);
    let sized = "PUT /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\nfirst";
    let passage = world.passage(sized);
    assert_eq!(passage.plan.framing, Framing::Sized(99_999_999_999));
    assert_eq!(passage.input, b"first");
    let chunked = "PUT /plain HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n";
    let passage = world.passage(chunked);
    assert_eq!((passage.plan.framing, &*passage.input), (Framing::Chunked, &b"fffff\r\n"[..]));
    // Nobody says 100 for the backend.
    let waits = "PUT /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\nExpect: 100-continue";
    let passage = world.passage(&format!("{waits}\r\n\r\n"));
    assert!(text(&passage.plan).contains("Expect: 100-continue\r\n"));
}

/// A body that few expect: for a backend, which is told that no request follows, but for nobody
/// here.
#[test]
fn a_body_of_a_get_is_for_backends_only() {
    let world = World::toml(APP);
    for framing in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        let rest = format!("HTTP/1.1\r\nHost: h\r\n{framing}\r\n");
        let passage = world.passage(&format!("GET /plain {rest}"));
        assert!(!passage.plan.to.keep_alive && text(&passage.plan).contains(framing));
        assert!(text(&passage.plan).contains("Connection: close\r\n"), "{framing}");
        assert!(world.passage(&format!("HEAD /api/v1 {rest}")).mirrors.is_empty());
        for path in ["/fixed", "/hub", "/nowhere"] {
            let (request, mut out) = (format!("GET {path} {rest}"), Vec::new());
            let next = world.feed(&mut world.session(), request.as_bytes(), &mut out);
            assert!(matches!(next, Next::Close(CloseReason::BadRequest)), "{path}: {next:?}");
            assert!(out.starts_with(b"HTTP/1.1 400 "), "{path}");
        }
    }
    let usual = "PATCH /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    assert!(!text(&world.passage(usual).plan).contains("Connection"));
}

#[test]
fn a_drain_closes_after_the_response() {
    let world = World::toml(APP);
    let request = "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(world.passage(request).plan.to.keep_alive);
    world.phase.advance(Phase::Draining);
    assert!(!world.passage(request).plan.to.keep_alive);
}

#[test]
fn a_coding_that_would_be_lost_is_not_passed_on() {
    let world = World::toml(APP);
    let request =
        b"POST /plain HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let mut out = Vec::new();
    let next = world.feed(&mut world.session(), request, &mut out);
    assert!(matches!(next, Next::Close(CloseReason::BadRequest)));
    assert!(out.starts_with(b"HTTP/1.1 501 "));
}

/// What comes before is answered first, what follows goes along: wherever the input is cut.
#[test]
fn pipelined_requests_around_one_that_is_passed_on() {
    let world = World::toml(APP);
    let form = "topic=a&data=b";
    let before = format!(
        "GET /fixed HTTP/1.1\r\nHost: h\r\n\r\nPOST /hub HTTP/1.1\r\nHost: h\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let passed = "POST /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    let behind = "bodyGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n";
    let whole = format!("{before}{passed}{behind}");
    for cut in 0..=whole.len() {
        let (head, tail) = whole.split_at(cut);
        let (mut session, mut out) = (world.session(), Vec::new());
        let mut next = world.feed(&mut session, head.as_bytes(), &mut out);
        let mut unread = tail;
        if matches!(next, Next::Read) {
            next = world.feed(&mut session, tail.as_bytes(), &mut out);
            unread = "";
        }
        let Next::Relay(passage) = next else { panic!("{cut}: {next:?}") };
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{cut}: {text}");
        assert!(text.contains("\r\n\r\nfixed"), "{cut}");
        assert_eq!(&*passage.plan.target, "/plain");
        assert_eq!([&passage.input, unread.as_bytes()].concat(), behind.as_bytes(), "{cut}");
        // The decoder is where the body begins.
        assert_eq!(session.into_decoder().stage(), Stage::Body, "{cut}");
    }
}
