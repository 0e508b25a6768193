//! Contract 4: with a turn that sends, everything is sent before it sleeps, and it does not sleep
//! if something fell short.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use tidegate::io::Interest;
use tidegate::io::Outgoing;
use tidegate::io::Ready;
use tidegate::io::Short;
use tidegate::io::Socket;
use tidegate::io::Token;

use crate::stage::DEADLINE;
use crate::stage::Stage;
use crate::stage::crowd;
use crate::stage::eventually;

impl Stage {
    /// One turn that sends; what fell short, ordered.
    fn send_and_turn(&mut self, sends: &[Outgoing<'_>], wait: Option<Duration>) -> Vec<Short> {
        let mut shorts = Vec::new();
        self.driver.flush_and_turn(sends, wait, &mut self.ready, &mut shorts).unwrap();
        shorts.sort_by_key(|short| short.index);
        shorts
    }
}

/// Who sleeps until an answer comes must have sent what it answers.
pub(crate) fn a_turn_sends_before_it_sleeps(mut stage: Stage) {
    let (socket, mut peer) = stage.connect();
    stage.driver.watch(socket, Token(7), Interest::Read);
    let peer = std::thread::spawn(move || {
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        peer.write_all(&got).unwrap();
        peer
    });
    let start = Instant::now();
    let sends = [Outgoing { socket, bytes: b"hello" }];
    let mut shorts = stage.send_and_turn(&sends, Some(DEADLINE));
    while stage.ready.is_empty() && start.elapsed() < DEADLINE {
        shorts.extend(stage.send_and_turn(&[], Some(DEADLINE)));
    }
    assert!(start.elapsed() < DEADLINE, "it slept before it sent");
    assert_eq!(shorts, []);
    assert!(stage.watched(7).0);
    let mut into = [0; 16];
    stage.driver.recv(socket, &mut into);
    assert_eq!(&into[..5], b"hello");
    drop(peer.join().unwrap());
    stage.driver.close(socket);
}

/// One full socket among others: the turn is over at once and says which.
pub(crate) fn a_short_ends_the_sleep(mut stage: Stage) {
    let (full, _stalled) = stage.connect_narrow();
    let (first, mut one) = stage.connect();
    let (last, mut two) = stage.connect();
    stage.fill(full, &[b'.'; 4096]);
    let sends = [(first, "first"), (full, "none of it"), (last, "last")];
    let sends = sends.map(|(socket, text)| Outgoing { socket, bytes: text.as_bytes() });
    let start = Instant::now();
    let shorts = stage.send_and_turn(&sends, Some(DEADLINE));
    assert!(start.elapsed() < DEADLINE, "it slept over a short");
    assert_eq!(shorts, [Short { index: 1, sent: Ok(0) }]);
    assert_eq!(stage.ready, []);
    let mut got = [0; 5];
    one.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"first");
    let mut got = [0; 4];
    two.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"last");
}

/// More sends than any submission queue here holds, after as many watches that wait to be
/// submitted: all go out, in one turn.
pub(crate) fn a_turn_sends_more_than_a_queue_holds(mut stage: Stage) {
    let mut clients: Vec<_> = (0..600).map(|_| stage.connect()).collect();
    let lines: Vec<_> = (0..clients.len()).map(|n| format!("client {n:04}\n")).collect();
    for (watched, sent) in [(0, 600), (100, 200), (250, 10)] {
        for ((socket, _), token) in clients.iter().zip(0..watched) {
            stage.driver.watch(*socket, Token(token), Interest::Hangup);
        }
        let all = clients.iter().zip(&lines).take(sent);
        let sends: Vec<_> = all
            .map(|((socket, _), line)| Outgoing { socket: *socket, bytes: line.as_bytes() })
            .collect();
        assert_eq!(stage.send_and_turn(&sends, Some(Duration::from_millis(1))), []);
        for ((_, peer), line) in clients.iter_mut().zip(&lines).take(sent) {
            let mut got = vec![0; line.len()];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), *line);
        }
    }
    assert_eq!(stage.ready, []);
    clients.iter().for_each(|(socket, _)| stage.driver.close(*socket));
}

/// Thousands of reports are due when a turn sends to full sockets: it finds every short, and the
/// reports come in this turn or a later one.
pub(crate) fn a_short_in_a_turn_hides_behind_nothing(mut stage: Stage) {
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
    let sends: Vec<_> =
        full.iter().map(|(socket, _)| Outgoing { socket: *socket, bytes: &event }).collect();
    let shorts = stage.send_and_turn(&sends, Some(DEADLINE));
    let want: Vec<_> = (0..20).map(|index| Short { index, sent: Ok(0) }).collect();
    assert_eq!(shorts, want);
    let mut heard = vec![0; sockets.len()];
    eventually("every hangup", || {
        for ready in stage.ready.drain(..) {
            let Ready::Watched { token, hangup: true, .. } = ready else { panic!("{ready:?}") };
            heard[token.0 as usize] += 1;
        }
        stage.driver.turn(Some(Duration::from_millis(10)), &mut stage.ready).unwrap();
        heard.iter().all(|count| *count > 0)
    });
    assert!(heard.iter().all(|count| *count <= 2), "each interest at most once");
    let full = full.iter().map(|(socket, _)| *socket);
    sockets.into_iter().chain(full).for_each(|socket| stage.driver.close(socket));
}
