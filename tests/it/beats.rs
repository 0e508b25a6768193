//! What a stream carries besides events: heartbeats, `retry:` on connect, and its own end.

use crate::common::Io;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Block;
use crate::common::stream::Stream;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    heartbeats_come_to_the_silent_only,
    heartbeats_are_spread,
    retry_is_told_on_connect,
    no_retry_unless_configured,
    a_stream_ends_at_its_age,
);

fn beat() -> Option<Block> {
    Some(Block::Comment(String::new()))
}

fn heartbeats_come_to_the_silent_only(io: Io) {
    let server = Server::start(io, "[hub]\nheartbeat = \"600ms\"\n");
    let mut silent = Stream::open(&server, "topic=quiet");
    let mut busy = Stream::open(&server, "topic=a");
    assert_eq!(silent.block(), beat(), "the first bytes");
    let start = Instant::now();
    let mut publisher = Publisher::open(&server);
    let mut count = 0;
    // Events far closer together than the silence that asks for a heartbeat.
    while start.elapsed() < Duration::from_millis(2500) {
        publisher.publish(&[("topic", "a"), ("data", "x")]);
        assert_eq!(busy.data(), "x");
        count += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let at_most = if start.elapsed() < Duration::from_millis(3500) { 1 } else { 3 };
    assert!(busy.comments.len() <= at_most, "{} events, {:?}", count, busy.comments);
    for _ in 0..3 {
        assert_eq!(silent.block(), beat());
        assert_eq!(silent.wire, b":\n");
    }
    assert!(start.elapsed() > Duration::from_millis(900), "three beats take their time");
    server.await_metric("tidegate_heartbeats_total", "", 3.0);
    while busy.block() != beat() {}
}

fn heartbeats_are_spread(io: Io) {
    const CLIENTS: usize = 60;
    let server = Server::start(io, "[hub]\nheartbeat = \"2s\"\n");
    let start = Instant::now();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| Stream::open(&server, "topic=a")).collect();
    let connected = start.elapsed();
    server.publish(&[("topic", "a"), ("data", "x")]);
    for stream in &mut streams {
        assert_eq!(stream.data(), "x", "all were served at the same moment");
    }
    let mut at = Vec::new();
    std::thread::scope(|scope| {
        let wait = |stream: &mut Stream| {
            while stream.block() != beat() {}
            start.elapsed()
        };
        let threads: Vec<_> =
            streams.iter_mut().map(|stream| scope.spawn(move || wait(stream))).collect();
        at.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    });
    at.sort_unstable();
    let spread = at[CLIENTS * 9 / 10] - at[CLIENTS / 10];
    let least = Duration::from_millis(100);
    assert!(spread > least, "the middle of {CLIENTS} came within {spread:?} ({connected:?})");
}

fn retry_is_told_on_connect(io: Io) {
    let server = Server::start(io, "[hub]\nretry = \"1234ms\"\n");
    let mut stream = Stream::open(&server, "topic=a");
    server.publish(&[("topic", "a"), ("data", "x")]);
    let mut before = Vec::new();
    loop {
        match stream.block().unwrap() {
            Block::Event(event) => break assert_eq!(event.data, "x"),
            block => before.push(block),
        }
    }
    assert!(before.contains(&Block::Retry(1234)), "{before:?}");
}

fn no_retry_unless_configured(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    server.publish(&[("topic", "a"), ("data", "x")]);
    assert_eq!(stream.block(), beat());
    assert!(matches!(stream.block(), Some(Block::Event(_))));
}

fn a_stream_ends_at_its_age(io: Io) {
    let server = Server::start(io, "[hub]\nage_max = \"2s\"\n");
    let start = Instant::now();
    let mut streams: Vec<_> = (0..12).map(|_| Stream::open(&server, "topic=a")).collect();
    let mut publisher = Publisher::open(&server);
    let id = publisher.publish(&[("topic", "a"), ("data", "x")]);
    for stream in &mut streams {
        assert_eq!(stream.data(), "x");
        assert_eq!(stream.try_event(), None);
        assert!(!stream.is_cut, "at an event boundary");
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1500), "not before 80 % of the age: {took:?}");
    server.await_metric("tidegate_connections_closed_total", "age_limit", 12.0);
    publisher.publish(&[("topic", "a"), ("data", "y")]);
    let mut again = Stream::with(&server, "topic=a", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(again.data(), "y", "who comes back loses nothing");
}
