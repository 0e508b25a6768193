//! What the decoder makes of whole requests, at every limit's edge and however they are cut.

use super::*;
use crate::http::Method;
use crate::http::Version;
use proptest::prelude::*;

/// What came of some input: requests with their bodies, then the fault if there was one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    requests: Vec<(Head, Vec<u8>)>,
    is_open: bool,
    fault: Option<Fault>,
}

fn read(decoder: &mut Decoder, mut input: &[u8], limits: &Limits, got: &mut Outcome) {
    while got.fault.is_none() {
        match decoder.decode(&mut input, limits) {
            Ok(Item::Wait) => {
                assert!(input.is_empty(), "waits only when the input is used up");
                break;
            }
            Ok(Item::Head(head)) => {
                got.requests.push((*head, Vec::new()));
                got.is_open = true;
            }
            Ok(Item::Body(body)) => {
                assert!(!body.is_empty());
                got.requests.last_mut().unwrap().1.extend_from_slice(body);
            }
            Ok(Item::End) => {
                got.is_open = false;
                assert_eq!((decoder.stage(), decoder.held_bytes()), (Stage::Idle, 0));
            }
            Err(fault) => {
                got.fault = Some(fault);
                assert_eq!(decoder.decode(&mut input, limits), Err(fault), "for ever");
            }
        }
    }
}

fn with(limits: &Limits, text: impl AsRef<[u8]>) -> Outcome {
    let mut got = Outcome::default();
    read(&mut Decoder::new(), text.as_ref(), limits, &mut got);
    let mut bytewise = Outcome::default();
    let mut decoder = Decoder::new();
    for byte in text.as_ref().chunks(1) {
        read(&mut decoder, byte, limits, &mut bytewise);
    }
    assert_eq!(got, bytewise, "the cut of the input shows");
    got
}

fn run(text: impl AsRef<[u8]>) -> Outcome {
    with(&Limits::default(), text)
}

fn fault(text: impl AsRef<[u8]>) -> Option<Fault> {
    run(text).fault
}

fn one(text: impl AsRef<[u8]>) -> (Head, Vec<u8>) {
    let mut got = run(text);
    assert_eq!((got.fault, got.is_open, got.requests.len()), (None, false, 1), "{got:?}");
    got.requests.remove(0)
}

