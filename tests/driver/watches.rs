//! Contract 2 and 3: interests fire once, and never after `close`.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tidegate::io::Interest;
use tidegate::io::Ready;
use tidegate::io::Recv;
use tidegate::io::Token;

use crate::stage::Stage;

/// Ends a connection with a reset.
fn reset(peer: TcpStream) {
    let peer = socket2::Socket::from(peer);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Data does not count as a hangup; the end of the peer's writing side does.
pub(crate) fn hangup_sleeps_through_data(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    stage.driver.watch(socket, Token(7), Interest::Hangup);
    stage.nothing();
    peer.write_all(b"noise").unwrap();
    stage.nothing();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stage.watched(7), (false, false, true));
    stage.nothing();
}

/// A reset is a hangup too, and the driver stays well.
pub(crate) fn hangup_hears_a_reset(mut stage: Stage) {
    let (socket, peer) = stage.connect();
    stage.driver.watch(socket, Token(7), Interest::Hangup);
    stage.nothing();
    reset(peer);
    assert_eq!(stage.watched(7), (false, false, true));
    let mut into = [0; 16];
    assert!(matches!(stage.driver.recv(socket, &mut into), Recv::Failed(_) | Recv::End));
    stage.driver.close(socket);
    stage.nothing();
}

/// What has fired is disarmed: silent until it is watched again, then it fires at once.
pub(crate) fn an_interest_answers_once(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    stage.driver.watch(socket, Token(1), Interest::Read);
    stage.driver.watch(socket, Token(1), Interest::Read);
    peer.write_all(b"a").unwrap();
    assert_eq!(stage.watched(1), (true, false, false));
    peer.write_all(b"b").unwrap();
    stage.nothing();
    stage.driver.watch(socket, Token(2), Interest::Read);
    assert_eq!(stage.watched(2), (true, false, false));
    stage.nothing();
}

/// A full socket with hangup and write armed: room fires write only, and the end hangup only.
pub(crate) fn interests_of_one_socket_are_apart(mut stage: Stage) {
    let (socket, mut peer) = stage.connect_narrow();
    let sent = stage.fill(socket, &[b'.'; 1000]);
    stage.driver.watch(socket, Token(1), Interest::Hangup);
    stage.driver.watch(socket, Token(1), Interest::Write);
    stage.nothing();
    peer.read_exact(&mut vec![0; sent]).unwrap();
    assert_eq!(stage.watched(1), (false, true, false));
    stage.nothing();
    stage.driver.watch(socket, Token(1), Interest::Read);
    peer.write_all(b"x").unwrap();
    assert_eq!(stage.watched(1), (true, false, false));
    stage.nothing();
    drop(peer);
    assert_eq!(stage.watched(1), (false, false, true));
    stage.nothing();
}

/// Tokens are per socket: a later one replaces the earlier one, for all that is armed.
pub(crate) fn the_last_token_is_reported(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    stage.driver.watch(socket, Token(1), Interest::Hangup);
    stage.driver.watch(socket, Token(u64::MAX), Interest::Read);
    peer.write_all(b"x").unwrap();
    assert_eq!(stage.watched(u64::MAX), (true, false, false));
    stage.driver.watch(socket, Token(3), Interest::Hangup);
    drop(peer);
    assert_eq!(stage.watched(3), (false, false, true));
    stage.nothing();
}

/// Descriptors are closed with every kind of watch armed, queued, or just fired, and used again at
/// once: no report of an old life reaches the new one.
pub(crate) fn a_closed_socket_is_silent(mut stage: Stage) {
    for round in 0..40 {
        let mut peers = Vec::new();
        for client in 0..8 {
            let (socket, mut peer) = stage.connect();
            stage.driver.watch(socket, Token(1), Interest::Hangup);
            if client % 2 == 0 {
                stage.driver.watch(socket, Token(2), Interest::Read);
            }
            if client % 4 < 2 {
                // Submitted and armed; otherwise it is closed while still queued.
                stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            }
            if client == 5 {
                stage.driver.watch(socket, Token(2), Interest::Write);
            }
            if client == 6 {
                peer.write_all(b"x").unwrap();
            }
            stage.driver.close(socket);
            assert!(stage.ready.iter().all(|r| !matches!(r, Ready::Watched { .. })), "{round}");
            peers.push(peer);
        }
        // Their descriptors are free again; those who get them now have other tokens.
        let (socket, mut peer) = stage.connect();
        stage.driver.watch(socket, Token(9), Interest::Read);
        peer.write_all(b"x").unwrap();
        assert_eq!(stage.watched(9), (true, false, false));
        assert_eq!(stage.ready, [], "round {round}");
        stage.driver.close(socket);
    }
    stage.nothing();
}

