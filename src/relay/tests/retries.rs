//! Who may be asked twice: the matrix of methods, bodies, attempts and failures.

use super::*;

const PUT: &str = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
const LATE: End = End::TimedOut(Timer::BackendRequest);

fn tries(request: &str, retries: u32) -> Pair {
    Pair::with(request, |plan| plan.retries = retries)
}

#[test]
fn no_connection_is_repeated_whatever_the_method() {
    let causes = [(Cause::Failed, 502), (Cause::Timeout, 504)];
    for (cause, status) in causes {
        for request in [GET, PUT, POST] {
            let mut pair = tries(request, 2);
            for _ in 0..2 {
                pair.fail(cause);
                assert_eq!(pair.step, Step::Retry, "{cause:?} {request}");
            }
            pair.fail(cause);
            assert_eq!(pair.seen().status, status);
            assert!(pair.to_backend.is_empty());
        }
    }
    let mut pair = tries(GET, 2);
    pair.fail(Cause::NoEndpoint);
    assert_eq!((pair.seen().status, pair.end()), (503, Some(End::NoEndpoint)));
}

#[test]
fn a_lost_request_is_repeated_if_it_may_be() {
    for (request, retries, pooled, again) in [
        (GET, 1, false, true),
        (GET, 0, false, false),
        // A pooled connection that ends as the request goes out is nobody's fault.
        (GET, 0, true, true),
        (PUT, 1, false, true),
        (PUT, 0, true, true),
        (POST, 1, false, false),
        (POST, 1, true, false),
    ] {
        for how in [Lost::Clean, Lost::Broken] {
            let mut pair = tries(request, retries);
            pair.connect_on(pooled);
            let first = pair.to_backend.clone();
            pair.backend_ends(how);
            let about = format!("{request:?} {retries} {pooled} {how:?}");
            assert_eq!(pair.step == Step::Retry, again, "{about}");
            if again {
                pair.connect();
                assert_eq!(pair.to_backend, first, "the same request: {about}");
                pair.backend_ends(how);
                assert_eq!(pair.end(), Some(End::BackendLost), "{about}");
            }
            assert_eq!(pair.seen().status, 502, "{about}");
        }
    }
}

#[test]
fn a_stale_pooled_connection_is_free_only_once() {
    let mut pair = tries(GET, 1);
    for _ in 0..2 {
        pair.connect_on(true);
        pair.backend_ends(Lost::Clean);
        assert_eq!(pair.step, Step::Retry);
    }
    pair.connect_on(true);
    pair.backend_ends(Lost::Clean);
    assert_eq!(pair.end(), Some(End::BackendLost));
}

#[test]
fn the_first_byte_of_a_response_ends_it() {
    for begun in ["HTTP/1.1 103 Early Hints\r\n\r\n", "H"] {
        let open = || {
            let mut pair = Pair::with(PUT, |plan| {
                plan.retries = 3;
                plan.timers.backend_request = secs(2);
            });
            pair.connect();
            assert!(pair.relay.held_bytes() > 0);
            pair.backend(begun);
            let opening = pair.relay.opening.as_ref().unwrap();
            assert_eq!((opening.held_bytes(), opening.plan().fields.iter().count()), (0, 0));
            pair
        };
        let mut lost = open();
        lost.backend_ends(Lost::Broken);
        assert_eq!((lost.end(), lost.seen().status), (Some(End::BackendLost), 502));
        let mut late = open();
        late.pass(secs(2));
        assert_eq!((late.end(), late.seen().status), (Some(LATE), 504));
    }
}

#[test]
fn a_body_is_repeated_while_all_of_it_is_held() {
    let length = HELD_BYTES_MAX + 1;
    let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let mut pair = tries(&head, 1);
    pair.connect();
    pair.client(vec![b'x'; HELD_BYTES_MAX]);
    assert!(pair.relay.held_bytes() >= HELD_BYTES_MAX);
    pair.backend_ends(Lost::Broken);
    assert_eq!(pair.step, Step::Retry);
    assert!(!pair.relay.wants_client_input(), "no room until the backend is there");
    pair.connect();
    pair.client("x");
    let (_, _, body, whole) = pair.asked();
    assert_eq!((body.len(), whole), (length, true));

    let mut pair = tries(&head, 1);
    pair.connect();
    pair.client(vec![b'x'; length]);
    assert_eq!(pair.relay.held_bytes(), 0, "outgrown, so dropped");
    pair.backend_ends(Lost::Broken);
    assert_eq!(pair.end(), Some(End::BackendLost));
}

#[test]
fn what_was_not_all_sent_is_sent_again_from_the_start() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let mut pair = tries(head, 1);
    pair.connect();
    pair.backend_ends(Lost::Clean);
    assert_eq!(pair.step, Step::Retry);
    pair.client("2\r\nde\r\n0\r\n\r\n");
    pair.connect();
    let (_, _, body, whole) = pair.asked();
    assert_eq!((&body[..], whole), (&b"abcde"[..], true));
    pair.backend(OK);
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Keep));
}

#[test]
fn nothing_is_held_that_cannot_be_sent_again() {
    let mut pair = tries(POST, 5);
    pair.client("hel");
    assert!(pair.relay.held_bytes() > 0);
    pair.connect();
    assert_eq!(pair.relay.held_bytes(), 0);
    pair.client("lo");
    assert_eq!((pair.relay.held_bytes(), pair.asked().2), (0, b"hello".to_vec()));
}
