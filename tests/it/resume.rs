//! Resuming: every boundary, every way to say where, and the seam between replay and live.

use crate::common::Io;
use crate::common::peer::Peer;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Stream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

crate::on_both_drivers!(
    every_boundary_by_every_way,
    made_ids_resume_too,
    earliest_is_all_that_is_kept,
    an_unknown_id_is_an_announced_gap,
    a_forgotten_id_is_an_announced_gap,
    topics_are_selected_in_replay,
    large_histories_replay_whole,
    replay_then_live_loses_and_doubles_nothing,
);

fn publish(server: &Server, count: usize) -> Vec<String> {
    let mut publisher = Publisher::open(server);
    (0..count)
        .map(|n| publisher.publish(&[("topic", "a"), ("id", &format!("e{n}")), ("data", "x")]))
        .collect()
}

fn cursor(stream: &Stream) -> Option<&str> {
    stream.response.field("last-event-id")
}

fn every_boundary_by_every_way(io: Io) {
    let server = Server::start(io, "");
    let ids = publish(&server, 8);
    for (n, id) in ids.iter().enumerate() {
        let mut streams = [
            Stream::with(&server, "topic=a", &format!("Last-Event-ID: {id}\r\n")),
            Stream::open(&server, &format!("topic=a&lastEventID={id}")),
            Stream::open(&server, &format!("Last-Event-ID={id}&topic=a")),
            // The header beats the query.
            Stream::with(&server, "topic=a&lastEventID=e0", &format!("Last-Event-ID: {id}\r\n")),
        ];
        for stream in &mut streams {
            assert_eq!(cursor(stream), Some(id.as_str()), "the answer names the id before");
            assert_eq!(stream.ids(7 - n), ids[n + 1..]);
        }
        let live = server.publish(&[("topic", "b"), ("data", "not theirs")]);
        assert_ne!(live, *id);
    }
    let mut at_tail = Stream::open(&server, "topic=a&lastEventID=e7");
    let mut fresh = Stream::open(&server, "topic=a");
    assert_eq!(cursor(&fresh), None, "nothing was asked");
    server.publish(&[("topic", "a"), ("id", "live")]);
    assert_eq!((at_tail.id(), fresh.id()), ("live".into(), "live".into()));
}

fn made_ids_resume_too(io: Io) {
    let server = Server::start(io, "");
    let mut publisher = Publisher::open(&server);
    let ids: Vec<_> = (0..5).map(|_| publisher.publish(&[("topic", "a")])).collect();
    for (n, id) in ids.iter().enumerate() {
        let mut stream = Stream::with(&server, "topic=a", &format!("Last-Event-ID: {id}\r\n"));
        assert_eq!(stream.ids(4 - n), ids[n + 1..]);
    }
}

fn earliest_is_all_that_is_kept(io: Io) {
    let server = Server::start(io, "[hub]\nhistory_events_max = 5\n");
    let mut empty = Stream::open(&server, "topic=a&lastEventID=earliest");
    assert_eq!(cursor(&empty), Some("earliest"));
    let ids = publish(&server, 12);
    assert_eq!(empty.ids(12), ids, "what came after it is live");
    let mut stream = Stream::open(&server, "topic=a&lastEventID=earliest");
    assert_eq!(cursor(&stream), Some("earliest"));
    assert_eq!(stream.ids(5), ids[7..]);
}

fn assert_gap(stream: &mut Stream, server: &Server, what: &str) {
    assert_eq!(cursor(stream), Some("earliest"), "{what}: the header says that nothing precedes");
    server.publish(&[("topic", "a"), ("id", "after")]);
    let mut kinds = Vec::new();
    loop {
        let event = stream.event();
        if event.id.as_deref() == Some("after") {
            break;
        }
        kinds.push(event.kind);
    }
    assert!(kinds.contains(&Some("lost".into())), "{what}: no gap event in {kinds:?}");
    let said = stream.comments.iter().any(|comment| comment.contains("gap"));
    assert!(said, "{what}: no comment in {:?}", stream.comments);
}

fn an_unknown_id_is_an_announced_gap(io: Io) {
    let server = Server::start(io, "[hub]\ngap_event = \"lost\"\n");
    publish(&server, 3);
    let mut stream = Stream::with(&server, "topic=a", "Last-Event-ID: never seen\r\n");
    assert_gap(&mut stream, &server, "unknown");
    let made = server.publish(&[("topic", "a")]);
    let forged = format!("{}0", &made[..made.len() - 1]);
    if forged != made {
        let mut stream = Stream::with(&server, "topic=a", &format!("Last-Event-ID: {forged}\r\n"));
        server.publish(&[("topic", "a"), ("id", "end")]);
        while stream.id() != "end" {}
    }
}

