//! What the decoder makes of whole responses, at every limit's edge and however they are cut.

use super::*;
use crate::http::Version;
use crate::http::h1::Fault;
use proptest::prelude::*;

/// What came of some input, body slices joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    interim: Vec<u16>,
    head: Option<ResponseHead>,
    body: Vec<u8>,
    trailers: Option<Fields>,
    ended: bool,
    tunnel: Vec<u8>,
    rest: Vec<u8>,
    fault: Option<ResponseFault>,
}

fn read(decoder: &mut ResponseDecoder, mut input: &[u8], limits: &Limits, got: &mut Outcome) {
    if got.ended {
        got.rest.extend_from_slice(input);
        return;
    }
    while got.fault.is_none() {
        match decoder.decode(&mut input, limits) {
            Ok(ResponseItem::Wait) => {
                assert!(input.is_empty(), "waits only when the input is used up");
                break;
            }
            Ok(ResponseItem::Interim(head)) => got.interim.push(head.status()),
            Ok(ResponseItem::Head(head)) => {
                assert_eq!(got.head.replace(*head), None);
                assert_eq!(decoder.held_bytes(), 0, "a body holds nothing");
            }
            Ok(ResponseItem::Body(body)) => {
                assert!(!body.is_empty());
                got.body.extend_from_slice(body);
            }
            Ok(ResponseItem::Trailers(fields)) => {
                assert_eq!(got.trailers.replace(fields), None);
            }
            Ok(ResponseItem::End) => {
                got.ended = true;
                got.rest.extend_from_slice(input);
                assert_eq!((decoder.stage(), decoder.held_bytes()), (Stage::Idle, 0));
                break;
            }
            Ok(ResponseItem::Tunnel) => {
                got.tunnel.extend_from_slice(input);
                break;
            }
            Err(fault) => {
                got.fault = Some(fault);
                assert_eq!(decoder.decode(&mut input, limits), Err(fault), "for ever");
                assert!(!decoder.is_reusable() && decoder.held_bytes() == 0);
            }
        }
    }
}

fn expecting(is_head: bool) -> ResponseDecoder {
    let mut decoder = ResponseDecoder::new();
    decoder.expect(is_head);
    decoder
}

/// The outcome, checked against every cut into two pieces and against single bytes.
fn with(limits: &Limits, is_head: bool, text: impl AsRef<[u8]>) -> (Outcome, ResponseDecoder) {
    let text = text.as_ref();
    let mut whole = Outcome::default();
    let mut last = expecting(is_head);
    read(&mut last, text, limits, &mut whole);
    let mut single = Outcome::default();
    let mut decoder = expecting(is_head);
    text.chunks(1).for_each(|byte| read(&mut decoder, byte, limits, &mut single));
    assert_eq!(whole, single, "the cut of the input shows");
    for at in 0..text.len().min(400) {
        let mut got = Outcome::default();
        let mut decoder = expecting(is_head);
        read(&mut decoder, &text[..at], limits, &mut got);
        read(&mut decoder, &text[at..], limits, &mut got);
        assert_eq!(whole, got, "the cut at {at} shows");
        assert_eq!((decoder.end(), decoder.is_reusable()), (last.end(), last.is_reusable()));
    }
    (whole, last)
}

fn run(text: impl AsRef<[u8]>) -> Outcome {
    with(&Limits::default(), false, text).0
}

fn fault(text: impl AsRef<[u8]>) -> Option<ResponseFault> {
    run(text).fault
}

