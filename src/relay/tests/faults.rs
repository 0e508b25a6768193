//! What is wrong, early, late, or too much.

use super::*;

#[test]
fn nothing_of_a_bad_head_reaches_the_client() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nX-Leak: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nX-Leak: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nX-Leak: 1\r\nbad field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Leak: a\rb\r\n\r\n",
        "HTTP/2 200\r\nX-Leak: 1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nX-Leak: 1\r\nUpgrade: x\r\n\r\n",
        "nonsense X-Leak",
    ];
    for response in bad {
        let mut pair = Pair::connected(GET);
        pair.backend(response);
        let seen = pair.seen();
        assert_eq!((seen.status, pair.end()), (502, Some(End::BackendFault)), "{response:?}");
        assert!(pair.relay.fault().is_some(), "{response:?}");
        let text = String::from_utf8_lossy(&pair.to_client).into_owned();
        assert!(!text.contains("Leak") && seen.is_whole, "{text}");
        assert!(!pair.relay.backend_reusable());
        assert_eq!(pair.next(), ClientNext::Keep, "the client did nothing wrong");
    }
}

#[test]
fn a_fault_in_the_body_cuts_it() {
    let mut pair = Pair::connected(GET);
    pair.backend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\nmore");
    let seen = pair.seen();
    assert_eq!((&seen.body[..], seen.is_whole), (&b"hi"[..], false));
    assert_eq!((pair.end(), pair.next()), (Some(End::BackendFault), ClientNext::Close));
}

#[test]
fn leftovers_spoil_the_backends_connection() {
    let mut pair = Pair::connected(GET);
    pair.backend(format!("{OK}HTTP/1.1 200 OK\r\n"));
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Keep));
    assert!(pair.seen().behind.is_empty() && !pair.relay.backend_reusable());
}

#[test]
fn an_early_response_ends_both_connections() {
    let mut pair = Pair::connected(POST);
    pair.client("he");
    pair.backend("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((pair.end(), pair.next()), (Some(End::Early), ClientNext::Close));
    assert_eq!(pair.seen().field("connection"), Some("close"));
    assert!(pair.seen().is_whole && !pair.relay.backend_reusable());
    assert!(pair.relay.into_decoder().is_none());
}

#[test]
fn both_directions_stream_at_once() {
    let mut pair = Pair::connected(POST);
    pair.client("he");
    pair.backend("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhe");
    pair.client("llo");
    assert!(pair.asked().3 && pair.end().is_none());
    pair.backend("yo");
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Close));
    assert!(pair.relay.backend_reusable(), "both messages are whole");
}

#[test]
fn pipelined_requests_wait_for_their_turn() {
    let mut pair = Pair::connected(&format!("{POST}hello{GET}"));
    assert!(!pair.relay.wants_client_input());
    pair.client("more");
    assert_eq!(pair.unread, format!("{GET}more").as_bytes());
    pair.backend(OK);
    assert!(!pair.relay.wants_client_input());
    let unread = std::mem::take(&mut pair.unread);
    let mut decoder = pair.relay.into_decoder().expect("kept");
    let item = decoder.decode(&mut &unread[..], &Limits::default());
    assert!(matches!(item, Ok(Item::Head(head)) if head.path() == "/a"));
}

#[test]
fn a_broken_body_of_the_client_never_ends_at_the_backend() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for begun in [false, true] {
        let mut pair = Pair::connected(request);
        if begun {
            pair.backend("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
        }
        pair.client("zz\r\n0\r\n\r\n");
        assert_eq!((pair.end(), pair.next()), (Some(End::ClientFault), ClientNext::Close));
        assert!(!pair.asked().3 && !pair.relay.backend_reusable());
        let seen = pair.seen();
        assert_eq!((seen.status, seen.is_whole), if begun { (200, false) } else { (400, true) });
    }
}

#[test]
fn the_client_leaves() {
    for input in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"] {
        let mut pair = Pair::connected(GET);
        pair.backend(input);
        assert_eq!(pair.relay.client_gone(), Step::Over(End::ClientGone));
        assert!(!pair.relay.backend_reusable());
        let written = pair.to_client.len();
        pair.backend(OK);
        pair.backend_ends(Lost::Clean);
        assert_eq!((pair.end(), pair.to_client.len()), (Some(End::ClientGone), written));
        assert_eq!(pair.relay.deadline(), None);
    }
}

#[test]
fn cancelled_from_here() {
    let mut pair = Pair::connected("GET / HTTP/1.0\r\n\r\n");
    pair.backend("HTTP/1.1 200 OK\r\n\r\nx");
    assert_eq!(pair.relay.cancel(), Step::Over(End::Cancelled));
    assert_eq!(pair.next(), ClientNext::Reset);
}

#[test]
fn a_drain_says_close() {
    let mut pair = Pair::connected(GET);
    pair.relay.closing();
    pair.backend(OK);
    assert_eq!((pair.next(), pair.seen().field("connection")), (ClientNext::Close, Some("close")));
}
