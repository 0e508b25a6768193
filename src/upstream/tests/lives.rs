//! What follows each outcome: statuses, redirects, ends, silence, faults.

use super::stage::OPEN;
use super::stage::Stage;
use super::stage::answer;
use super::stage::framed;
use super::stage::seen;
use super::*;
use crate::http::h1::Fault;
use crate::http::h1::response::ResponseFault;

const R: Duration = Duration::from_millis(250);

fn stage() -> Stage {
    let mut stage = Stage::new(&definition(), None);
    stage.connect();
    stage
}

#[track_caller]
fn lost(stage: &mut Stage) -> (Cause, u32, Duration) {
    match stage.news()[..] {
        [.., Notice::Lost { cause, failures, retry_in }] => (cause, failures, retry_in),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_attempt_is_made_at_once_and_asks_for_no_id() {
    let mut stage = Stage::new(&definition(), None);
    assert_eq!(stage.connect(), Duration::ZERO);
    assert_eq!((stage.target(), stage.asked_after()), ("/s/a", None));
    let mut seeded = Stage::new(&definition(), Some("41"));
    seeded.connect();
    assert_eq!(seeded.asked_after(), Some("41"));
}

#[test]
fn a_seed_is_no_id_of_an_event_and_gives_way_to_one() {
    let mut stage = Stage::new(&definition(), Some("41"));
    stage.connect();
    stage.receive(format!("{OPEN}data:a\n\nid:42\ndata:b\n\n"));
    assert_eq!(stage.store.seen, [seen(None, "a"), seen(Some("42"), "b")]);
    stage.end(true);
    stage.connect();
    assert_eq!(stage.asked_after(), Some("42"));
}

#[test]
fn failures_before_the_stream_back_off_and_a_stream_recovers() {
    let mut stage = Stage::new(&definition(), None);
    type Outcome = fn(&mut Stage) -> Step;
    let outcomes: [(Outcome, Cause); 8] = [
        (|stage| stage.end(true), Cause::Early),
        (|stage| stage.end(false), Cause::Early),
        (|stage| stage.fail(Cause::Tls), Cause::Tls),
        (|stage| stage.receive(answer(503, "")), Cause::Status(503)),
        (|stage| stage.receive(answer(101, "Upgrade: x\r\n")), Cause::Status(101)),
        (|stage| stage.receive(answer(200, "")), Cause::ContentType),
        (|stage| stage.wait().1, Cause::HeadTimeout),
        (
            |stage| stage.receive("SSH-2.0\r\n\r\n"),
            Cause::Malformed(ResponseFault::Message(Fault::Version)),
        ),
    ];
    for (n, (outcome, want)) in outcomes.into_iter().enumerate() {
        stage.connect();
        assert_eq!(outcome(&mut stage), Step::Close, "{want:?}");
        let (cause, failures, retry_in) = lost(&mut stage);
        let same = matches!((cause, want), (Cause::Malformed(_), Cause::Malformed(_)));
        assert!(cause == want || same, "{cause:?} {want:?}");
        assert_eq!(failures as usize, n + 1);
        let most = (R * (1 << failures)).min(Duration::from_secs(30));
        assert!((R..=most).contains(&retry_in), "{n}: {retry_in:?}");
        assert_eq!(stage.source.deadline(), Some(stage.now.after(retry_in)));
    }
    stage.connect();
    stage.receive(OPEN);
    assert_eq!(stage.news(), [Notice::Recovered { failures: 8 }]);
    let health = stage.source.tap().board.read(stage.now);
    assert_eq!((health.phase, health.failures, health.reconnects), (Phase::Streaming, 8, 0));
    stage.receive("data:a\n\n");
    stage.end(true);
    let [Notice::Ended { retry_in }] = stage.news()[..] else { panic!() };
    assert!((R..=R + SPREAD).contains(&retry_in));
    stage.connect();
    stage.receive(OPEN);
    assert_eq!(stage.news(), [Notice::Opened], "what was healthy starts afresh");
    assert_eq!(stage.source.tap().board.read(stage.now).reconnects, 1);
}

#[test]
fn connecting_has_its_limit() {
    let mut stage = Stage::new(&definition(), None);
    assert_eq!(stage.wait(), (0, Step::Connect));
    let from = stage.now;
    assert_eq!(stage.wait().1, Step::Close);
    assert_eq!(stage.now.since(from), Duration::from_secs(5));
    assert_eq!(lost(&mut stage).0, Cause::ConnectTimeout);
    // The connection is made all the same, too late: nothing is asked on it.
    let (now, mut out) = (stage.now, Vec::new());
    assert_eq!(stage.act(|source, _, _| source.connected(now, &mut out)), Step::Close);
    assert!(out.is_empty());
    for cause in [Cause::Resolve, Cause::NoEndpoint, Cause::Connect] {
        assert_eq!(stage.wait().1, Step::Connect);
        assert_eq!(stage.fail(cause), Step::Close);
        assert_eq!(lost(&mut stage).0, cause);
        assert_eq!(stage.fail(cause), Step::Close, "told twice, counted once");
        assert!(stage.news().is_empty());
    }
}

/// MCP's conformance suite wants 450 to 700 ms, our own time included.
#[test]
fn a_named_reconnection_time_is_kept_over_reconnects_with_little_added() {
    let mut stage = stage();
    stage.receive(framed(b"id: 7\nretry: 500\ndata:\n\n", 2, 9));
    for _ in 0..20 {
        let waited = stage.connect();
        assert!((Duration::from_millis(500)..=Duration::from_millis(600)).contains(&waited));
        assert_eq!(stage.asked_after(), Some("7"));
        stage.receive(framed(b"data: x\n\n", 1, 9));
    }
    // It is the base of the back-off too.
    for n in 1..4 {
        stage.connect();
        stage.end(false);
        let (_, failures, retry_in) = lost(&mut stage);
        assert_eq!(failures, n);
        assert!(retry_in >= Duration::from_millis(500), "{retry_in:?}");
    }
}

#[test]
fn a_stream_that_names_only_a_reconnection_time_is_obeyed() {
    let mut stage = stage();
    for _ in 0..5 {
        assert_eq!(stage.receive(format!("{OPEN}retry: 700\n")), Step::Wait);
        assert_eq!(stage.end(true), Step::Close);
        assert!(matches!(stage.news()[..], [Notice::Opened, Notice::Ended { .. }]));
        let waited = stage.connect().as_millis();
        assert!((700..=800).contains(&waited), "{waited}");
    }
}

#[test]
fn a_stream_that_brings_nothing_is_a_failure_unless_it_lasts() {
    let mut stage = stage();
    for n in 1..5 {
        stage.receive(OPEN);
        stage.receive(": hello\nid: 3\ndata: not yet");
        stage.end(true);
        assert_eq!(
            (lost(&mut stage).0, stage.source.tap().board.read(stage.now).failures),
            (Cause::Ended, n)
        );
        stage.connect();
        assert_eq!(stage.asked_after(), None, "D6");
    }
    stage.receive(OPEN);
    stage.pass(HEALTHY_AFTER);
    stage.end(true);
    assert!(matches!(stage.news()[..], [Notice::Recovered { .. }, Notice::Ended { .. }]));
}

#[test]
fn silence_ends_a_stream_and_comments_are_no_silence() {
    let mut stage = stage();
    stage.receive(format!("{OPEN}data: a\n\n"));
    for _ in 0..10 {
        stage.pass(Duration::from_secs(59));
        assert_eq!(stage.receive(":\n"), Step::Wait);
    }
    assert_eq!(stage.source.deadline(), Some(stage.now.after(Duration::from_secs(60))));
    assert_eq!(stage.wait().1, Step::Close);
    let (cause, failures, retry_in) = lost(&mut stage);
    assert_eq!((cause, failures), (Cause::IdleTimeout, 0));
    assert!(retry_in <= R + SPREAD);
    let limitless = Upstream { idle_timeout: Duration::ZERO, ..definition() };
    let mut stage = Stage::new(&limitless, None);
    stage.connect();
    stage.receive(OPEN);
    assert_eq!(stage.source.deadline(), None);
}

#[test]
fn refusals_are_final_and_only_these() {
    for status in [204, 400, 401, 403, 404, 410] {
        let mut stage = stage();
        assert_eq!(stage.receive(answer(status, "")), Step::Refused { status });
        assert_eq!(stage.news(), [Notice::Refused { status }]);
        assert_eq!(stage.source.deadline(), None);
        assert_eq!(stage.receive("data: a\n\n"), Step::Close);
        assert_eq!(stage.end(true), Step::Close);
        assert!(stage.news().is_empty() && stage.store.seen.is_empty());
        let health = stage.source.tap().board.read(stage.now);
        assert_eq!(health.trouble.unwrap().status, Some(status));
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let mut stage = stage();
        assert_eq!(stage.receive(answer(status, "Retry-After: 9\r\n")), Step::Close);
        let (cause, _, retry_in) = lost(&mut stage);
        assert_eq!(cause, Cause::Status(status));
        let least = Duration::from_secs(9);
        assert!((least..=least + SPREAD).contains(&retry_in), "{retry_in:?}");
    }
}

#[test]
fn what_is_always_on_is_never_refused_for_good() {
    let mut stage = Stage::new(&Upstream { always_on: true, ..definition() }, None);
    stage.connect();
    assert_eq!(stage.receive(answer(404, "")), Step::Close);
    let (cause, _, retry_in) = lost(&mut stage);
    assert_eq!(cause, Cause::Status(404));
    assert!((REFUSED_FOR..=REFUSED_FOR + SPREAD).contains(&retry_in));
}

#[test]
fn interim_answers_are_no_answer() {
    let mut stage = stage();
    let bytes = format!("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n{OPEN}data: a\n\n");
    assert_eq!(stage.receive(bytes), Step::Wait);
    assert_eq!(stage.store.seen, [seen(None, "a")]);
}

#[test]
fn redirects_are_followed_at_once_and_permanent_ones_are_kept() {
    let mut stage = stage();
    let hop = |stage: &mut Stage, status, place: &str| {
        let step = stage.receive(answer(status, &format!("Location: {place}\r\n")));
        assert_eq!((step, stage.connect()), (Step::Close, Duration::ZERO));
    };
    hop(&mut stage, 301, "b");
    assert_eq!(stage.target(), "/s/b");
    hop(&mut stage, 307, "http://feed.test:8080/c?d");
    assert_eq!(stage.target(), "/c?d");
    // Permanent, but behind one that is not.
    hop(&mut stage, 308, "/e");
    stage.receive(format!("{OPEN}data: a\n\n"));
    stage.end(true);
    stage.connect();
    assert_eq!(stage.target(), "/s/b", "only what was permanent from the start");
    // What is remembered fails: the next attempt is made at the URL itself.
    stage.receive(answer(500, ""));
    stage.connect();
    assert_eq!(stage.target(), "/s/a");
    assert!(stage.news().iter().all(|notice| !matches!(notice, Notice::Refused { .. })));
}

#[test]
fn redirects_end_after_so_many_and_at_the_origin() {
    let mut stage = stage();
    for n in 0..3 {
        stage.receive(answer(302, &format!("Location: /{n}\r\n")));
        assert_eq!(stage.connect(), Duration::ZERO);
    }
    assert_eq!(stage.receive(answer(302, "Location: /4\r\n")), Step::Close);
    assert_eq!(lost(&mut stage).0, Cause::RedirectOften);
    assert!(stage.connect() >= R);
    assert_eq!(stage.target(), "/s/a");
    stage.receive(answer(302, "Location: https://feed.test:8080/x\r\n"));
    assert_eq!(lost(&mut stage).0, Cause::RedirectAway);
    stage.connect();
    stage.receive(answer(302, "Location: a b\r\n"));
    assert_eq!(lost(&mut stage).0, Cause::RedirectMalformed);
}

/// P8: closed, told, and not repeated without a pause, although the event comes again each time.
#[test]
fn what_is_too_large_backs_off_however_often_it_is_replayed() {
    let large = format!("{OPEN}id: 5\ndata: ok\n\ndata: {}\n\n", "x".repeat(1001));
    let id = format!("{OPEN}id: {}\ndata: a\n\n", "x".repeat(ID_BYTES_MAX + 1));
    let roomy = Upstream { event_bytes_max: 10_000, ..definition() };
    for (definition, bytes, kind) in
        [(definition(), large, "too_large"), (roomy, id, "id_too_long")]
    {
        let mut stage = Stage::new(&definition, None);
        for n in 1..6 {
            stage.connect();
            assert_eq!(stage.receive(&bytes), Step::Close);
            let (cause, failures, _) = lost(&mut stage);
            assert_eq!((cause.name(), failures), (kind, n));
        }
        assert!(stage.request.len() < 300);
    }
    let mut stage = stage();
    let bad = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
               Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\nzz\r\n";
    assert_eq!(stage.receive(bad), Step::Close);
    assert_eq!(stage.store.seen, [seen(None, "a")]);
    let (cause, failures, _) = lost(&mut stage);
    assert_eq!((cause.name(), failures), ("malformed", 1));
}

#[test]
fn what_is_closed_stays_closed() {
    let mut stage = stage();
    stage.receive(format!("{OPEN}data: a\n\n"));
    let now = stage.now;
    assert_eq!(stage.act(|source, _, _| source.close(now)), Step::Close);
    assert_eq!(stage.source.deadline(), None);
    let heard = |stage: &Stage| stage.source.tap().board.read(stage.now).bytes;
    let before = heard(&stage);
    assert_eq!(stage.receive("data: b\n\n"), Step::Close);
    assert_eq!(heard(&stage), before, "nor does it count");
    assert_eq!(stage.end(true), Step::Close);
    assert_eq!(stage.fail(Cause::Connect), Step::Close);
    assert_eq!(stage.act(|source, outside, _| source.due(outside)), Step::Wait);
    assert_eq!(stage.store.seen.len(), 1);
    assert_eq!(stage.source.tap().board.phase(), Phase::Closed);
}

#[test]
fn a_long_stream_that_a_fault_ends_starts_afresh() {
    let mut stage = stage();
    for _ in 0..4 {
        stage.end(false);
        stage.connect();
    }
    stage.receive(format!("{OPEN}: no event\n"));
    stage.pass(HEALTHY_AFTER);
    assert_eq!(stage.receive(format!("data: {}\n\n", "x".repeat(1001))), Step::Close);
    let (cause, failures, retry_in) = lost(&mut stage);
    assert_eq!((cause.name(), failures), ("too_large", 1));
    assert!(retry_in <= 2 * R, "{retry_in:?}");
    assert_eq!(stage.source.tap().board.read(stage.now).failures, 1);
}

#[test]
fn a_circle_of_permanent_redirects_is_not_remembered() {
    let mut stage = stage();
    for n in 0..4 {
        assert_eq!(stage.receive(answer(308, &format!("Location: /{n}\r\n"))), Step::Close);
        stage.connect();
    }
    assert_eq!(stage.target(), "/s/a");
}

#[test]
fn the_board_says_what_is_the_case() {
    let mut stage = stage();
    stage.end(false);
    stage.connect();
    stage.store.full_every = 2;
    stage.receive(format!("{OPEN}data: a\n\ndata: b\n\n"));
    assert_eq!(stage.source.tap().board.phase(), Phase::Streaming, "after a pause");
    assert_eq!(stage.store.seen.len(), 2);
    stage.end(true);
    assert_eq!(stage.source.tap().board.read(stage.now).failures, 0);
}

#[test]
fn an_id_may_have_its_full_length() {
    let mut stage = Stage::new(&Upstream { event_bytes_max: 10_000, ..definition() }, None);
    stage.connect();
    let id = "x".repeat(ID_BYTES_MAX);
    assert_eq!(stage.receive(format!("{OPEN}id: {id}\ndata: a\n\n")), Step::Wait);
    stage.end(true);
    stage.connect();
    assert_eq!(stage.asked_after(), Some(&*id));
}
