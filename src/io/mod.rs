//! The seam to the kernel: one trait, and everything above it does not know who implements it.
//!
//! Implementations: `uring` (io_uring), `epoll`, and `sim::driver` (tests). All three pass the
//! same contract tests.
//!
//! Contract:
//! 1. `flush` is over when it returns: it borrows the bytes for the call only. Silence is success;
//!    the answer lists what fell short. At most one send per socket and flush; ranges not empty.
//! 2. `watch` adds an interest to a socket; each interest is reported at most once (one-shot), by
//!    `turn`, with the token given here. Several interests of one socket may be armed together;
//!    the last token given for a socket is the one reported.
//! 3. After `close` nothing is reported for that socket, and its descriptor is not reused before
//!    the kernel has let go of it. `close` never blocks, and is right at any moment, also while a
//!    connect is under way.
//! 4. `turn` sleeps only if nothing is ready and no wake is pending, and never calls back. With
//!    `flush_and_turn` all sends are over before it sleeps, and it sleeps only if none fell short.
//! 5. `connect` never waits: it fails at once, or makes a socket and arms its `Write`, as `watch`
//!    does. When that is reported, `connected` says how it ended. Before it has said `Ok`, nothing
//!    is sent on the socket.
//! 6. A driver may have several listeners. They are started, paused and stopped together; each
//!    connection comes with the index of its listener. A failure of one pauses all and is reported
//!    once.

mod calls;
pub mod choice;
pub mod epoll;
pub mod listen;
#[allow(unsafe_code, reason = "the load generator's epoll and clock; see the module's header")]
pub mod poller;
mod remote;
pub mod selftest;
pub mod shortage;
#[allow(unsafe_code, reason = "system calls that the standard library does not offer")]
mod sys;
mod table;
#[allow(unsafe_code, reason = "sends borrow bytes that the compiler cannot follow into the ring")]
pub mod uring;
pub mod waker;

pub use remote::Remote;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// An open connection, by descriptor. Copy: the worker owns it and closes it exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(pub i32);

/// What the worker wants to hear back with an answer. The driver does not look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

/// What to wait for, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The peer has gone or shut its writing side; incoming data does not count.
    Hangup,
    /// There is something to read, or the peer has gone.
    Read,
    /// There is room to write, or the peer has gone.
    Write,
}

/// One range to send: bytes borrowed for the call, never empty.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub socket: Socket,
    /// What; 1 to `i32::MAX` bytes.
    pub bytes: &'a [u8],
}

/// A send that did not take all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Its index in the slice given to `flush`.
    pub index: usize,
    /// Bytes taken (0 when the socket is full), or the errno that ended the connection.
    pub sent: Result<usize, i32>,
}

/// What `recv` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recv {
    /// So many bytes were read.
    Bytes(usize),
    /// Nothing there now.
    Empty,
    /// The peer has shut its writing side.
    End,
    /// The connection failed with this errno.
    Failed(i32),
}

/// What `turn` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A connection was accepted.
    Accepted {
        /// The connection, non-blocking.
        socket: Socket,
        /// Its peer.
        peer: SocketAddr,
        /// The listener that it came to, by index.
        listener: u16,
    },
    /// Accepting failed (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` …). The driver has paused
    /// accepting; `accept(true)` resumes it.
    AcceptFailed {
        /// The cause.
        errno: i32,
    },
    /// One or more interests of a socket fired, and are disarmed now.
    Watched {
        /// The token given to `watch`.
        token: Token,
        /// `Read` fired.
        readable: bool,
        /// `Write` fired.
        writable: bool,
        /// The peer has gone or shut its writing side, or the connection failed.
        hangup: bool,
    },
    /// Somebody called [`Waker::wake`](waker::Waker::wake).
    Woken,
}

/// The only seam to the kernel.
pub trait Driver {
    /// Sends every range before it returns and lists those that fell short.
    ///
    /// # Errors
    /// The driver itself is broken; the caller must not go on.
    fn flush(&mut self, sends: &[Outgoing<'_>]) -> io::Result<&[Short]>;

    /// Reads what has arrived. Never waits.
    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv;

    /// Whether the driver may receive on a socket before it is asked to, because its peer sends
    /// little and often. No more than a hint: what `watch` and `recv` promise holds either way.
    fn receive_ahead(&mut self, _: Socket, _on: bool) {}

    /// Acknowledges what comes on a socket later than its reading, together with what comes next.
    /// The kernel returns to its own ways after a silence, so it must be told again and again.
    fn delay_acks(&mut self, _: Socket) {}

    /// Whether nothing has come that was not read, and no end either: only then is a connection
    /// that was left idle fit for another exchange. `recv` may say `Empty` before that, where the
    /// driver receives before it is asked. Takes nothing.
    fn is_idle(&mut self, socket: Socket) -> bool;

    /// Adds an interest; `turn` answers once.
    fn watch(&mut self, socket: Socket, token: Token, interest: Interest);

    /// Starts to connect a new socket and arms its `Write` with the token: `turn` reports it when
    /// the connect has ended, well or not, and [`connected`](Self::connected) says which.
    ///
    /// # Errors
    /// The errno of a connect that failed at once: out of descriptors or ports, no route, refused,
    /// no such Unix socket, or its backlog is full (`EAGAIN`). There is no socket then.
    fn connect(&mut self, to: &Remote, token: Token) -> Result<Socket, i32>;

    /// How a connect stands, to be asked when its `Write` was reported. A failure is told once.
    ///
    /// # Errors
    /// The errno that ended it; `EINPROGRESS` while it is under way (then watch `Write` again). The
    /// socket is still the caller's to close.
    fn connected(&mut self, socket: Socket) -> Result<(), i32>;

    /// Shuts the writing side: what was sent arrives, then the peer reads the end.
    fn finish(&mut self, socket: Socket);

    /// Ends the connection; its descriptor is freed when the kernel has let go.
    fn close(&mut self, socket: Socket);

    /// Ends the connection and throws away what its peer has not taken: the kernel's memory for
    /// it is free at once, and the peer reads a reset.
    fn reset(&mut self, socket: Socket);

    /// Starts or stops accepting. Starts stopped.
    fn accept(&mut self, on: bool);

    /// Closes the listeners for good, so that further connects are refused.
    fn stop_listening(&mut self);

    /// Waits up to `wait` (forever with `None`, not at all with zero), then appends what happened.
    ///
    /// # Errors
    /// The driver itself is broken; the caller must not go on.
    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()>;

    /// Flushes, then turns: in one call to the kernel where there is a way. Appends what fell
    /// short.
    ///
    /// # Errors
    /// The driver itself is broken; the caller must not go on.
    fn flush_and_turn(
        &mut self,
        sends: &[Outgoing<'_>],
        wait: Option<Duration>,
        out: &mut Vec<Ready>,
        shorts: &mut Vec<Short>,
    ) -> io::Result<()> {
        let before = shorts.len();
        shorts.extend_from_slice(self.flush(sends)?);
        let wait = if shorts.len() > before { Some(Duration::ZERO) } else { wait };
        self.turn(wait, out)
    }

    /// Whether something is known to be ready, so that the next turn will not sleep.
    fn has_news(&mut self) -> bool {
        false
    }

    /// What an idle, watched connection costs the kernel beyond its socket, in bytes.
    fn watch_cost(&self) -> usize;

    /// Its name in logs and metrics: `uring`, `epoll`, `sim`.
    fn name(&self) -> &'static str;
}