fn ending(text: &str) -> Ending {
    with(&Limits::default(), false, text).1.end()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_head_has_its_parts() {
    let got =
        run("HTTP/1.1 404 Not  Here\r\nA: 1\r\nB:\t 2 \r\na:\r\nContent-Length: 2\r\n\r\nhi!");
    let head = got.head.unwrap();
    assert_eq!((head.status(), head.reason(), head.version()), (404, "Not  Here", Version::Http11));
    assert_eq!(head.all("A").collect::<Vec<_>>(), [&b"1"[..], b""]);
    assert_eq!((head.first_text("b"), head.first("c")), (Some("2"), None));
    assert_eq!((head.fields().count(), head.framing()), (4, ResponseFraming::Sized(2)));
    assert!(head.keep_alive() && !head.is_interim() && !head.is_upgrade());
    assert_eq!((got.body, got.ended, got.rest), (b"hi".to_vec(), true, b"!".to_vec()));
    for (line, reason) in [("200", ""), ("200 ", ""), ("200 \u{e9}", ""), ("999 a\tb", "a\tb")] {
        let head = run(format!("HTTP/1.1 {line}\r\n\r\n")).head.unwrap();
        assert_eq!(head.reason(), reason, "{line:?}");
    }
}

/// RFC 9112 section 6.3, rule by rule.
#[test]
fn framings() {
    use ResponseFraming::*;
    let chunked = "Transfer-Encoding: Chunked\r\n";
    let cases = [
        (true, "200", "Content-Length: 7\r\n", None),
        (true, "200", chunked, None),
        (true, "200", "", None),
        (false, "204", "", None),
        (false, "204", "Content-Length: 0\r\n", None),
        (false, "304", "Content-Length: 7\r\n", None),
        (false, "304", chunked, None),
        (false, "200", chunked, Chunked),
        (false, "500", "Content-Length: 7\r\n", Sized(7)),
        (false, "200", "Content-Length: 0\r\n", Sized(0)),
        (false, "200", "", UntilClose),
        (false, "205", "", UntilClose),
    ];
    for (is_head, status, fields, want) in cases {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let (got, decoder) = with(&Limits::default(), is_head, text);
        assert_eq!(got.head.unwrap().framing(), want, "{is_head} {status} {fields:?}");
        assert_eq!(got.ended, matches!(want, None | Sized(0)));
        assert_eq!(decoder.is_reusable(), got.ended);
    }
}

#[test]
fn keep_alive_by_version_field_and_framing() {
    let keeps = |version: &str, fields: &str| {
        let text = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
        let (got, decoder) = with(&Limits::default(), false, text);
        assert!(got.head.is_some_and(|head| head.keep_alive() == decoder.is_reusable()));
        decoder.is_reusable()
    };
    let sized = "Content-Length: 0\r\n";
    assert!(keeps("1.1", sized) && !keeps("1.0", sized) && !keeps("1.1", ""));
    assert!(!keeps("1.1", &format!("{sized}Connection: x, Close\r\n")));
    assert!(keeps("1.0", &format!("{sized}Connection: Keep-Alive\r\n")));
    assert!(!keeps("1.0", "Connection: keep-alive\r\n"), "the close ends the body");
}

#[test]
fn interim_heads_precede_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n";
    let text = format!("HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 204 No\r\n\r\n");
    let got = run(&text);
    assert_eq!((got.interim, got.ended, got.fault), (vec![100, 103], true, None));
    assert_eq!(got.head.unwrap().status(), 204);
    let many = |count: usize| fault("HTTP/1.1 102 x\r\n\r\n".repeat(count));
    assert_eq!(many(usize::from(INTERIM_HEADS_MAX)), None);
    let over = many(usize::from(INTERIM_HEADS_MAX) + 1);
    assert_eq!(over, Some(ResponseFault::TooManyInterim));
    let mut decoder = expecting(false);
    let limits = Limits::default();
    for _ in 0..3 {
        let mut input = "HTTP/1.1 102 x\r\n\r\n".repeat(20) + "HTTP/1.1 204 x\r\n\r\n";
        let mut got = Outcome::default();
        read(&mut decoder, std::mem::take(&mut input).as_bytes(), &limits, &mut got);
        assert_eq!((got.fault, got.interim.len()), (None, 20), "the count is of one exchange");
        decoder.expect(false);
    }
}

