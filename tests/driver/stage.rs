//! What the contract tests stand on: a driver with a listener, raw peers, deadlines.

use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tidegate::io::Driver;
use tidegate::io::Interest;
use tidegate::io::Outgoing;
use tidegate::io::Ready;
use tidegate::io::Recv;
use tidegate::io::Remote;
use tidegate::io::Short;
use tidegate::io::Socket;
use tidegate::io::Token;
use tidegate::io::choice;
use tidegate::io::choice::Unavailable;
use tidegate::io::epoll::Epoll;
use tidegate::io::listen;
use tidegate::io::listen::ListenOptions;
use tidegate::io::listen::Listener;
use tidegate::io::uring::Uring;
use tidegate::io::waker::Waker;

/// Longer than anything takes; a test that needs it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Long enough for the kernel to deliver over loopback what must not be delivered.
const SETTLE: Duration = Duration::from_millis(60);

/// Runs `test` on io_uring, or says that it does not.
pub(crate) fn uring(name: &str, test: fn(Stage)) {
    if let Err(cause) = choice::probe_uring() {
        // A ring that lies about sends is a failure and no excuse.
        assert!(!matches!(cause, Unavailable::SelfTest(_)), "{cause}");
        // Past the harness, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED uring::{name}: {cause}");
        return;
    }
    test(Stage::new("uring", |listeners, waker| Box::new(Uring::new(listeners, waker).unwrap())));
}

/// Runs `test` on io_uring, which receives before it is asked, on every socket that is read.
pub(crate) fn eager(name: &str, test: fn(Stage)) {
    if choice::probe_uring().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED eager::{name}: as uring::{name}");
        return;
    }
    test(Stage::new("eager", |listeners, waker| {
        Box::new(Eager(Uring::new(listeners, waker).unwrap()))
    }));
}

/// Runs `test` on epoll.
pub(crate) fn epoll(_: &str, test: fn(Stage)) {
    test(Stage::new("epoll", |listeners, waker| Box::new(Epoll::new(listeners, waker).unwrap())));
}

/// A driver that is told at every watch that the peer sends little and often.
struct Eager<D>(D);

impl<D: Driver> Driver for Eager<D> {
    fn watch(&mut self, socket: Socket, token: Token, interest: Interest) {
        self.0.receive_ahead(socket, true);
        self.0.watch(socket, token, interest);
    }

    fn receive_ahead(&mut self, socket: Socket, on: bool) {
        self.0.receive_ahead(socket, on);
    }

    fn delay_acks(&mut self, socket: Socket) {
        self.0.delay_acks(socket);
    }

    fn is_idle(&mut self, socket: Socket) -> bool {
        self.0.is_idle(socket)
    }

