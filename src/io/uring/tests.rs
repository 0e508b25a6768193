//! What the contract tests cannot reach: the packing of data, and a completion queue that is small
//! enough to overflow twice over.

use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::io::choice::Unavailable;

/// A driver over this ring and somebody to accept from; `None`, and a line, where there is no ring.
fn open(name: &str, ring: Result<Ring, Unavailable>) -> Option<(Uring, TcpListener)> {
    let ring = ring.inspect_err(|cause| println!("SKIPPED {name}: {cause}")).ok()?;
    let uring = Uring::over(ring, Vec::new(), &Waker::new().unwrap());
    Some((uring, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()))
}

#[test]
fn data_keeps_its_three_parts() {
    for kind in [
        Kind::Hangup,
        Kind::Read,
        Kind::Write,
        Kind::Send,
        Kind::Accept,
        Kind::Wake,
        Kind::Receive,
        Kind::Stop,
        Kind::Alarm,
    ] {
        let data = kind.data(table::GENERATION_MASK, i32::MAX);
        assert_eq!(Kind::of(data), Some(kind));
        assert_eq!(Kind::generation(data), table::GENERATION_MASK);
        assert_eq!(Kind::fd(data), i32::MAX);
    }
    assert_eq!(Kind::of(0), None);
    for interest in [Interest::Hangup, Interest::Read, Interest::Write] {
        assert_eq!(u32::from(Kind::from(interest) as u8), table::bit(interest));
    }
}

/// Sleeps that go without a timer of their own end all the same: by the alarm.
#[test]
fn a_busy_worker_is_woken_by_the_alarm() {
    let name = "a_busy_worker_is_woken_by_the_alarm";
    let Some((mut uring, _)) = open(name, Ring::open()) else { return };
    let (waker, mut ready) = (uring.waker.clone(), Vec::new());
    let mut alarms = 0;
    for sleeps in 0..10 * alarm::SLEEPS {
        // Each sleep before the alarm is ended by somebody; the one that sets it by nobody.
        let lonely = sleeps % alarm::SLEEPS == alarm::SLEEPS - 1;
        if !lonely {
            waker.wake();
        }
        uring.turn(Some(Duration::from_secs(3600)), &mut ready).unwrap();
        assert_eq!(ready.is_empty(), lonely, "sleep {sleeps}");
        alarms += u32::from(lonely);
        ready.clear();
    }
    assert_eq!(alarms, 10);
}

/// A turn leaves answers in the kernel because the queue is full; the shorts of the next flush
/// line up behind them, more than fit, and are all found before it returns.
#[test]
fn shorts_behind_an_overflow_are_found() {
    const SMALL: u16 = 256;
    let ring = Ring::with_completions(u32::from(SMALL));
    let name = "shorts_behind_an_overflow_are_found";
    let Some((mut uring, listener)) = open(name, ring) else { return };
    let pair = || {
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (Socket(ours.into_raw_fd()), peer)
    };
    let crowd: Vec<_> = (0..300).map(|_| pair()).collect();
    for (socket, _) in &crowd {
        uring.watch(*socket, Token(1), Interest::Hangup);
    }
    let mut ready = Vec::new();
    uring.turn(Some(Duration::ZERO), &mut ready).unwrap();
    assert_eq!(ready, [], "all are armed and none has fired");

    // These answer within the enter and fill the queue; those who go find it full.
    let rest: Vec<_> = (0..SMALL).map(|_| pair()).collect();
    for (socket, _) in &rest {
        uring.watch(*socket, Token(2), Interest::Write);
    }
    let crowd: Vec<_> = crowd.into_iter().map(|(socket, _)| socket).collect();
    uring.turn(Some(Duration::ZERO), &mut ready).unwrap();
    assert!(ready.len() >= usize::from(SMALL));

    // A side that has been shut takes nothing, and says so within the enter.
    for (socket, _) in &rest {
        uring.finish(*socket);
    }
    let bytes = b"too late".as_slice();
    let sends: Vec<_> =
        rest.iter().map(|(socket, _)| Outgoing { socket: *socket, bytes }).collect();
    let mut shorts = uring.flush(&sends).unwrap().to_vec();
    shorts.sort_by_key(|short| short.index);
    let want: Vec<_> =
        (0..rest.len()).map(|index| Short { index, sent: Err(libc::EPIPE) }).collect();
    assert_eq!(shorts, want);

    while ready.len() < crowd.len() + rest.len() {
        uring.turn(Some(Duration::from_secs(10)), &mut ready).unwrap();
    }
    crowd.into_iter().for_each(|socket| uring.close(socket));
    rest.into_iter().for_each(|(socket, _)| uring.close(socket));
}

