//! Connections that are kept for further requests, and names that are looked up.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::upstream_at;

crate::on_both_drivers!(
    an_idle_connection_is_kept_for_its_time,
    idle_connections_have_a_limit,
    kept_connections_are_not_mixed_up,
    names_are_looked_up,
);

fn start(io: Io, origin: &Origin, more: &str) -> Server {
    let url = origin.url();
    let backend = format!("[[backend]]\nname = \"b\"\nendpoints = [\"{url}\"]\n{more}\n");
    Server::start(io, &format!("workers = 1\n{backend}[[route]]\nbackend = \"b\"\n"))
}

fn quick() -> Origin {
    Origin::start(|call| call.respond(200, "", "ok"))
}

fn an_idle_connection_is_kept_for_its_time(io: Io) {
    let origin = quick();
    let server = start(io, &origin, "idle_timeout = \"300ms\"");
    for _ in 0..5 {
        assert_eq!(server.request("GET", "/", "", "").status, 200);
    }
    assert_eq!(origin.connections(), 1, "clients come and go, it stays");
    origin.await_open(0);
    assert_eq!(server.request("GET", "/", "", "").status, 200);
    assert_eq!(origin.connections(), 2);
}

fn idle_connections_have_a_limit(io: Io) {
    let tape = Tape::new();
    let gate = std::sync::Arc::clone(&tape);
    let origin = Origin::start(move |call| {
        gate.wait(0, call);
        call.respond(200, "", "ok")
    });
    let server = start(io, &origin, "idle_connections_max = 2\nidle_timeout = \"10m\"");
    let mut peers: Vec<_> = (0..10).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    origin.await_asked(10);
    tape.push("");
    for peer in &mut peers {
        assert_eq!(peer.response().status, 200);
    }
    origin.await_open(2);
    server.await_metric("tidegate_backend_idle_connections", "", 2.0);
    let none = start(io, &origin, "idle_connections_max = 0");
    for _ in 0..3 {
        assert_eq!(none.request("GET", "/", "", "").status, 200);
    }
    eventually("none kept", || (origin.open() == 2).then_some(()));
    assert_eq!(origin.connections(), 13);
}

fn kept_connections_are_not_mixed_up(io: Io) {
    const CLIENTS: usize = 12;
    let origin = Origin::start(|call| {
        call.read_body();
        let body = call.asked.body.clone();
        let target = call.asked.target.clone();
        call.respond(200, &format!("X-Target: {target}\r\n"), body)
    });
    let server = Server::start(io, &crate::stage::route(&origin, ""));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                let mut peer = Peer::connect(server.address);
                for n in 0..100 {
                    let (target, body) =
                        (format!("/{client}/{n}"), format!("{client} {n} ").repeat(n));
                    let response = peer.request("POST", &target, "", &body);
                    assert_eq!(response.field("x-target"), Some(target.as_str()));
                    assert_eq!(response.text(), body, "the answer of somebody else");
                }
            });
        }
    });
    assert_eq!(origin.asked().len(), 100 * CLIENTS);
    assert!(origin.connections() <= CLIENTS, "{}", origin.connections());
}

/// `localhost` may also be an address where nobody listens: then the other one is tried.
fn names_are_looked_up(io: Io) {
    let tape = Tape::counting(3);
    let origin = Origin::start({
        let tape = std::sync::Arc::clone(&tape);
        move |call| match call.asked.path() {
            "/e" => tape.play(call),
            _ => call.respond(200, "", "ok"),
        }
    });
    let url = format!("http://localhost:{}", origin.address().port());
    let upstream = upstream_at(&format!("{url}/e"), "initial = 9");
    let routes = format!(
        "[[route]]\nbackend = \"{url}\"\nretries = 2\n[[route]]\npath = \"/s\"\nupstream = \"u\"\n"
    );
    let server = Server::start(io, &format!("{upstream}{routes}"));
    for _ in 0..5 {
        assert_eq!(server.request("GET", "/", "", "").text(), "ok");
    }
    let mut stream = Stream::at(&server, "/s", "");
    (0..3).for_each(|n| assert_eq!(stream.data(), n.to_string()));
}
