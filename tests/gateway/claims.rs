//! Ids that a client claims to have from an upstream: what they lead to is not held against others.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::get;
use crate::stage::share;

crate::on_both_drivers!(
    a_claim_that_is_refused_is_dropped,
    a_claim_that_brings_nothing_is_dropped_when_others_wait,
);

const JUNK: &str = "Last-Event-ID: junk\r\n";
const QUICK: &str = "initial = 10\nbackoff_min = \"10ms\"\nbackoff_max = \"20ms\"";

/// Answers so who has the id, and with one event who has none.
fn origin(to_junk: String) -> Origin {
    Origin::start(move |call| {
        if call.asked.field("last-event-id") == Some("junk") {
            call.send(&to_junk);
            return if to_junk.starts_with(STREAM) { call.hold() } else { Next::Close };
        }
        call.send(format!("{STREAM}id: 1\ndata: one\n\n"));
        call.hold()
    })
}

fn a_claim_that_is_refused_is_dropped(io: Io) {
    for status in ["204 x", "400 x", "404 x", "500 x", "503 x", "200 no event stream", "broken"] {
        let origin = origin(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        let server = share(io, &origin, "/e", QUICK);
        let mut claims = Stream::at(&server, "/s", JUNK);
        let mut other = Stream::at(&server, "/s", "");
        assert_eq!([claims.data(), other.data()], ["one", "one"], "{status}");
        let told = |stream: &Stream| {
            let gaps = stream.comments.iter().filter(|comment| comment.contains("gap"));
            assert!(gaps.clone().all(|gap| !gap.contains("junk")), "{status}");
            gaps.count()
        };
        assert_eq!(told(&claims), 1, "{status}: it may have missed events");
        assert!(told(&other) <= 1, "{status}: it may have come before or after");
        let asked = origin.asked();
        let claimed = asked.iter().filter(|a| a.field("last-event-id").is_some()).count();
        assert!(claimed <= 3 && asked.len() == claimed + 1, "{status}: {asked:?}");
    }
    // Without a claim it is refused as ever.
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n");
        Next::Close
    });
    let server = share(io, &origin, "/e", QUICK);
    Stream::at(&server, "/s", JUNK).drain();
    assert_eq!(get(&server, "/s", "").status, 404);
    assert_eq!(origin.asked().len(), 2);
}

fn a_claim_that_brings_nothing_is_dropped_when_others_wait(io: Io) {
    // As an upstream that filters by an id that it has not reached.
    let origin = origin(format!("{STREAM}: here\n\n"));
    let server = share(io, &origin, "/e", QUICK);
    let mut claims = Stream::at(&server, "/s", JUNK);
    origin.await_asked(1);
    let mut other = Stream::at(&server, "/s", "");
    assert_eq!([claims.data(), other.data()], ["one", "one"]);
    assert!(claims.comments.iter().any(|comment| comment.contains("gap")));
    assert_eq!(origin.asked().len(), 2);
}
