//! Contract 1: a flush is over when it returns, and says exactly what fell short.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tidegate::io::Interest;
use tidegate::io::Outgoing;
use tidegate::io::Ready;
use tidegate::io::Recv;
use tidegate::io::Short;
use tidegate::io::Socket;
use tidegate::io::Token;
use tidegate::io::selftest;

use crate::stage::DEADLINE;
use crate::stage::Stage;
use crate::stage::crowd;
use crate::stage::eventually;

/// More than one batch of sends, to as many sockets, each with bytes of its own.
pub(crate) fn silence_is_success(mut stage: Stage) {
    let mut clients: Vec<_> = (0..600).map(|_| stage.connect()).collect();
    let lines: Vec<_> = (0..clients.len()).map(|n| format!("client {n:04}\n")).collect();
    let sends: Vec<_> = clients
        .iter()
        .zip(&lines)
        .map(|((socket, _), line)| Outgoing { socket: *socket, bytes: line.as_bytes() })
        .collect();
    for _ in 0..2 {
        assert_eq!(stage.driver.flush(&sends).unwrap(), []);
    }
    assert_eq!(stage.driver.flush(&[]).unwrap(), []);
    for ((_, peer), line) in clients.iter_mut().zip(&lines) {
        let mut got = vec![0; line.len() * 2];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), line.repeat(2));
    }
    clients.iter().for_each(|(socket, _)| stage.driver.close(*socket));
}

/// Full and drained again and again, at event sizes from small to large: nothing is lost, nothing
/// doubled, and the bytes themselves are in order.
pub(crate) fn every_byte_of_a_short_is_accounted_for(mut stage: Stage) {
    let text: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
    for size in [200, 5_000, 100_000] {
        let (socket, mut peer) = stage.connect_narrow();
        peer.set_nonblocking(true).unwrap();
        let (mut sent, mut received, mut shorts) = (0, 0, 0);
        let mut sink = vec![0; 30_011];
        while shorts < 20 {
            let part = &text[sent..(sent + size).min(text.len())];
            match stage.send(socket, part) {
                None => sent += part.len(),
                Some(short) => {
                    sent += short.sent.unwrap();
                    shorts += 1;
                    // Nothing, if it is still on its way.
                    let bytes = peer.read(&mut sink).unwrap_or(0);
                    assert_eq!(sink[..bytes], text[received..received + bytes]);
                    received += bytes;
                }
            }
        }
        stage.driver.finish(socket);
        peer.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, text[received..sent], "events of {size} bytes");
        stage.driver.close(socket);
    }
}

/// 2,500 clients with two watches each go at once, which is more than any completion queue here
/// holds; the shorts of the very next flush are all found, and no watch is lost either.
pub(crate) fn a_short_hides_behind_nothing(mut stage: Stage) {
    let _crowd = crowd();
    let full: Vec<_> = (0..20).map(|_| stage.connect_narrow()).collect();
    let event = [b'.'; 4096];
    for (socket, _) in &full {
        stage.fill(*socket, &event);
    }
    let mut crowd: Vec<(Socket, TcpStream)> = (0..2_500).map(|_| stage.connect()).collect();
    for ((socket, _), token) in crowd.iter().zip(0..) {
        stage.driver.watch(*socket, Token(token), Interest::Hangup);
        stage.driver.watch(*socket, Token(token), Interest::Read);
    }
    stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
    assert_eq!(stage.ready, []);
    let sockets: Vec<_> = crowd.iter().map(|(socket, _)| *socket).collect();
    crowd.clear();
    let all: Vec<_> = full.iter().map(|(socket, _)| *socket).collect();
    let sends: Vec<_> =
        all.iter().map(|socket| Outgoing { socket: *socket, bytes: &event }).collect();
    let mut shorts = stage.driver.flush(&sends).unwrap().to_vec();
    shorts.sort_by_key(|short| short.index);
    let want: Vec<_> = (0..20).map(|index| Short { index, sent: Ok(0) }).collect();
    assert_eq!(shorts, want);

    let mut heard = vec![0; sockets.len()];
    eventually("every hangup", || {
        stage.driver.turn(Some(Duration::from_millis(10)), &mut stage.ready).unwrap();
        assert!(stage.ready.len() <= 4096, "a turn is bounded");
        for ready in stage.ready.drain(..) {
            let Ready::Watched { token, hangup: true, .. } = ready else { panic!("{ready:?}") };
            heard[token.0 as usize] += 1;
        }
        heard.iter().all(|count| *count > 0)
    });
    assert!(heard.iter().all(|count| *count <= 2), "each interest at most once");
    sockets.into_iter().chain(all).for_each(|socket| stage.driver.close(socket));
}

/// The second or third send to a peer that has gone fails, and says so by errno.
pub(crate) fn a_peer_that_has_gone_is_an_errno(mut stage: Stage) {
    let (socket, peer) = stage.connect();
    drop(peer);
    let mut errno = 0;
    eventually("an errno", || match stage.send(socket, b"anybody there?") {
        None => false,
        Some(short) => {
            errno = short.sent.unwrap_err();
            true
        }
    });
    assert!([32, 104].contains(&errno), "EPIPE or ECONNRESET, not {errno}");
    stage.driver.close(socket);
}

/// The listener's options hold for its connections: the kernel keeps little for one that stalls.
pub(crate) fn a_stalled_peer_costs_little(mut stage: Stage) {
    let (socket, _peer) = stage.connect_narrow();
    let taken = stage.fill(socket, &[b'.'; 200]);
    assert!(taken < 128 * 1024, "{taken} bytes were taken for a peer that reads nothing");
}

/// Everything sent before `finish` arrives, then the end; the peer can still speak.
pub(crate) fn finish_lets_everything_arrive(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    let sent = stage.fill(socket, &[b'.'; 1000]);
    stage.driver.finish(socket);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent);
    peer.write_all(b"thanks").unwrap();
    stage.driver.watch(socket, Token(1), Interest::Read);
    assert!(stage.watched(1).0);
    let mut into = [0; 16];
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Bytes(6));
    stage.driver.close(socket);
}

/// What the server asks of a kernel at start holds for both drivers.
pub(crate) fn the_self_test_passes(mut stage: Stage) {
    let start = std::time::Instant::now();
    assert_eq!(selftest::run(&mut *stage.driver), Ok(()));
    assert!(start.elapsed() < DEADLINE);
}
