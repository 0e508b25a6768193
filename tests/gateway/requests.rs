//! Requests that are passed on: methods, kept connections, pipelines, old clients.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::fanout;
use crate::stage::proxy;
use crate::stage::route;

crate::on_both_drivers!(
    every_method_arrives_with_its_body,
    a_kept_backend_connection_is_used_again,
    pipelined_requests_are_answered_in_order,
    an_old_client_gets_an_old_answer,
    a_head_request_gets_a_head_alone,
    a_backend_that_closes_is_connected_anew,
    an_old_backend_is_connected_anew,
    a_client_that_closes_is_told_so,
    a_pipeline_may_go_on_to_a_shared_stream,
    a_backend_with_bytes_behind_its_answer_is_not_used_again,
);

/// Answers with what was asked.
fn echo() -> Origin {
    Origin::start(|call| {
        call.read_body();
        let (method, target) = (call.asked.method.clone(), call.asked.target.clone());
        let body = call.asked.body.clone();
        call.respond(200, &format!("X-Method: {method}\r\nX-Target: {target}\r\n"), body)
    })
}

fn every_method_arrives_with_its_body(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "M-SEARCH"];
    for (n, method) in methods.into_iter().enumerate() {
        for body in ["", "a body\r\n\r\nof 25 bytes...."] {
            if method == "GET" && !body.is_empty() {
                continue;
            }
            let target = format!("/a%2Fb/.../c//d?q={n}&%7a");
            let response = peer.request(method, &target, "", body);
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.field("x-method"), Some(method));
            assert_eq!(response.field("x-target"), Some(target.as_str()), "byte for byte");
            assert_eq!(response.text(), body, "{method}");
        }
    }
    for asked in origin.asked() {
        assert_eq!((asked.version.as_str(), asked.whole), ("HTTP/1.1", true), "{asked:?}");
    }
}

fn a_kept_backend_connection_is_used_again(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for n in 0..30 {
        let body = "x".repeat(n * 100);
        assert_eq!(peer.request("POST", "/", "", &body).text(), body);
    }
    assert_eq!(origin.asked().len(), 30);
    assert_eq!(origin.connections(), 1, "one client, one after the other");
}

fn pipelined_requests_are_answered_in_order(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    let mut all = String::new();
    for n in 0..20 {
        all.push_str(&match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"),
            _ => format!(
                "POST /{n} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
            ),
        });
    }
    peer.send(all);
    for n in 0..20 {
        let response = peer.response();
        assert_eq!(response.field("x-target"), Some(format!("/{n}").as_str()));
        assert_eq!(response.text(), ["", "abc", "def"][n % 3]);
    }
    let targets: Vec<_> = origin.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets, (0..20).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

fn an_old_client_gets_an_old_answer(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/sized" {
            return call.respond(200, "", "sized");
        }
        call.send("HTTP/1.1 100 Continue\r\n\r\n");
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        call.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    peer.send("GET /chunks HTTP/1.0\r\n\r\n");
    let response = peer.head();
    assert_eq!(response.status, 200, "an interim answer is not for an old client");
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.field("content-length"), None);
    assert_eq!(peer.rest(), b"abcde");
    assert!(!peer.was_reset, "an orderly end is the end of the body");
    let mut peer = Peer::connect(server.address);
    peer.send("GET /sized HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = peer.response();
    assert_eq!((response.text().as_str(), response.field("content-length")), ("sized", Some("5")));
    peer.send("GET /sized HTTP/1.0\r\n\r\n");
    assert_eq!(peer.response().text(), "sized", "kept as asked");
    peer.assert_closes();
    for asked in origin.asked() {
        assert_eq!(asked.version, "HTTP/1.1");
        assert_eq!(asked.all("host").len(), 1, "{asked:?}");
    }
}

