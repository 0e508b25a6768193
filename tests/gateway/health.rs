//! Probes: who fails them gets no requests, until it passes them again.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

crate::on_both_drivers!(an_unhealthy_endpoint_gets_nothing, a_backend_without_health_is_503);

/// Answers probes by a switch, and requests with its name.
fn switched(name: &'static str) -> (Arc<AtomicBool>, Origin) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let origin = Origin::start(move |call| match call.asked.path() {
        "/health" => {
            let status = if switch.load(SeqCst) { 204 } else { 500 };
            call.respond(status, "", "")
        }
        _ => call.respond(200, "", name),
    });
    (healthy, origin)
}

const PROBES: &str = "health = { path = \"/health?deep=1\", host = \"probe.example\", \
                      interval = \"30ms\", timeout = \"5s\", healthy = 2, unhealthy = 2, \
                      statuses = [200, 299] }";

fn an_unhealthy_endpoint_gets_nothing(io: Io) {
    let ((_a, first), (b, second)) = (switched("a"), switched("b"));
    let settings = format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"{}\", \"{}\"]\n{PROBES}\n\
         balance = \"round-robin\"\n[[route]]\nbackend = \"b\"\n",
        first.url(),
        second.url()
    );
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    let mut next = || peer.request("GET", "/", "", "").text();
    eventually("both serve", || (next() != next()).then_some(()));
    b.store(false, SeqCst);
    let mut row = 0;
    eventually("b gets nothing", || {
        row = if next() == "a" { row + 1 } else { 0 };
        (row > 20).then_some(())
    });
    b.store(true, SeqCst);
    eventually("b serves again", || (next() == "b").then_some(()));
    let asked = second.asked();
    let probe = asked.iter().find(|asked| asked.path() == "/health").unwrap();
    assert_eq!(probe.field("host"), Some("probe.example"));
    assert_eq!((probe.method.as_str(), probe.target.as_str()), ("GET", "/health?deep=1"));
}

fn a_backend_without_health_is_503(io: Io) {
    let (healthy, origin) = switched("a");
    healthy.store(false, SeqCst);
    let settings = format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"{}\"]\n{PROBES}\n[[route]]\nbackend = \"b\"\n",
        origin.url()
    );
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    let mut status = || peer.request("GET", "/", "", "").status;
    eventually("503", || (status() == 503).then_some(()));
    healthy.store(true, SeqCst);
    eventually("200", || (status() == 200).then_some(()));
}
