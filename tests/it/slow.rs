//! Clients that do not read: each lag policy, the write timeout, and what they may cost.

use crate::common::Io;
use crate::common::eventually;
use crate::common::peer::Peer;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Event;
use crate::common::stream::Stream;

crate::on_both_drivers!(
    policy_close_ends_the_stream_and_resuming_loses_nothing,
    policy_skip_goes_on_behind_a_gap,
    policy_latest_gives_the_newest_of_each_topic,
    a_stalled_peer_is_closed_after_the_write_timeout,
    a_thousand_clients_that_never_read_cost_a_bounded_amount,
    a_slow_client_holds_nobody_up,
    a_client_that_reads_in_drops_gets_everything,
);

/// Bytes of data in each event of these tests.
const BODY: usize = 3000;
/// The most that is published to fill a socket: kernel buffers are far smaller.
const EVENTS_MAX: usize = 12_000;

/// Data that shows at once if two events were mixed.
fn body(number: usize) -> String {
    let mark = format!("{:02}", number % 100);
    format!("{number} {}", mark.repeat(BODY / 2))
}

/// The number of an event that is whole and unmixed.
#[track_caller]
fn number(event: &Event) -> usize {
    let number = event.data.split(' ').next().unwrap().parse().expect("a number");
    assert!(event.data == body(number), "event {number} is torn");
    number
}

fn stalled(server: &Server, query: &str) -> Stream {
    let peer = Peer::connect_from(server.address, None, Some(4096)).unwrap();
    Stream::over(peer, query, "")
}

fn lagged(server: &Server, policy: &str) -> bool {
    server.metric("tidegate_lag_actions_total", &format!("policy=\"{policy}\"")) > 0.0
}

/// Publishes until somebody lags too far; returns how many events that took.
fn publish_until_lagged(server: &Server, policy: &str, topics: &[&str]) -> usize {
    let mut publisher = Publisher::open(server);
    for number in 0..EVENTS_MAX {
        let topic = topics[number % topics.len()];
        let id = number.to_string();
        publisher.publish(&[("topic", topic), ("id", &id), ("data", &body(number))]);
        if number % 50 == 49 && lagged(server, policy) {
            return number + 1;
        }
    }
    panic!("nobody lagged after {EVENTS_MAX} events");
}

fn settings(policy: &str) -> String {
    format!(
        "[limits]\nbody_bytes_max = \"64KiB\"\n\
         [hub]\nlag_policy = \"{policy}\"\nlag_bytes_max = \"128KiB\"\ngap_event = \"lost\"\n\
         history_bytes_max = \"256MiB\"\nhistory_events_max = 100000\nheartbeat = \"0s\"\n"
    )
}

fn policy_close_ends_the_stream_and_resuming_loses_nothing(io: Io) {
    let server = Server::start(io, &settings("close"));
    let mut stream = stalled(&server, "topic=a");
    let count = publish_until_lagged(&server, "close", &["a"]);
    let mut next = 0;
    while let Some(event) = stream.try_event() {
        assert_eq!(number(&event), next, "whatever came is a prefix");
        next += 1;
    }
    assert!(next < count, "the stream was ended early");
    let fields = match next {
        0 => "Last-Event-ID: earliest\r\n".to_owned(),
        _ => format!("Last-Event-ID: {}\r\n", next - 1),
    };
    let mut again = Stream::with(&server, "topic=a", &fields);
    for want in next..count {
        assert_eq!(number(&again.event()), want, "after the resume");
    }
}

fn policy_skip_goes_on_behind_a_gap(io: Io) {
    let server = Server::start(io, &settings("skip"));
    let mut stream = stalled(&server, "topic=a");
    let count = publish_until_lagged(&server, "skip", &["a"]);
    let end = count.to_string();
    let (mut next, mut gaps) = (0, 0);
    let mut publisher = Publisher::open(&server);
    publisher.publish(&[("topic", "a"), ("id", &end), ("data", &body(count))]);
    loop {
        let event = stream.event();
        if event.kind.as_deref() == Some("lost") {
            gaps += 1;
            continue;
        }
        let number = number(&event);
        assert!(number == next || (number > next && gaps > 0), "{next} is missing, unannounced");
        next = number + 1;
        if number == count {
            break;
        }
    }
    assert!(gaps > 0, "no gap event");
    assert!(stream.comments.iter().any(|c| c.contains("gap")), "{:?}", stream.comments);
}

