//! Contract 5: connecting out, over TCP and Unix sockets, at every end that a connect may have.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;
use tidegate::io::Interest;
use tidegate::io::Outgoing;
use tidegate::io::Recv;
use tidegate::io::Remote;
use tidegate::io::Socket;
use tidegate::io::Token;

use crate::accepts::with_few_descriptors;
use crate::stage::DEADLINE;
use crate::stage::Stage;
use crate::stage::eventually;

const ECONNREFUSED: i32 = 111;
const EINPROGRESS: i32 = 115;

fn listener() -> (TcpListener, Remote) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, Remote::Tcp(addr))
}

/// A socket file that is gone when the test is.
struct UnixPlace(PathBuf);

impl UnixPlace {
    fn bind(stage: &Stage, test: &str) -> (UnixListener, Self) {
        let name = format!("tidegate-{}-{test}-{}", stage.name, std::process::id());
        let path = std::env::temp_dir().join(name);
        (UnixListener::bind(&path).unwrap(), Self(path))
    }
}

impl Drop for UnixPlace {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens, but has no room: a connect stays under way until somebody is accepted.
fn crowded() -> (TcpListener, Vec<TcpStream>, Remote) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let waiting = vec![TcpStream::connect_timeout(&addr, DEADLINE).unwrap()];
    (listener, waiting, Remote::Tcp(addr))
}

/// Connects and waits for the end of it.
fn connect(stage: &mut Stage, to: &Remote, token: u64) -> Socket {
    let socket = stage.driver.connect(to, Token(token)).unwrap();
    let (_, writable, hangup) = stage.watched(token);
    assert!(writable && !hangup);
    assert_eq!(stage.driver.connected(socket), Ok(()));
    socket
}

/// Bytes flow both ways, and the options that a stream needs are set.
pub(crate) fn a_connect_ends_with_a_connection(mut stage: Stage) {
    let (listener, to) = listener();
    let socket = connect(&mut stage, &to, 7);
    stage.nothing();
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(stage.send(socket, b"GET"), None);
    let mut got = [0; 3];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"GET");
    stage.driver.watch(socket, Token(8), Interest::Read);
    peer.write_all(b"200").unwrap();
    assert_eq!(stage.watched(8), (true, false, false));
    assert_eq!(stage.driver.recv(socket, &mut got), Recv::Bytes(3));
    assert_eq!(stage.driver.connected(socket), Ok(()), "asked again, it says so again");
    stage.driver.close(socket);
    assert_eq!(peer.read(&mut got).unwrap(), 0);
    stage.nothing();
}

/// At once or by a report, but always by errno; and the descriptor comes back.
pub(crate) fn a_refused_connect_is_an_errno(mut stage: Stage) {
    let (gone, to) = listener();
    drop(gone);
    for _ in 0..50 {
        match stage.driver.connect(&to, Token(7)) {
            Err(errno) => assert_eq!(errno, ECONNREFUSED),
            Ok(socket) => {
                let (_, writable, hangup) = stage.watched(7);
                assert!(writable || hangup);
                assert_eq!(stage.driver.connected(socket), Err(ECONNREFUSED));
                stage.driver.close(socket);
            }
        }
    }
    let none = Remote::Unix(PathBuf::from("/no/such/socket"));
    assert_eq!(stage.driver.connect(&none, Token(7)), Err(2), "ENOENT");
    stage.nothing();
}

/// One that waits says so, however often it is asked, and ends when there is room.
pub(crate) fn a_connect_under_way_is_told_from_one_that_has_ended(mut stage: Stage) {
    let (listener, _waiting, to) = crowded();
    let socket = stage.driver.connect(&to, Token(7)).unwrap();
    stage.nothing();
    for _ in 0..3 {
        assert_eq!(stage.driver.connected(socket), Err(EINPROGRESS));
    }
    // The kernel tries again after a second.
    listener.accept().unwrap();
    let (_, writable, hangup) = stage.watched(7);
    assert!(writable && !hangup);
    assert_eq!(stage.driver.connected(socket), Ok(()));
    stage.driver.close(socket);
    stage.nothing();
}

/// Closed or reset while it is under way, watched or merely queued: silence, and the descriptor
/// comes back: there are many more rounds than descriptors.
pub(crate) fn a_connect_under_way_can_be_closed(stage: Stage) {
    with_few_descriptors(stage, "a_connect_under_way_can_be_closed", |mut stage| {
        let (_listener, _waiting, to) = crowded();
        for round in 0..300_u64 {
            let socket = stage.driver.connect(&to, Token(round)).unwrap();
            if round % 2 == 0 {
                stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            }
            if round % 3 == 0 {
                stage.driver.reset(socket);
            } else {
                stage.driver.close(socket);
            }
            if round % 5 == 0 {
                stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
            }
        }
        stage.nothing();
    });
}

