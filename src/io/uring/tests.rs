//! What the contract tests cannot reach: the packing of data, and a completion queue that is small
//! enough to overflow twice over.

use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::IntoRawFd;

use super::*;

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

/// A turn leaves answers in the kernel because the queue is full; the shorts of the next flush
/// line up behind them, more than fit, and are all found before it returns.
#[test]
fn shorts_behind_an_overflow_are_found() {
    const SMALL: u16 = 256;
    let ring = match Ring::with_completions(u32::from(SMALL)) {
        Ok(ring) => ring,
        Err(cause) => return println!("SKIPPED shorts_behind_an_overflow_are_found: {cause}"),
    };
    let mut uring = Uring::over(ring, Vec::new(), &Waker::new().unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
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

/// What `prefetch` is for happens: a piece comes without a call, its buffer goes back, and one that
/// sends much is read by calls again.
#[allow(clippy::disallowed_methods, reason = "a peer that writes while the test reads")]
#[test]
fn a_trickle_is_received_by_the_ring_and_a_rush_is_not() {
    let ring = match Ring::open() {
        Ok(ring) => ring,
        Err(cause) => {
            return println!(
                "SKIPPED a_trickle_is_received_by_the_ring_and_a_rush_is_not: {cause}"
            );
        }
    };
    let mut uring = Uring::over(ring, Vec::new(), &Waker::new().unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = Socket(listener.accept().unwrap().0.into_raw_fd());
    uring.prefetch(socket, true);
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