fn a_head_request_gets_a_head_alone(io: Io) {
    let origin = Origin::start(|call| match call.asked.path() {
        "/sized" => {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            Next::Keep
        }
        "/chunked" => {
            call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            Next::Keep
        }
        "/304" => {
            call.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"e\"\r\n\r\n");
            Next::Keep
        }
        _ => {
            call.send("HTTP/1.1 204 No Content\r\n\r\n");
            Next::Keep
        }
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for _ in 0..3 {
        let response = peer.request("HEAD", "/sized", "", "");
        assert_eq!(response.field("content-length"), Some("1000"));
        assert_eq!(peer.request("HEAD", "/chunked", "", "").status, 200);
        let response = peer.request("GET", "/304", "", "");
        assert_eq!((response.status, response.field("etag")), (304, Some("\"e\"")));
        let response = peer.request("GET", "/204", "", "");
        assert_eq!((response.status, response.field("content-length")), (204, None));
        assert_eq!(response.field("transfer-encoding"), None);
    }
    assert_eq!(origin.asked().len(), 12);
    // A body that follows its head in spite of HEAD would be the answer to somebody else.
    assert_eq!(origin.connections(), 7, "each HEAD that announces a body is a connection's last");
}

fn a_backend_that_closes_is_connected_anew(io: Io) {
    let origin = Origin::start(|call| {
        call.respond(200, "Connection: close\r\n", call.number.to_string());
        Next::Close
    });
    let server = proxy(io, &origin, "retries = 0");
    let mut peer = Peer::connect(server.address);
    for n in 0..10 {
        let response = peer.request("GET", "/", "", "");
        assert_eq!(response.text(), n.to_string());
        assert_eq!(response.field("connection"), None, "the client's connection is its own");
    }
    assert_eq!(origin.connections(), 10);
}

fn an_old_backend_is_connected_anew(io: Io) {
    let origin = Origin::start(|call| {
        call.say("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for _ in 0..3 {
        let response = peer.request("GET", "/", "", "");
        assert_eq!((response.version.as_str(), response.text().as_str()), ("HTTP/1.1", "old"));
    }
    assert_eq!(origin.connections(), 3, "HTTP/1.0 keeps nothing that it did not promise");
    origin.await_open(0);
}

fn a_client_that_closes_is_told_so(io: Io) {
    let origin = echo();
    let server = proxy(io, &origin, "");
    for _ in 0..3 {
        let mut peer = Peer::connect(server.address);
        let response = peer.request("POST", "/", "Connection: close\r\n", "body");
        assert_eq!(
            (response.text().as_str(), response.field("connection")),
            ("body", Some("close"))
        );
        peer.assert_closes();
    }
    let asked = origin.await_asked(3);
    assert!(asked.iter().all(|asked| asked.field("connection").is_none()));
}

fn a_pipeline_may_go_on_to_a_shared_stream(io: Io) {
    let tape = Tape::counting(2);
    let events = std::sync::Arc::clone(&tape);
    let origin = Origin::start(move |call| match call.asked.path() {
        "/e" => events.play(call),
        _ => call.respond(200, "", "proxied"),
    });
    let settings = format!("{}{}", fanout(&origin, "/e", "initial = 9"), route(&origin, ""));
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    peer.send(format!("{}{}{}", get("/a"), get("/b"), get("/s")));
    assert_eq!([peer.response().text(), peer.response().text()], ["proxied", "proxied"]);
    let head = peer.head();
    let mut stream = Stream::resumed(peer, head);
    assert_eq!([stream.data(), stream.data()], ["0", "1"]);
}

fn a_backend_with_bytes_behind_its_answer_is_not_used_again(io: Io) {
    let said = Tape::new();
    let mark = std::sync::Arc::clone(&said);
    let origin = Origin::start(move |call| {
        let n = call.number;
        let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
        if n % 2 == 0 {
            call.send(format!("{answer}{stray}"));
        } else {
            // A little later, while the connection is kept.
            call.send(answer);
            call.send(stray);
        }
        mark.push("");
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for n in 0..8 {
        assert_eq!(peer.request("GET", "/", "", "").text(), n.to_string());
        crate::common::eventually("all is said", || (said.len() > n).then_some(()));
    }
    assert_eq!(origin.connections(), 8, "an answer that nobody asked for goes to nobody");
}
