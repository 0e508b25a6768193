//! Each timer: when it runs, what holds it off, what it does.

use super::*;

const SSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

fn timed(request: &str, timers: Timers) -> Pair {
    Pair::with(request, |plan| plan.timers = timers)
}

fn ends(pair: &Pair, timer: Timer, status: u16) {
    assert_eq!(pair.end(), Some(End::TimedOut(timer)));
    let seen = pair.seen();
    assert_eq!((seen.status, seen.is_whole), (status, status != 200));
    assert!(!pair.relay.backend_reusable());
}

#[test]
fn zero_is_off() {
    let mut pair = timed(POST, Timers::default());
    assert_eq!(pair.relay.deadline(), None);
    pair.connect();
    pair.client("hello");
    pair.backend(SSE);
    assert_eq!(pair.relay.deadline(), None);
}

#[test]
fn the_whole_exchange() {
    let timers = Timers { request: secs(5), ..Timers::default() };
    let mut connecting = timed(GET, timers);
    connecting.pass(secs(4));
    assert_eq!(connecting.end(), None);
    connecting.pass(secs(1));
    ends(&connecting, Timer::Request, 504);
    assert_eq!(connecting.next(), ClientNext::Keep);

    let mut streaming = timed(GET, timers);
    streaming.connect();
    streaming.backend(SSE);
    for _ in 0..4 {
        streaming.pass(secs(1));
        streaming.backend("data\n\n");
    }
    assert_eq!(streaming.end(), None);
    streaming.pass(secs(1));
    ends(&streaming, Timer::Request, 200);
}

#[test]
fn the_clients_body() {
    let timers = Timers { request_body: secs(5), ..Timers::default() };
    let mut pair = timed(POST, timers);
    pair.connect();
    pair.pass(secs(4));
    pair.client("h");
    pair.pass(secs(4));
    pair.relay.moved(pair.now);
    pair.pass(secs(4));
    assert_eq!(pair.end(), None);
    pair.pass(secs(1));
    ends(&pair, Timer::RequestBody, 408);
    assert_eq!(pair.next(), ClientNext::Close);

    let mut whole = timed(POST, timers);
    whole.connect();
    whole.client("hello");
    whole.pass(secs(60));
    assert_eq!(whole.end(), None);
    let long = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    let mut full = timed(&long, timers);
    full.client(vec![0; HELD_BYTES_MAX]);
    full.pass(secs(60));
    assert_eq!(full.end(), None, "nobody asks the client for more");
}

#[test]
fn one_attempt() {
    let timers = Timers { backend_request: secs(2), ..Timers::default() };
    let mut pair = timed(GET, timers);
    pair.pass(secs(60));
    assert_eq!(pair.end(), None, "the connect timeout is another");
    pair.connect();
    pair.pass(secs(1));
    pair.backend("HTTP/1.1 103 x\r\n\r\n");
    pair.pass(secs(1));
    ends(&pair, Timer::BackendRequest, 504);

    let mut again = Pair::with(GET, |plan| (plan.timers, plan.retries) = (timers, 1));
    again.connect();
    again.pass(secs(2));
    assert_eq!(again.step, Step::Retry);
    again.connect();
    again.pass(secs(1));
    again.backend(SSE);
    again.pass(secs(60));
    assert_eq!(again.end(), None, "it ends with the head");

    for request in [POST, GET] {
        let mut pair = Pair::with(request, |plan| (plan.timers, plan.retries) = (timers, 1));
        pair.connect_on(true);
        pair.pass(secs(2));
        assert_eq!(pair.step == Step::Retry, request == GET);
    }
}

#[test]
fn a_pooled_connection_that_is_slow_costs_an_attempt() {
    let timers = Timers { backend_request: secs(2), ..Timers::default() };
    let mut pair = timed(GET, timers);
    pair.connect_on(true);
    pair.pass(secs(2));
    ends(&pair, Timer::BackendRequest, 504);
}

