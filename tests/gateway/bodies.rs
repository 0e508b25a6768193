//! Bodies both ways: sized, chunked, to the end; large; as they come; trailers; interim answers.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::tape::Tape;
use crate::stage::proxy;

crate::on_both_drivers!(
    a_request_body_keeps_its_framing,
    a_body_of_a_get_passes_and_nothing_behind_it,
    a_response_body_keeps_its_framing,
    large_bodies_pass_both_ways_at_once,
    a_body_passes_piece_by_piece,
    single_bytes_are_the_same_messages,
    an_answer_may_come_before_the_body,
    a_continue_is_the_backends,
    interim_answers_pass,
    trailers_pass_to_who_takes_them,
);

fn a_request_body_keeps_its_framing(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        call.respond(200, "", call.asked.body.clone())
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for (n, body) in ["", "x", "0\r\n\r\n", &"long ".repeat(50_000)].into_iter().enumerate() {
        assert_eq!(peer.request("PUT", "/sized", "", body).text(), body);
        peer.send("PUT /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.as_bytes().chunks(1 + 997 * n) {
            peer.send(crate::common::tape::chunk(piece));
        }
        peer.send("0\r\nX-Trailer: dropped\r\n\r\n");
        assert_eq!(peer.response().text(), body);
        let asked = origin.await_asked(2 * n + 2);
        let (sized, chunked) = (&asked[2 * n], &asked[2 * n + 1]);
        assert_eq!(sized.field("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(sized.field("transfer-encoding"), None);
        assert_eq!(chunked.field("transfer-encoding"), Some("chunked"));
        assert_eq!(chunked.field("content-length"), None);
        assert!(sized.whole && chunked.whole);
    }
}

/// Search engines are asked so. Since others take such a body for the next request, no connection
/// takes another request after it.
fn a_body_of_a_get_passes_and_nothing_behind_it(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        call.respond(200, "", call.asked.body.clone())
    });
    let server = proxy(io, &origin, "");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for n in 0..2 {
        let mut peer = Peer::connect(server.address);
        assert_eq!(peer.request("GET", "/before", "", "").status, 200);
        peer.send(format!(
            "GET /_search HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{smuggled}{smuggled}",
            smuggled.len()
        ));
        let got = peer.response();
        assert_eq!((got.text().as_str(), got.field("connection")), (smuggled, Some("close")));
        peer.assert_closes();
        let asked = origin.await_asked(2 * n + 2);
        let search = &asked[2 * n + 1];
        assert_eq!(
            (search.target.as_str(), search.field("connection")),
            ("/_search", Some("close"))
        );
        // The connection that carried it was not used again.
        assert!(n == 0 || asked[2].connection != asked[1].connection);
    }
    assert_eq!(origin.await_asked(4).len(), 4);
}

fn a_response_body_keeps_its_framing(io: Io) {
    let origin = Origin::start(|call| match call.asked.path() {
        "/sized" => call.respond(200, "", "sized body"),
        "/chunked" => {
            call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            call.send("4;ext=\"1\"\r\nchun\r\n00006\r\nked bo\r\n2\r\ndy\r\n0\r\n\r\n");
            Next::Keep
        }
        _ => {
            call.send("HTTP/1.1 200 OK\r\n\r\nbody to the end");
            Next::Close
        }
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    let response = peer.request("GET", "/sized", "", "");
    assert_eq!((response.field("content-length"), &*response.text()), (Some("10"), "sized body"));
    for (target, body) in [("/chunked", "chunked body"), ("/end", "body to the end")] {
        let response = peer.request("GET", target, "", "");
        assert_eq!(response.field("transfer-encoding"), Some("chunked"), "{target}");
        assert_eq!(response.text(), body);
    }
    assert_eq!(peer.request("GET", "/sized", "", "").status, 200, "the connection is kept");
}

fn large_bodies_pass_both_ways_at_once(io: Io) {
    const BYTES: usize = 24 << 20;
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Sends each piece back before it reads the next: neither side can wait for the whole.
        while let Some(piece) = call.read_some() {
            if !piece.is_empty() && !call.send(crate::common::tape::chunk(&piece)) {
                return Next::Close;
            }
        }
        call.send("0\r\n\r\n");
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let body: Vec<u8> = (0..BYTES).map(|n| (n * 7 + n / 65_536) as u8).collect();
    let mut peer = Peer::connect(server.address);
    let mut writer = Peer::over(peer.socket().try_clone().unwrap());
    let before = server.rss();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BYTES}\r\n\r\n"));
            writer.send(&body);
        });
        let response = peer.response();
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{} bytes came back changed", response.body.len());
    });
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 12 << 20, "a body in passing cost {grown} bytes");
}