/// What `receive_ahead` is for happens: a piece comes without a call, its buffer goes back, and one
/// that sends much is read by calls again.
#[allow(clippy::disallowed_methods, reason = "a peer that writes while the test reads")]
#[test]
fn a_trickle_is_received_by_the_ring_and_a_rush_is_not() {
    let Some((mut uring, listener)) =
        open("a_trickle_is_received_by_the_ring_and_a_rush_is_not", Ring::open())
    else {
        return;
    };
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = Socket(listener.accept().unwrap().0.into_raw_fd());
    uring.receive_ahead(socket, true);
    let mut ready = Vec::new();
    let mut into = [0; 100_000];
    let mut read = |uring: &mut Uring| {
        uring.watch(socket, Token(1), Interest::Read);
        while ready.is_empty() {
            uring.turn(Some(Duration::from_secs(10)), &mut ready).unwrap();
        }
        ready.clear();
        let flags = uring.table.entry(socket.0).unwrap().under_way();
        (uring.take(socket, &mut into), flags)
    };
    // Twice as often as there are buffers.
    for _ in 0..2 * buffers::BUFFERS {
        peer.write_all(b"little").unwrap();
        assert_eq!(read(&mut uring), (Some(Recv::Bytes(6)), table::RECEIVING));
        assert!(!uring.eager.has_unread());
    }
    let (mut left, mut by_call) = (1_000_000, false);
    let rush = std::thread::spawn(move || {
        peer.write_all(&vec![b'.'; left]).unwrap();
        peer
    });
    while left > 0 {
        match read(&mut uring).0.unwrap_or_else(|| {
            by_call = true;
            calls::recv(socket, &mut [0; 100_000])
        }) {
            Recv::Bytes(count) => left -= count,
            other => assert_eq!(other, Recv::Empty),
        }
    }
    assert!(by_call, "a rush is read by calls");
    drop(rush.join().unwrap());
    uring.close(socket);
}

/// A socket for which the ring may receive, watched, and its peer.
fn trickling(uring: &mut Uring, listener: &TcpListener) -> (Socket, TcpStream) {
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = Socket(listener.accept().unwrap().0.into_raw_fd());
    uring.receive_ahead(socket, true);
    uring.watch(socket, Token(1), Interest::Read);
    (socket, peer)
}

/// Turns until something is reported, and forgets what.
fn wait(uring: &mut Uring) {
    let mut ready = Vec::new();
    for _ in 0..10 {
        uring.turn(Some(Duration::from_secs(1)), &mut ready).unwrap();
        if !ready.is_empty() {
            return;
        }
    }
    panic!("nothing is reported");
}

