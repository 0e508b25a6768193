//! What takes too long is ended: with an answer before the head, with a cut after it.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::tape::STREAM;
use crate::stage::get;
use crate::stage::proxy;
use crate::stage::route;

crate::on_both_drivers!(
    a_head_that_does_not_come_is_504,
    an_attempt_that_takes_too_long_is_repeated_and_then_504,
    a_silent_body_is_cut,
    an_exchange_over_its_time_is_cut,
    a_request_body_that_does_not_come_is_408,
    time_begins_when_it_should,
    a_backend_that_does_not_accept_is_504,
);

fn gave_up(origin: &Origin) {
    origin.await_open(0);
}

fn a_head_that_does_not_come_is_504(io: Io) {
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200");
        call.hold()
    });
    let server = proxy(io, &origin, "timeouts = { response_head = \"150ms\" }");
    for method in ["GET", "POST"] {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(peer.head().status, 103);
        let response = peer.response();
        assert_eq!(response.status, 504, "{response:?}");
        crate::stage::assert_usable(&mut peer_after(peer));
    }
    server.await_log(" warn backend_late backend=");
    gave_up(&origin);
}

/// The same peer, once its interim answer is out of the way.
fn peer_after(mut peer: Peer) -> Peer {
    peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.head().status, 103);
    assert_eq!(peer.response().status, 504);
    peer
}

fn an_attempt_that_takes_too_long_is_repeated_and_then_504(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/third" && call.before(|a| a.path() == "/third") == 2 {
            return call.respond(200, "Connection: close\r\n", "third time");
        }
        call.hold()
    });
    let more = "retries = 2\ntimeouts = { backend_request = \"500ms\" }";
    let server = proxy(io, &origin, more);
    assert_eq!(get(&server, "/third", "").text(), "third time");
    // Also what a retry mended is told.
    server.await_log(" warn backend_late backend=");
    assert_eq!(get(&server, "/never", "").status, 504);
    assert_eq!(origin.asked().len(), 6, "three times each");
    assert_eq!(server.request("POST", "/post", "", "x").status, 504);
    assert_eq!(origin.asked().len(), 7, "a POST once");
    gave_up(&origin);
}

fn a_silent_body_is_cut(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/sized" {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        } else {
            call.send(format!("{STREAM}data: half"));
        }
        call.hold()
    });
    // A heartbeat does not make a silent backend a living one.
    let more = "heartbeat = \"20ms\"\ntimeouts = { idle = \"200ms\" }";
    let server = proxy(io, &origin, more);
    for target in ["/sized", "/stream"] {
        for version in ["1.1", "1.0"] {
            let mut peer = Peer::connect(server.address);
            peer.send(format!("GET {target} HTTP/{version}\r\nHost: h\r\n\r\n"));
            let mut response = peer.head();
            assert_eq!(response.status, 200);
            assert!(!peer.try_body(&mut response), "{target} {version}: {response:?}");
        }
    }
    gave_up(&origin);
}

fn an_exchange_over_its_time_is_cut(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.path() == "/silent" {
            return call.hold();
        }
        call.send(STREAM);
        while call.send("data: alive\n\n") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Next::Close
    });
    let more = "timeouts = { request = \"300ms\" }";
    let server = proxy(io, &origin, more);
    let mut peer = Peer::connect(server.address);
    peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut response = peer.head();
    assert!(!peer.try_body(&mut response), "cut in the middle, and it shows");
    assert!(response.text().starts_with("data: alive\n\n"));
    assert_eq!(get(&server, "/silent", "").status, 504);
    gave_up(&origin);
}

fn a_request_body_that_does_not_come_is_408(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        call.hold()
    });
    let settings = format!("[limits]\nbody_timeout = \"200ms\"\n{}", route(&origin, ""));
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    peer.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(peer.response().status, 408);
    peer.assert_closes();
    gave_up(&origin);
    assert!(origin.asked().iter().all(|asked| !asked.whole));
}

/// The head's time runs from the end of the request, not from its beginning.
fn time_begins_when_it_should(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        call.respond(200, "", "ok")
    });
    let server = proxy(io, &origin, "timeouts = { response_head = \"250ms\" }");
    let mut peer = Peer::connect(server.address);
    peer.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n");
    for byte in b"8 pieces" {
        std::thread::sleep(std::time::Duration::from_millis(100));
        peer.send([*byte]);
    }
    assert_eq!(peer.response().text(), "ok");
}

fn a_backend_that_does_not_accept_is_504(io: Io) {
    // A listener whose queue is full: the kernel answers nothing to further connections.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    loop {
        let limit = std::time::Duration::from_millis(200);
        match std::net::TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => queue.push(stream),
            Err(_) => break,
        }
        assert!(queue.len() < 1000, "the queue is never full");
    }
    let settings = format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"http://{address}\"]\n\
         connect_timeout = \"200ms\"\n[[route]]\nbackend = \"b\"\n"
    );
    let server = Server::start(io, &settings);
    assert_eq!(get(&server, "/", "").status, 504);
    let said = server.await_log(" warn backend_unreachable backend=b ");
    assert!(said.contains("no connection within connect_timeout"), "{said}");
}
