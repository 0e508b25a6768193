//! Contract 2 where the driver may receive before it is asked: nothing is lost, doubled, reordered
//! or told unasked, and a peer that nobody reads is slowed.
//!
//! Every test says itself when the driver may; read to a driver that ignores it they hold as well.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tidegate::io::Interest;
use tidegate::io::Ready;
use tidegate::io::Recv;
use tidegate::io::Socket;
use tidegate::io::Token;

use crate::stage::Stage;
use crate::stage::crowd;
use crate::stage::eventually;

impl Stage {
    /// A connection whose peer has sent a little already, as it often will: from the next watch on
    /// the driver may receive by itself.
    fn trickling(&mut self) -> (Socket, TcpStream) {
        let (socket, mut peer) = self.connect();
        self.driver.receive_ahead(socket, true);
        peer.write_all(b"a").unwrap();
        assert_eq!(self.read(socket, 1, 16), b"a");
        (socket, peer)
    }

    /// Watches, waits, receives, until so many bytes have come.
    fn read(&mut self, socket: Socket, count: usize, room: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut into = vec![0; room];
        while got.len() < count {
            self.driver.watch(socket, Token(5), Interest::Read);
            assert!(self.watched(5).0);
            match self.driver.recv(socket, &mut into) {
                Recv::Bytes(count) => got.extend_from_slice(&into[..count]),
                Recv::Empty => {}
                other => panic!("{other:?} after {} bytes", got.len()),
            }
        }
        got
    }
}

/// Numbers, so that every mistake shows.
fn numbers(upto: u32) -> Vec<u8> {
    (0..upto).flat_map(u32::to_be_bytes).collect()
}

/// Pieces of many sizes, read into rooms of many sizes.
pub(crate) fn pieces_keep_their_order(mut stage: Stage) {
    let text = numbers(100_000);
    let (socket, mut peer) = stage.connect();
    stage.driver.receive_ahead(socket, true);
    let mut sent = 0;
    for (size, room) in [(1, 64), (100, 7), (1_024, 1_024), (1_025, 65_536), (9_000, 100)] {
        for _ in 0..20 {
            let piece = &text[sent..sent + size];
            peer.write_all(piece).unwrap();
            assert_eq!(stage.read(socket, size, room), piece, "pieces of {size} into {room}");
            sent += size;
        }
    }
    // A rush, while it is read.
    let rest = &text[sent..];
    std::thread::scope(|scope| {
        scope.spawn(|| peer.write_all(rest).unwrap());
        assert_eq!(stage.read(socket, rest.len(), 65_536), rest);
    });
    stage.driver.receive_ahead(socket, true);
    for piece in text.chunks(333).take(50) {
        peer.write_all(piece).unwrap();
        assert_eq!(stage.read(socket, piece.len(), 65_536), piece);
    }
    stage.driver.close(socket);
}

/// Bytes of which the driver has heard in a flush, and more behind them that it has not: a read
/// that comes before any turn takes them in their order.
pub(crate) fn a_read_before_any_turn_keeps_the_order(mut stage: Stage) {
    let (socket, mut peer) = stage.trickling();
    stage.driver.watch(socket, Token(5), Interest::Read);
    stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
    peer.write_all(b"first").unwrap();
    stage.send(socket, b"b").into_iter().for_each(drop);
    peer.write_all(b"second").unwrap();
    let (mut got, mut into) = (Vec::new(), [0; 16]);
    if let Recv::Bytes(count) = stage.driver.recv(socket, &mut into) {
        got.extend_from_slice(&into[..count]);
    }
    assert!(b"firstsecond".starts_with(&got), "{got:?}");
    stage.ready.clear();
    while got.len() < 11 {
        stage.driver.watch(socket, Token(5), Interest::Read);
        assert!(stage.watched(5).0);
        if let Recv::Bytes(count) = stage.driver.recv(socket, &mut into) {
            got.extend_from_slice(&into[..count]);
        }
    }
    assert_eq!(got, b"firstsecond");
    stage.driver.close(socket);
}

/// Nobody reads: nothing is reported, and the peer can send no more than a socket's buffers and a
/// little. Then everything is there.
pub(crate) fn what_nobody_asks_for_stays_with_the_peer(mut stage: Stage) {
    let (socket, mut peer) = stage.trickling();
    // From now on it may receive by itself.
    stage.driver.watch(socket, Token(1), Interest::Read);
    peer.write_all(b"....").unwrap();
    assert!(stage.watched(1).0);
    peer.set_nonblocking(true).unwrap();
    let text = numbers(4_000_000);
    let mut sent = 0;
    let mut quiet = 0;
    while quiet < 20 {
        match peer.write(&text[sent..]) {
            Ok(count) => (sent, quiet) = (sent + count, 0),
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => quiet += 1,
            Err(cause) => panic!("{cause}"),
        }
        stage.driver.turn(Some(Duration::from_millis(2)), &mut stage.ready).unwrap();
        assert_eq!(stage.ready, [], "nobody asked");
    }
    assert!(sent < text.len(), "the peer is not slowed");
    let got = stage.read(socket, sent + 4, 65_536);
    assert!(got[..4] == *b"...." && got[4..] == text[..sent], "all of it, in order");
    stage.driver.close(socket);
}