/// The peer reads the end although a watch holds the file open in the kernel.
pub(crate) fn close_ends_the_connection_in_spite_of_watches(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    stage.driver.watch(socket, Token(1), Interest::Hangup);
    stage.nothing();
    assert_eq!(stage.send(socket, b"bye"), None);
    stage.driver.close(socket);
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "bye");
    stage.nothing();
}

/// Input that was never read must not turn the end into a reset, which would eat the answer.
pub(crate) fn unread_input_does_not_reset(mut stage: Stage) {
    for watched in [false, true] {
        let (socket, mut peer) = stage.connect();
        peer.write_all(&[b'?'; 5000]).unwrap();
        if watched {
            stage.driver.watch(socket, Token(1), Interest::Hangup);
            stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
        }
        assert_eq!(stage.send(socket, b"no"), None);
        stage.driver.close(socket);
        stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
        let mut got = String::new();
        peer.read_to_string(&mut got).unwrap();
        assert_eq!(got, "no");
    }
}

/// A reset throws away what the peer has not taken, watched or not, and the peer learns of it.
pub(crate) fn a_reset_throws_away_what_was_not_taken(mut stage: Stage) {
    for watched in [false, true] {
        let (socket, mut peer) = stage.connect_narrow();
        let sent = stage.fill(socket, &[b'.'; 1000]);
        if watched {
            stage.driver.watch(socket, Token(1), Interest::Hangup);
            stage.driver.watch(socket, Token(1), Interest::Write);
        }
        stage.nothing();
        stage.driver.reset(socket);
        stage.nothing();
        let mut got = Vec::new();
        let error = peer.read_to_end(&mut got).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(got.len() < sent, "the kernel has kept nothing");
    }
}

/// Bytes, nothing, the end, and failure.
pub(crate) fn recv_tells_all_cases_apart(mut stage: Stage) {
    let mut into = [0; 4];
    let (socket, mut peer) = stage.connect();
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Empty);
    peer.write_all(b"abcdef").unwrap();
    stage.driver.watch(socket, Token(1), Interest::Read);
    assert!(stage.watched(1).0);
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Bytes(4));
    assert_eq!(&into, b"abcd");
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Bytes(2));
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Empty);
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    stage.driver.watch(socket, Token(1), Interest::Read);
    assert_eq!(stage.watched(1), (true, false, true));
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::End);
    stage.driver.close(socket);

    let (socket, peer) = stage.connect();
    stage.driver.watch(socket, Token(2), Interest::Read);
    reset(peer);
    assert_eq!(stage.watched(2), (true, false, true));
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Failed(104), "ECONNRESET");
    stage.driver.close(socket);
}

/// A small receive buffer slows a body of 1 MiB down, but does not stall it.
pub(crate) fn a_large_body_flows(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    let body = vec![b'b'; 1 << 20];
    let writer = std::thread::spawn(move || {
        peer.write_all(&body).map_err(|error| error.kind()).unwrap_or_else(|kind| {
            assert_ne!(kind, ErrorKind::WouldBlock);
        });
        peer
    });
    let start = std::time::Instant::now();
    let (mut got, mut into) = (0, vec![0; 64 * 1024]);
    while got < 1 << 20 {
        match stage.driver.recv(socket, &mut into) {
            Recv::Bytes(bytes) => got += bytes,
            Recv::Empty => {
                stage.driver.watch(socket, Token(1), Interest::Read);
                assert!(stage.watched(1).0);
            }
            other => panic!("{other:?} after {got} bytes"),
        }
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "1 MiB took {took:?}");
    writer.join().unwrap();
    stage.driver.close(socket);
}
