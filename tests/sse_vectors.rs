//! The event-stream codec against byte vectors from the standard and the web platform tests, a
//! plain model of the standard, and three published decoders where those are right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use tidegate::base::chance::Chance;
use tidegate::sse;
use tidegate::sse::DecodeError;
use tidegate::sse::Decoder;
use tidegate::sse::EventFields;
use tidegate::sse::Item;
use tokio_stream::Stream;

const MAX: usize = 1 << 20;

/// Type, last event id and data, as a client sees them.
type Seen = (String, String, String);

fn seen(kind: &str, id: &str, data: &str) -> Seen {
    (kind.to_owned(), id.to_owned(), data.to_owned())
}

fn message(data: &str) -> Seen {
    seen("message", "", data)
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<Seen>,
    last_event_id: String,
    retry: Option<u64>,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(MAX);
    let mut events = Vec::new();
    for mut piece in pieces {
        while let Some(item) = decoder.decode(&mut piece).unwrap() {
            let Item::Event(event) = item else { panic!("nobody asked for comments") };
            events.push(seen(event.kind, event.id, event.data));
        }
        assert!(piece.is_empty(), "all input is taken");
    }
    decoder.end();
    Outcome { events, last_event_id: decoder.last_event_id().to_owned(), retry: decoder.retry() }
}

struct Vector {
    name: &'static str,
    bytes: Vec<u8>,
    want: Outcome,
}

fn vector(name: &'static str, bytes: impl Into<Vec<u8>>, events: Vec<Seen>) -> Vector {
    let last_event_id = events.last().map_or_else(String::new, |(_, id, _)| id.clone());
    Vector { name, bytes: bytes.into(), want: Outcome { events, last_event_id, retry: None } }
}

fn vectors() -> Vec<Vector> {
    let mut all = lines();
    all.extend(fields());
    all.extend(ids());
    all
}

/// Lines, line ends, the byte order mark, comments.
fn lines() -> Vec<Vector> {
    let long = "x".repeat(2048);
    vec![
        vector(
            "1",
            "data:msg\ndata:msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\n\
             data:end\n\n",
            vec![message("msg\nmsg"), message(""), message("end")],
        ),
        vector(
            "2",
            "\u{feff}data:1\n\n\u{feff}data:2\n\ndata:3\n\n",
            vec![message("1"), message("3")],
        ),
        vector(
            "2b",
            "\u{feff}\u{feff}data:1\n\ndata:2\n\ndata:3\n\n",
            vec![message("2"), message("3")],
        ),
        vector(
            "3",
            format!("data:1\r:\0\n:\r\ndata:2\n:{long}\rdata:3\n:data:fail\r:{long}\ndata:4\n\n"),
            vec![message("1\n2\n3\n4")],
        ),
        vector("5", "data:\n\ndata\ndata\n\ndata:test\n\n", ["", "\n", "test"].map(message).into()),
        vector("11", "data:test\r\ndata\ndata:test\r\n\r", vec![message("test\n\ntest")]),
        vector("12", "data:\0\n\n\n\n", vec![message("\0")]),
        vector("13", "data:ok\u{2026}\n\n", vec![message("ok\u{2026}")]),
        vector("17", b"data:\xff\xc3(\n\n".as_slice(), vec![message("\u{fffd}\u{fffd}(")]),
        vector("17 cut", b"data:a\n\ndata:\xe2\x82".as_slice(), vec![message("a")]),
        vector("18", "data: a\r\ndata: b\r\n\r\n", vec![message("a\nb")]),
    ]
}

/// Field names and values.
fn fields() -> Vec<Vector> {
    let mut retry = vector("8", "retry:3000\nretry:1000x\ndata:x\n\n", vec![message("x")]);
    retry.want.retry = Some(3000);
    let mut zeros = vector("8 zeros", "retry:03000\n", vec![]);
    zeros.want.retry = Some(3000);
    vec![
        vector("6", "event: \ndata:data\n\n", vec![message("data")]),
        vector(
            "6 reset",
            "event:test\ndata:x\n\ndata:x\n\n",
            vec![seen("test", "", "x"), message("x")],
        ),
        vector(
            "7",
            "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\r\
             data:\r\n data:32\ndata:4\n\n",
            vec![message("\0\n 2\n1\n3\n\n4")],
        ),
        retry,
        zeros,
        vector("8 empty", "retry\nretry:\n\n", vec![]),
        vector(
            "9",
            "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
            vec![message("test\n\ntest")],
        ),
        vector("10", "data:\ttest\rdata: \ndata:test\n\n", vec![message("\ttest\n\ntest")]),
        vector("16", "event: put\n\ndata:a\n\n", vec![message("a")]),
    ]
}