fn a_forgotten_id_is_an_announced_gap(io: Io) {
    let server = Server::start(io, "[hub]\nhistory_events_max = 4\ngap_event = \"lost\"\n");
    let ids = publish(&server, 10);
    let mut stream = Stream::with(&server, "topic=a", &format!("Last-Event-ID: {}\r\n", ids[2]));
    assert_gap(&mut stream, &server, "forgotten");
    // The oldest kept is no gap; neither is the one right before it, if the hub still knows it.
    let kept = publish(&server, 4);
    let mut stream = Stream::with(&server, "topic=a", &format!("Last-Event-ID: {}\r\n", kept[0]));
    assert_eq!(cursor(&stream), Some(kept[0].as_str()));
    assert_eq!(stream.ids(3), kept[1..]);
}

fn topics_are_selected_in_replay(io: Io) {
    let server = Server::start(io, "");
    let mut publisher = Publisher::open(&server);
    for n in 0..30 {
        let (topic, data) = (["a", "b", "c"][n % 3], n.to_string());
        publisher.publish(&[("topic", topic), ("id", &data), ("data", &data)]);
    }
    publisher.publish(&[("topic", "a"), ("topic", "b"), ("id", "both")]);
    let mut stream = Stream::open(&server, "topic=a&topic=b&lastEventID=2");
    let want: Vec<_> = (3..30).filter(|n| n % 3 != 2).map(|n: i32| n.to_string()).collect();
    assert_eq!(stream.ids(want.len()), want);
    assert_eq!(stream.id(), "both");
    let mut all = Stream::open(&server, "topic=*&lastEventID=27");
    assert_eq!(all.ids(3), ["28", "29", "both"]);
    let mut none = Stream::open(&server, "topic=z&lastEventID=5");
    publisher.publish(&[("topic", "z"), ("id", "live")]);
    assert_eq!(none.id(), "live");
}

/// More history than a socket takes at once.
fn large_histories_replay_whole(io: Io) {
    let server = Server::start(io, "[hub]\nhistory_bytes_max = \"64MiB\"\n");
    let mut publisher = Publisher::open(&server);
    let body = "y".repeat(10_000);
    for n in 0..500 {
        publisher.publish(&[("topic", "a"), ("id", &n.to_string()), ("data", &body)]);
    }
    let open = |n: usize| {
        let peer = Peer::connect_from(server.address, None, Some(32 * 1024)).unwrap();
        Stream::over(peer, &format!("topic=a&lastEventID={n}"), "")
    };
    let mut streams: Vec<_> = (0..3).map(open).collect();
    publisher.publish(&[("topic", "a"), ("id", "500"), ("data", &body)]);
    for (from, stream) in streams.iter_mut().enumerate() {
        for n in from + 1..=500 {
            let event = stream.event();
            assert_eq!(event.id, Some(n.to_string()));
            assert_eq!(event.data.len(), body.len());
        }
    }
}

/// Two publishers never pause; clients come with cursors from all over the history, read on into
/// the live part, and must see an unbroken sequence.
fn replay_then_live_loses_and_doubles_nothing(io: Io) {
    let server = Server::start(io, "[hub]\nhistory_events_max = 100000\n");
    let (last, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let first = server.publish(&[("topic", "n"), ("id", "0")]);
    assert_eq!(first, "0");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Publisher::open(&server);
            for n in 1.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                publisher.publish(&[("topic", "n"), ("id", &n.to_string())]);
                last.store(n, Ordering::Release);
            }
        });
        scope.spawn(|| {
            let mut publisher = Publisher::open(&server);
            while !over.load(Ordering::Relaxed) {
                publisher.publish(&[("topic", "noise")]);
            }
        });
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let (server, last) = (&server, &last);
                scope.spawn(move || {
                    for round in 0..25 {
                        let tail = last.load(Ordering::Acquire);
                        // From the very tail, from just before it, and from far back.
                        let from = tail.saturating_sub([0, 1, 7, 300][(round + reader) % 4]);
                        let mut stream =
                            Stream::with(server, "topic=n", &format!("Last-Event-ID: {from}\r\n"));
                        for n in from + 1..from + 60 + (tail - from) {
                            assert_eq!(stream.id(), n.to_string(), "resumed from {from}");
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a reader saw a broken sequence");
    });
}
