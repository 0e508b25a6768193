//! Destinations of requests, by rule, and answers that are made here.

use super::*;
use crate::config::gateway::Action;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::RequestKind;
use crate::metrics::StatusClass;
use crate::session::HUB;

const ROUTES: &str = r#"
[limits]
body_bytes_max = "2KiB"
[[upstream]]
name = "news"
url = "http://10.9.0.3/{channel}"
multiplex = true
[[route]]
path = "/inner/hub"
hub = true
filters = [{ response_headers = { set = { Server = "gate" }, remove = ["X-Frame-Options"] } }]
[[route]]
path = "/news"
upstream = "news"
filters = [{ response_headers = { set = { Server = "gate" } } }]
[[route]]
path = "/old"
filters = [{ redirect = { scheme = "https", port = 8443, path = { prefix = "/new" } } }]
[[route]]
path = { exact = "/robots.txt" }
respond = { status = 403, content_type = "text/html", body = "<p>no" }
filters = [{ response_headers = { add = { Server = "gate" } } }]
[[route]]
path = { exact = "/show" }
page = "/news?channel=a"
[[route]]
path = "/nothing"
backends = []
[[route]]
path = "/app"
backends = [
    { name = "http://10.9.0.1:80", weight = 3, filters = [{ redirect = { status = 307 } }] },
    { name = "none" },
]
"#;

#[test]
fn each_destination() {
    let world = World::toml(ROUTES);
    for (line, status, kind) in [
        ("GET /inner/hub?topic=a HTTP/1.1", 200, RequestKind::Subscribe),
        ("GET /inner/hub HTTP/1.1", 400, RequestKind::Subscribe),
        ("PUT /inner/hub HTTP/1.1", 405, RequestKind::Other),
        ("OPTIONS /inner/hub HTTP/1.1", 204, RequestKind::Preflight),
        ("GET /news?channel=a HTTP/1.1", 200, RequestKind::Fanout),
        ("GET /old/x?y HTTP/1.1", 302, RequestKind::Redirect),
        ("POST /robots.txt HTTP/1.1", 403, RequestKind::Respond),
        ("GET /show HTTP/1.1", 200, RequestKind::Page),
        ("GET /nothing HTTP/1.1", 500, RequestKind::Unrouted),
        ("GET /.well-known/mercure?topic=a HTTP/1.1", 404, RequestKind::Unrouted),
        ("GET / HTTP/1.1", 404, RequestKind::Unrouted),
        ("OPTIONS * HTTP/1.1", 204, RequestKind::Preflight),
    ] {
        let class = StatusClass::of(status);
        let counted = || world.recorder.counters().counter(Counter::Requests(kind, class));
        let before = counted();
        let answer = world.ask(&[line], "");
        assert_eq!((answer.status, counted() - before), (status, 1), "{line}: {answer:?}");
    }
}

#[test]
fn the_hub_serves_at_another_path() {
    let world = World::toml(ROUTES);
    let form = "topic=a&data=hello";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let posted = world.ask(&["POST /inner/hub HTTP/1.1", kind], form);
    assert_eq!((posted.status, world.site.channel().tail()), (200, 1));
    assert_eq!(posted.field("server"), Some("gate"));
    let stream = world.path("/inner/hub?topic=a", &["Last-Event-ID: earliest"]);
    assert_eq!((stream.field("server"), stream.field("x-frame-options")), (Some("gate"), None));
    assert_eq!(stream.field("last-event-id"), Some("earliest"));
    let subscribe = stream.subscribe();
    assert_eq!((subscribe.group, world.replay(&subscribe)), (HUB, vec![1]));
    let wrong = world.ask(&["DELETE /inner/hub HTTP/1.1"], "");
    assert_eq!(wrong.field("allow"), Some("OPTIONS, GET, HEAD, POST"));
}