fn ids() -> Vec<Vector> {
    let with = |events: &[(&str, &str)]| -> Vec<Seen> {
        events.iter().map(|(id, data)| seen("message", id, data)).collect()
    };
    let mut cut =
        vector("4", "retry:1000\ndata:test1\n\nid:test\ndata:test2", vec![message("test1")]);
    cut.want.retry = Some(1000);
    vec![
        cut,
        vector("14 keeps", "id:1\ndata:a\n\ndata:b\n\n", with(&[("1", "a"), ("1", "b")])),
        vector(
            "14 moves",
            "id:1\ndata:a\n\nid:2\ndata:b\n\ndata:c\n\n",
            with(&[("1", "a"), ("2", "b"), ("2", "c")]),
        ),
        vector(
            "14 resets",
            "id:1\ndata:a\n\nid\ndata:b\n\ndata:c\n\n",
            with(&[("1", "a"), ("", "b"), ("", "c")]),
        ),
        vector("14 NUL", "id:1\ndata:y\n\nid:x\0y\ndata:z\n\n", with(&[("1", "y"), ("1", "z")])),
        vector("15", "id:9\n\ndata:a\n\n", with(&[("9", "a")])),
    ]
}

/// `bytes` in pieces: of a fixed size, or of 1 to 8 bytes drawn from `chance`.
fn pieces<'a>(bytes: &'a [u8], size: Option<usize>, chance: &mut Chance) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        let drawn = size.unwrap_or_else(|| 1 + usize::try_from(chance.below(8)).unwrap());
        let (head, tail) = rest.split_at(drawn.min(rest.len()));
        pieces.push(head);
        rest = tail;
    }
    pieces
}

#[test]
fn vectors_whole_and_in_pieces() {
    for Vector { name, bytes, want } in vectors() {
        assert_eq!(decode([bytes.as_slice()]), want, "vector {name}, whole");
        let mut chance = Chance::new(0);
        for size in [1, 2] {
            let cut = pieces(&bytes, Some(size), &mut chance);
            assert_eq!(decode(cut), want, "vector {name}, pieces of {size}");
        }
        for seed in 0..50 {
            let cut = pieces(&bytes, None, &mut Chance::new(seed));
            assert_eq!(decode(cut), want, "vector {name}, random pieces, seed {seed}");
        }
        for at in 0..bytes.len().min(200) {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode([head, &[], tail]), want, "vector {name}, cut at {at}");
        }
    }
}

#[test]
fn a_line_end_split_over_pieces_adds_no_line() {
    let cut: [&[u8]; 4] = [b"data: a\r", b"\n", b"data: b\r", b"\n\r\n"];
    assert_eq!(decode(cut).events, [message("a\nb")]);
}

#[test]
fn an_event_of_16_mib_passes_in_blocks() {
    let data = "0123456789abcde\n".repeat(1 << 20);
    let mut bytes = Vec::new();
    sse::encode(&EventFields { data: &data, ..EventFields::default() }, &mut bytes).unwrap();
    // As on the wire: each line after the first has its name before it.
    let counted = data.len() + (1 << 20) * "data: ".len();
    let run = |bytes_max| {
        let mut decoder = Decoder::new(bytes_max);
        let mut found = 0;
        for mut block in bytes.chunks(64 * 1024) {
            while let Some(item) = decoder.decode(&mut block)? {
                assert!(matches!(item, Item::Event(event) if event.data == data));
                found += 1;
            }
        }
        Ok(found)
    };
    assert_eq!(run(counted), Ok(1));
    let bytes_max = counted - 1;
    assert_eq!(run(bytes_max), Err(DecodeError::EventTooLarge { bytes_max }));
}

// The model: the standard's algorithm on the whole text, with no thought for speed or cuts.

fn by_the_book(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut outcome = Outcome { events: Vec::new(), last_event_id: String::new(), retry: None };
    let (mut data, mut kind, mut id) = (String::new(), String::new(), String::new());
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        if line.is_empty() {
            outcome.last_event_id.clone_from(&id);
            if let Some(data) = data.strip_suffix('\n') {
                let kind = if kind.is_empty() { "message" } else { &kind };
                outcome.events.push(seen(kind, &id, data));
            }
            data.clear();
            kind.clear();
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut kind),
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                outcome.retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    outcome
}

