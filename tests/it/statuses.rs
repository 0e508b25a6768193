//! What the hub answers: statuses, fields and bodies of refusals, methods, preflight.

use crate::common::Io;
use crate::common::peer::Peer;
use crate::common::peer::Response;
use crate::common::server::HUB;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::server::encode;
use crate::common::stream::Stream;

crate::on_both_drivers!(
    a_malformed_publish_is_refused,
    a_malformed_subscribe_is_refused,
    methods_and_paths,
    a_head_request_registers_nobody,
    every_answer_is_guarded,
    cross_origin_readers_are_told,
    without_origins_nobody_is_told,
);

const FORM: &str = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";

fn post(server: &Server, fields: &str, body: &str) -> Response {
    server.request("POST", HUB, fields, body)
}

fn a_malformed_publish_is_refused(io: Io) {
    let server = Server::start(io, "[hub]\npublish_topics_max = 3\ntopic_bytes_max = 64\n");
    let form = |pairs: &[(&str, &str)]| post(&server, FORM, &encode(pairs));
    assert_eq!(form(&[("topic", "a"), ("data", "x"), ("other", "ignored")]).status, 200);
    let missing = form(&[("data", "x")]);
    assert_eq!((missing.status, missing.text().as_str()), (400, "Missing \"topic\" parameter\n"));
    assert_eq!(post(&server, "Content-Type: application/json\r\n", "topic=a").status, 400);
    assert_eq!(post(&server, "", "topic=a").status, 400, "no content type, so no fields");
    let in_query = server.request("POST", &format!("{HUB}?topic=a"), FORM, "data=x");
    assert_eq!(in_query.status, 400, "fields count in the body only");
    let retry = form(&[("topic", "a"), ("retry", "soon")]);
    assert_eq!((retry.status, retry.text().as_str()), (400, "Invalid \"retry\" parameter\n"));
    assert_eq!(form(&[("topic", "a"), ("retry", "")]).status, 200, "empty is absent");
    for (name, value) in [("id", "a\nb"), ("id", "a\rb"), ("id", "a\0b"), ("type", "a\nb")] {
        assert_eq!(form(&[("topic", "a"), (name, value)]).status, 400, "{name} {value:?}");
    }
    let four = [("topic", "a"), ("topic", "b"), ("topic", "c"), ("topic", "d")];
    assert_eq!((form(&four[..3]).status, form(&four).status / 100), (200, 4));
    let long = "x".repeat(65);
    assert_eq!(form(&[("topic", &long[..64])]).status, 200);
    assert_eq!(form(&[("topic", &long)]).status, 413);
    let reserved = form(&[("topic", "https://x.example/.well-known/mercure/a")]);
    assert_eq!(reserved.status, 403);
}

fn a_malformed_subscribe_is_refused(io: Io) {
    let server = Server::start(io, "[hub]\nsubscribe_topics_max = 3\n");
    let get = |query: &str| {
        let peer = Peer::connect(server.address);
        let refused = Stream::try_over(peer, query, "").err()?;
        Some((refused.status, refused.text()))
    };
    let missing = Some((400, "Missing \"topic\" parameter.\n".to_owned()));
    assert_eq!(get(""), missing);
    assert_eq!(get("other=x"), missing);
    assert_eq!(get("topic=a&topic=b&topic=c"), None);
    let (status, _) = get("topic=a&topic=b&topic=c&topic=d").unwrap();
    assert_eq!(status, 400);
    assert_eq!(get("topic=a&other=x"), None, "unknown names are ignored");
}

fn methods_and_paths(io: Io) {
    let server = Server::start(io, "");
    let put = server.request("PUT", HUB, "", "");
    assert_eq!(put.status, 405);
    let allow = put.field("allow").expect("405 says what is allowed");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(server.request("GET", "/nothing/here", "", "").status, 404);
    assert_eq!(server.request("GET", "/.well-known/mercureX?topic=a", "", "").status, 404);
    let star = server.request("OPTIONS", "*", "", "");
    assert!(matches!(star.status, 200 | 204), "{star:?}");
    for method in ["TRACE", "CONNECT"] {
        let refused = server.request(method, HUB, "", "").status;
        assert!(matches!(refused, 405 | 501), "{method}: {refused}");
    }
    let page = server.request("GET", "/", "", "");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("EventSource"), "the page at / shows a live view");
}

fn a_head_request_registers_nobody(io: Io) {
    let server = Server::start(io, "");
    let mut peer = Peer::connect(server.address);
    peer.send(format!("HEAD {HUB}?topic=a HTTP/1.1\r\nHost: h\r\n\r\n"));
    let head = peer.head();
    assert_eq!(head.status, 200);
    assert!(head.field("content-type").unwrap().starts_with("text/event-stream"));
    server.publish(&[("topic", "a"), ("data", "x")]);
    server.await_clients(0);
    if head.field("connection") == Some("close") {
        peer.assert_closes();
    } else {
        peer.send(format!("HEAD {HUB} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.head().status, 400, "the next answer follows at once: no body came");
    }
}

fn every_answer_is_guarded(io: Io) {
    let server = Server::start(io, "");
    let stream = Stream::open(&server, "topic=a");
    let published = Publisher::open(&server).post(&[("topic", "a")]);
    let refused = server.request("GET", HUB, "", "");
    for answer in [&stream.response, &published, &refused] {
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{answer:?}");
    }
}

const ORIGINS: &str = "[hub]\ncors_origins = [\"https://app.example\", \"https://b.example:8\"]\n";

fn preflight(server: &Server, origin: &str) -> Response {
    let ask = "Access-Control-Request-Method: POST\r\n\
               Access-Control-Request-Headers: authorization\r\n";
    server.request("OPTIONS", HUB, &format!("Origin: {origin}\r\n{ask}"), "")
}

fn cross_origin_readers_are_told(io: Io) {
    let server = Server::start(io, ORIGINS);
    let told = preflight(&server, "https://app.example");
    assert!(matches!(told.status, 200 | 204), "{told:?}");
    assert_eq!(told.field("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(told.field("access-control-allow-credentials"), Some("true"));
    let headers = told.field("access-control-allow-headers").unwrap().to_ascii_lowercase();
    for name in ["authorization", "cache-control", "last-event-id"] {
        assert!(headers.contains(name), "{headers}");
    }
    let methods = told.field("access-control-allow-methods").unwrap();
    assert!(methods.contains("GET") && methods.contains("POST"), "{methods}");
    let foreign = preflight(&server, "https://evil.example");
    assert_eq!(foreign.field("access-control-allow-origin"), None);
    let near = preflight(&server, "https://app.example.evil.example");
    assert_eq!(near.field("access-control-allow-origin"), None);

    let origin = "Origin: https://b.example:8\r\n";
    let stream = Stream::with(&server, "topic=a", origin);
    let allowed = stream.response.field("access-control-allow-origin");
    assert_eq!(allowed, Some("https://b.example:8"));
    let vary = stream.response.field("vary").unwrap_or_default().to_ascii_lowercase();
    assert!(vary.contains("origin"), "the answer depends on the origin: {vary:?}");
    let answer = server.request("POST", HUB, &format!("{origin}{FORM}"), "topic=a");
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://b.example:8"));
}

fn without_origins_nobody_is_told(io: Io) {
    let server = Server::start(io, "");
    let stream = Stream::with(&server, "topic=a", "Origin: https://app.example\r\n");
    assert_eq!(stream.response.field("access-control-allow-origin"), None);
    let told = preflight(&server, "https://app.example");
    assert_eq!(told.field("access-control-allow-origin"), None);
}
