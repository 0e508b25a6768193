//! Long bodies: at once, in bounded memory, one chunk a read.

use super::*;

const MIB: usize = 1 << 20;

#[test]
fn a_stream_holds_no_heap() {
    let mut pair = Pair::with(GET, |plan| plan.retries = 3);
    pair.connect();
    assert!(pair.relay.opening.is_some());
    pair.backend("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    assert!(pair.relay.opening.is_none());
    assert_eq!(pair.relay.held_bytes(), 0);
}

#[test]
fn ten_megabytes_up_stream_in_bounded_memory() {
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 10 * MIB);
    let mut pair = Pair::new(&head);
    let piece: Vec<u8> = (0..MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    pair.client(&piece);
    assert!(!pair.relay.wants_client_input(), "more than may be held");
    assert!(pair.relay.held_bytes() <= 2 * HELD_BYTES_MAX);
    assert_eq!(pair.unread.len(), MIB - HELD_BYTES_MAX);
    pair.connect();
    let mut sent = 1;
    let mut got = 0;
    loop {
        assert_eq!(pair.relay.held_bytes(), 0);
        assert!(pair.unread.is_empty() && pair.to_backend.len() <= MIB + 1024);
        let body = pair.to_backend.len().min(MIB);
        assert!(pair.to_backend.ends_with(&piece[MIB - body..]));
        got += body;
        pair.to_backend.clear();
        if sent == 10 {
            break;
        }
        pair.client(&piece);
        sent += 1;
    }
    assert_eq!(got, 10 * MIB);
    pair.backend(OK);
    assert_eq!((pair.end(), pair.next()), (Some(End::Completed), ClientNext::Keep));
}

#[test]
fn ten_megabytes_down_pass_at_once() {
    let mut pair = Pair::connected(GET);
    pair.backend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    pair.to_client.clear();
    let piece = vec![b'x'; 4096];
    let chunk = [b"1000\r\n", &piece[..], b"\r\n"].concat();
    for _ in 0..10 * MIB / 4096 {
        pair.backend(&chunk);
        assert_eq!(pair.to_client, chunk);
        pair.to_client.clear();
    }
    assert_eq!(pair.relay.held_bytes(), 0);
    pair.backend("0\r\n\r\n");
    assert_eq!((&pair.to_client[..], pair.end()), (&b"0\r\n\r\n"[..], Some(End::Completed)));
}

#[test]
fn one_read_is_one_chunk() {
    let mut pair = Pair::connected(GET);
    pair.backend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    pair.to_client.clear();
    pair.backend("1\r\na\r\n1\r\nb\r\n");
    assert_eq!(pair.to_client, b"2\r\nab\r\n");
    pair.to_client.clear();
    pair.backend("3\r\nx");
    assert_eq!(pair.to_client, b"1\r\nx\r\n", "what is there goes, whole or not");
    pair.to_client.clear();
    pair.backend(format!("yz\r\n{}", "1\r\nc\r\n".repeat(99)));
    assert!(pair.to_client.len() <= 101 + 4 * 8);
}
