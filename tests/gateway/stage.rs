//! Configurations of these tests, and what many of them do.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::peer::Response;
use crate::common::server::Server;

/// A route that passes everything on to one backend.
pub(crate) fn route(origin: &Origin, more: &str) -> String {
    format!("[[route]]\nbackend = \"{}\"\n{more}\n", origin.url())
}

/// A gateway with such a route alone.
pub(crate) fn proxy(io: Io, origin: &Origin, more: &str) -> Server {
    Server::start(io, &route(origin, more))
}

/// An upstream named `u` with short pauses, where `more` says nothing else.
pub(crate) fn upstream(origin: &Origin, target: &str, more: &str) -> String {
    upstream_at(&format!("{}{target}", origin.url()), more)
}

/// The same at any URL.
pub(crate) fn upstream_at(url: &str, more: &str) -> String {
    let mut text = format!("[[upstream]]\nname = \"u\"\nurl = \"{url}\"\n");
    for (key, value) in [("backoff_min", "10ms"), ("backoff_max", "50ms"), ("heartbeat", "0s")] {
        if !more.contains(key) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    format!("{text}{more}\n")
}

/// That upstream, at `/s` and all below it.
pub(crate) fn fanout(origin: &Origin, target: &str, more: &str) -> String {
    format!("{}[[route]]\npath = \"/s\"\nupstream = \"u\"\n", upstream(origin, target, more))
}

/// A gateway with that route alone.
pub(crate) fn share(io: Io, origin: &Origin, target: &str, more: &str) -> Server {
    Server::start(io, &fanout(origin, target, more))
}

/// Sends a request as it stands, and reads the whole answer.
#[track_caller]
pub(crate) fn ask(server: &Server, request: &str) -> Response {
    let mut peer = Peer::connect(server.address);
    peer.send(request);
    peer.response()
}

/// A `GET` with these fields, each line ended.
#[track_caller]
pub(crate) fn get(server: &Server, target: &str, fields: &str) -> Response {
    ask(server, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

/// The connection answers another request: it was neither spoiled nor closed.
#[track_caller]
pub(crate) fn assert_usable(peer: &mut Peer) {
    peer.send("GET /usable HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = peer.response();
    assert!(response.status < 600);
}