#[test]
fn redirects_answers_and_pages() {
    let world = World::toml(ROUTES);
    let moved = world.path("/old/x?y=%20", &[]);
    assert_eq!(moved.field("location"), Some("https://hub.example:8443/new/x?y=%20"));
    let fixed = world.path("/robots.txt", &[]);
    assert_eq!((fixed.field("content-type"), &*fixed.body), (Some("text/html"), "<p>no"));
    assert_eq!(fixed.field("server"), Some("gate"));
    assert!(matches!(fixed.next, Next::Read));
    let head = world.ask(&["HEAD /robots.txt HTTP/1.1"], "");
    assert_eq!((head.field("content-length"), &*head.body), (Some("5"), ""));
    let page = world.path("/show", &[]);
    assert!(page.body.contains("/news?channel=a"), "the page knows its stream");
}

#[test]
fn a_backend_may_redirect_or_lead_nowhere_by_its_share() {
    let mut world = World::toml(ROUTES);
    let mut statuses: Vec<u16> = Vec::new();
    for seed in 0..400 {
        world.seed = seed;
        statuses.push(world.path("/app", &[]).status);
    }
    let moved = statuses.iter().filter(|status| **status == 307).count();
    let nowhere = statuses.iter().filter(|status| **status == 500).count();
    assert_eq!(moved + nowhere, 400);
    assert!((60..140).contains(&nowhere), "{nowhere} of 400, where its share is a quarter");
}

#[test]
fn a_rule_without_anything_is_the_servers_fault() {
    let mut config = config(ROUTES);
    config.gateway.routes[3].rules[0].action = Action::None;
    assert_eq!(World::of(config).path("/robots.txt", &[]).status, 500);
}

#[test]
fn a_redirect_needs_a_host() {
    let world = World::toml(ROUTES);
    let mut out = Vec::new();
    let next = world.feed(&mut world.session(), b"GET /old HTTP/1.0\r\n\r\n", &mut out);
    let answer = Answer::parse(out, next);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("`Host`"), "{}", answer.body);
}

#[test]
fn who_asks_for_what_cannot_be_is_told_what_to_change() {
    let world = World::toml(
        r#"
[[upstream]]
name = "rooms"
url = "http://10.9.0.3/rooms/{channel}"
multiplex = true
channels_per_client_max = 2
[[upstream]]
name = "files"
url = "http://10.9.0.3/files{rest}?q={query.q}"
[[route]]
path = "/rooms"
upstream = "rooms"
[[route]]
path = "/files"
upstream = "files"
"#,
    );
    for (path, text) in [
        ("/rooms", "add `channel=NAME` to its query"),
        ("/rooms?channels=a", "add `channel=NAME` to its query"),
        ("/rooms?channel=a&channel=b&channel=c", "more than 2 channels: ask for fewer"),
        ("/rooms?channel=..", "`.` or `..`"),
        ("/rooms?channel=a%0Ab", "{channel} holds a NUL, CR or LF"),
        ("/files/x?q=%0D", "{query.q} holds a NUL, CR or LF"),
    ] {
        let answer = world.path(path, &[]);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
        assert!(matches!(answer.next, Next::Read), "{path}");
    }
    assert_eq!((world.site.registry().live(0), world.site.registry().live(1)), (0, 0));
}

#[test]
fn bodies_of_requests_that_are_answered_here_are_bounded() {
    let world = World::toml(ROUTES);
    for path in ["/inner/hub", "/robots.txt", "/news?channel=a", "/nowhere"] {
        let line = format!("POST {path} HTTP/1.1");
        let mut session = world.session();
        let mut out = Vec::new();
        let head = format!("{line}\r\nHost: h\r\nContent-Length: 2049\r\n\r\n");
        let next = world.feed(&mut session, head.as_bytes(), &mut out);
        let answer = Answer::parse(out, next);
        assert_eq!(answer.status, 413, "{path}");
        assert!(matches!(answer.next, Next::Close(CloseReason::OverLimit)), "{path}");
        // One that does not say how long it is, is bounded as it comes.
        let mut out = Vec::new();
        let mut session = world.session();
        let head = format!("{line}\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n");
        let body = "x".repeat(2048);
        let next = world.feed(&mut session, format!("{head}{body}\r\n").as_bytes(), &mut out);
        assert!(matches!(next, Next::Read) && out.is_empty(), "{path}");
        let next = world.feed(&mut session, b"1\r\nx\r\n", &mut out);
        assert_eq!(Answer::parse(out, next).status, 413, "{path}");
    }
}
