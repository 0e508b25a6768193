//! Subscribe and publish: who receives what, in which bytes, in which order.

use crate::common::Io;
use crate::common::server::HUB;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Block;
use crate::common::stream::Stream;

crate::on_both_drivers!(
    a_subscriber_receives_what_is_published,
    an_event_has_its_bytes,
    a_client_with_several_topics_gets_each_event_once,
    a_star_gets_everything,
    topics_match_byte_for_byte,
    ids_are_kept_or_made,
    events_keep_their_order,
    every_client_on_every_worker_gets_everything,
    large_events_arrive_whole,
    a_burst_arrives_whole,
);

fn a_subscriber_receives_what_is_published(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let head = &stream.response;
    let cache = head.field("cache-control").unwrap();
    assert!(cache.contains("no-store") && cache.contains("no-cache"), "{cache}");
    assert_eq!(head.field("x-accel-buffering"), Some("no"));
    assert_eq!(head.field("connection"), Some("close"), "the close delimits the body");
    assert_eq!(stream.block(), Some(Block::Comment(String::new())), "the first bytes, at once");
    let mut publisher = Publisher::open(&server);
    let answer = publisher.post(&[("topic", "a"), ("data", "hello"), ("id", "x")]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
    assert!(answer.field("content-type").unwrap().starts_with("text/plain"));
    let event = stream.event();
    assert_eq!((event.id.as_deref(), event.data.as_str()), (Some("x"), "hello"));
    assert_eq!((event.kind, event.retry), (None, None));
}

fn an_event_has_its_bytes(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let form = [("topic", "a"), ("type", "t"), ("retry", "5"), ("id", "i"), ("data", "a\r\nb")];
    server.publish(&form);
    stream.event();
    assert_eq!(stream.wire, b"event: t\nretry: 5\nid: i\ndata: a\ndata: b\n\n");
    server.publish(&[("topic", "a"), ("id", "j")]);
    stream.event();
    assert_eq!(stream.wire, b"id: j\ndata: \n\n", "absent data is empty data");
    server.publish(&[("topic", "a"), ("id", "k"), ("data", " x\r\ry\n")]);
    stream.event();
    assert_eq!(stream.wire, b"id: k\ndata:  x\ndata: \ndata: y\ndata: \n\n");
}

fn a_client_with_several_topics_gets_each_event_once(io: Io) {
    let server = Server::start(io, "");
    let mut both = Stream::open(&server, "topic=a&topic=b&topic=a");
    let mut only = Stream::open(&server, "topic=b");
    let mut publisher = Publisher::open(&server);
    publisher.publish(&[("topic", "a"), ("topic", "b"), ("data", "1")]);
    publisher.publish(&[("topic", "c"), ("data", "2")]);
    publisher.publish(&[("topic", "a"), ("data", "3")]);
    publisher.publish(&[("topic", "c"), ("topic", "b"), ("data", "4")]);
    assert_eq!((both.data(), both.data(), both.data()), ("1".into(), "3".into(), "4".into()));
    assert_eq!((only.data(), only.data()), ("1".into(), "4".into()));
}

fn a_star_gets_everything(io: Io) {
    let server = Server::start(io, "");
    let mut all = Stream::open(&server, "topic=*");
    let mut mixed = Stream::open(&server, "topic=a&topic=*");
    let mut publisher = Publisher::open(&server);
    for (topic, data) in [("a", "1"), ("b", "2"), ("https://x.example/c?d", "3")] {
        publisher.publish(&[("topic", topic), ("data", data)]);
    }
    for stream in [&mut all, &mut mixed] {
        assert_eq!([stream.data(), stream.data(), stream.data()], ["1", "2", "3"]);
    }
}

fn topics_match_byte_for_byte(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=caf%C3%A9+%26&topic=end");
    let mut publisher = Publisher::open(&server);
    for topic in ["café", "Café &", "café&", "café & ", "cafe\u{301} &"] {
        publisher.publish(&[("topic", topic), ("data", "no")]);
    }
    publisher.publish(&[("topic", "café &"), ("data", "yes")]);
    publisher.publish(&[("topic", "end"), ("data", "end")]);
    assert_eq!((stream.data(), stream.data()), ("yes".into(), "end".into()));
}

fn ids_are_kept_or_made(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let mut publisher = Publisher::open(&server);
    let given = "urn:x:[\"quoted\"] é";
    assert_eq!(publisher.publish(&[("topic", "a"), ("id", given)]), given);
    let made: Vec<_> = (0..3).map(|_| publisher.publish(&[("topic", "a")])).collect();
    assert!(made.iter().all(|id| !id.is_empty() && !id.ends_with('\n')), "{made:?}");
    assert!(made[0] != made[1] && made[1] != made[2], "{made:?}");
    assert_eq!(stream.ids(4), [given, &made[0], &made[1], &made[2]]);
    let empty = publisher.publish(&[("topic", "a"), ("id", "")]);
    assert!(!empty.is_empty(), "an empty id is none");
}

fn events_keep_their_order(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let mut publisher = Publisher::open(&server);
    for n in 0..500 {
        publisher.publish(&[("topic", "a"), ("data", &n.to_string())]);
    }
    for n in 0..500 {
        assert_eq!(stream.data(), n.to_string());
    }
}

fn every_client_on_every_worker_gets_everything(io: Io) {
    let server = Server::start(io, "workers = 3\n");
    let open = |n: usize| {
        // Some share a feed, some have one of their own.
        let query =
            if n.is_multiple_of(3) { format!("topic=a&topic=own{n}") } else { "topic=a".into() };
        Stream::open(&server, &query)
    };
    let mut streams: Vec<_> = (0..150).map(open).collect();
    server.await_clients(150);
    let mut publisher = Publisher::open(&server);
    for n in 0..40 {
        publisher.publish(&[("topic", "a"), ("data", &n.to_string())]);
    }
    for stream in &mut streams {
        for n in 0..40 {
            assert_eq!(stream.data(), n.to_string());
        }
    }
}

/// As many letters as no power of two divides.
const ALPHABET: &str = "abcdefghijklmnopqrstuvw";

fn large_events_arrive_whole(io: Io) {
    let server = Server::start(io, "");
    let mut stream = Stream::open(&server, "topic=a");
    let mut publisher = Publisher::open(&server);
    for size in [4095, 4096, 4097, 65_536, 700_000] {
        let data: String = ALPHABET.chars().cycle().take(size).collect();
        publisher.publish(&[("topic", "a"), ("data", &data)]);
        publisher.publish(&[("topic", "a"), ("data", "small")]);
        assert!(stream.data() == data, "{size} bytes");
        assert_eq!(stream.data(), "small");
    }
}

/// More than a send's worth at once, pipelined, to clients that read late.
fn a_burst_arrives_whole(io: Io) {
    let server = Server::start(io, "");
    let mut streams: Vec<_> = (0..20).map(|_| Stream::open(&server, "topic=a")).collect();
    let mut peer = crate::common::peer::Peer::connect(server.address);
    let mut burst = String::new();
    for n in 0..300 {
        let body = format!("topic=a&data={n}-{}", "x".repeat(500));
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let length = body.len();
        burst += &format!(
            "POST {HUB} HTTP/1.1\r\nHost: h\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    }
    std::thread::scope(|scope| {
        let mut writer = crate::common::peer::Peer::over(peer.socket().try_clone().unwrap());
        scope.spawn(move || writer.send(burst));
        for _ in 0..300 {
            assert_eq!(peer.response().status, 200);
        }
    });
    for stream in &mut streams {
        for n in 0..300 {
            assert!(stream.data().starts_with(&format!("{n}-x")));
        }
    }
}
