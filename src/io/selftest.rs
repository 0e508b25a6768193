//! Proof, at start, that sends on this kernel mean what `flush` says they mean.
//!
//! The combination that the ring relies on (never wait, report a partial send, be silent on
//! success) is in no manual page. Misread, it loses data without a word; so it is tried, over the
//! real ring, on a loopback connection, in milliseconds.

use std::fmt;
use std::io;
use std::io::Read;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use crate::io::Driver;
use crate::io::Outgoing;
use crate::io::Short;
use crate::io::Socket;

const SMALL: usize = 200;
const LARGE: usize = 4 << 20;
const SEND_BUFFER: usize = 16 * 1024;
/// Small sends until the socket must be full, at the very most.
const TRIES_MAX: usize = 100_000;
/// Pauses of a millisecond until the death of a peer must be known.
const PAUSES_MAX: usize = 1_000;

/// What a step of the self-test found instead of what it expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 1 to 5, or 0 if no connection could be made.
    pub step: u8,
    /// What the step expects.
    pub expected: &'static str,
    /// What it got.
    pub got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: expected {}, got {}", self.step, self.expected, self.got)
    }
}

/// Runs the five steps.
///
/// # Errors
/// The first step that failed.
pub fn run<D: Driver + ?Sized>(driver: &mut D) -> Result<(), Failure> {
    let broken = |error: io::Error| Failure {
        step: 0,
        expected: "a loopback connection",
        got: error.to_string(),
    };
    let (socket, peer) = pair().map_err(broken)?;
    let result = account(driver, socket, peer);
    driver.close(socket);
    result?;
    let (socket, peer) = pair().map_err(broken)?;
    drop(peer);
    let result = gone(driver, socket);
    driver.close(socket);
    result
}

/// Steps 1 to 4: silence, one short, silence until full, and every byte accounted for.
fn account<D: Driver + ?Sized>(
    driver: &mut D,
    socket: Socket,
    mut peer: TcpStream,
) -> Result<(), Failure> {
    let small = vec![b'.'; SMALL];
    let large = vec![b'#'; LARGE];
    let step = |step, expected| move |got: String| Failure { step, expected, got };

    let fail = step(1, "no short for 200 bytes");
    match one(driver, socket, &small).map_err(|e| fail(e.to_string()))? {
        None => {}
        Some(short) => return Err(fail(format!("{short:?}"))),
    }

    let fail = step(2, "one short for 4 MiB, with some sent");
    let mut accounted = SMALL;
    match one(driver, socket, &large).map_err(|e| fail(e.to_string()))? {
        Some(Short { sent: Ok(sent), .. }) if 0 < sent && sent < LARGE => accounted += sent,
        other => return Err(fail(format!("{other:?}"))),
    }

    let fail = step(3, "a short on a full socket");
    let mut full = false;
    for _ in 0..TRIES_MAX {
        match one(driver, socket, &small).map_err(|e| fail(e.to_string()))? {
            None => accounted += SMALL,
            Some(Short { sent: Ok(sent), .. }) if sent < SMALL => {
                accounted += sent;
                full = true;
                break;
            }
            Some(short) => return Err(fail(format!("{short:?}"))),
        }
    }
    if !full {
        return Err(fail("silence".to_owned()));
    }

    let fail = step(4, "as many bytes received as accounted for");
    driver.finish(socket);
    let mut sink = vec![0; 256 * 1024];
    let mut received = 0;
    loop {
        match peer.read(&mut sink) {
            Ok(0) => break,
            Ok(bytes) => received += bytes,
            Err(error) => return Err(fail(error.to_string())),
        }
    }
    if received != accounted {
        return Err(fail(format!("{received} received, {accounted} accounted for")));
    }
    Ok(())
}

/// Step 5: a dead peer is an error, soon.
fn gone<D: Driver + ?Sized>(driver: &mut D, socket: Socket) -> Result<(), Failure> {
    let fail = |got: String| Failure { step: 5, expected: "EPIPE or ECONNRESET", got };
    let small = vec![b'.'; SMALL];
    let mut ready = Vec::new();
    for _ in 0..PAUSES_MAX {
        match one(driver, socket, &small).map_err(|e| fail(e.to_string()))? {
            None => {}
            Some(Short { sent: Err(libc::EPIPE | libc::ECONNRESET), .. }) => return Ok(()),
            Some(short) => return Err(fail(format!("{short:?}"))),
        }
        // The reset is on its way: sleep where a driver sleeps.
        let turn = driver.turn(Some(Duration::from_millis(1)), &mut ready);
        turn.map_err(|e| fail(e.to_string()))?;
        ready.clear();
    }
    Err(fail("silence".to_owned()))
}

/// Flushes one range; what fell short, if anything.
fn one<D: Driver + ?Sized>(
    driver: &mut D,
    socket: Socket,
    bytes: &[u8],
) -> io::Result<Option<Short>> {
    let shorts = driver.flush(&[Outgoing { socket, bytes }])?;
    match shorts {
        [] => Ok(None),
        [short] if short.index == 0 => Ok(Some(*short)),
        _ => Err(io::Error::other("more answers than sends")),
    }
}

/// A loopback connection: our side with a small send buffer, and the peer's.
fn pair() -> io::Result<(Socket, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    let ours = socket2::Socket::from(ours);
    ours.set_send_buffer_size(SEND_BUFFER)?;
    ours.set_nonblocking(true)?;
    peer.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok((Socket(ours.into_raw_fd()), peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::choice;
    use crate::io::epoll::Epoll;
    use crate::io::waker::Waker;

    #[test]
    fn epoll_passes() {
        let mut epoll = Epoll::new(Vec::new(), &Waker::new().unwrap()).unwrap();
        assert_eq!(run(&mut epoll), Ok(()));
    }

    #[test]
    fn uring_passes_or_is_unavailable() {
        match choice::probe_uring() {
            Ok(()) => {}
            Err(choice::Unavailable::SelfTest(failure)) => panic!("{failure}"),
            Err(cause) => println!("SKIPPED uring_passes_or_is_unavailable: {cause}"),
        }
    }
}