// The published decoders, on whole input. What they get wrong is left out of their input.

fn drain<S: Stream>(stream: S) -> Vec<S::Item> {
    let mut stream = pin!(stream);
    let mut items = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(item)) = stream.as_mut().poll_next(&mut context) {
        items.push(item);
    }
    items
}

/// Wrong on: invalid UTF-8 (an error instead of U+FFFD); `event` without a colon (ignored, where
/// the standard sets the type to the empty value).
fn by_sseer(bytes: &[u8]) -> Vec<Seen> {
    let whole: Result<_, std::convert::Infallible> = Ok(bytes::Bytes::copy_from_slice(bytes));
    let events = drain(sseer::event_stream::EventStream::new(tokio_stream::iter([whole])));
    events.into_iter().map(|e| e.unwrap()).map(|e| seen(&e.event, &e.id, &e.data)).collect()
}

/// Wrong on: invalid UTF-8; an empty type (reported as empty); `id` and `event` without a colon
/// (ignored); a byte order mark in front of a later line.
fn by_sse_codec(bytes: &[u8]) -> Vec<Seen> {
    let items = drain(sse_codec::decode_stream(bytes)).into_iter().map(Result::unwrap);
    let events = items.filter_map(|item| match item {
        sse_codec::Event::Message { id, event, data } => {
            Some(seen(&event, &id.unwrap_or_default(), &data))
        }
        sse_codec::Event::Retry { .. } => None,
    });
    events.collect()
}

/// Wrong on what `sse-codec` is wrong on, and on CR LF cut between reads.
fn by_async_sse(bytes: &[u8]) -> Vec<Seen> {
    let items = drain(async_sse::decode(bytes)).into_iter().map(Result::unwrap);
    let events = items.filter_map(|item| match item {
        async_sse::Event::Message(m) => Some(seen(
            m.name(),
            m.id().as_deref().unwrap_or(""),
            std::str::from_utf8(m.data()).unwrap(),
        )),
        async_sse::Event::Retry(_) => None,
    });
    events.collect()
}

#[test]
fn published_decoders_agree_on_the_vectors_that_they_get_right() {
    for Vector { name, bytes, want } in vectors() {
        if !name.starts_with("17") {
            assert_eq!(by_sseer(&bytes), want.events, "sseer, vector {name}");
            if !["6", "14 resets"].contains(&name) {
                assert_eq!(by_sse_codec(&bytes), want.events, "sse-codec, vector {name}");
                assert_eq!(by_async_sse(&bytes), want.events, "async-sse, vector {name}");
            }
        }
        assert_eq!(by_the_book(&bytes), want, "the model, vector {name}");
    }
}

/// What the lines of a generated stream may hold.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Lines {
    /// What all published decoders get right.
    Common,
    /// Also what `sseer` alone gets right.
    Sseer,
    /// All that text can be.
    Text,
    /// All that bytes can be.
    Bytes,
}

