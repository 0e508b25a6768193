//! Tests of what becomes of an id that a client brought: whom it serves, and whom it must not harm.

use super::stage::OPEN;
use super::stage::Stage;
use super::stage::answer;
use super::stage::seen;
use super::*;

/// Joins what the stage reads, with this id.
fn join(stage: &Stage, id: Option<&str>) {
    stage.source.tap().joined(id);
}

const DROPPED: Notice = Notice::Unseeded { vain: Vain::Tries };

#[test]
fn a_claim_that_leads_to_no_stream_is_dropped() {
    for status in [204, 400, 404, 500] {
        let mut stage = Stage::new(&definition(), Some("junk"));
        stage.connect();
        assert_eq!(stage.receive(answer(status, "")), Step::Close);
        let cause = Cause::Status(status);
        assert_eq!(stage.news(), [Notice::Unseeded { vain: Vain::Answer(cause) }]);
        let trouble = stage.source.tap().board.read(stage.now).trouble.unwrap();
        assert_eq!(trouble.to_string(), format!("status_{status}"));
        assert_eq!((stage.connect(), stage.asked_after()), (Duration::ZERO, None));
    }
    // An upstream that cannot answer now says nothing about the id, but not for ever.
    let mut stage = Stage::new(&definition(), Some("41"));
    for left in [2, 1, 0] {
        stage.connect();
        assert_eq!(stage.asked_after(), Some("41"));
        stage.receive(answer(503, ""));
        assert_eq!(stage.news().contains(&DROPPED), left == 0);
    }
    stage.connect();
    assert_eq!(stage.asked_after(), None);
    // What could not be asked says nothing at all.
    let mut stage = Stage::new(&definition(), Some("41"));
    for _ in 0..5 {
        assert_eq!(stage.wait().1, Step::Connect);
        stage.fail(Cause::Connect);
    }
    stage.connect();
    assert_eq!(stage.asked_after(), Some("41"));
}

#[test]
fn a_claim_that_brings_nothing_is_dropped_for_others_alone() {
    let open = || {
        let mut stage = Stage::new(&definition(), Some("41"));
        stage.connect();
        assert_eq!(stage.receive(OPEN), Step::Wait);
        stage
    };
    let wait = |stage: &mut Stage| {
        let from = stage.now;
        let step = stage.wait().1;
        (stage.now.since(from), step)
    };
    let five = Duration::from_secs(5);
    let mut alone = open();
    join(&alone, Some("41"));
    for _ in 0..3 {
        assert_eq!(wait(&mut alone), (five, Step::Wait), "who brought it waits on it");
    }
    join(&alone, None);
    assert_eq!(wait(&mut alone), (five, Step::Close));
    let silence = Notice::Unseeded { vain: Vain::Silence };
    assert_eq!(alone.news(), [Notice::Opened, silence]);
    assert_eq!((alone.connect(), alone.asked_after()), (Duration::ZERO, None));
    assert_eq!(alone.receive(format!("{OPEN}id:1\ndata:a\n\n")), Step::Wait);
    assert_eq!(alone.store.seen, [seen(Some("1"), "a")]);
    assert_eq!(alone.store.gaps, [0], "told once, before what follows");
    // An event bears it out.
    let mut borne = open();
    join(&borne, Some("7"));
    borne.receive("id:42\ndata:b\n\n");
    assert_eq!(wait(&mut borne), (definition().idle_timeout, Step::Close));
    borne.connect();
    assert_eq!(borne.asked_after(), Some("42"));
}

#[test]
fn quiet_streams_that_end_leave_the_claim_of_who_is_alone() {
    let quiet = |others: bool| {
        let mut stage = Stage::new(&definition(), Some("41"));
        if others {
            join(&stage, None);
        }
        let mut asked = Vec::new();
        for _ in 0..5 {
            stage.connect();
            asked.push(stage.asked_after().is_some());
            // A reconnection time makes it healthy however short it is.
            stage.receive(format!("{OPEN}retry: 300\n\n"));
            stage.end(true);
        }
        (asked, stage.news().contains(&DROPPED))
    };
    assert_eq!(quiet(false), (vec![true; 5], false));
    assert_eq!(quiet(true), (vec![true, true, true, false, false], true));
}

#[test]
fn where_a_claim_was_sent_on_to_holds_for_nobody() {
    for told in ["404 Gone", "200 OK"] {
        let mut stage = Stage::new(&definition(), Some("junk"));
        join(&stage, None);
        stage.connect();
        stage.receive(answer(301, "Location: /expired\r\n"));
        stage.connect();
        assert_eq!((stage.target(), stage.asked_after()), ("/expired", Some("junk")));
        let head = format!("HTTP/1.1 {told}\r\nContent-Type: text/event-stream\r\n\r\n");
        if stage.receive(head) == Step::Wait {
            assert_eq!(stage.wait().1, Step::Close, "it is silent");
        }
        stage.connect();
        assert_eq!((stage.target(), stage.asked_after()), ("/s/a", None), "{told}");
    }
}

#[test]
fn an_id_that_the_upstream_gave_is_no_claim() {
    let mut stage = Stage::new(&definition(), Some("41"));
    join(&stage, None);
    stage.connect();
    stage.receive(format!("{OPEN}id: 50\n\n"));
    assert_eq!(stage.wait().1, Step::Close, "silent for the idle timeout");
    let [Notice::Opened, Notice::Lost { cause, .. }] = stage.news()[..] else { panic!() };
    assert_eq!(cause, Cause::IdleTimeout);
    for _ in 0..4 {
        stage.connect();
        assert_eq!(stage.asked_after(), Some("50"));
        stage.end(false);
    }
}

#[test]
fn a_silent_stream_leaves_its_reconnection_time() {
    let mut stage = Stage::new(&definition(), Some("41"));
    join(&stage, None);
    stage.connect();
    stage.receive(format!("{OPEN}retry: 4000\n\n"));
    assert_eq!(stage.wait().1, Step::Close);
    assert_eq!(stage.connect(), Duration::ZERO);
    stage.receive(format!("{OPEN}data: a\n\n"));
    stage.end(true);
    let waited = stage.connect();
    assert!((4.0..4.6).contains(&waited.as_secs_f64()), "{waited:?}");
}

#[test]
fn a_gap_that_finds_no_room_is_told_before_the_next_event() {
    let mut stage = Stage::new(&definition(), Some("junk"));
    stage.connect();
    stage.receive(answer(404, ""));
    stage.connect();
    // Each offer is refused but for the second look.
    stage.store.full_every = 1;
    assert_eq!(stage.receive(OPEN), Step::Wait);
    assert_eq!(stage.store.gaps, [0; 0]);
    stage.store.full_every = 0;
    stage.receive("data: a\n\ndata: b\n\n");
    assert_eq!((&stage.store.gaps[..], stage.store.seen.len()), (&[0][..], 2));
}