fn policy_latest_gives_the_newest_of_each_topic(io: Io) {
    let server = Server::start(io, &settings("latest"));
    let topics = ["a", "b", "c"];
    let mut stream = stalled(&server, "topic=a&topic=b&topic=c");
    let count = publish_until_lagged(&server, "latest", &topics);
    let mut seen = Vec::new();
    loop {
        let event = stream.event();
        if event.kind.as_deref() == Some("lost") {
            continue;
        }
        seen.push(number(&event));
        // The newest of all has been published: whoever has it is at the tail.
        if seen.last() == Some(&(count - 1)) {
            break;
        }
    }
    assert!(seen.is_sorted() && seen.len() < count, "in order, and conflated: {}", seen.len());
    for newest in count - 3..count {
        assert!(seen.contains(&newest), "the newest event of topic {}", topics[newest % 3]);
    }
    server.publish(&[("topic", "b"), ("data", &body(count))]);
    assert_eq!(number(&stream.event()), count, "and live from there");
}

fn a_stalled_peer_is_closed_after_the_write_timeout(io: Io) {
    let settings = "[limits]\nwrite_timeout = \"400ms\"\n\
                    [hub]\nlag_bytes_max = \"64MiB\"\nhistory_bytes_max = \"256MiB\"\n";
    let server = Server::start(io, settings);
    let mut reader = Stream::open(&server, "topic=a");
    let mut stream = stalled(&server, "topic=a");
    server.await_clients(2);
    let mut publisher = Publisher::open(&server);
    let closed = || server.metric("tidegate_connections_closed_total", "write_timeout") > 0.0;
    let mut count = 0;
    while count < EVENTS_MAX && !closed() {
        for _ in 0..20 {
            publisher.publish(&[("topic", "a"), ("data", &body(count))]);
            count += 1;
        }
        for n in count - 20..count {
            assert_eq!(number(&reader.event()), n, "the one that reads is not held up");
        }
    }
    eventually("the close of the stalled peer", || closed().then_some(()));
    let mut next = 0;
    while let Some(event) = stream.try_event() {
        assert_eq!(number(&event), next);
        next += 1;
    }
    server.await_clients(1);
}

fn a_thousand_clients_that_never_read_cost_a_bounded_amount(io: Io) {
    const CLIENTS: usize = 1000;
    let server = Server::start(io, &settings("skip"));
    let open = |_| stalled(&server, "topic=a");
    let mut early: Vec<_> = (0..10).map(open).collect();
    publish_until_lagged(&server, "skip", &["a"]);
    let before = server.rss();
    let streams: Vec<_> = (0..CLIENTS).map(open).collect();
    server.await_clients(CLIENTS + early.len());
    let mut publisher = Publisher::open(&server);
    for n in 0..1500 {
        publisher.publish(&[("topic", "a"), ("data", &body(n))]);
    }
    let history = 1500 * (BODY as u64 + 100);
    let grown = server.rss().saturating_sub(before);
    // Events are shared; what a client adds is its record and the rest of one cut event.
    let each = 24 * 1024;
    let allowed = history + each * CLIENTS as u64;
    assert!(grown < allowed, "{CLIENTS} clients cost {grown} bytes, allowed {allowed}");
    // 4.5 MB were offered to each; the kernel takes little of what is not being read.
    let kernel = server.kernel_bytes() / CLIENTS as u64;
    assert!((1..128 * 1024).contains(&kernel), "{kernel} bytes each in the kernel");
    drop(streams);
    server.await_clients(early.len());
    let last = early.pop().unwrap();
    drop(early);
    server.await_clients(1);
    drop(last);
    server.await_clients(0);
}

fn a_slow_client_holds_nobody_up(io: Io) {
    let server = Server::start(io, &settings("close"));
    let _stalled: Vec<_> = (0..20).map(|_| stalled(&server, "topic=a")).collect();
    let mut streams: Vec<_> = (0..5).map(|_| Stream::open(&server, "topic=a")).collect();
    let mut publisher = Publisher::open(&server);
    for n in 0..400 {
        publisher.publish(&[("topic", "a"), ("data", &body(n))]);
        for stream in &mut streams {
            assert_eq!(number(&stream.event()), n);
        }
    }
}

/// A client with a tiny window that reads a little at a time makes every send fall short.
fn a_client_that_reads_in_drops_gets_everything(io: Io) {
    let settings = "[hub]\nlag_bytes_max = \"64MiB\"\nhistory_bytes_max = \"64MiB\"\n";
    let server = Server::start(io, settings);
    let mut stream = stalled(&server, "topic=a");
    let mut publisher = Publisher::open(&server);
    let count = 1500;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..count {
                publisher.publish(&[("topic", "a"), ("data", &body(n))]);
            }
        });
        for n in 0..count {
            assert_eq!(number(&stream.event()), n);
        }
    });
}