/// Streams of lines that mean something, with mixed line ends.
fn stream(lines: Lines) -> impl Strategy<Value = Vec<u8>> {
    let mut names: Vec<&[u8]> = vec![
        b"data:",
        b"data: ",
        b"data:  ",
        b"data",
        b"event:x",
        b"event: y",
        b"id:",
        b"id: ",
        b"id:1",
        b"id: \0",
        b"retry:",
        b"retry:12",
        b"retry:1x",
        b":",
        b": c",
        b"Data:",
        b"da",
        b" data:",
        b"data\0:",
        b"",
    ];
    if lines >= Lines::Sseer {
        let more: [&[u8]; 5] = [b"id", b"event:", b"event: ", b"retry", b"\xef\xbb\xbfdata:"];
        names.extend(more);
    }
    if lines >= Lines::Text {
        names.push(b"event");
    }
    let bytes = lines == Lines::Bytes;
    let value = if bytes {
        prop::collection::vec(prop_oneof![any::<u8>(), Just(0xef), Just(b':')], 0..6).boxed()
    } else {
        "[ a:é\0\u{2026}]{0,5}".prop_map(String::into_bytes).boxed()
    };
    // Fields whose meaning a random value would change stand alone.
    let line = (prop::sample::select(names), value).prop_map(move |(name, value)| {
        let open = bytes || name.starts_with(b"data:") || name.starts_with(b":");
        if open { [name, &value].concat() } else { name.to_vec() }
    });
    let ends = prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r"]);
    let lines = prop::collection::vec((line, ends), 0..24);
    (any::<bool>(), lines).prop_map(|(mark, lines)| {
        let mut stream = if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        for (line, end) in lines {
            stream.extend(line);
            stream.extend(end.bytes());
        }
        stream
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_decode_as_the_model_says_however_they_are_cut(
        bytes in prop_oneof![
            stream(Lines::Bytes),
            stream(Lines::Text),
            prop::collection::vec(any::<u8>(), 0..64),
        ],
        seed in any::<u64>(),
    ) {
        let want = by_the_book(&bytes);
        prop_assert_eq!(&decode([bytes.as_slice()]), &want);
        prop_assert_eq!(&decode(pieces(&bytes, Some(1), &mut Chance::new(0))), &want);
        prop_assert_eq!(&decode(pieces(&bytes, None, &mut Chance::new(seed))), &want);
    }

    #[test]
    fn sseer_agrees(bytes in stream(Lines::Sseer), seed in any::<u64>()) {
        let ours = decode(pieces(&bytes, None, &mut Chance::new(seed))).events;
        prop_assert_eq!(ours, by_sseer(&bytes));
    }

    #[test]
    fn sse_codec_and_async_sse_agree(bytes in stream(Lines::Common), seed in any::<u64>()) {
        let ours = decode(pieces(&bytes, None, &mut Chance::new(seed))).events;
        prop_assert_eq!(&ours, &by_sse_codec(&bytes));
        prop_assert_eq!(&ours, &by_async_sse(&bytes));
    }

    #[test]
    fn what_is_encoded_is_what_clients_see(
        events in prop::collection::vec(
            (
                "[^\r\n\0]{0,8}",
                proptest::option::of(any::<u64>()),
                "[^\r\n\0]{0,8}",
                prop_oneof![any::<String>(), "[a\r\n :]{0,12}"],
                proptest::option::of("[a\r\n:é]{0,4}"),
            ),
            0..6,
        ),
        seed in any::<u64>(),
    ) {
        let (mut bytes, mut want, mut ends) = (Vec::new(), Vec::new(), vec![0]);
        let mut last_event_id = String::new();
        for (kind, retry, id, data, comment) in &events {
            if let Some(text) = comment {
                sse::encode_comment(text, &mut bytes);
            }
            sse::encode(&EventFields { kind, retry: *retry, id, data }, &mut bytes).unwrap();
            if !id.is_empty() {
                last_event_id.clone_from(id);
            }
            let kind = if kind.is_empty() { "message" } else { kind };
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            want.push(seen(kind, &last_event_id, &data));
            ends.push(bytes.len());
        }
        prop_assert!(std::str::from_utf8(&bytes).is_ok());
        let got = decode(pieces(&bytes, None, &mut Chance::new(seed)));
        prop_assert_eq!(&got.events, &want);
        prop_assert_eq!(got.retry, events.iter().rev().find_map(|e| e.1));
        prop_assert_eq!(&by_sseer(&bytes), &want);
        if events.iter().all(|e| !e.0.starts_with('\u{feff}')) {
            prop_assert_eq!(&by_sse_codec(&bytes), &want);
            prop_assert_eq!(&by_async_sse(&bytes), &want);
        }
        for from in 0..=bytes.len() {
            let end = ends.iter().copied().find(|end| *end >= from);
            prop_assert_eq!(sse::boundary(&bytes, from), end);
        }
    }

    #[test]
    fn the_limit_holds_for_any_bytes_and_any_cut(
        bytes in stream(Lines::Bytes),
        bytes_max in 0_usize..24,
        seed in any::<u64>(),
    ) {
        let run = |pieces: Vec<&[u8]>| {
            let mut decoder = Decoder::new(bytes_max);
            let mut events = Vec::new();
            for mut piece in pieces {
                loop {
                    match decoder.decode(&mut piece) {
                        Ok(Some(Item::Event(event))) => events.push(event.data.to_owned()),
                        Ok(Some(Item::Comment(_))) => unreachable!("not asked for"),
                        Ok(None) => break,
                        Err(error) => return (events, Some(error)),
                    }
                }
            }
            (events, None)
        };
        let whole = run(vec![&bytes]);
        let counted = |data: &String| data.len() + 6 * data.matches('\n').count();
        prop_assert!(whole.0.iter().all(|data| counted(data) <= bytes_max));
        prop_assert_eq!(whole, run(pieces(&bytes, None, &mut Chance::new(seed))));
    }
}