#[test]
fn a_head_has_its_parts() {
    let (head, body) =
        one("GET /a/b?topic=x&topic=y HTTP/1.1\r\nhOST: h:1\r\nA: 1\r\nB:\t 2 \r\na:3\r\n\r\n");
    assert_eq!((head.method(), head.method_text()), (Method::Get, "GET"));
    assert_eq!((head.path(), head.query()), ("/a/b", Some("topic=x&topic=y")));
    assert_eq!((head.host(), head.version()), (Some("h:1"), Version::Http11));
    assert_eq!(head.all("A").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!((head.first("b"), head.first_text("c")), (Some(&b"2"[..]), None));
    assert_eq!(head.fields().count(), 4);
    assert!(head.keep_alive() && !head.expects_continue() && !head.is_coded());
    assert!(body.is_empty());
}

#[test]
fn targets_and_methods() {
    let (head, _) = one("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.method(), head.path(), head.query()), (Method::Options, "*", None));
    let (head, _) = one("PURGE http://Other:8?q HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.method(), head.method_text()), (Method::Other, "PURGE"));
    let parts = (head.path(), head.query(), head.host());
    assert_eq!(parts, ("/", Some("q"), Some("Other:8")), "the target wins over Host");
    for method in ["CONNECT", "TRACE"] {
        let got = fault(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(got, Some(Fault::MethodRefused));
    }
}

#[test]
fn keep_alive_by_version_and_field() {
    let keeps = |version: &str, field: &str| {
        one(format!("GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n")).0.keep_alive()
    };
    assert!(keeps("1.1", "") && !keeps("1.1", "Connection: x, Close\r\n"));
    assert!(!keeps("1.0", "") && keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn host_rules() {
    let got = |version: &str, fields: &str| fault(format!("GET / HTTP/{version}\r\n{fields}\r\n"));
    assert_eq!(got("1.1", "X: y\r\n"), Some(Fault::Host));
    assert_eq!(got("1.1", "Host: a\r\nHost: a\r\n"), Some(Fault::Host));
    assert_eq!(got("1.1", "Host: a/b\r\n"), Some(Fault::Host));
    assert_eq!(got("1.0", "Host: a\r\nHost: b\r\n"), Some(Fault::Host));
    assert_eq!((got("1.1", "Host:\r\n"), got("1.0", "X: y\r\n")), (None, None));
    let absolute = fault("GET http://h/ HTTP/1.1\r\n\r\n");
    assert_eq!(absolute, Some(Fault::Host), "an absolute target does not replace the field");
}

#[test]
fn malformed_heads() {
    let cases = [
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET / x HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET /\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Fault::RequestLine),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Fault::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::Version),
        ("GET / HTTP/1.1\nHost: h\n\n", Fault::BareControl),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", Fault::BareControl),
        ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", Fault::BareControl),
        ("GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", Fault::BareControl),
        ("GET / HTTP/1.1\r\nHost: h\r\n\rX", Fault::BareControl),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost: h\r\nA(: b\r\n\r\n", Fault::Field),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n", Fault::Field),
        ("GET /../x HTTP/1.1\r\nHost: h\r\n\r\n", Fault::Target),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Fault::Target),
        ("\x16\x03\x01\x02\0\x01", Fault::RequestLine),
    ];
    for (text, want) in cases {
        assert_eq!(fault(text), Some(want), "{text:?}");
    }
    assert_eq!(fault(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"), Some(Fault::RequestLine));
    assert_eq!(fault("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), None, "two empty lines pass");
}

#[test]
fn garbage_is_refused_before_a_head_is_complete() {
    assert_eq!(fault("GET / HTTP/1.0\n"), Some(Fault::BareControl));
    assert_eq!(fault(format!("{} ", "M".repeat(33))), Some(Fault::RequestLine));
}

#[test]
fn limits_are_exact() {
    let text = "GET /abc HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    let exact = Limits {
        head_bytes_max: text.len(),
        headers_max: 2,
        target_bytes_max: 4,
        body_bytes_max: 0,
        stray_bodies: false,
    };
    assert_eq!(with(&exact, text).requests.len(), 1);
    let less = |limits| with(&limits, text).fault;
    let head_bytes_max = exact.head_bytes_max - 1;
    assert_eq!(less(Limits { head_bytes_max, ..exact }), Some(Fault::HeadTooLarge));
    assert_eq!(less(Limits { headers_max: 1, ..exact }), Some(Fault::TooManyFields));
    assert_eq!(less(Limits { target_bytes_max: 3, ..exact }), Some(Fault::TargetTooLong));
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(200));
    assert_eq!(with(&exact, endless).fault, Some(Fault::HeadTooLarge), "before its end");
}

#[test]
fn an_unfinished_head_holds_no_more_than_its_bound() {
    let limits = Limits { head_bytes_max: 1000, ..Limits::default() };
    let mut decoder = Decoder::new();
    let mut input = &b"GET / HTTP/1.1\r\nA: "[..];
    assert_eq!(decoder.decode(&mut input, &limits), Ok(Item::Wait));
    assert_eq!(decoder.stage(), Stage::Head);
    let long = [b'x'; 4000];
    assert!(decoder.decode(&mut &long[..], &limits).is_err());
    assert_eq!(decoder.held_bytes(), 0);
    assert!(size_of::<Decoder>() <= 96, "{}", size_of::<Decoder>());
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

#[test]
fn sized_bodies() {
    let (head, body) = one(post("Content-Length: 5\r\n", "hello"));
    assert_eq!((head.framing(), body.as_slice()), (Framing::Sized(5), &b"hello"[..]));
    assert!(one(post("Content-Length: 0\r\n", "")).1.is_empty());
    assert!(one(post("", "")).1.is_empty());
    let got = run(post("Content-Length: 5\r\n", "hell"));
    assert!(got.is_open && got.fault.is_none());
    let limits = Limits { body_bytes_max: 5, ..Limits::default() };
    assert_eq!(with(&limits, post("Content-Length: 5\r\n", "hello")).fault, None);
    let over = with(&limits, post("Content-Length: 6\r\n", ""));
    assert_eq!((over.fault, over.requests.len()), (Some(Fault::BodyTooLarge), 0));
}

/// A gateway decodes heads without a bound on bodies, then chooses one by the route.
#[test]
fn a_body_is_bounded_by_the_limits_of_its_own_time() {
    let bounded = Limits { body_bytes_max: 5, ..Limits::default() };
    let any = bounded.any_body();
    let sized = |length: &str| one_head(&any, &post(&format!("Content-Length: {length}\r\n"), ""));
    assert_eq!(sized("5").fits(&bounded), Ok(()));
    let most = sized("9223372036854775807");
    assert_eq!((most.fits(&bounded), most.fits(&any)), (Err(Fault::BodyTooLarge), Ok(())));
    let chunked = post(CHUNKED, "6\r\nabcdef\r\nffffffffffffff\r\nx");
    assert_eq!(one_head(&any, &chunked).fits(&bounded), Ok(()), "it announces nothing");
    let mut input = chunked.as_bytes();
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.decode(&mut input, &any), Ok(Item::Head(_))));
    assert_eq!(decoder.decode(&mut input, &bounded), Err(Fault::BodyTooLarge));
    assert_eq!(with(&any, &chunked).requests[0].1, b"abcdefx");
}

fn one_head(limits: &Limits, text: &str) -> Head {
    with(limits, text).requests.remove(0).0
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn chunked_bodies() {
    let body = |chunks: &str| one(post(CHUNKED, chunks)).1;
    assert_eq!(body("5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(body("2\r\nhe\r\n003;a=\"b\"\r\nllo\r\n00;x\r\nT: v\r\nU:\r\n\r\n"), b"hello");
    assert_eq!(body("A \t;x\r\n0123456789\r\n0\r\n\r\n"), b"0123456789");
    assert_eq!(body("2\r\n\r\n\r\n0\r\n\r\n"), b"\r\n", "data may look like framing");
    let coded = one(post("Transfer-Encoding: gzip, chunked\r\n", "1\r\nx\r\n0\r\n\r\n")).0;
    assert!(coded.is_coded());
}

#[test]
fn faulty_chunks() {
    let cases = [
        "\r\n",
        "g\r\n",
        "0x5\r\n",
        "-1\r\n",
        "+1\r\n",
        "5\n",
        "5\rx",
        "5 \r\n",
        " 5\r\n",
        "5;a\n",
        "5;\x01\r\n",
        "00000000000000001\r\n",
        "ffffffffffffffff0\r\n",
        "1\r\nxy",
        "1\r\nx\n",
        "1\r\nx\r0",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\n T: v\r\n",
        "0\r\nT : v\r\n",
        "0\r\nT\r\n",
        "0\r\n: v\r\n",
        "0\r\nT: \x01\r\n",
        "0\r\nT: v\n",
    ];
    for chunks in cases {
        assert_eq!(fault(post(CHUNKED, chunks)), Some(Fault::Chunk), "{chunks:?}");
    }
    let overflow = fault(post(CHUNKED, "ffffffffffffffff\r\n"));
    assert_eq!(overflow, Some(Fault::BodyTooLarge), "the largest size that parses");
}

#[test]
fn chunked_limits_are_exact() {
    let limits = Limits { body_bytes_max: 6, head_bytes_max: 100, ..Limits::default() };
    let got = |chunks: &str| with(&limits, post(CHUNKED, chunks)).fault;
    assert_eq!(got("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"), None);
    assert_eq!(got("3\r\nabc\r\n4\r\n"), Some(Fault::BodyTooLarge));
    // Two extensions that reach 4 KiB together: `;` and 2,047 letters each.
    let long = "x".repeat(2047);
    let two = format!("1;{long}\r\na\r\n1;{long}\r\nb\r\n");
    assert_eq!(got(&format!("{two}0\r\n\r\n")), None);
    assert_eq!(got(&format!("{two}0;\r\n\r\n")), Some(Fault::ChunkExtensions));
    // A trailer section of 100 bytes with its line ends.
    let trailer = |length: usize| format!("0\r\nT:{}\r\n\r\n", "v".repeat(length - 4));
    assert_eq!(got(&trailer(100)), None);
    assert_eq!(got(&trailer(101)), Some(Fault::HeadTooLarge));
    let few = Limits { headers_max: 2, ..Limits::default() };
    let trailers = |count: usize| format!("0\r\n{}\r\n", "T: v\r\n".repeat(count));
    assert_eq!(with(&few, post(CHUNKED, &trailers(2))).fault, None);
    assert_eq!(with(&few, post(CHUNKED, &trailers(3))).fault, Some(Fault::TooManyFields));
}

#[test]
fn get_and_head_have_no_body() {
    for method in ["GET", "HEAD"] {
        let head = |f: &str| fault(format!("{method} / HTTP/1.1\r\nHost: h\r\n{f}\r\n"));
        assert_eq!(head("Content-Length: 0\r\n"), None);
        assert_eq!(head("Content-Length: 1\r\n"), Some(Fault::UnexpectedBody));
        assert_eq!(head(CHUNKED), Some(Fault::UnexpectedBody));
    }
}

/// Where somebody else may want it, it passes, and nothing comes after it.
#[test]
fn a_stray_body_ends_the_connection() {
    let (ours, any) = (Limits::default(), Limits::default().any_body());
    let head = |method: &str, fields: &str| {
        one_head(&any, &format!("{method} / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    };
    for method in ["GET", "HEAD"] {
        let kept = "Connection: keep-alive\r\nContent-Length: 1\r\n";
        for fields in ["Content-Length: 1\r\n", CHUNKED, kept] {
            let stray = head(method, fields);
            assert!(stray.has_stray_body() && !stray.keep_alive(), "{method} {fields}");
            assert_eq!(stray.fits(&ours), Err(Fault::UnexpectedBody), "{method} {fields}");
        }
        let bare = head(method, "Content-Length: 0\r\n");
        assert!(!bare.has_stray_body() && bare.keep_alive() && bare.fits(&ours).is_ok());
    }
    let usual = head("DELETE", "Content-Length: 1\r\n");
    assert!(!usual.has_stray_body() && usual.keep_alive() && usual.fits(&ours).is_ok());
}

#[test]
fn expectations() {
    let field = "Expect: 100-Continue\r\n";
    let waits = |fields: &str| run(post(fields, "")).requests[0].0.expects_continue();
    assert!(waits(&format!("{field}Content-Length: 3\r\n")));
    assert!(waits(&format!("{field}{CHUNKED}")));
    assert!(!waits(&format!("{field}Content-Length: 0\r\n")), "nothing to wait for");
    assert_eq!(fault(post("Expect: magic\r\n", "")), Some(Fault::Expectation));
    let old = "POST / HTTP/1.0\r\nExpect: magic\r\nContent-Length: 1\r\n\r\nx";
    assert!(!one(old).0.expects_continue(), "HTTP/1.0 does not know it");
}

#[test]
fn pipelined_requests_come_in_order() {
    let text = post("Content-Length: 2\r\n", "ab") + &post(CHUNKED, "1\r\nc\r\n0\r\n\r\n");
    let got = run(text.clone() + "GET /last HTTP/1.0\r\n\r\nGET /bad");
    let bodies: Vec<_> = got.requests.iter().map(|(_, body)| body.as_slice()).collect();
    assert_eq!(bodies, [&b"ab"[..], b"c", b""]);
    assert_eq!((got.fault, got.is_open), (None, false));
    let mut input = text.as_bytes();
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    while decoder.decode(&mut input, &limits) != Ok(Item::End) {}
    assert!(input.starts_with(b"POST"), "the next request is left to the caller");
}

/// Pieces that meet in requests and attacks, so that random joins reach deep states.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&str] = &[
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "HEAD http://h/ HTTP/1.0\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "3;x=y\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nT: v\r\n\r\n",
        "\r",
        "\n",
        "\0",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        " ",
        "X: y\r\n",
        "5\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    ];
    prop_oneof![
        12 => proptest::sample::select(known).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    /// Invariant 1: random joins of pieces, randomly cut, against the whole at once.
    #[test]
    fn any_cut_gives_the_same_items(
        pieces in proptest::collection::vec(piece(), 0..14),
        cuts in proptest::collection::vec(1_usize..40, 1..60),
        tight in any::<bool>(),
    ) {
        let text = pieces.concat();
        let mut limits = Limits::default();
        if tight {
            limits = Limits {
                head_bytes_max: 60, headers_max: 3, target_bytes_max: 6, body_bytes_max: 5,
                stray_bodies: false,
            };
        }
        let whole = with(&limits, &text);
        let (mut decoder, mut got, mut rest) = (Decoder::new(), Outcome::default(), &text[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            read(&mut decoder, now, &limits, &mut got);
            rest = later;
        }
        prop_assert_eq!(whole, got);
    }
}

#[test]
fn blanks_after_a_size_are_bounded_as_extensions_are() {
    let blanks = |count: usize| fault(post(CHUNKED, &format!("1{};\r\nx\r\n", " ".repeat(count))));
    assert_eq!((blanks(4095), blanks(4096)), (None, Some(Fault::ChunkExtensions)));
}