/// A peer that has much to send, all of it there already, and nobody reads: a small part of the
/// buffers is taken, the receive ends, and it does so again after it was started anew.
#[test]
fn a_rush_takes_few_buffers_and_ends_the_receive() {
    let Some((mut uring, listener)) =
        open("a_rush_takes_few_buffers_and_ends_the_receive", Ring::open())
    else {
        return;
    };
    for early in [true, false] {
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket(listener.accept().unwrap().0.into_raw_fd());
        if early {
            uring.receive_ahead(socket, true);
            uring.watch(socket, Token(1), Interest::Read);
            uring.turn(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        }
        peer.set_nonblocking(true).unwrap();
        let fill = |peer: &mut TcpStream| while peer.write(&[b'.'; 65_536]).is_ok() {};
        fill(&mut peer);
        for again in 0..3 {
            uring.receive_ahead(socket, true);
            uring.watch(socket, Token(1), Interest::Read);
            for _ in 0..20 {
                uring.turn(Some(Duration::from_millis(1)), &mut Vec::new()).unwrap();
            }
            let held = uring.eager.count(socket.0);
            assert!((1..=200).contains(&held), "{held} buffers, early {early}, time {again}");
            let flags = uring.table.entry(socket.0).unwrap().under_way();
            assert_eq!(flags & (table::RECEIVING | table::STOPPING), 0, "it has ended");
            // A call takes what was held, and then what the kernel has.
            while uring.recv(socket, &mut [0; 65_536]) != Recv::Empty {}
            fill(&mut peer);
        }
        uring.close(socket);
    }
}

/// Twice as many pieces as there are buffers, for sockets that are each read as soon as they are
/// told: turns take in so few at a time that a buffer is always left.
#[test]
fn many_trickles_do_not_spend_the_buffers() {
    const PIECES: usize = 10;
    let name = "many_trickles_do_not_spend_the_buffers";
    let Some((mut uring, listener)) = open(name, Ring::open()) else { return };
    let count = 2 * usize::from(buffers::BUFFERS) / PIECES;
    let mut crowd: Vec<_> = (0..count).map(|_| trickling(&mut uring, &listener)).collect();
    uring.turn(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    for (_, peer) in &mut crowd {
        peer.write_all(&[b'.'; PIECES * buffers::BUFFER]).unwrap();
    }
    let mut left = count * PIECES * buffers::BUFFER;
    for _ in 0..1_000 {
        uring.turn(Some(Duration::from_millis(10)), &mut Vec::new()).unwrap();
        for (socket, _) in &crowd {
            if let Recv::Bytes(bytes) = uring.recv(*socket, &mut [0; PIECES * buffers::BUFFER]) {
                left -= bytes;
            }
            assert!(uring.table.entry(socket.0).unwrap().has(table::EAGER), "no buffer was left");
        }
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0);
    crowd.into_iter().for_each(|(socket, _)| uring.close(socket));
}

#[test]
fn a_unix_socket_is_watched_by_polls() {
    let name = "a_unix_socket_is_watched_by_polls";
    let Some((mut uring, _)) = open(name, Ring::open()) else { return };
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let socket = Socket(ours.into_raw_fd());
    uring.receive_ahead(socket, true);
    uring.watch(socket, Token(1), Interest::Read);
    assert_eq!(uring.table.entry(socket.0).unwrap().under_way(), table::READ);
    peer.write_all(b"little").unwrap();
    drop(peer);
    wait(&mut uring);
    assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::Bytes(6));
    assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::End);
    uring.close(socket);
}

/// `receive_ahead(false)` ends a receive under which nothing comes, and a watch goes on as a poll.
#[test]
fn a_receive_that_is_not_wished_any_more_becomes_a_poll() {
    let Some((mut uring, listener)) =
        open("a_receive_that_is_not_wished_any_more_becomes_a_poll", Ring::open())
    else {
        return;
    };
    let (socket, mut peer) = trickling(&mut uring, &listener);
    for _ in 0..2 {
        uring.turn(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert_eq!(uring.table.entry(socket.0).unwrap().under_way(), table::RECEIVING);
        uring.receive_ahead(socket, false);
        for _ in 0..3 {
            uring.turn(Some(Duration::from_millis(1)), &mut Vec::new()).unwrap();
        }
        assert_eq!(uring.table.entry(socket.0).unwrap().under_way(), table::READ);
        peer.write_all(b"little").unwrap();
        wait(&mut uring);
        assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::Bytes(6));
        uring.receive_ahead(socket, true);
        uring.watch(socket, Token(1), Interest::Read);
    }
    uring.close(socket);
}

/// What is held already needs no piece to be told, so a turn must not wait for one.
#[test]
fn what_is_held_is_told_without_a_sleep() {
    let Some((mut uring, listener)) = open("what_is_held_is_told_without_a_sleep", Ring::open())
    else {
        return;
    };
    let (socket, mut peer) = trickling(&mut uring, &listener);
    assert_eq!(uring.patience(None), None);
    peer.write_all(b"little").unwrap();
    wait(&mut uring);
    assert_eq!(uring.take(socket, &mut [0; 4]), Some(Recv::Bytes(4)));
    uring.watch(socket, Token(7), Interest::Read);
    assert!(uring.has_news());
    assert_eq!(uring.patience(None), Some(Duration::ZERO));
    let mut ready = Vec::new();
    uring.turn(None, &mut ready).unwrap();
    let told = Ready::Watched { token: Token(7), readable: true, writable: false, hangup: false };
    assert_eq!(ready, [told]);
    assert_eq!(uring.take(socket, &mut [0; 4]), Some(Recv::Bytes(2)));
    assert_eq!((uring.patience(None), uring.has_news()), (None, false));
    uring.close(socket);
}

