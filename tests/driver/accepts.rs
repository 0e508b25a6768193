//! Accepting: on, off, out of descriptors, stopped for good, shared.

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tidegate::io::Interest;
use tidegate::io::Ready;
use tidegate::io::Token;

use crate::stage::DEADLINE;
use crate::stage::Stage;

/// Set in the process that has few descriptors.
const CHILD: &str = "TIDEGATE_TEST_FEW_DESCRIPTORS";

/// Off at first; switched off, connections wait in the backlog; switched on, they come.
pub(crate) fn a_pause_keeps_connections_waiting(mut stage: Stage) {
    let first = TcpStream::connect(stage.addr).unwrap();
    stage.nothing();
    stage.driver.accept(true);
    let (_a, from) = stage.until("first", accepted);
    assert_eq!(from, first.local_addr().unwrap());
    // Off and on in every order, so that a cancel crosses its accept.
    for on in [false, true, false, true, true, false, false] {
        stage.driver.accept(on);
    }
    stage.nothing();
    let second = TcpStream::connect(stage.addr).unwrap();
    stage.nothing();
    stage.driver.accept(true);
    let (_b, from) = stage.until("second", accepted);
    assert_eq!(from, second.local_addr().unwrap());
    let third = TcpStream::connect(stage.addr).unwrap();
    let (_c, from) = stage.until("third", accepted);
    assert_eq!(from, third.local_addr().unwrap());
    stage.nothing();
}

fn accepted(ready: &Ready) -> Option<(tidegate::io::Socket, std::net::SocketAddr)> {
    match ready {
        Ready::Accepted { socket, peer, .. } => Some((*socket, *peer)),
        _ => None,
    }
}

/// Runs `test` in a process of its own that may have 60 descriptors.
pub(crate) fn with_few_descriptors(stage: Stage, name: &str, test: fn(Stage)) {
    if std::env::var_os(CHILD).is_some() {
        return test(stage);
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 60 && exec \"$0\" --exact \"$1\" --nocapture")
        .arg(std::env::current_exe().unwrap())
        .arg(format!("{}::{name}", stage.name))
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// Out of descriptors: reported once, paused, and recovered when asked to.
pub(crate) fn exhaustion_pauses_and_passes(stage: Stage) {
    with_few_descriptors(stage, "exhaustion_pauses_and_passes", exhausted);
}

/// However a connection ends, its descriptor comes back: ten times more connections, one after
/// the other, than there are descriptors.
pub(crate) fn a_close_frees_the_descriptor(stage: Stage) {
    with_few_descriptors(stage, "a_close_frees_the_descriptor", |mut stage| {
        for round in 0..600 {
            let (socket, peer) = stage.connect();
            if round % 2 == 0 {
                stage.driver.watch(socket, Token(1), Interest::Hangup);
            }
            if round % 3 == 0 {
                stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            }
            if round % 5 == 0 {
                drop(peer);
            }
            stage.driver.close(socket);
        }
        stage.nothing();
    });
}

fn exhausted(mut stage: Stage) {
    stage.driver.accept(true);
    stage.nothing();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    let client = TcpStream::connect(stage.addr).unwrap();
    let errno = stage.until("failure", |ready| match ready {
        Ready::AcceptFailed { errno } => Some(*errno),
        _ => None,
    });
    assert_eq!(errno, 24, "EMFILE");
    stage.nothing();
    // Still exhausted: one more try, one more report.
    stage.driver.accept(true);
    stage.until("failure", |ready| matches!(ready, Ready::AcceptFailed { .. }).then_some(()));
    stage.nothing();
    hoard.clear();
    stage.nothing();
    stage.driver.accept(true);
    let (_socket, from) = stage.until("connection", accepted);
    assert_eq!(from, client.local_addr().unwrap());
}

/// A connection that waits on each of two listeners is named after the listener that it came to,
/// and both are paused together.
pub(crate) fn each_connection_names_its_listener(mut stage: Stage) {
    let places = [stage.addr, stage.second, stage.second, stage.addr];
    let peers: Vec<_> = places.iter().map(|at| TcpStream::connect(at).unwrap()).collect();
    stage.nothing();
    stage.driver.accept(true);
    for (peer, at) in peers.iter().zip(places) {
        let from = peer.local_addr().unwrap();
        let listener = stage.until("connection", |ready| match ready {
            Ready::Accepted { peer, listener, .. } if *peer == from => Some(*listener),
            _ => None,
        });
        assert_eq!(listener, u16::from(at == stage.second));
    }
    stage.driver.accept(false);
    stage.nothing();
    let _late = places.map(|at| TcpStream::connect(at).unwrap());
    stage.nothing();
    stage.driver.accept(true);
    for _ in places {
        stage.until("late connection", accepted);
    }
    stage.nothing();
}

/// Connects to both listeners fail for want of descriptors; who asked to accept hears of it once.
pub(crate) fn exhaustion_of_several_listeners_is_told_once(stage: Stage) {
    with_few_descriptors(stage, "exhaustion_of_several_listeners_is_told_once", |mut stage| {
        stage.driver.accept(true);
        stage.nothing();
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        hoard.truncate(hoard.len() - 2);
        let _waiting = [stage.addr, stage.second].map(|at| TcpStream::connect(at).unwrap());
        stage.until("failure", |ready| matches!(ready, Ready::AcceptFailed { .. }).then_some(()));
        stage.nothing();
        hoard.clear();
        stage.nothing();
        stage.driver.accept(true);
        for _ in 0..2 {
            stage.until("connection", accepted);
        }
        stage.nothing();
    });
}

/// Connects are refused at once; connections that exist go on.
pub(crate) fn a_stopped_listener_refuses(mut stage: Stage) {
    let (socket, _peer) = stage.connect();
    stage.driver.stop_listening();
    for addr in [stage.addr, stage.second] {
        let refused = TcpStream::connect_timeout(&addr, DEADLINE).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    stage.nothing();
    stage.driver.accept(true);
    stage.nothing();
    TcpStream::connect_timeout(&stage.addr, DEADLINE).unwrap_err();
    assert_eq!(stage.send(socket, b"still here"), None);
    // The port is free for the next process.
    let next = stage.sibling();
    TcpStream::connect_timeout(&next.addr, DEADLINE).unwrap();
}

/// The kernel spreads connections over the listeners of one port.
pub(crate) fn two_listeners_share_a_port(mut stage: Stage) {
    let mut sibling = stage.sibling();
    assert_eq!(stage.addr, sibling.addr);
    assert!(tidegate::io::listen::check_free(stage.addr).is_err(), "the port is taken");
    let peers: Vec<_> = (0..64).map(|_| TcpStream::connect(stage.addr).unwrap()).collect();
    stage.driver.accept(true);
    sibling.driver.accept(true);
    let start = std::time::Instant::now();
    while stage.ready.len() + sibling.ready.len() < peers.len() {
        assert!(start.elapsed() < DEADLINE);
        stage.driver.turn(Some(Duration::from_millis(5)), &mut stage.ready).unwrap();
        sibling.driver.turn(Some(Duration::from_millis(5)), &mut sibling.ready).unwrap();
    }
    assert!(!stage.ready.is_empty() && !sibling.ready.is_empty());
}
