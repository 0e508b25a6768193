//! Arrivals do not depend on framing, cuts, or where the log was full.

use super::stage::OPEN;
use super::stage::Seen;
use super::stage::Stage;
use super::stage::below;
use super::stage::framed;
use super::stage::seen;
use super::*;
use crate::base::chance::Chance;
use crate::sse;

/// The byte vectors of the standard that hold events of small size, and some of ours.
fn bodies() -> Vec<Vec<u8>> {
    let x = "x".repeat(200);
    let texts = [
        "data:msg\ndata:msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\n\
         data\n\ndata:end\n\n",
        "\u{feff}data:1\n\n\u{feff}data:2\n\ndata:3\n\n",
        "\u{feff}\u{feff}data:1\n\ndata:2\n\ndata:3\n\n",
        &format!("data:1\r:\0\n:\r\ndata:2\n:{x}\rdata:3\n:data:fail\r:{x}\ndata:4\n\n"),
        "retry:1000\ndata:test1\n\nid:test\ndata:test2",
        "data:\n\ndata\ndata\n\ndata:test\n\n",
        "event: \ndata:data\n\nevent:test\ndata:x\n\ndata:x\n\n",
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n \
         data:32\ndata:4\n\n",
        "retry:3000\nretry:1000x\ndata:x\n\nretry:03000\nretry\nretry:\n\n",
        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        "data:\ttest\rdata: \ndata:test\n\n",
        "data:test\r\ndata\ndata:test\r\n\r",
        "data:\0\n\n\n\n",
        "id:1\ndata:a\n\ndata:b\n\nid:1\ndata:a\n\nid:2\ndata:b\n\ndata:c\n\nid\ndata:b\n\n\
         data:c\n\n",
        "id:1\ndata:y\n\nid:x\0y\ndata:z\n\n",
        "id:9\n\ndata:a\n\nid:10\n\n",
        "event: put\n\ndata:a\n\n",
        "data: a\r\ndata: b\r\n\r\n",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(b"data:\xff\xc3(\n\ndata:a\n\ndata:\xe2\x82".to_vec());
    all
}

/// What the events of a body are, with the rule for own ids written out again; and the last id.
fn model(mut body: &[u8]) -> (Vec<Seen>, String) {
    let mut decoder = sse::Decoder::new(1000);
    let (mut all, mut last) = (Vec::new(), String::new());
    while let Some(item) = decoder.decode(&mut body).unwrap() {
        let sse::Item::Event(event) = item else { unreachable!() };
        let own = (event.id != last && !event.id.is_empty()).then(|| event.id.to_owned());
        last = event.id.to_owned();
        all.push((event.kind.to_owned(), own, event.data.to_owned()));
    }
    decoder.end();
    (all, decoder.last_event_id().to_owned())
}

/// Plays a response cut as `pieces` says, to its end and through the next request.
fn play(pieces: &[&[u8]], how: usize, full_every: usize) -> Stage {
    let mut stage = Stage::new(&definition(), None);
    stage.store.full_every = full_every;
    stage.connect();
    let mut step = Step::Wait;
    for piece in pieces {
        assert_eq!(step, Step::Wait, "the stream goes on");
        step = stage.receive(piece);
    }
    match how {
        0 => assert_eq!((step, stage.end(true)), (Step::Wait, Step::Close)),
        _ => assert_eq!(step, Step::Close, "the end is in the bytes"),
    }
    stage.connect();
    stage
}

#[test]
fn arrivals_do_not_depend_on_framing_cuts_or_a_full_log() {
    let mut chance = Chance::new(11);
    for body in bodies() {
        let (want, last) = model(&body);
        for how in 0..3 {
            let bytes = framed(&body, how, 7);
            let whole: Vec<&[u8]> = vec![&bytes];
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            let mut plays = vec![(whole, 0), (singles.clone(), 0), (singles, 2), (vec![&bytes], 2)];
            for at in 1..bytes.len() {
                let (head, tail) = bytes.split_at(at);
                plays.push((vec![head, tail], at % 4));
            }
            for _ in 0..10 {
                let mut rest = bytes.as_slice();
                let mut pieces = Vec::new();
                while !rest.is_empty() {
                    let (head, tail) = rest.split_at(1 + below(&mut chance, rest.len()));
                    (rest, _) = (tail, pieces.push(head));
                }
                plays.push((pieces, 3));
            }
            for (pieces, full) in plays {
                // Every offer refused would never end.
                let stage = play(&pieces, how, if full == 1 { 0 } else { full });
                assert_eq!(stage.store.seen, want, "{how} {full} {pieces:?}");
                assert_eq!(stage.asked_after().unwrap_or_default(), last, "{how} {full}");
            }
        }
    }
}

#[test]
fn a_body_that_is_cut_loses_only_what_was_unfinished() {
    let body = b"id:1\ndata:a\n\nid:2\ndata:b\n\nid:3\ndata:c\n\n";
    for how in 0..3 {
        let bytes = framed(body, how, 5);
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        for at in head..bytes.len() {
            let mut stage = Stage::new(&definition(), None);
            stage.connect();
            assert_eq!(stage.receive(&bytes[..at]), Step::Wait, "{how} {at}");
            assert_eq!(stage.end(false), Step::Close);
            let events = stage.store.seen.len();
            let cut = matches!(stage.news()[..], [_, Notice::Lost { cause: Cause::Cut, .. }]);
            assert!(cut, "{how} {at}");
            stage.connect();
            let want = ["", "1", "2", "3"][events];
            assert_eq!(stage.asked_after().unwrap_or_default(), want, "{how} {at}");
        }
    }
}

#[test]
fn an_end_while_the_log_is_full_waits_for_the_events() {
    let mut stage = Stage::new(&definition(), None);
    stage.connect();
    // Played without the stage's resume.
    let (mut chance, mut notices) = (Chance::new(1), Vec::new());
    let mut outside =
        Outside { now: stage.now, unix_millis: 0, chance: &mut chance, notices: &mut notices };
    stage.store.full_every = 1;
    let bytes = format!("{OPEN}id:1\ndata:a\n\nid:2\ndata:b\n\nid:3\nda");
    let source = &mut stage.source;
    assert_eq!(source.receive(bytes.as_bytes(), &mut outside, &mut stage.store), Step::Paused);
    assert_eq!(source.tap().board.phase(), Phase::Paused);
    assert_eq!(source.receive(b"ta:c\n\n", &mut outside, &mut stage.store), Step::Paused);
    assert_eq!(source.resume(&mut outside, &mut stage.store), Step::Paused);
    outside.now = outside.now.after(Duration::from_secs(3600));
    assert_eq!((source.deadline(), source.due(&mut outside)), (None, Step::Paused));
    assert_eq!(source.ended(true, &mut outside), Step::Paused);
    assert_eq!(source.resume(&mut outside, &mut stage.store), Step::Paused);
    // Full again at each event, the last of which came after the pause.
    stage.store.full_every = 2;
    for taken in 0..3 {
        assert_eq!(source.resume(&mut outside, &mut stage.store), Step::Paused);
        assert_eq!(stage.store.seen.len(), taken);
    }
    assert_eq!(source.resume(&mut outside, &mut stage.store), Step::Close);
    let want = [seen(Some("1"), "a"), seen(Some("2"), "b"), seen(Some("3"), "c")];
    assert_eq!(stage.store.seen, want);
    assert!(matches!(notices[..], [Notice::Opened, Notice::Ended { .. }]), "{notices:?}");
}

#[test]
fn an_event_that_was_never_taken_is_asked_for_again() {
    let mut stage = Stage::new(&definition(), None);
    stage.connect();
    let (mut chance, mut notices) = (Chance::new(1), Vec::new());
    let mut outside =
        Outside { now: stage.now, unix_millis: 0, chance: &mut chance, notices: &mut notices };
    stage.store.full_every = 2;
    let bytes = format!("{OPEN}id:1\ndata:a\n\nid:2\ndata:b\n\n");
    let step = stage.source.receive(bytes.as_bytes(), &mut outside, &mut stage.store);
    assert_eq!(step, Step::Paused);
    assert_eq!(stage.source.failed(Cause::Connect, &mut outside), Step::Close);
    stage.act(|_, _, _| Step::Close);
    stage.connect();
    assert_eq!(stage.asked_after(), Some("1"));
}
