//! When a request is sent again: only where it may be, and only before a byte of an answer.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::stage::ask;
use crate::stage::get;
use crate::stage::proxy;

crate::on_both_drivers!(
    what_may_be_repeated_is,
    what_may_not_be_repeated_is_not,
    after_a_byte_of_the_answer_nothing_is_repeated,
    a_body_is_sent_again_whole,
    a_kept_connection_that_ends_costs_no_attempt,
    a_refused_connection_is_tried_elsewhere,
    nobody_there_is_502,
);

/// Fails each target this many times before it answers.
fn failing(times: usize, how: Next) -> Origin {
    Origin::start(move |call| {
        let target = call.asked.target.clone();
        if call.before(|asked| asked.target == target) < times {
            call.read_body();
            return how;
        }
        call.read_body();
        call.respond(200, "", call.asked.body.clone())
    })
}

fn request(server: &Server, method: &str) -> u16 {
    let body = if matches!(method, "GET" | "HEAD" | "OPTIONS") { "" } else { "body" };
    let mut peer = Peer::connect(server.address);
    peer.request(method, &format!("/{method}"), "", body).status
}

fn what_may_be_repeated_is(io: Io) {
    for how in [Next::Close, Next::Reset] {
        let origin = failing(3, how);
        let server = proxy(io, &origin, "retries = 3");
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            assert_eq!(request(&server, method), 200, "{method} {how:?}");
        }
        server.await_log(" warn backend_lost backend=");
        assert_eq!(origin.asked().len(), 20);
        let origin = failing(3, how);
        let server = proxy(io, &origin, "retries = 2");
        assert_eq!(request(&server, "GET"), 502, "one attempt less than it takes");
        assert_eq!(origin.asked().len(), 3);
    }
}

fn what_may_not_be_repeated_is_not(io: Io) {
    let origin = failing(1, Next::Close);
    let server = proxy(io, &origin, "retries = 5");
    for method in ["POST", "PATCH", "PURGE"] {
        assert_eq!(request(&server, method), 502, "{method}");
    }
    let upgrade = "GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(ask(&server, upgrade).status, 502);
    assert_eq!(origin.asked().len(), 4, "each once");
    let origin = failing(1, Next::Close);
    let server = proxy(io, &origin, "retries = 0");
    assert_eq!(request(&server, "GET"), 502);
    assert_eq!(origin.asked().len(), 1);
    let said = server.await_log("it closed the connection without an answer");
    assert!(said.contains(" warn backend_lost backend="), "{said}");
}

fn after_a_byte_of_the_answer_nothing_is_repeated(io: Io) {
    let origin = Origin::start(|call| {
        call.send(match call.asked.path() {
            "/one" => "H",
            "/interim" => "HTTP/1.1 103 Early Hints\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf",
        });
        Next::Close
    });
    let server = proxy(io, &origin, "retries = 5");
    for target in ["/one", "/interim", "/head", "/body"] {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let mut response = peer.head();
        if target == "/interim" {
            assert_eq!(response.status, 103);
            response = peer.head();
        }
        let whole = peer.try_body(&mut response);
        let want = if target == "/body" { (200, false) } else { (502, true) };
        assert_eq!((response.status, whole), want, "{target}");
    }
    assert_eq!(origin.asked().len(), 4, "each once");
}

fn a_body_is_sent_again_whole(io: Io) {
    let origin = failing(2, Next::Close);
    let server = proxy(io, &origin, "retries = 2");
    let body = "0123456789".repeat(3000);
    let response = server.request("PUT", "/sized", "", &body);
    assert_eq!((response.status, response.text()), (200, body.clone()));
    let mut peer = Peer::connect(server.address);
    peer.send("PUT /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7000) {
        peer.send(crate::common::tape::chunk(piece));
    }
    peer.send("0\r\n\r\n");
    let response = peer.response();
    assert_eq!((response.status, response.text()), (200, body));
    assert_eq!(origin.asked().len(), 6);
    // What does not fit into the memory for repeats is sent once.
    let large = "x".repeat(1 << 20);
    assert_eq!(server.request("PUT", "/large", "", &large).status, 502);
    assert_eq!(origin.asked().len(), 7);
}

fn a_kept_connection_that_ends_costs_no_attempt(io: Io) {
    // Each connection takes two requests, and ends as the third one comes.
    let origin = Origin::start(|call| {
        let connection = call.asked.connection;
        if call.before(|asked| asked.connection == connection) == 2 {
            return Next::Reset;
        }
        call.respond(200, "", "ok")
    });
    let server = proxy(io, &origin, "retries = 0");
    let mut peer = Peer::connect(server.address);
    for n in 0..20 {
        assert_eq!(peer.request("GET", "/", "", "").status, 200, "request {n}");
    }
    assert_eq!(origin.connections(), 10);
}

fn a_refused_connection_is_tried_elsewhere(io: Io) {
    let origin = failing(0, Next::Close);
    let dead = Origin::start(|call| call.hold()).url();
    let settings = format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"{dead}\", \"{}\"]\nbalance = \"round-robin\"\n\
         eject_failures = 0\n[[route]]\nbackend = \"b\"\nretries = 1\n",
        origin.url()
    );
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    for n in 0..20 {
        // Nothing was sent, so a POST may be tried elsewhere as well.
        let response = peer.request("POST", &format!("/{n}"), "", "body");
        assert_eq!((response.status, response.text().as_str()), (200, "body"), "request {n}");
    }
    assert_eq!(origin.asked().len(), 20);
}

fn nobody_there_is_502(io: Io) {
    // A port that is taken, where nobody listens.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let dead = format!("http://{}", socket.local_addr().unwrap().as_socket().unwrap());
    let server = Server::start(io, &format!("[[route]]\nbackend = \"{dead}\"\n"));
    let mut peer = Peer::connect(server.address);
    for _ in 0..3 {
        let response = peer.request("GET", "/", "", "");
        assert!(matches!(response.status, 502 | 503), "{response:?}");
    }
    let settings = "[[route]]\nbackend = \"http://no-such-host.invalid:1\"\n";
    let server = Server::start(io, settings);
    let status = get(&server, "/", "").status;
    assert!(matches!(status, 502..=504), "{status}");
}