#[test]
fn an_upgrade_begins_a_tunnel() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    let (got, decoder) = with(&Limits::default(), false, format!("{head}\r\n\x01\0HTTP/1.1"));
    assert_eq!((got.fault, got.interim.len()), (None, 0));
    assert_eq!(got.tunnel, b"\x01\0HTTP/1.1");
    assert!(got.head.unwrap().is_upgrade());
    assert_eq!((decoder.end(), decoder.is_reusable()), (Ending::Clean, false));
    let nameless = fault("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(nameless, Some(ResponseFault::Upgrade));
    let old = fault("HTTP/1.0 101 x\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(old, Some(ResponseFault::Upgrade));
}

#[test]
fn malformed_heads() {
    let line = ResponseFault::StatusLine;
    let cases = [
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", line),
        (" HTTP/1.1 200 OK\r\n\r\n", line),
        ("ICY 200 OK\r\n\r\n", line),
        ("http/1.1 200 OK\r\n\r\n", line),
        ("HTTP/1.1  200 OK\r\n\r\n", line),
        ("HTTP/1.1 20 OK\r\n\r\n", line),
        ("HTTP/1.1 2000 OK\r\n\r\n", line),
        ("HTTP/1.1 099 OK\r\n\r\n", line),
        ("HTTP/1.1 200OK\r\n\r\n", line),
        ("HTTP/1.1 200 O\x01K\r\n\r\n", line),
        ("HTTP/1.1\r\n\r\n", Fault::Version.into()),
        ("HTTP/1.2 200 OK\r\n\r\n", Fault::Version.into()),
        ("HTTP/2.0 200 OK\r\n\r\n", Fault::Version.into()),
        ("HTTP/1.1 200 OK\nA: b\n\n", Fault::BareControl.into()),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Fault::BareControl.into()),
        ("HTTP/1.1 200 OK\r\nA: b\rX: y\r\n\r\n", Fault::BareControl.into()),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Fault::BareControl.into()),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Fault::Field.into()),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Fault::Field.into()),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Fault::Field.into()),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Fault::Field.into()),
        ("HTTP/1.1 200 OK\r\nA(: b\r\n\r\n", Fault::Field.into()),
        ("HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n", Fault::Field.into()),
    ];
    for (text, want) in cases {
        assert_eq!(fault(text), Some(want), "{text:?}");
    }
    assert_eq!(fault("HTTQ"), Some(line), "before the line is complete");
}

#[test]
fn faulty_framings() {
    let of = |fields: &str| fault(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    let cases = [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Fault::BothFramings),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", Fault::ContentLength),
        ("Content-Length: 1, 1\r\n", Fault::ContentLength),
        ("Content-Length: -1\r\n", Fault::ContentLength),
        ("Content-Length: 9223372036854775808\r\n", Fault::ContentLength),
        ("Transfer-Encoding: gzip\r\n", Fault::TransferEncoding),
        ("Transfer-Encoding: identity\r\n", Fault::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Fault::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", Fault::TransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", Fault::TransferEncoding),
        ("Transfer_Encoding: chunked\r\n", Fault::Lookalike),
    ];
    for (fields, want) in cases {
        assert_eq!(of(fields), Some(want.into()), "{fields:?}");
    }
    let old = fault("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old, Some(Fault::TransferEncoding.into()));
    let both = "HTTP/1.1 204 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(both), Some(Fault::BothFramings.into()), "also where no body is");
}

#[test]
fn limits_are_exact() {
    let text = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n";
    let exact = Limits { head_bytes_max: text.len(), headers_max: 2, ..Limits::default() };
    let got = |limits: &Limits, text: &str| with(limits, false, text).0.fault;
    assert_eq!(got(&exact, text), None);
    let less = Limits { head_bytes_max: text.len() - 1, ..exact };
    assert_eq!(got(&less, text), Some(Fault::HeadTooLarge.into()));
    let fewer = Limits { headers_max: 1, ..exact };
    assert_eq!(got(&fewer, text), Some(Fault::TooManyFields.into()));
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(200));
    assert_eq!(got(&exact, &endless), Some(Fault::HeadTooLarge.into()), "before its end");
}

#[test]
fn chunked_bodies_and_their_trailers() {
    let got = run(format!("{CHUNKED}2\r\nhe\r\n003;a=b\r\nllo\r\n0\r\n\r\nnext"));
    assert_eq!((got.body.as_slice(), got.ended, got.trailers), (&b"hello"[..], true, None));
    assert_eq!(got.rest, b"next");
    let got = run(format!("{CHUNKED}1\r\nx\r\n0\r\nT:\t v \r\nU:\r\nT: \u{e9}:w\r\n\r\n"));
    let mut want = Fields::new();
    want.push("T", "v");
    want.push("U", "");
    want.push("T", "\u{e9}:w");
    assert_eq!((got.trailers, got.ended), (Some(want), true));
    let long = Limits { head_bytes_max: 60, headers_max: 2, ..Limits::default() };
    let trailers = |lines: &str| with(&long, false, format!("{CHUNKED}0\r\n{lines}\r\n")).0.fault;
    assert_eq!(trailers(&format!("T:{}\r\n", "v".repeat(56))), None);
    let over = trailers(&format!("T:{}\r\n", "v".repeat(57)));
    assert_eq!(over, Some(Fault::HeadTooLarge.into()));
    assert_eq!(trailers(&"T: v\r\n".repeat(3)), Some(Fault::TooManyFields.into()));
}