/// A Unix socket does what a TCP one does: whole sends, exact shorts, watches, the end, errnos.
pub(crate) fn a_unix_socket_keeps_the_contract(mut stage: Stage) {
    let (listener, place) = UnixPlace::bind(&stage, "contract");
    let to = Remote::Unix(place.0.clone());
    let socket = connect(&mut stage, &to, 7);
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(stage.send(socket, b"hello"), None);
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");

    let mut into = [0; 4];
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Empty);
    stage.driver.watch(socket, Token(8), Interest::Read);
    stage.driver.watch(socket, Token(8), Interest::Hangup);
    stage.nothing();
    peer.write_all(b"abcdef").unwrap();
    assert_eq!(stage.watched(8), (true, false, false));
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Bytes(4));
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::Bytes(2));

    // Full and drained: nothing is lost, nothing doubled.
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let (mut sent, mut rest) = (0, text.as_slice());
    while !rest.is_empty() {
        let part = &rest[..rest.len().min(100_000)];
        let taken = match stage.send(socket, part) {
            None => part.len(),
            Some(short) => {
                let taken = short.sent.unwrap();
                stage.driver.watch(socket, Token(9), Interest::Write);
                let mut arrived = vec![0; sent + taken];
                peer.read_exact(&mut arrived).unwrap();
                let from = text.len() - rest.len() - sent;
                assert_eq!(arrived, text[from..from + arrived.len()]);
                assert!(stage.watched(9).1);
                sent = 0;
                rest = &rest[taken..];
                continue;
            }
        };
        sent += taken;
        rest = &rest[taken..];
    }
    stage.driver.finish(socket);
    let mut last = Vec::new();
    peer.read_to_end(&mut last).unwrap();
    assert_eq!(last, text[text.len() - sent..]);

    drop(peer);
    assert!(stage.watched(9).2);
    assert_eq!(stage.driver.recv(socket, &mut into), Recv::End);
    stage.driver.close(socket);
    stage.nothing();
}

/// A peer that has gone raises no signal.
pub(crate) fn a_unix_peer_that_has_gone_is_an_errno(mut stage: Stage) {
    let (listener, place) = UnixPlace::bind(&stage, "gone");
    let socket = connect(&mut stage, &Remote::Unix(place.0.clone()), 7);
    drop(listener.accept().unwrap());
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

/// Unread input does not turn the end into a reset there either, watched or not, little or much.
pub(crate) fn a_unix_socket_is_closed_without_a_reset(mut stage: Stage) {
    let (listener, place) = UnixPlace::bind(&stage, "close");
    let to = Remote::Unix(place.0.clone());
    for (watched, bytes) in [(false, 10), (true, 10), (false, 100_000), (true, 100_000)] {
        let socket = connect(&mut stage, &to, 7);
        let (mut peer, _): (UnixStream, _) = listener.accept().unwrap();
        peer.write_all(&vec![b'?'; bytes]).unwrap();
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
    stage.nothing();
}

/// A backend that takes nothing costs the kernel little.
pub(crate) fn a_stalled_backend_costs_little(mut stage: Stage) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let to = Remote::Tcp(listener.local_addr().unwrap());
    let socket = connect(&mut stage, &to, 7);
    let (peer, _) = listener.accept().unwrap();
    let taken = stage.fill(socket, &[b'.'; 200]);
    assert!(taken < 256 * 1024, "{taken} bytes were taken for a peer that reads nothing");
    drop(peer);
    let mut into = [0; 16];
    stage.driver.watch(socket, Token(8), Interest::Read);
    assert!(stage.watched(8).2);
    assert!(matches!(stage.driver.recv(socket, &mut into), Recv::Failed(_)));
    let sends = [Outgoing { socket, bytes: b"late" }];
    assert_eq!(stage.driver.flush(&sends).unwrap().len(), 1);
    stage.driver.close(socket);
}

/// Our end closes: the backend learns of it, and of a reset as such.
pub(crate) fn a_reset_reaches_the_backend(mut stage: Stage) {
    let (listener, to) = listener();
    let socket = connect(&mut stage, &to, 7);
    let (mut peer, _) = listener.accept().unwrap();
    stage.driver.watch(socket, Token(8), Interest::Read);
    stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
    stage.driver.reset(socket);
    stage.nothing();
    let error = peer.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// What comes on a TCP connection may be acknowledged later than it is read; other sockets have
/// nothing to acknowledge.
pub(crate) fn acknowledgements_can_wait(mut stage: Stage) {
    let (backend, _) = listener();
    let ours = TcpStream::connect(backend.local_addr().unwrap()).unwrap();
    let option = SockRef::from(&ours);
    option.set_tcp_quickack(true).unwrap();
    assert!(option.tcp_quickack().unwrap());
    stage.driver.delay_acks(Socket(ours.as_raw_fd()));
    assert!(!option.tcp_quickack().unwrap(), "it is acknowledged at once");
    let (mut unix, mut peer) = UnixStream::pair().unwrap();
    stage.driver.delay_acks(Socket(unix.as_raw_fd()));
    peer.write_all(b"as ever").unwrap();
    let mut got = [0; 7];
    unix.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"as ever");
}