fn a_body_passes_piece_by_piece(io: Io) {
    let (sent, seen) = (Tape::new(), Tape::new());
    let (pieces, got) = (std::sync::Arc::clone(&sent), std::sync::Arc::clone(&seen));
    let origin = Origin::start(move |call| {
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n");
        for n in 0..10 {
            let Some(piece) = call.read_some() else { return Next::Close };
            got.push(String::from_utf8(piece).unwrap());
            let Some(piece) = pieces.wait(n, call) else { return Next::Close };
            call.send(piece);
        }
        call.read_body();
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    peer.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for n in 0..10 {
        // Nobody sends the next piece before the last one has passed: what is held back stays
        // held back.
        peer.send(format!("4\r\nup{n:02}\r\n"));
        crate::common::eventually("the piece at the backend", || (seen.len() > n).then_some(()));
        sent.push(format!("dn{n:02}"));
        if n == 0 {
            assert_eq!(peer.head().status, 200);
        }
        while peer.held().len() < 4 {
            assert!(peer.fill(), "closed in the middle");
        }
        assert_eq!(peer.held().drain(..4).collect::<Vec<_>>(), format!("dn{n:02}").as_bytes());
    }
    peer.send("0\r\n\r\n");
    assert_eq!(seen.len(), 10);
}

fn single_bytes_are_the_same_messages(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        let body = call.asked.body.clone();
        let head = "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = body.chunks(5).flat_map(crate::common::tape::chunk).collect::<Vec<_>>();
        for byte in [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat() {
            call.send([byte]);
        }
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for request in [
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\ntwelve bytes",
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\ntwelve\r\n6\r\n bytes\r\n0\r\nX: y\r\n\r\n",
    ] {
        for byte in request.as_bytes() {
            peer.send([*byte]);
        }
        let response = peer.response();
        assert_eq!((response.status, response.field("x-a")), (200, Some("b")));
        assert_eq!(response.text(), "twelve bytes");
    }
    assert_eq!(origin.connections(), 1);
}

fn an_answer_may_come_before_the_body(io: Io) {
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        call.hold()
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    peer.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nonly the beginning");
    let response = peer.response();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
    assert!(peer.rest().is_empty(), "the rest of the body cannot be told from a request");
    origin.await_gone(0);
}

fn a_continue_is_the_backends(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/no" {
            return call.respond(417, "Connection: close\r\n", "no");
        }
        assert_eq!(call.asked.field("expect"), Some("100-continue"));
        call.send("HTTP/1.1 100 Continue\r\n\r\n");
        call.read_body();
        call.respond(200, "", call.asked.body.clone())
    });
    let server = proxy(io, &origin, "");
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let mut peer = Peer::connect(server.address);
    peer.send(head("/yes"));
    assert_eq!(peer.head().status, 100, "before a byte of the body was sent");
    peer.send("body");
    assert_eq!(peer.response().text(), "body");
    let mut peer = Peer::connect(server.address);
    peer.send(head("/no"));
    assert_eq!(peer.response().status, 417, "the client need not send the body");
}

fn interim_answers_pass(io: Io) {
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n");
        call.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n");
        call.respond(200, "", "final")
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for _ in 0..3 {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let hints = peer.head();
        assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>")));
        assert_eq!(hints.field("x"), None, "named by Connection");
        assert_eq!(peer.head().status, 102);
        assert_eq!(peer.head().field("link"), Some("</b>"));
        assert_eq!(peer.response().text(), "final");
    }
    assert_eq!(origin.connections(), 1);
}

fn trailers_pass_to_who_takes_them(io: Io) {
    let origin = Origin::start(|call| {
        call.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\
             \r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n",
        );
        Next::Keep
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    let te = "TE: trailers\r\nConnection: TE\r\n";
    let with = peer.request("GET", "/", te, "");
    assert_eq!((with.text().as_str(), with.trailers.len()), ("abc", 1), "{with:?}");
    assert_eq!(with.trailers[0], ("X-Sum".to_owned(), "6".to_owned()));
    let without = peer.request("GET", "/", "", "");
    assert_eq!((without.text().as_str(), without.trailers.len()), ("abc", 0), "{without:?}");
    let asked = origin.await_asked(2);
    assert_eq!((asked[0].field("te"), asked[1].field("te")), (Some("trailers"), None));
}