    fn flush(&mut self, sends: &[Outgoing<'_>]) -> std::io::Result<&[Short]> {
        self.0.flush(sends)
    }

    fn recv(&mut self, socket: Socket, into: &mut [u8]) -> Recv {
        self.0.recv(socket, into)
    }

    fn connect(&mut self, to: &Remote, token: Token) -> Result<Socket, i32> {
        self.0.connect(to, token)
    }

    fn connected(&mut self, socket: Socket) -> Result<(), i32> {
        self.0.connected(socket)
    }

    fn finish(&mut self, socket: Socket) {
        self.0.finish(socket);
    }

    fn close(&mut self, socket: Socket) {
        self.0.close(socket);
    }

    fn reset(&mut self, socket: Socket) {
        self.0.reset(socket);
    }

    fn accept(&mut self, on: bool) {
        self.0.accept(on);
    }

    fn stop_listening(&mut self) {
        self.0.stop_listening();
    }

    fn turn(&mut self, wait: Option<Duration>, out: &mut Vec<Ready>) -> std::io::Result<()> {
        self.0.turn(wait, out)
    }

    fn flush_and_turn(
        &mut self,
        sends: &[Outgoing<'_>],
        wait: Option<Duration>,
        out: &mut Vec<Ready>,
        shorts: &mut Vec<Short>,
    ) -> std::io::Result<()> {
        self.0.flush_and_turn(sends, wait, out, shorts)
    }

    fn has_news(&mut self) -> bool {
        self.0.has_news()
    }

    fn watch_cost(&self) -> usize {
        self.0.watch_cost()
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

type Make = fn(Vec<Listener>, &Waker) -> Box<dyn Driver>;

/// A driver, its listeners' addresses and its waker.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) addr: SocketAddr,
    /// Where the second listener is.
    pub(crate) second: SocketAddr,
    pub(crate) waker: Waker,
    make: Make,
    /// What `turn` said and no test has taken yet.
    pub(crate) ready: Vec<Ready>,
}

impl Stage {
    fn new(name: &'static str, make: Make) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::at(name, make, [any, any])
    }

    fn at(name: &'static str, make: Make, addrs: [SocketAddr; 2]) -> Self {
        let bound = addrs.map(|addr| listen::bind(addr, &ListenOptions::default()).unwrap());
        let [(first, addr), (other, second)] = bound;
        let waker = Waker::new().unwrap();
        let driver = make(vec![first, other], &waker);
        Self { name, driver, addr, second, waker, make, ready: Vec::new() }
    }

    /// A second driver with listeners on the same ports.
    pub(crate) fn sibling(&self) -> Self {
        Self::at(self.name, self.make, [self.addr, self.second])
    }

    /// A connection: our side and the peer's.
    pub(crate) fn connect(&mut self) -> (Socket, TcpStream) {
        let peer = TcpStream::connect(self.addr).unwrap();
        self.adopt(peer)
    }

    /// A connection whose peer takes little before it reads.
    pub(crate) fn connect_narrow(&mut self) -> (Socket, TcpStream) {
        let narrow = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let narrow = narrow.unwrap();
        narrow.set_recv_buffer_size(8192).unwrap();
        narrow.connect(&self.addr.into()).unwrap();
        self.adopt(narrow.into())
    }

    fn adopt(&mut self, peer: TcpStream) -> (Socket, TcpStream) {
        peer.set_read_timeout(Some(DEADLINE)).unwrap();
        let from = peer.local_addr().unwrap();
        self.driver.accept(true);
        let accepted = self.until("the connection", |ready| match ready {
            Ready::Accepted { socket, peer, .. } if *peer == from => Some(*socket),
            _ => None,
        });
        (accepted, peer)
    }

    /// Turns until a report satisfies `want`, and takes it; keeps the others.
    pub(crate) fn until<T>(&mut self, what: &str, want: impl Fn(&Ready) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let found = self.ready.iter().enumerate().find_map(|(i, r)| Some((i, want(r)?)));
            if let Some((index, found)) = found {
                self.ready.remove(index);
                return found;
            }
            assert!(start.elapsed() < DEADLINE, "no {what}; instead {:?}", self.ready);
            self.driver.turn(Some(Duration::from_millis(100)), &mut self.ready).unwrap();
        }
    }

    /// Turns until something fired on the socket with `token`: readable, writable, hangup.
    pub(crate) fn watched(&mut self, token: u64) -> (bool, bool, bool) {
        self.until("watch", |ready| match *ready {
            Ready::Watched { token: Token(t), readable, writable, hangup } if t == token => {
                Some((readable, writable, hangup))
            }
            _ => None,
        })
    }

    /// Turns for a while, in which nothing may be reported.
    pub(crate) fn nothing(&mut self) {
        let start = Instant::now();
        while start.elapsed() < SETTLE {
            self.driver.turn(Some(SETTLE / 6), &mut self.ready).unwrap();
            assert_eq!(self.ready, [], "nothing was to be reported");
        }
    }

    /// One send; what fell short of it.
    pub(crate) fn send(&mut self, socket: Socket, bytes: &[u8]) -> Option<Short> {
        let shorts = self.driver.flush(&[Outgoing { socket, bytes }]).unwrap();
        assert!(shorts.len() <= 1);
        shorts.first().copied()
    }

    /// Sends until the socket is full; how many bytes it took.
    pub(crate) fn fill(&mut self, socket: Socket, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            match self.send(socket, bytes) {
                None => taken += bytes.len(),
                Some(short) => return taken + short.sent.unwrap(),
            }
        }
    }
}

/// Held by tests with thousands of connections: all at once they are more than a process may open.
#[allow(clippy::disallowed_types, reason = "a lock among tests, not among workers")]
pub(crate) fn crowd() -> impl Drop {
    static CROWD: std::sync::Mutex<()> = std::sync::Mutex::new(());
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls `done` until the deadline.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
