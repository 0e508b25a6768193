//! The same comes out however the input is cut, and a cut response never looks whole.

use super::*;
use proptest::prelude::*;

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nseventyGET /next HTTP/1.1\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
     4\r\nfour\r\n1;x\r\n!\r\n0\r\nT: x\r\n\r\nGET /next",
    "GET / HTTP/1.0\r\n\r\n",
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n\
     5\r\ndata:\r\n3\r\n x\n\r\n1\r\n\n\r\n0\r\nServer-Timing: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the close",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxleft over",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
];

fn pieces<'i>(input: &'i str, cuts: &[usize]) -> Vec<&'i [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([input.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(from, to)| &input.as_bytes()[from..to]).collect()
}

/// Everything that can be seen of an exchange.
fn run(request: &str, up: &[usize], response: &str, down: &[usize], late: bool) -> String {
    let (head, body) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
    let mut pair = Pair::new(head);
    if !late {
        pair.connect();
    }
    for piece in pieces(body, up) {
        pair.client(piece);
    }
    if late {
        pair.connect();
    }
    let asked = pair.asked();
    for piece in pieces(response, down) {
        pair.backend(piece);
    }
    if pair.end().is_none() {
        pair.backend_ends(Lost::Clean);
    }
    let unread = String::from_utf8_lossy(&pair.unread).into_owned();
    let after = (pair.end(), pair.next(), pair.relay.backend_reusable(), unread);
    format!("{asked:?}\n{:?}\n{after:?}", pair.seen())
}

#[test]
fn cut_at_every_byte_both_ways() {
    for request in REQUESTS {
        let body = request.len() - request.find("\r\n\r\n").unwrap() - 4;
        for response in RESPONSES {
            let whole = run(request, &[], response, &[], false);
            for cut in 1..body {
                assert_eq!(run(request, &[cut], response, &[], false), whole, "{cut} {request}");
                assert_eq!(run(request, &[cut], response, &[], true), whole, "{cut} {request}");
            }
            for cut in 1..response.len() {
                assert_eq!(run(request, &[], response, &[cut], false), whole, "{cut} {response}");
            }
            let all: Vec<usize> = (0..response.len()).collect();
            assert_eq!(run(request, &all, response, &all, false), whole);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same(
        request in proptest::sample::select(REQUESTS),
        response in proptest::sample::select(RESPONSES),
        up in proptest::collection::vec(any::<usize>(), 0..12),
        down in proptest::collection::vec(any::<usize>(), 0..30),
        late in any::<bool>(),
    ) {
        let whole = run(request, &[], response, &[], false);
        prop_assert_eq!(run(request, &up, response, &down, late), whole);
    }

    #[test]
    fn noise_from_the_backend_is_harmless(
        start in proptest::sample::select(RESPONSES),
        keep in any::<proptest::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut pair = Pair::connected(GET);
        let bytes = [&start.as_bytes()[..keep.index(start.len())], &noise].concat();
        pair.backend(&bytes);
        pair.backend_ends(Lost::Broken);
        prop_assert!(pair.end().is_some());
        pair.seen();
    }
}

/// Each kind of response for each kind of client, ending after `kept` bytes.
fn cut_short(request: &str, response: &str, kept: usize, how: Lost) -> (Pair, usize) {
    let body = response.find("\r\n\r\n").unwrap() + 4;
    let mut pair = Pair::connected(request);
    pair.backend(&response[..kept]);
    pair.backend_ends(how);
    (pair, body)
}

#[test]
fn a_cut_is_never_passed_as_an_end() {
    let framed = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ];
    let open = "HTTP/1.1 200 OK\r\n\r\nhello world";
    for request in [GET, "GET / HTTP/1.0\r\n\r\n"] {
        for (response, how) in [
            (framed[0], Lost::Clean),
            (framed[0], Lost::Broken),
            (framed[1], Lost::Clean),
            (framed[1], Lost::Broken),
            (open, Lost::Broken),
        ] {
            for kept in 0..response.len() {
                let (pair, body) = cut_short(request, response, kept, how);
                let about = format!("{how:?} after {kept} of {response:?} for {request:?}");
                let seen = pair.seen();
                if kept < body {
                    assert_eq!((seen.status, pair.end()), (502, Some(End::BackendLost)), "{about}");
                    assert!(seen.is_whole, "our own answer is whole: {about}");
                } else {
                    assert_eq!(seen.status, 200, "{about}");
                    assert!(!seen.is_whole, "{about}");
                    assert_eq!(pair.end(), Some(End::BackendTruncated), "{about}");
                    assert_ne!(pair.next(), ClientNext::Keep, "{about}");
                }
                assert!(!pair.relay.backend_reusable(), "{about}");
            }
        }
        let (pair, _) = cut_short(request, open, open.len(), Lost::Clean);
        assert!(pair.seen().is_whole && pair.end() == Some(End::Completed));
    }
}

#[test]
fn only_a_reset_shows_a_cut_to_a_client_that_knows_no_chunks() {
    let (pair, _) = cut_short("GET / HTTP/1.0\r\n\r\n", RESPONSES[2], 25, Lost::Broken);
    assert_eq!(pair.next(), ClientNext::Reset);
    let (pair, _) = cut_short(GET, RESPONSES[2], 25, Lost::Broken);
    assert_eq!(pair.next(), ClientNext::Close);
}
