//! SIGTERM: stop accepting, deliver what is queued, close the clients spread over the period.

use crate::common::Io;
use crate::common::peer::Peer;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Block;
use crate::common::stream::Stream;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    a_drain_delivers_and_then_closes_spread,
    a_second_signal_ends_it_at_once,
    a_publish_in_the_drain_is_delivered_or_refused,
    a_server_without_clients_ends_at_once,
);

struct End {
    data: Vec<String>,
    retry: Option<u64>,
    at: Duration,
}

/// Reads to the end of the stream.
fn end(stream: &mut Stream, start: Instant) -> End {
    let (mut data, mut retry) = (Vec::new(), None);
    while let Some(block) = stream.block() {
        match block {
            Block::Event(event) => data.push(event.data),
            Block::Retry(millis) => retry = Some(millis),
            Block::Comment(_) => {}
        }
    }
    assert!(!stream.is_cut, "ended inside an event");
    End { data, retry, at: start.elapsed() }
}

fn ends(streams: &mut [Stream], start: Instant) -> Vec<End> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            streams.iter_mut().map(|stream| scope.spawn(move || end(stream, start))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn a_drain_delivers_and_then_closes_spread(io: Io) {
    const CLIENTS: usize = 40;
    let mut server = Server::start(io, "[drain]\nperiod = \"2s\"\nreconnects_per_second = 20\n");
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| Stream::open(&server, "topic=a")).collect();
    server.await_clients(CLIENTS);
    assert_eq!(server.admin_get("/ready").status, 200);
    let mut publisher = Publisher::open(&server);
    for n in 0..50 {
        publisher.publish(&[("topic", "a"), ("data", &n.to_string())]);
    }
    server.signal("TERM");
    let start = Instant::now();
    let ends = ends(&mut streams, start);
    let want: Vec<_> = (0..50).map(|n: i32| n.to_string()).collect();
    for end in &ends {
        assert_eq!(end.data, want, "what was queued is delivered");
    }
    let mut retries: Vec<_> =
        ends.iter().map(|e| e.retry.expect("a retry before the end")).collect();
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > CLIENTS / 4, "spread by chance: {retries:?}");
    let mut at: Vec<_> = ends.iter().map(|end| end.at).collect();
    at.sort_unstable();
    let spread = at[CLIENTS * 9 / 10] - at[CLIENTS / 10];
    assert!(spread > Duration::from_millis(500), "closed over {spread:?}: {at:?}");
    assert!(server.ended().success(), "a drain is an orderly end");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn a_second_signal_ends_it_at_once(io: Io) {
    let mut server = Server::start(io, "[drain]\nperiod = \"10m\"\n");
    let mut streams: Vec<_> = (0..10).map(|_| Stream::open(&server, "topic=a")).collect();
    server.await_clients(10);
    server.publish(&[("topic", "a"), ("data", "x")]);
    server.signal("TERM");
    crate::common::eventually("readiness fails in the drain", || {
        (server.admin_get("/ready").status == 503).then_some(())
    });
    assert_eq!(server.admin_get("/live").status, 200);
    let refused = || {
        let connected = TcpStream::connect_timeout(&server.address, Duration::from_secs(5));
        let Ok(socket) = connected else { return true };
        let mut peer = Peer::over(socket);
        peer.try_send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        peer.try_head().is_none()
    };
    crate::common::eventually("no new connections", || refused().then_some(()));
    assert!(server.is_running(), "the period is long");
    server.signal("TERM");
    let start = Instant::now();
    for end in ends(&mut streams, start) {
        assert_eq!(end.data, ["x"]);
    }
    server.ended();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn a_publish_in_the_drain_is_delivered_or_refused(io: Io) {
    let mut server = Server::start(io, "[drain]\nperiod = \"3s\"\n");
    let mut streams: Vec<_> = (0..8).map(|_| Stream::open(&server, "topic=a")).collect();
    let mut publishers: Vec<_> = (0..8).map(|_| Publisher::open(&server)).collect();
    for publisher in &mut publishers {
        publisher.publish(&[("topic", "a"), ("data", "before")]);
    }
    server.signal("TERM");
    let start = Instant::now();
    // Each connection that is still there may be used once more: the answer says that it closes.
    let mut accepted = 0;
    for publisher in &mut publishers {
        let Some(answer) = publisher.try_post(&[("topic", "a"), ("data", "late")]) else {
            continue;
        };
        match answer.status {
            200 => accepted += 1,
            503 => {}
            status => panic!("{status}"),
        }
    }
    for end in ends(&mut streams, start) {
        let late = end.data.iter().filter(|data| *data == "late").count();
        assert_eq!(end.data.len() - late, 8);
        assert!(late <= accepted, "no event from nowhere");
    }
    server.ended();
}

fn a_server_without_clients_ends_at_once(io: Io) {
    let mut server = Server::start(io, "[drain]\nperiod = \"10m\"\n");
    let mut idle = Publisher::open(&server);
    idle.publish(&[("topic", "a")]);
    server.signal("TERM");
    let start = Instant::now();
    assert!(server.ended().success());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