/// Bytes, then the end: told after them, and as often as it is asked.
pub(crate) fn an_end_waits_for_its_turn(mut stage: Stage) {
    let (socket, mut peer) = stage.trickling();
    stage.driver.watch(socket, Token(1), Interest::Read);
    peer.write_all(b"the rest").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(stage.watched(1).0);
    let mut into = [0; 4];
    let mut got = Vec::new();
    eventually("the end", || match stage.driver.recv(socket, &mut into) {
        Recv::Bytes(count) => {
            got.extend_from_slice(&into[..count]);
            false
        }
        Recv::Empty => {
            stage.driver.watch(socket, Token(1), Interest::Read);
            stage.watched(1);
            false
        }
        Recv::End => true,
        Recv::Failed(errno) => panic!("errno {errno}"),
    });
    assert_eq!(got, b"the rest");
    for _ in 0..2 {
        stage.driver.watch(socket, Token(2), Interest::Read);
        assert!(stage.watched(2).0);
        assert_eq!(stage.driver.recv(socket, &mut into), Recv::End);
    }
    stage.driver.close(socket);
    stage.nothing();
}

/// The last bytes and the end, or a reset, are both there before the driver looks, or before it is
/// asked at all: the bytes are read, and then the end is told.
pub(crate) fn an_end_right_behind_the_last_bytes_is_told(mut stage: Stage) {
    let text = numbers(25_000);
    let sizes = [8, 20_000, 50_000, 98_000].into_iter();
    for (size, reset) in sizes.flat_map(|size| [(size, false), (size, true)]) {
        for asked in ["before", "before, and a send since", "before, and a turn since", "after"] {
            let (socket, mut peer) = stage.trickling();
            if asked == "after" {
                // What is under way ends, and there is a new start when all has come.
                stage.driver.receive_ahead(socket, false);
                stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            } else {
                stage.driver.watch(socket, Token(1), Interest::Read);
            }
            stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            peer.write_all(&text[..size]).unwrap();
            if reset {
                let same = socket2::SockRef::from(&peer);
                same.set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(peer);
            match asked {
                "before, and a send since" => stage.send(socket, b"b").into_iter().for_each(drop),
                "before, and a turn since" => {
                    stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
                }
                _ => {}
            }
            stage.ready.clear();
            stage.driver.receive_ahead(socket, true);
            let (mut got, mut into) = (Vec::new(), [0; 3_000]);
            let end = loop {
                stage.driver.watch(socket, Token(5), Interest::Read);
                assert!(stage.watched(5).0);
                match stage.driver.recv(socket, &mut into) {
                    Recv::Bytes(count) => got.extend_from_slice(&into[..count]),
                    Recv::Empty => {}
                    end => break end,
                }
            };
            let what = format!("{size} bytes, reset {reset}, asked {asked}");
            assert!(got == text[..size], "{} of {what}", got.len());
            // A send to a peer that has gone is answered by a reset.
            let orderly = !reset && asked != "before, and a send since";
            assert!(end == Recv::End || !orderly, "{end:?}, {what}");
            stage.driver.close(socket);
        }
    }
}

/// A reset while the driver receives.
pub(crate) fn a_peer_that_fails_is_an_errno(mut stage: Stage) {
    let (socket, peer) = stage.trickling();
    stage.driver.watch(socket, Token(1), Interest::Read);
    let peer = socket2::Socket::from(peer);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert!(stage.watched(1).0);
    assert_eq!(stage.driver.recv(socket, &mut [0; 16]), Recv::Failed(libc::ECONNRESET));
    stage.driver.close(socket);
    stage.nothing();
}

/// A connection that is put aside in the middle of a turn is idle until something comes, told or
/// not.
pub(crate) fn an_idle_connection_knows_what_has_come(mut stage: Stage) {
    for how in ["nothing", "bytes", "the end", "a reset"] {
        for (since, on) in
            ["nothing", "a send", "a turn"].into_iter().flat_map(|s| [(s, true), (s, false)])
        {
            let (socket, mut peer) = stage.trickling();
            stage.driver.watch(socket, Token(1), Interest::Read);
            stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            assert_eq!(stage.ready, []);
            stage.driver.receive_ahead(socket, on);
            assert!(stage.driver.is_idle(socket), "before {how}");
            match how {
                "bytes" => peer.write_all(b"b").unwrap(),
                "the end" => peer.shutdown(std::net::Shutdown::Write).unwrap(),
                "a reset" => {
                    let same = socket2::SockRef::from(&peer);
                    same.set_linger(Some(Duration::ZERO)).unwrap();
                    drop(peer);
                }
                _ => {}
            }
            match since {
                // The driver may learn of what has come, and cannot tell.
                "a send" => stage.send(socket, b"b").into_iter().for_each(drop),
                "a turn" => stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap(),
                _ => {}
            }
            if how == "nothing" {
                assert!(stage.driver.is_idle(socket), "after {since}");
            } else {
                eventually(how, || !stage.driver.is_idle(socket));
            }
            if how == "bytes" {
                assert_eq!(stage.read(socket, 1, 16), b"b", "it takes nothing");
            }
            stage.ready.clear();
            stage.driver.close(socket);
        }
    }
}

/// On and off between any two pieces, read or not.
pub(crate) fn a_change_of_mind_loses_nothing(mut stage: Stage) {
    let text = numbers(60_000);
    let (socket, mut peer) = stage.connect();
    let (mut sent, mut got) = (0, Vec::new());
    for round in 0..600 {
        stage.driver.receive_ahead(socket, round % 3 != 0);
        let piece = &text[sent..sent + 1 + round % 390];
        peer.write_all(piece).unwrap();
        sent += piece.len();
        if round % 5 == 1 {
            stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
        }
        if round % 7 == 2 {
            stage.driver.watch(socket, Token(5), Interest::Read);
            stage.driver.receive_ahead(socket, round % 2 != 0);
        }
        if round % 4 == 0 {
            got.extend(stage.read(socket, 1, 200 + round));
        }
        // What a watch of above has found is no news after the bytes were read.
        stage.ready.clear();
    }
    got.extend(stage.read(socket, sent - got.len(), 65_536));
    assert!(got == text[..sent], "{} of {sent} bytes, or not in order", got.len());
    stage.driver.close(socket);
}

/// More sockets with more bytes than the driver can hold by itself.
pub(crate) fn thousands_share_what_there_is(mut stage: Stage) {
    let _crowd = crowd();
    let mut pairs: Vec<_> = (0..1_500).map(|_| stage.connect()).collect();
    for round in 0..4_u8 {
        for ((socket, _), token) in pairs.iter().zip(100..) {
            stage.driver.receive_ahead(*socket, true);
            stage.driver.watch(*socket, Token(token), Interest::Read);
        }
        for ((_, peer), n) in pairs.iter_mut().zip(0_u32..) {
            let text = format!("{round} to {n:06}, ").repeat(150);
            peer.write_all(text.as_bytes()).unwrap();
        }
        let mut got = vec![Vec::new(); pairs.len()];
        let mut into = vec![0; 65_536];
        eventually("every byte", || {
            stage.driver.turn(Some(Duration::from_millis(10)), &mut stage.ready).unwrap();
            for ready in stage.ready.drain(..) {
                let Ready::Watched { token, readable: true, .. } = ready else {
                    panic!("{ready:?}")
                };
                let n = token.0 as usize - 100;
                match stage.driver.recv(pairs[n].0, &mut into) {
                    Recv::Bytes(count) => got[n].extend_from_slice(&into[..count]),
                    Recv::Empty => {}
                    other => panic!("{other:?}"),
                }
                stage.driver.watch(pairs[n].0, token, Interest::Read);
            }
            got.iter().all(|got| got.len() >= 150 * 13)
        });
        for (n, got) in got.iter().enumerate() {
            assert!(*got == format!("{round} to {n:06}, ").repeat(150).as_bytes(), "socket {n}");
        }
    }
    pairs.iter().for_each(|(socket, _)| stage.driver.close(*socket));
}

/// Sockets that are closed while the driver holds bytes of theirs, more of them than it can hold:
/// their peers read the end, and those that come later are served.
pub(crate) fn a_close_gives_everything_back(mut stage: Stage) {
    for _ in 0..300 {
        let (socket, mut peer) = stage.trickling();
        stage.driver.watch(socket, Token(1), Interest::Read);
        peer.write_all(&[b'.'; 8_000]).unwrap();
        assert!(stage.watched(1).0);
        stage.driver.close(socket);
        stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
        assert_eq!(stage.ready, [], "a closed socket is silent");
        let mut rest = Vec::new();
        match peer.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(rest, b""),
            Err(cause) => assert_eq!(cause.kind(), ErrorKind::ConnectionReset),
        }
    }
    let (socket, mut peer) = stage.connect();
    stage.driver.receive_ahead(socket, true);
    for n in 0..100_u32 {
        peer.write_all(&n.to_be_bytes()).unwrap();
        assert_eq!(stage.read(socket, 4, 16), n.to_be_bytes());
    }
    stage.driver.close(socket);
}
