//! Requests that two parsers could read in two ways: the backend never gets a second one.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::stage::proxy;

crate::on_both_drivers!(
    what_is_ambiguous_is_refused,
    what_is_passed_on_is_one_request,
    a_body_is_never_a_request,
    chunks_have_bounds,
);

/// What must not be seen as a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

fn origin() -> Origin {
    Origin::start(|call| if call.read_body() { call.respond(200, "", "ok") } else { Next::Close })
}

/// The statuses of all answers until the connection ends or the mark's answer has come.
fn statuses(peer: &mut Peer) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(mut response) = peer.try_head() {
        peer.try_body(&mut response);
        statuses.push(response.status);
        if response.status >= 400 {
            break;
        }
    }
    statuses
}

fn what_is_ambiguous_is_refused(io: Io) {
    let origin = origin();
    let server = proxy(io, &origin, "");
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 0\r\n",
        "Content-Length: 6, 0\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: 0x6\r\n",
        "Content-Length: 6 6\r\n",
        "Content-Length: 18446744073709551622\r\n",
        "Content-Length : 6\r\n",
        "Content-Length:\r\n 6\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\n X: y\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "Host: other\r\n",
        " X: folded at once\r\n",
        "X\r\n",
        "X Y: z\r\n",
        ": no name\r\n",
    ] {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("POST /seen HTTP/1.1\r\nHost: h\r\n{fields}\r\n0\r\n\r\n{HIDDEN}"));
        let statuses = statuses(&mut peer);
        let refused = statuses.len() == 1 && matches!(statuses[0], 400 | 411 | 413 | 501);
        assert!(refused, "{fields:?} was answered with {statuses:?}");
        peer.assert_closes();
        assert!(origin.asked().is_empty(), "{fields:?} reached the backend: {:?}", origin.asked());
    }
    for line in [
        "GET /a b HTTP/1.1",
        "GET  /a HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/1.2",
        "GET /a HTTP/2.0",
        "GET /a\x01 HTTP/1.1",
        "G(T /a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET ftp://h/a HTTP/1.1",
        "/a HTTP/1.1",
    ] {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("{line}\r\nHost: h\r\n\r\n"));
        let statuses = statuses(&mut peer);
        assert!(statuses.len() == 1 && statuses[0] >= 400, "{line:?}: {statuses:?}");
    }
    assert!(origin.asked().is_empty(), "{:?}", origin.asked());
}

fn what_is_passed_on_is_one_request(io: Io) {
    let origin = origin();
    let server = proxy(io, &origin, "");
    for head in [
        "POST /seen HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\n",
        "POST /seen HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n",
        "GET http://h/seen HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://other/seen HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /seen HTTP/1.1\r\nHost: h\r\nConnection: close, Content-Length\r\n\r\n",
        "POST /seen HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nConnection: Content-Length\r\n\r\n",
        "POST /seen HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
         Connection: Transfer-Encoding, close\r\n\r\n",
        "GET /seen HTTP/1.1\r\nHost: h\r\nContent_Length: 60\r\n\r\n",
        "GET /seen HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ] {
        let before = origin.asked().len();
        let body = if head.contains("Length: 6\r") {
            "0\r\n\r\nx"
        } else if head.contains("hunked") {
            "1\r\nx\r\n0\r\n\r\n"
        } else {
            ""
        };
        let mut peer = Peer::connect(server.address);
        peer.send(format!("{head}{body}"));
        let response = peer.response();
        let asked = origin.asked();
        if response.status == 200 {
            assert_eq!(asked.len(), before + 1, "{head:?}: {asked:?}");
            let asked = asked.last().unwrap();
            assert!(asked.whole && asked.path() == "/seen", "{head:?}: {asked:?}");
            let framings = asked.all("content-length").len() + asked.all("transfer-encoding").len();
            assert!(framings <= 1, "{head:?}: {asked:?}");
            let length = if body.is_empty() { 0 } else { asked.body.len() };
            assert_eq!(asked.body.len(), length, "{head:?}");
        } else {
            assert!((400..500).contains(&response.status), "{head:?}: {response:?}");
            assert_eq!(asked.len(), before, "{head:?}: refused, and passed on: {asked:?}");
        }
    }
}

fn a_body_is_never_a_request(io: Io) {
    let origin = origin();
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for n in 0..10 {
        assert_eq!(peer.request("POST", "/seen", "", HIDDEN).status, 200);
        peer.send("POST /seen HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer.send(crate::common::tape::chunk(HIDDEN));
        peer.send(crate::common::tape::chunk(format!("0\r\n\r\n{HIDDEN}")));
        peer.send("0\r\nX: y\r\n\r\n");
        assert_eq!(peer.response().status, 200);
        // A chunk that is broken may not end early and leave a request behind.
        let mut broken = Peer::connect(server.address);
        broken.send("POST /seen HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        let shape = ["g\r\n", "0;\n\r\n", "1\r\nxy\r\n", "0\r\nX y\r\n\r\n", "-0\r\n\r\n"][n % 5];
        broken.send(format!("{shape}0\r\n\r\n{HIDDEN}"));
        let statuses = statuses(&mut broken);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|s| *s >= 400),
            "{shape:?} {statuses:?}"
        );
    }
    let asked = origin.asked();
    assert!(asked.iter().all(|asked| asked.path() == "/seen"), "a body became a request");
    assert_eq!(asked.iter().filter(|asked| asked.whole).count(), 20, "and all whole ones passed");
}

fn chunks_have_bounds(io: Io) {
    let origin = origin();
    let server = proxy(io, &origin, "");
    let long = "x".repeat(100_000);
    for body in [
        format!("1;{long}\r\nx\r\n0\r\n\r\n"),
        format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(100_000)),
        format!("0\r\nX: {long}\r\n\r\n"),
        format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
    ] {
        let mut peer = Peer::connect(server.address);
        peer.send("POST /seen HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer.try_send(body);
        let statuses = statuses(&mut peer);
        assert!(statuses.iter().all(|status| *status >= 400), "{statuses:?}");
    }
    origin.await_open(0);
    assert!(origin.asked().iter().all(|asked| !asked.whole));
}
