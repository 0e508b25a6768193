//! Tunnels: begun by a 101 that was asked for, raw both ways, ended by either side.

use super::*;

const ASK: &str =
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

#[test]
fn raw_bytes_pass_both_ways() {
    let mut pair = Pair::connected(ASK);
    let (_, fields, ..) = pair.asked();
    assert!(fields.iter().any(|(n, v)| n.eq_ignore_ascii_case("upgrade") && v == "websocket"));
    pair.to_backend.clear();
    pair.client("too early");
    assert_eq!((&pair.to_backend[..], &pair.unread[..]), (&b""[..], &b"too early"[..]));
    pair.backend(format!("{SWITCH}\0\r\n"));
    assert!(pair.relay.is_tunnel() && pair.relay.wants_client_input());
    assert_eq!(pair.to_backend, b"too early", "what waited goes first");
    pair.client("GET / \0");
    pair.backend("\u{1}0\r\n");
    assert_eq!(pair.to_backend, b"too earlyGET / \0");
    let seen = pair.seen();
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-accept"), Some("x"));
    assert_eq!((seen.status, &seen.behind[..]), (101, &b"\0\r\n\x010\r\n"[..]));
    assert_eq!(pair.relay.held_bytes(), 0);
    pair.backend_ends(Lost::Clean);
    assert_eq!((pair.end(), pair.next()), (Some(End::Upgraded), ClientNext::Close));
    assert!(!pair.relay.backend_reusable());
}

#[test]
fn either_side_ends_it() {
    let open = || {
        let mut pair = Pair::connected(ASK);
        pair.backend(SWITCH);
        pair
    };
    let mut pair = open();
    pair.backend_ends(Lost::Broken);
    assert_eq!((pair.end(), pair.next()), (Some(End::Upgraded), ClientNext::Reset));
    let mut pair = open();
    assert_eq!(pair.relay.client_gone(), Step::Over(End::Upgraded));
}

#[test]
fn a_refused_upgrade_is_a_response_like_others() {
    let mut pair = Pair::connected(ASK);
    pair.backend(OK);
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Keep));
    assert!(pair.relay.backend_reusable());
}

#[test]
fn an_upgrade_that_the_route_forbids_is_a_fault() {
    let mut pair = Pair::with(ASK, |plan| plan.upgrade = None);
    pair.connect();
    pair.backend(format!("{SWITCH}secret"));
    assert_eq!((pair.end(), pair.seen().status), (Some(End::BackendFault), 502));
    assert_eq!(pair.relay.fault(), Some(BadAnswer::Unasked));
}

#[test]
fn a_tunnel_has_no_whole_timer_but_an_idle_one() {
    let mut pair = Pair::with(ASK, |plan| {
        plan.timers.request = secs(10);
        plan.timers.idle = secs(30);
    });
    pair.connect();
    pair.backend(SWITCH);
    pair.pass(secs(29));
    pair.client("x");
    pair.pass(secs(29));
    assert_eq!(pair.end(), None, "bytes of the client are life, too");
    pair.pass(secs(1));
    assert_eq!(pair.end(), Some(End::TimedOut(Timer::Idle)));
}

#[test]
fn a_switch_before_the_requests_end_is_a_fault() {
    let ask =
        ASK.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n").replace("GET", "POST");
    let mut pair = Pair::connected(&ask);
    pair.backend(SWITCH);
    assert_eq!((pair.end(), pair.seen().status), (Some(End::BackendFault), 502));
}
