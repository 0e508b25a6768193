//! The admin pages: where upstreams and backends stand, and what metrics say of them.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::stage::fanout;
use crate::stage::get;
use crate::stage::proxy;
use crate::stage::share;

crate::on_both_drivers!(
    upstreams_are_told,
    refused_and_failing_upstreams_are_told,
    backends_are_told,
    metrics_follow_a_proxy,
    metrics_follow_a_shared_stream,
);

/// Waits until a line of a page has all these words.
#[track_caller]
fn await_line(server: &Server, page: &str, words: &[&str]) -> String {
    let mut last = String::new();
    let deadline = std::time::Instant::now() + crate::common::PATIENCE;
    loop {
        let response = server.admin_get(page);
        assert_eq!(response.status, 200);
        last.clone_from(&response.text());
        let has = |line: &&str| words.iter().all(|w| line.split(' ').any(|word| word == *w));
        if let Some(line) = last.lines().find(has) {
            return line.to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "no line with {words:?} in {page}:\n{last}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn upstreams_are_told(io: Io) {
    let tape = Tape::counting(3);
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/e{rest}", "linger = \"10m\"");
    let host = format!("host={}", origin.address());
    assert_eq!(server.admin_get("/upstreams").status, 200);
    let streams: Vec<_> = (0..9).map(|_| Stream::at(&server, "/s/a", "")).collect();
    let _secret = Stream::at(&server, "/s/b", "Authorization: Bearer hunter2\r\n");
    let words = ["upstream=u", &host, "target=/e/a", "credentials=no", "state=streaming"];
    let line = await_line(&server, "/upstreams", &[&words[..], &["events=3"]].concat());
    assert!(!line.contains("subscribers=0"), "{line}");
    let line =
        await_line(&server, "/upstreams", &["target=/e/b", "credentials=yes", "subscribers=1"]);
    assert!(!line.contains("hunter2"));
    drop(streams);
    await_line(&server, "/upstreams", &[&words[..], &["subscribers=0", "reconnects=0"]].concat());
    origin.cut_all();
    await_line(&server, "/upstreams", &["target=/e/a", "state=streaming", "reconnects=1"]);
}

fn refused_and_failing_upstreams_are_told(io: Io) {
    let origin = Origin::start(|call| match call.asked.path() {
        "/e/refused" => call.respond(403, "", ""),
        _ => call.respond(503, "", ""),
    });
    let server = share(io, &origin, "/e{rest}", "");
    let _refused = Stream::try_at(Peer::connect(server.address), "/s/refused", "");
    let _failing = Stream::at(&server, "/s/failing", "");
    await_line(&server, "/upstreams", &["target=/e/refused", "state=refused"]);
    await_line(&server, "/upstreams", &["target=/e/failing", "last_error=status_503"]);
}

fn backends_are_told(io: Io) {
    let alive = Origin::start(|call| match call.asked.path() {
        "/hold" => {
            call.send(STREAM);
            call.hold()
        }
        _ => call.respond(200, "", ""),
    });
    let dead = Origin::start(|_| Next::Close);
    let settings = format!(
        "[[backend]]\nname = \"pair\"\nendpoints = [\"{}\", \"{}\"]\neject_failures = 1\n\
         eject_time = \"10m\"\nbalance = \"round-robin\"\n[[route]]\nbackend = \"pair\"\n",
        alive.url(),
        dead.url()
    );
    let server = Server::start(io, &settings);
    (0..8).for_each(|_| drop(get(&server, "/", "")));
    let endpoint = |origin: &Origin| format!("endpoint={}", origin.address());
    await_line(
        &server,
        "/backends",
        &["backend=pair", &endpoint(&dead), "state=ejected", "last_error=\"it"],
    );
    let mut peer = Peer::connect(server.address);
    peer.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(peer.head().status, 200);
    let words = ["backend=pair", &endpoint(&alive), "state=serving", "in_flight=1"];
    await_line(&server, "/backends", &words);
    drop(peer);
    await_line(&server, "/backends", &[&words[..3], &["in_flight=0"]].concat());
}

fn metrics_follow_a_proxy(io: Io) {
    let origin = Origin::start(|call| match call.asked.path() {
        "/hold" => {
            call.send(STREAM);
            call.hold()
        }
        "/lost" => Next::Close,
        _ => {
            call.read_body();
            call.respond(200, "", "0123456789".repeat(1000))
        }
    });
    let server = proxy(io, &origin, "retries = 0");
    let mut peers: Vec<_> = (0..3).map(|_| Peer::connect(server.address)).collect();
    for peer in &mut peers {
        peer.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.head().status, 200);
    }
    (0..5).for_each(|_| drop(server.request("POST", "/", "", "body")));
    get(&server, "/lost", "");
    let exactly = |name: &str, labels: &str, want: f64| {
        eventually(&format!("{name}{{{labels}}} = {want}"), || {
            ((server.metric(name, labels) - want).abs() < 0.5).then_some(())
        });
    };
    exactly("tidegate_relays_open", "", 3.0);
    exactly("tidegate_relay_ends_total", "reason=\"done\"", 5.0);
    exactly("tidegate_relay_ends_total", "reason=\"backend_gone\"", 1.0);
    assert!(server.metric("tidegate_relay_bytes_total", "direction=\"response\"") >= 50_000.0);
    drop(peers);
    exactly("tidegate_relays_open", "", 0.0);
    exactly("tidegate_relay_ends_total", "reason=\"client_gone\"", 3.0);
    exactly("tidegate_connections_open", "", 0.0);
}

fn metrics_follow_a_shared_stream(io: Io) {
    let tape = Tape::counting(10);
    let origin = Origin::start(tape.player());
    let server = Server::start(io, &fanout(&origin, "/e{rest}", "linger = \"0s\""));
    let streams: Vec<_> =
        (0..4).map(|n| Stream::at(&server, ["/s/a", "/s/b"][n % 2], "")).collect();
    server.await_metric("tidegate_upstreams_open", "", 2.0);
    server.await_metric("tidegate_upstream_events_total", "", 20.0);
    server.await_metric("tidegate_upstream_connects_total", "result=\"success\"", 2.0);
    server.await_clients(4);
    origin.cut_all();
    server.await_metric("tidegate_upstream_reconnects_total", "", 2.0);
    drop(streams);
    eventually("no upstream", || {
        (server.metric("tidegate_upstreams_open", "") < 0.5).then_some(())
    });
}