/// Sockets are closed while bytes wait for them, held already or not told yet. More bytes than
/// there are buffers, so that one that was lost is missed.
#[test]
fn a_close_gives_buffers_and_descriptor_back() {
    let Some((mut uring, listener)) =
        open("a_close_gives_buffers_and_descriptor_back", Ring::open())
    else {
        return;
    };
    for round in 0..800 {
        let (socket, mut peer) = trickling(&mut uring, &listener);
        uring.turn(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        peer.write_all(&[b'.'; 4 * buffers::BUFFER]).unwrap();
        if round % 2 == 0 {
            wait(&mut uring);
        }
        let generation = uring.table.entry(socket.0).unwrap().generation();
        uring.close(socket);
        let mut turns = 0;
        while uring.table.find(socket.0, generation).is_some() {
            turns += 1;
            assert!(turns < 100, "round {round}: the descriptor stays open");
            uring.turn(Some(Duration::from_millis(100)), &mut Vec::new()).unwrap();
        }
    }
    let (socket, mut peer) = trickling(&mut uring, &listener);
    peer.write_all(b"little").unwrap();
    wait(&mut uring);
    assert_eq!(uring.take(socket, &mut [0; 64]), Some(Recv::Bytes(6)));
    assert!(uring.table.entry(socket.0).unwrap().has(table::RECEIVING), "buffers are left");
    uring.close(socket);
}

/// Others hold every buffer: a socket that finds none is watched as any other, says nothing while
/// nothing comes, and is received for again when the others were read.
#[test]
fn a_socket_that_finds_no_buffer_is_as_any_other() {
    const BYTES: usize = 40 * buffers::BUFFER;
    let Some((mut uring, listener)) =
        open("a_socket_that_finds_no_buffer_is_as_any_other", Ring::open())
    else {
        return;
    };
    let mut hogs: Vec<_> = (0..100).map(|_| trickling(&mut uring, &listener)).collect();
    for (_, peer) in &mut hogs {
        peer.write_all(&[b'.'; BYTES]).unwrap();
    }
    let mut ready = Vec::new();
    while ready.len() < hogs.len() {
        uring.turn(Some(Duration::from_secs(10)), &mut ready).unwrap();
    }
    let (socket, mut peer) = trickling(&mut uring, &listener);
    // It may be told once that there might be something.
    uring.turn(Some(Duration::from_millis(20)), &mut Vec::new()).unwrap();
    assert!(!uring.table.entry(socket.0).unwrap().has(table::EAGER), "there is a buffer left");
    assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::Empty);
    uring.watch(socket, Token(1), Interest::Read);
    ready.clear();
    uring.turn(Some(Duration::from_millis(20)), &mut ready).unwrap();
    assert_eq!(ready, [], "nothing has come");
    peer.write_all(b"little").unwrap();
    wait(&mut uring);
    assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::Bytes(6));
    for (hog, _) in &hogs {
        let mut left = BYTES;
        while left > 0 {
            match uring.recv(*hog, &mut [0; 4096]) {
                Recv::Bytes(count) => left -= count,
                Recv::Empty => uring.turn(Some(Duration::from_millis(1)), &mut ready).unwrap(),
                other => panic!("{other:?}, {left} bytes are missing"),
            }
        }
    }
    uring.receive_ahead(socket, true);
    for _ in 0..2 {
        uring.watch(socket, Token(1), Interest::Read);
        peer.write_all(b"again").unwrap();
        wait(&mut uring);
        assert_eq!(uring.recv(socket, &mut [0; 64]), Recv::Bytes(5));
    }
    assert!(uring.table.entry(socket.0).unwrap().has(table::RECEIVING), "buffers are back");
    uring.close(socket);
    hogs.into_iter().for_each(|(hog, _)| uring.close(hog));
}