#[test]
fn faulty_chunks() {
    let cases = [
        "\r\n",
        "g\r\n",
        "0x5\r\n",
        "+1\r\n",
        "5\n",
        "5\rx",
        "5 \r\n",
        "5;a\n",
        "00000000000000001\r\n",
        "1\r\nxy",
        "1\r\nx\n",
        "0\r\n\n",
        "0\r\n T: v\r\n",
        "0\r\nT : v\r\n",
        "0\r\nT: \x01\r\n",
    ];
    for chunks in cases {
        let got = fault(format!("{CHUNKED}{chunks}"));
        assert_eq!(got, Some(Fault::Chunk.into()), "{chunks:?}");
    }
    assert_eq!(fault(format!("{CHUNKED}ffffffffffffffff\r\n")), None, "a body has no bound");
    assert_eq!(run(format!("{CHUNKED}ffffffffffffffff\r\nx")).body, b"x");
}

#[test]
fn extensions_are_bounded_for_each_chunk() {
    let long = "x".repeat(4095);
    let chunk = format!("1;{long}\r\na\r\n");
    let text = format!("{CHUNKED}{}0\r\n\r\n", chunk.repeat(3));
    let mut got = Outcome::default();
    read(&mut expecting(false), text.as_bytes(), &Limits::default(), &mut got);
    assert_eq!((got.body.as_slice(), got.ended, got.fault), (&b"aaa"[..], true, None));
    let over = format!("{CHUNKED}1;{long}x\r\n");
    let mut got = Outcome::default();
    read(&mut expecting(false), over.as_bytes(), &Limits::default(), &mut got);
    assert_eq!(got.fault, Some(Fault::ChunkExtensions.into()));
}

/// X3: what is missing shows.
#[test]
fn endings() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let cases = [
        ("", Ending::Early),
        ("H", Ending::Truncated),
        ("HTTP/1.1 100 x\r\n\r\n", Ending::Truncated),
        ("HTTP/1.1 200 OK\r\n", Ending::Truncated),
        ("HTTP/1.1 200 OK\r\n\r\n", Ending::Clean),
        ("HTTP/1.1 200 OK\r\n\r\nx", Ending::Clean),
        (sized, Ending::Truncated),
        (&format!("{sized}x"), Ending::Truncated),
        (&format!("{sized}xy"), Ending::Clean),
        (CHUNKED, Ending::Truncated),
        (&format!("{CHUNKED}1\r\nx\r\n"), Ending::Truncated),
        (&format!("{CHUNKED}0\r\n"), Ending::Truncated),
        (&format!("{CHUNKED}0\r\nT: v\r\n\r\n"), Ending::Clean),
        ("oops", Ending::Truncated),
    ];
    for (text, want) in cases {
        assert_eq!(ending(text), want, "{text:?}");
    }
    assert_eq!(ResponseDecoder::new().end(), Ending::Clean, "nothing was asked for");
}

#[test]
fn one_exchange_after_the_other_and_nothing_between() {
    let limits = Limits::default();
    let mut decoder = ResponseDecoder::new();
    for (is_head, text) in [
        (true, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (false, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (false, &format!("{CHUNKED}1\r\nx\r\n0\r\nT: v\r\n\r\n")),
    ] {
        assert_eq!(decoder.decode(&mut &b""[..], &limits), Ok(ResponseItem::Wait));
        decoder.expect(is_head);
        let mut got = Outcome::default();
        read(&mut decoder, text.as_bytes(), &limits, &mut got);
        assert!(got.ended && decoder.is_reusable(), "{text:?}");
    }
    let mut input = &b"HTTP/1.1 200 OK\r\n\r\n"[..];
    assert_eq!(decoder.decode(&mut input, &limits), Err(ResponseFault::Unasked));
    assert!(!decoder.is_reusable());
}

/// Pieces that meet in responses and attacks, so that random joins reach deep states.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&str] = &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200\r\n",
        "HTTP/1.1 100 x\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 304 x\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "3;x=y\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nT: v\r\n\r\n",
        "\r",
        "\n",
        "\0",
        "Connection: close\r\n",
        " ",
        "X: y\r\n",
    ];
    prop_oneof![
        12 => proptest::sample::select(known).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    /// Invariant 1: random joins of pieces at every cut in two and byte by byte.
    #[test]
    fn any_cut_gives_the_same_items(
        pieces in proptest::collection::vec(piece(), 0..10),
        is_head in any::<bool>(),
        tight in any::<bool>(),
    ) {
        let mut limits = Limits::default();
        if tight {
            limits = Limits { head_bytes_max: 60, headers_max: 2, ..limits };
        }
        with(&limits, is_head, pieces.concat());
    }
}
