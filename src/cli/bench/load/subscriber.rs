//! One thread's subscribers: connect, ask, and read everything that comes.
//!
//! A turn opens what may be opened, reads each ready connection once into one shared buffer, and
//! looks for records. A subscriber goes through
//!
//! | phase | waits for | then |
//! |---|---|---|
//! | `Connecting` | the TCP handshake | the request, or `Held` |
//! | `Held` | the release | the request |
//! | `Asked` | the response's head | `Open`, or refused |
//! | `Open` | events | ended by the server |
//!
//! Invariants:
//! 1. Reading allocates nothing: what a cut record needs lies in the subscriber's [`Carry`].
//! 2. Latency runs from the due time inside the event to the end of the read that brought it.

use super::board::Board;
use super::board::Counts;
use super::outcome::BIN;
use super::outcome::Bin;
use super::outcome::Outcome;
use super::outcome::record;
use super::verdict::Ledger;
use crate::cli::bench::payload::Carry;
use crate::cli::bench::payload::MARGIN;
use crate::cli::bench::payload::Scanner;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plan::Templates;
use crate::io::poller::Found;
use crate::io::poller::Poller;
use crate::io::poller::Want;
use crate::io::poller::in_progress;
use crate::io::poller::monotonic_nanos;
use memchr::memmem;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// Bytes of one read.
const READ: usize = 256 * 1024;
/// Ready connections looked at between two looks at the commands.
const BATCH: usize = 256;
/// Requests sent in one turn after the release.
const RELEASED: usize = 256;
/// The longest head that is waited for.
const HEAD_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Held,
    Asked,
    Open,
}

#[derive(Debug)]
struct Subscriber {
    stream: Option<TcpStream>,
    phase: Phase,
    carry: Carry,
    /// The response's head as far as it has come; empty otherwise.
    head: Vec<u8>,
    began: u64,
}

/// One thread's share of the subscribers: those whose number is `first` modulo `step`.
#[derive(Debug)]
pub struct Crowd<'a> {
    plan: &'a Plan,
    templates: &'a Templates,
    board: &'a Board,
    first: u32,
    step: u32,
    poller: Poller,
    subscribers: Vec<Subscriber>,
    /// Connections being opened.
    connecting: usize,
    /// Held subscribers below this have sent their request.
    released: usize,
    scanner: Scanner,
    buffer: Vec<u8>,
    ledger: Ledger,
    outcome: Outcome,
    news: Counts,
}

