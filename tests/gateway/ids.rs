//! Ids: an upstream's own pass byte for byte, both ways; where it has none, ours take their place.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::stream::Event;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::stage::share;

crate::on_both_drivers!(
    an_upstreams_ids_pass_byte_for_byte,
    a_client_resumes_from_each_id_of_the_upstream,
    events_without_ids_get_ours_and_resume_by_them,
    an_id_that_is_not_known_is_passed_on_with_a_new_channel,
    an_inherited_id_is_not_given_twice,
    ours_are_never_sent_to_the_upstream,
);

/// Ids that upstreams may have, and that a careless gateway changes.
const IDS: [&str; 12] = [
    "1",
    "\"quoted\"",
    "a\\b",
    "with space",
    "colon: in it",
    "ünïcödé \u{1f30a}",
    "#frag,comma;semi",
    "%41%0a",
    "'{\"seq\":[1,2],\"t\":\"é\"}'",
    "=?utf-8?q?x?=",
    "0",
    "-1",
];

/// All of them, from behind the last id on, then silence.
fn odd() -> Origin {
    Origin::start(|call| {
        let last = call.asked.field("last-event-id").map(str::to_owned);
        let from = last.map_or(0, |id| 1 + IDS.iter().position(|i| *i == id).unwrap_or(90));
        call.send(STREAM);
        for (n, id) in IDS.iter().enumerate().skip(from) {
            call.send(format!("id: {id}\ndata: {n}\n\n"));
            if from == 0 && n == 5 {
                return Next::Close;
            }
        }
        call.hold()
    })
}

fn an_upstreams_ids_pass_byte_for_byte(io: Io) {
    let origin = odd();
    let server = share(io, &origin, "/e", "initial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    for (n, id) in IDS.iter().enumerate() {
        let event = stream.event();
        assert_eq!((event.id.as_deref(), event.data), (Some(*id), n.to_string()));
    }
    let asked = origin.await_asked(2);
    assert_eq!(asked[1].field("last-event-id"), Some(IDS[5]), "and back to the upstream");
}

fn a_client_resumes_from_each_id_of_the_upstream(io: Io) {
    let origin = odd();
    let server = share(io, &origin, "/e", "initial = 100\nlinger = \"10m\"");
    Stream::at(&server, "/s", "").ids(IDS.len());
    for (n, id) in IDS.iter().enumerate().take(IDS.len() - 1) {
        let mut stream = Stream::at(&server, "/s", &format!("Last-Event-ID: {id}\r\n"));
        let rest = stream.ids(IDS.len() - n - 1);
        assert_eq!(rest, IDS[n + 1..], "from {id:?} on");
        assert!(stream.comments.iter().all(|c| !c.contains("gap")), "{:?}", stream.comments);
    }
    assert_eq!(origin.connections(), 2, "the history has them all");
}

fn events_without_ids_get_ours_and_resume_by_them(io: Io) {
    const EVENTS: usize = 30;
    let origin = Origin::start(|call| {
        call.send(STREAM);
        (0..EVENTS).for_each(|n| call.say(format!("data: {n}\n\n")));
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 1000");
    let mut stream = Stream::at(&server, "/s", "");
    let all: Vec<Event> = (0..EVENTS).map(|_| stream.event()).collect();
    let mut ids: Vec<_> = all.iter().map(|event| event.id.clone().unwrap()).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(all[n].data, n.to_string());
        let mut resumed = Stream::at(&server, "/s", &format!("Last-Event-ID: {id}\r\n"));
        for event in &all[n + 1..] {
            assert_eq!(resumed.event(), *event, "resumed from {id}");
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), EVENTS, "each its own");
}

fn an_id_that_is_not_known_is_passed_on_with_a_new_channel(io: Io) {
    let tape = Tape::counting(20);
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/e", "");
    // As after a restart of the gateway: the client knows more than it does.
    let mut stream = Stream::at(&server, "/s", "Last-Event-ID: 14\r\n");
    for n in 15..20 {
        assert_eq!(stream.data(), n.to_string(), "nothing is lost and nothing comes twice");
    }
    assert_eq!(origin.await_asked(1)[0].field("last-event-id"), Some("14"));
    assert!(stream.comments.iter().all(|c| !c.contains("gap")), "{:?}", stream.comments);
    // The channel is there now: for another unknown id nobody asks the upstream again.
    let mut other = Stream::at(&server, "/s", "Last-Event-ID: 3\r\n");
    tape.push("new");
    while other.data() != "new" {}
    assert!(other.comments.iter().any(|c| c.contains("gap")), "{:?}", other.comments);
    assert_eq!(origin.connections(), 1);
}

fn an_inherited_id_is_not_given_twice(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}id: a\ndata: 1\n\ndata: 2\n\ndata: 3\n\nid: b\ndata: 4\n\n"));
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    let ids = stream.ids(4);
    assert_eq!((ids[0].as_str(), ids[3].as_str()), ("a", "b"));
    assert!(ids[1] != ids[0] && ids[2] != ids[1], "{ids:?}");
    for (n, id) in ids.iter().enumerate().take(3) {
        let mut resumed = Stream::at(&server, "/s", &format!("Last-Event-ID: {id}\r\n"));
        assert_eq!(resumed.data(), (n + 2).to_string(), "from {id}");
    }
}

fn ours_are_never_sent_to_the_upstream(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}data: {}\n\n", call.number));
        if call.number < 3 { Next::Close } else { call.hold() }
    });
    let server = share(io, &origin, "/e", "initial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    for n in 0..4 {
        assert_eq!(stream.data(), n.to_string());
    }
    for asked in origin.await_asked(4) {
        assert_eq!(asked.field("last-event-id"), None, "it gave no id: {asked:?}");
    }
}