#[test]
fn the_responses_head() {
    let timers = Timers { response_head: secs(3), ..Timers::default() };
    let mut pair = timed(POST, timers);
    pair.connect();
    pair.pass(secs(60));
    assert_eq!(pair.end(), None, "the request is not complete");
    pair.client("hello");
    pair.pass(secs(2));
    assert_eq!(pair.end(), None);
    pair.pass(secs(1));
    ends(&pair, Timer::ResponseHead, 504);
    assert_eq!(pair.next(), ClientNext::Keep);

    let mut early = timed(GET, timers);
    early.pass(secs(60));
    early.connect();
    early.pass(secs(2));
    early.backend(SSE);
    early.pass(secs(60));
    assert_eq!(early.end(), None);
}

#[test]
fn silence() {
    let timers = Timers { idle: secs(10), ..Timers::default() };
    let mut pair = timed(GET, timers);
    pair.connect();
    pair.pass(secs(60));
    assert_eq!(pair.end(), None, "it begins with the head");
    pair.backend(SSE);
    for _ in 0..5 {
        pair.pass(secs(9));
        pair.backend("data: x\n\n");
    }
    pair.pass(secs(9));
    pair.relay.moved(pair.now);
    pair.pass(secs(9));
    assert_eq!(pair.end(), None);
    pair.pass(secs(1));
    ends(&pair, Timer::Idle, 200);
    assert_eq!(pair.next(), ClientNext::Close);
}

#[test]
fn a_rules_timeouts_have_defaults() {
    use crate::config::gateway::Timeouts;
    let timers = Timers::of(Timeouts::default(), secs(30));
    assert_eq!((timers.request, timers.backend_request), (Duration::ZERO, Duration::ZERO));
    assert_eq!((timers.response_head, timers.idle), (secs(60), secs(300)));
    let own =
        Timeouts { idle: Some(Duration::ZERO), request: Some(secs(1)), ..Timeouts::default() };
    let timers = Timers::of(own, secs(30));
    assert_eq!((timers.request, timers.idle, timers.request_body), (secs(1), secs(0), secs(30)));
}

#[test]
fn the_timers_of_an_attempt_end_with_it() {
    let timers = Timers { backend_request: secs(2), response_head: secs(9), ..Timers::default() };
    let mut pair = Pair::with(GET, |plan| (plan.timers, plan.retries) = (timers, 1));
    pair.connect();
    pair.pass(secs(2));
    assert_eq!(pair.step, Step::Retry);
    assert_eq!(pair.relay.deadline(), None, "nobody is asked");
    pair.pass(secs(60));
    pair.connect();
    pair.pass(secs(1));
    assert_eq!(pair.end(), None);
    pair.pass(secs(1));
    ends(&pair, Timer::BackendRequest, 504);
}

#[test]
fn of_two_timers_the_first_counts() {
    for (backend_request, response_head, first) in
        [(2, 9, Timer::BackendRequest), (9, 2, Timer::ResponseHead)]
    {
        let (backend_request, response_head) = (secs(backend_request), secs(response_head));
        let mut pair = timed(GET, Timers { backend_request, response_head, ..Timers::default() });
        pair.connect();
        pair.pass(secs(2));
        ends(&pair, first, 504);
    }
}

#[test]
fn the_time_to_connect_is_nobodys_silence() {
    let timers = Timers { response_head: secs(3), ..Timers::default() };
    let mut held = timed(POST, timers);
    held.client("hello");
    held.pass(secs(60));
    assert_eq!(held.end(), None, "nobody was asked");
    let long = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    let mut full = timed(&long, Timers { request_body: secs(5), ..Timers::default() });
    full.client(vec![0; HELD_BYTES_MAX]);
    full.pass(secs(60));
    full.connect();
    full.pass(secs(4));
    assert_eq!(full.end(), None, "it was not asked for more until now");
}

#[test]
fn who_is_to_blame_for_a_silence() {
    for timer in [Timer::BackendRequest, Timer::ResponseHead] {
        assert!(End::TimedOut(timer).blames_backend(), "{timer:?}");
    }
    for end in [End::TimedOut(Timer::Idle), End::TimedOut(Timer::Request), End::Cancelled] {
        assert!(!end.blames_backend() && !end.credits_backend(), "{end:?}");
    }
    assert!([End::Completed, End::Early, End::Upgraded].iter().all(|end| end.credits_backend()));
}