impl<'a> Crowd<'a> {
    /// The share of thread `first` of `step` threads.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(
        plan: &'a Plan,
        templates: &'a Templates,
        board: &'a Board,
        (first, step): (u32, u32),
    ) -> io::Result<Self> {
        let events = usize::try_from(plan.events).unwrap_or(0);
        Ok(Self {
            plan,
            templates,
            board,
            first,
            step,
            poller: Poller::new(BATCH)?,
            subscribers: Vec::new(),
            connecting: 0,
            released: 0,
            scanner: Scanner::new(plan.run),
            buffer: vec![0; MARGIN + READ],
            ledger: Ledger::default(),
            outcome: Outcome { last: vec![0; events], ..Outcome::default() },
            news: Counts::default(),
        })
    }

    /// Runs until the board says stop; `sent` then tells how many events each publisher
    /// connection has sent.
    ///
    /// # Errors
    /// The poller is broken.
    pub fn run(mut self, sent: impl FnOnce() -> Vec<u64>) -> io::Result<Outcome> {
        let mut found = Vec::with_capacity(BATCH);
        while !self.board.stopped() {
            self.open_more();
            let busy = self.release_more();
            let wait = if busy { Duration::ZERO } else { Duration::from_millis(5) };
            found.clear();
            self.poller.wait(wait, &mut found)?;
            for ready in &found {
                self.turn(*ready);
            }
            self.board.count(std::mem::take(&mut self.news));
        }
        let (sent, lanes) = (sent(), usize::try_from(self.plan.lanes()).unwrap_or(1).max(1));
        let (plan, first, step) = (self.plan, self.first, self.step);
        self.outcome.faults = self.ledger.close(|slot| {
            let mine = u32::try_from(slot / lanes).unwrap_or(u32::MAX);
            plan.expected(first + mine * step, slot % lanes, &sent)
        });
        Ok(self.outcome)
    }

    fn number(&self, index: usize) -> u32 {
        self.first + u32::try_from(index).unwrap_or(u32::MAX) * self.step
    }

    /// Opens more connections, as far as allowed.
    fn open_more(&mut self) {
        while self.connecting < self.plan.connecting_max {
            let number = self.number(self.subscribers.len());
            if u64::from(number) >= self.board.allowed() {
                return;
            }
            let began = monotonic_nanos();
            let stream = connect(self.plan, number).and_then(|stream| {
                let key = u64::try_from(self.subscribers.len()).unwrap_or(u64::MAX);
                self.poller.add(&stream, key, Want::Both)?;
                Ok(stream)
            });
            if let Err(cause) = &stream {
                self.refuse(&cause.to_string());
            } else {
                self.connecting += 1;
            }
            self.subscribers.push(Subscriber {
                stream: stream.ok(),
                phase: Phase::Connecting,
                carry: Carry::default(),
                head: Vec::new(),
                began,
            });
            let lanes = usize::try_from(self.plan.lanes()).unwrap_or(1);
            self.ledger.grow(self.subscribers.len() * lanes);
        }
    }

    /// Sends requests of held subscribers after the release; tells whether there are more.
    fn release_more(&mut self) -> bool {
        if !self.plan.hold || !self.board.released() {
            return false;
        }
        let end = self.subscribers.len().min(self.released + RELEASED);
        for index in self.released..end {
            if self.subscribers.get(index).is_some_and(|s| s.phase == Phase::Held) {
                self.ask(index);
            }
        }
        self.released = end;
        end < self.subscribers.len()
    }

    fn turn(&mut self, ready: Found) {
        let index = usize::try_from(ready.key).unwrap_or(usize::MAX);
        let Some(subscriber) = self.subscribers.get(index) else { return };
        if subscriber.phase == Phase::Connecting {
            if ready.writable {
                self.connected(index);
            }
        } else if ready.readable {
            self.read(index);
        }
    }

    fn connected(&mut self, index: usize) {
        self.connecting = self.connecting.saturating_sub(1);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Some(stream) = &subscriber.stream else { return };
        let key = u64::try_from(index).unwrap_or(u64::MAX);
        let cause = match stream.take_error() {
            Ok(None) => self.poller.change(stream, key, Want::Read).err(),
            Ok(Some(cause)) | Err(cause) => Some(cause),
        };
        if let Some(cause) = cause {
            subscriber.stream = None;
            self.refuse(&cause.to_string());
            return;
        }
        self.news.opened += 1;
        if self.plan.hold && !self.board.released() {
            subscriber.phase = Phase::Held;
        } else {
            self.ask(index);
        }
    }

    fn ask(&mut self, index: usize) {
        let request = self.templates.subscribe(self.plan, self.number(index));
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.phase = Phase::Asked;
        let Some(stream) = &mut subscriber.stream else { return };
        // A fresh socket takes a request whole.
        if let Err(cause) = stream.write_all(&request) {
            subscriber.stream = None;
            self.refuse(&cause.to_string());
        }
    }

    fn read(&mut self, index: usize) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Some(stream) = &mut subscriber.stream else { return };
        let room = self.buffer.get_mut(MARGIN..).unwrap_or_default();
        let fresh = match stream.read(room) {
            Ok(0) => return self.end(index, "the connection was closed"),
            Ok(fresh) => fresh,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(cause) => return self.end(index, &cause.to_string()),
        };
        self.news.bytes += fresh as u64;
        let fresh = if subscriber.phase == Phase::Open { fresh } else { self.head(index, fresh) };
        if fresh > 0 {
            self.scan(index, fresh);
        }
    }

    /// Takes a piece of a response's head; what follows the head is moved to the buffer's front,
    /// and its length returned.
    fn head(&mut self, index: usize, fresh: usize) -> usize {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return 0 };
        let piece = self.buffer.get(MARGIN..MARGIN + fresh).unwrap_or_default();
        subscriber.head.extend_from_slice(piece);
        let Some(end) = memmem::find(&subscriber.head, b"\r\n\r\n") else {
            if subscriber.head.len() > HEAD_MAX {
                self.end(index, "the response's head is endless");
            }
            return 0;
        };
        let head = std::mem::take(&mut subscriber.head);
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        if !matches!(line.get(8..12), Some(b" 200")) {
            let line = String::from_utf8_lossy(line).into_owned();
            self.end(index, &line);
            return 0;
        }
        subscriber.phase = Phase::Open;
        self.news.subscribed += 1;
        let now = monotonic_nanos();
        record(&mut self.outcome.connect, now.saturating_sub(subscriber.began));
        let body = head.get(end + 4..).unwrap_or_default();
        if let Some(room) = self.buffer.get_mut(MARGIN..MARGIN + body.len()) {
            room.copy_from_slice(body);
        }
        body.len()
    }

    fn scan(&mut self, index: usize, fresh: usize) {
        let number = self.number(index);
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let now = monotonic_nanos();
        let lanes = self.plan.lanes();
        let first_slot = index * usize::try_from(lanes).unwrap_or(1);
        let (plan, ledger, outcome) = (self.plan, &mut self.ledger, &mut self.outcome);
        let mut events = 0;
        self.scanner.scan(&mut self.buffer, fresh, &mut subscriber.carry, |found| {
            events += 1;
            record(&mut outcome.latency, now.saturating_sub(found.due));
            match plan.place(number, found.number) {
                Some((lane, place)) => {
                    ledger.note(first_slot + usize::try_from(lane).unwrap_or(0), place);
                }
                None => ledger.note_foreign(),
            }
            let event = usize::try_from(found.number).unwrap_or(usize::MAX);
            if let Some(last) = outcome.last.get_mut(event) {
                *last = now;
            }
        });
        self.news.delivered += events;
        self.outcome.last_byte = now;
        self.outcome.add_bin(Bin { at: now / BIN, events, bytes: fresh as u64 });
    }

    fn end(&mut self, index: usize, cause: &str) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        subscriber.stream = None;
        subscriber.head = Vec::new();
        if subscriber.phase == Phase::Open {
            self.news.ended += 1;
        } else {
            self.refuse(cause);
        }
    }

    fn refuse(&mut self, cause: &str) {
        self.news.refused += 1;
        self.outcome.refusal.get_or_insert_with(|| cause.to_owned());
    }
}

/// Begins to connect, from the source address that is the subscriber's turn.
fn connect(plan: &Plan, number: u32) -> io::Result<TcpStream> {
    let to = plan.subscribe_at;
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if plan.sources > 0 && to.is_ipv4() {
        let source = u32::from(Ipv4Addr::LOCALHOST) + number % plan.sources;
        socket.bind(&SocketAddr::from((Ipv4Addr::from(source), 0)).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(e) if in_progress(&e) => {}
        Err(e) => return Err(e),
    }
    Ok(socket.into())
}
