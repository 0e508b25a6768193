//! Connections before their stream, and after it: receive, answer, linger, close.
//!
//! Invariants:
//! 1. A connection whose answer is stuck is not read: its peer must take it first.
//! 2. A connection that ends in order is half-closed and then read for a while, so that the
//!    peer gets its last answer and not a reset (RFC 9112 section 9.6).
//! 3. Answers of one turn go out in one flush. A connection is read at most once in a turn, so that
//!    what its session asked for is done, and its answer sent, before it is read again.
//! 4. Answers that are stuck have a budget; a connection that would exceed it is closed.

use super::{AddressKey, Owner, Refused, Worker};
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::config::budget::ANSWERS_SHARE;
use crate::io::{Driver, Interest, Outgoing, Recv, Socket};
use crate::metrics::{CloseReason, Counter, Gauge, RefuseReason};
use crate::session::{Next, Session};
use arrayvec::ArrayVec;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that are read in one turn.
const READS: usize = 128;
/// Bytes of answers after which no further connection is read in one turn.
const ANSWERS_BYTES: usize = 256 * 1024;
/// How long a half-closed connection is read at most.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection may take to say something before it can be shed for others.
const FRESH: Duration = Duration::from_millis(250);
/// Connections between requests that are closed when descriptors run out.
const SHED: usize = 16;

/// One connection that is not a client.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    key: AddressKey,
    /// The listener that it came to. One that merely lingers has none: 0.
    listener: u16,
    state: State,
    /// When it came in.
    since: Moment,
    /// When its time is over.
    deadline: Moment,
    /// The earliest entry that the wheel holds for it; later entries are stale.
    timer: Moment,
    /// It stands in the queue of the readable.
    queued: bool,
    /// The rest of an answer that the kernel did not take.
    rest: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Reading(Session),
    /// Its answer must go out; then it ends.
    Closing,
    /// Half-closed; what comes is discarded.
    Lingering,
}

/// An answer of this turn: whose, and where in the scratch it stands.
struct Answer {
    handle: Handle,
    from: usize,
    next: Next,
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// A connection came in.
    pub(super) fn admit(&mut self, socket: Socket, peer: SocketAddr, listener: u16, now: Moment) {
        self.recorder.add(Counter::Accepted, 1);
        let key = self.load.key(peer);
        if let Err(refused) = self.load.enter(key) {
            let reason = match refused {
                Refused::Total => RefuseReason::Total,
                Refused::Address => RefuseReason::Address,
            };
            self.recorder.add(Counter::Refused(reason), 1);
            self.driver.close(socket);
            return;
        }
        self.recorder.raise(Gauge::Connections, 1);
        let session = Session::new(now, &self.site);
        let deadline = session.deadline();
        let handle = self.own(socket, key, State::Reading(session), deadline, now);
        if let Some(connection) = self.connections.find_mut(handle) {
            connection.listener = listener;
        }
        self.watch(socket, Owner::Connection(handle), Interest::Read);
    }

    fn own(
        &mut self,
        socket: Socket,
        key: AddressKey,
        state: State,
        deadline: Moment,
        since: Moment,
    ) -> Handle {
        let (timer, queued, rest) = (deadline, false, Vec::new());
        let listener = 0;
        let connection =
            Connection { socket, key, listener, state, since, deadline, timer, queued, rest };
        let handle = self.connections.insert(connection);
        self.wheel.set(deadline, handle);
        handle
    }

    /// Moves a connection's deadline. The wheel gets an entry only if it has none as early: an
    /// earlier one finds the new deadline when it comes up.
    fn set_deadline(&mut self, handle: Handle, deadline: Moment) {
        let Some(connection) = self.connections.find_mut(handle) else { return };
        connection.deadline = deadline;
        if deadline < connection.timer {
            connection.timer = deadline;
            self.wheel.set(deadline, handle);
        }
    }

    /// Queues a connection to be read.
    fn enqueue(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.find_mut(handle)
            && !connection.queued
        {
            connection.queued = true;
            self.readable.push_back(handle);
        }
    }

    /// Waits for more input, unless the connection is queued to be read anyway.
    fn await_input(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.find(handle)
            && !connection.queued
        {
            self.watch(connection.socket, Owner::Connection(handle), Interest::Read);
        }
    }

    /// The kernel reports a connection.
    pub(super) fn connection_event(&mut self, handle: Handle, readable: bool, writable: bool) {
        let Some(connection) = self.connections.find(handle) else { return };
        if !connection.rest.is_empty() && !writable {
            return;
        }
        if readable || writable {
            self.enqueue(handle);
        }
    }

    /// Reads, answers, subscribes: a bounded number of connections.
    pub(super) fn intake(&mut self, now: Moment) -> io::Result<()> {
        if self.readable.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.scratch.answers);
        out.clear();
        let mut answers: ArrayVec<Answer, READS> = ArrayVec::new();
        for _ in 0..self.readable.len() {
            if answers.is_full() || out.len() >= ANSWERS_BYTES {
                break;
            }
            let Some(handle) = self.readable.pop_front() else { break };
            let from = out.len();
            match self.read(handle, now, &mut out)? {
                Some(next) => answers.push(Answer { handle, from, next }),
                None => out.truncate(from),
            }
        }
        self.deliver(&mut answers, &out, now)?;
        // One large answer must not keep its memory for ever.
        if out.capacity() <= ANSWERS_BYTES {
            self.scratch.answers = out;
        }
        Ok(())
    }

    /// Receives once and hands it to the session; `None`: there is nothing to do now.
    fn read(&mut self, handle: Handle, now: Moment, out: &mut Vec<u8>) -> io::Result<Option<Next>> {
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(None) };
        connection.queued = false;
        if !connection.rest.is_empty() {
            self.send_rest(handle, now)?;
            return Ok(None);
        }
        let socket = connection.socket;
        let mut input = std::mem::take(&mut self.scratch.input);
        let received = self.driver.recv(socket, &mut input);
        let next = match received {
            Recv::Bytes(count) => {
                let bytes = input.get(..count).unwrap_or_default();
                self.take(handle, bytes, count == input.len(), now, out)
            }
            Recv::Empty => {
                self.await_input(handle);
                None
            }
            Recv::End => {
                self.release(handle, CloseReason::PeerGone);
                None
            }
            Recv::Failed(_) => {
                self.release(handle, CloseReason::PeerReset);
                None
            }
        };
        self.scratch.input = input;
        Ok(next)
    }

    fn take(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        more: bool,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let unix_millis = self.clock.unix_millis();
        let at = crate::session::At { now, unix_millis, recorder: &self.recorder };
        let connection = self.connections.find_mut(handle)?;
        let from = out.len();
        let next = match &mut connection.state {
            State::Reading(session) => session.handle(bytes, &self.site, &at, out),
            // What comes is discarded.
            State::Closing | State::Lingering => Next::Read,
        };
        if let State::Reading(session) = &connection.state {
            let deadline = session.deadline();
            self.set_deadline(handle, deadline);
        }
        if more {
            self.enqueue(handle);
        }
        if matches!(next, Next::Read) && out.len() == from {
            self.await_input(handle);
            return None;
        }
        Some(next)
    }

    /// Sends this turn's answers in one flush, then does what each session asked for.
    fn deliver(
        &mut self,
        answers: &mut ArrayVec<Answer, READS>,
        out: &[u8],
        now: Moment,
    ) -> io::Result<()> {
        let mut sends: ArrayVec<Outgoing<'_>, READS> = ArrayVec::new();
        let mut whose: ArrayVec<usize, READS> = ArrayVec::new();
        let ends: ArrayVec<usize, READS> =
            answers.iter().skip(1).map(|a| a.from).chain([out.len()]).take(answers.len()).collect();
        for (n, (answer, end)) in answers.iter().zip(&ends).enumerate() {
            let bytes = out.get(answer.from..*end).unwrap_or_default();
            let Some(connection) = self.connections.find(answer.handle) else { continue };
            // A stream's head goes to the fan-out, which sends it before the first event.
            if !bytes.is_empty() && !matches!(answer.next, Next::Subscribe(_)) {
                sends.push(Outgoing { socket: connection.socket, bytes });
                whose.push(n);
            }
        }
        let mut taken = [None; READS];
        if !sends.is_empty() {
            for short in self.driver.flush(&sends)? {
                if let Some(slot) = whose.get(short.index).and_then(|n| taken.get_mut(*n)) {
                    *slot = Some(short.sent);
                }
            }
        }
        for ((answer, end), taken) in answers.drain(..).zip(ends).zip(taken) {
            let bytes = out.get(answer.from..end).unwrap_or_default();
            match (answer.next, taken) {
                (Next::Subscribe(wish), _) => self.subscribe(answer.handle, *wish, bytes, now),
                (_, Some(Err(_))) => self.release(answer.handle, CloseReason::PeerReset),
                (next, Some(Ok(sent))) => {
                    let rest = bytes.get(sent..).unwrap_or_default();
                    self.keep_rest(answer.handle, rest, next, now);
                }
                (Next::Read, None) => self.read_on(answer.handle),
                (Next::Close(reason), None) => self.finish(answer.handle, reason, now),
            }
        }
        Ok(())
    }

    /// The kernel did not take the whole answer.
    fn keep_rest(&mut self, handle: Handle, rest: &[u8], next: Next, now: Moment) {
        let (write_timeout, unsent_bytes_max) = {
            let limits = &self.site.config().limits;
            (limits.write_timeout, limits.unsent_bytes_max)
        };
        if self.stuck_bytes + rest.len() > unsent_bytes_max / ANSWERS_SHARE {
            self.release(handle, CloseReason::UnsentBudget);
            return;
        }
        let Some(connection) = self.connections.find_mut(handle) else { return };
        connection.rest = rest.to_vec();
        self.stuck_bytes += rest.len();
        if let Next::Close(reason) = next {
            self.recorder.add(Counter::Closed(reason), 1);
            connection.state = State::Closing;
        }
        let socket = connection.socket;
        self.set_deadline(handle, now.after(write_timeout));
        self.watch(socket, Owner::Connection(handle), Interest::Write);
    }

    fn send_rest(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let write_timeout = self.site.config().limits.write_timeout;
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(()) };
        let socket = connection.socket;
        let short = self.driver.flush(&[Outgoing { socket, bytes: &connection.rest }])?;
        match short.first().map(|short| short.sent) {
            None => {
                self.stuck_bytes -= connection.rest.len();
                connection.rest = Vec::new();
                if matches!(connection.state, State::Closing) {
                    self.half_close(handle, now);
                } else {
                    self.read_on(handle);
                }
            }
            Some(Ok(sent)) => {
                connection.rest.drain(..sent);
                self.stuck_bytes -= sent;
                if sent > 0 {
                    self.set_deadline(handle, now.after(write_timeout));
                }
                self.watch(socket, Owner::Connection(handle), Interest::Write);
            }
            Some(Err(_)) => self.release(handle, CloseReason::PeerReset),
        }
        Ok(())
    }

    /// An answer is out: the next request may come.
    fn read_on(&mut self, handle: Handle) {
        let Some(connection) = self.connections.find(handle) else { return };
        if let State::Reading(session) = &connection.state {
            let deadline = session.deadline();
            self.set_deadline(handle, deadline);
        }
        self.await_input(handle);
    }

    /// The last answer is out: end in order.
    fn finish(&mut self, handle: Handle, reason: CloseReason, now: Moment) {
        self.recorder.add(Counter::Closed(reason), 1);
        self.half_close(handle, now);
    }

    fn half_close(&mut self, handle: Handle, now: Moment) {
        let Some(connection) = self.connections.find_mut(handle) else { return };
        connection.state = State::Lingering;
        let socket = connection.socket;
        self.set_deadline(handle, now.after(LINGER));
        self.driver.finish(socket);
        self.await_input(handle);
    }

    /// A client got its last bytes: its connection lingers here.
    pub(super) fn linger(&mut self, socket: Socket, key: AddressKey, now: Moment) {
        let handle = self.own(socket, key, State::Lingering, now.after(LINGER), now);
        self.driver.finish(socket);
        self.watch(socket, Owner::Connection(handle), Interest::Read);
    }

    /// Takes a connection out, without closing it: it becomes a client.
    pub(super) fn promote(&mut self, handle: Handle) -> Option<(Socket, AddressKey)> {
        self.connections.remove(handle).map(|connection| (connection.socket, connection.key))
    }

    /// Closes a connection now.
    pub(super) fn release(&mut self, handle: Handle, reason: CloseReason) {
        let Some(connection) = self.connections.remove(handle) else { return };
        self.stuck_bytes -= connection.rest.len();
        // One that lingers or ends was counted when it began to.
        if matches!(connection.state, State::Reading(_)) {
            self.recorder.add(Counter::Closed(reason), 1);
        }
        self.driver.close(connection.socket);
        self.forget(connection.key);
    }

    /// A descriptor is given back: the counts follow.
    pub(super) fn forget(&mut self, key: AddressKey) {
        self.load.leave(key);
        self.recorder.lower(Gauge::Connections, 1);
    }

    /// A connection's timer came up.
    pub(super) fn expire(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let unix_millis = self.clock.unix_millis();
        let at = crate::session::At { now, unix_millis, recorder: &self.recorder };
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(()) };
        if connection.timer > now {
            return Ok(()); // A stale entry: an earlier one has taken its place.
        }
        if connection.deadline > now {
            connection.timer = connection.deadline;
            self.wheel.set(connection.deadline, handle);
            return Ok(());
        }
        // The entry is spent: whatever deadline comes next needs one of its own.
        connection.timer = Moment::from_nanos(u64::MAX);
        if !connection.rest.is_empty() {
            self.release(handle, CloseReason::WriteTimeout);
            return Ok(());
        }
        let State::Reading(session) = &mut connection.state else {
            self.release(handle, CloseReason::Answered);
            return Ok(());
        };
        let mut out = Vec::new();
        let next = session.expire(&at, &mut out);
        match next {
            Next::Close(reason) if out.is_empty() => self.release(handle, reason),
            Next::Close(reason) => {
                let mut answers = ArrayVec::new();
                answers.push(Answer { handle, from: 0, next: Next::Close(reason) });
                self.deliver(&mut answers, &out, now)?;
            }
            // Its deadline is later than we thought: look again then.
            Next::Read | Next::Subscribe(_) => {
                let deadline = session.deadline().max(now.after(super::TICK));
                (connection.deadline, connection.timer) = (deadline, deadline);
                self.wheel.set(deadline, handle);
            }
        }
        Ok(())
    }

    /// Descriptors ran out: connections between requests make room.
    pub(super) fn shed_idle(&mut self, now: Moment) {
        let settled = |handle: &Handle| {
            let found = self.connections.find(*handle);
            found.is_some_and(|connection| connection.since.after(FRESH) <= now)
        };
        let idle: ArrayVec<Handle, SHED> = self.idle().filter(settled).take(SHED).collect();
        for handle in idle {
            self.release(handle, CloseReason::Shed);
        }
    }

    /// Connections between two requests.
    pub(super) fn idle(&self) -> impl Iterator<Item = Handle> {
        self.connections.iter().filter_map(|(handle, connection)| match &connection.state {
            State::Reading(s) if s.is_idle() && connection.rest.is_empty() => Some(handle),
            _ => None,
        })
    }

    /// Ends a connection between two requests.
    pub(super) fn end_idle(&mut self, handle: Handle, now: Moment) {
        self.finish(handle, CloseReason::Drained, now);
    }

    /// Closes every connection at once.
    pub(super) fn release_all(&mut self) {
        let all: Vec<Handle> = self.connections.iter().map(|(handle, _)| handle).collect();
        for handle in all {
            self.release(handle, CloseReason::DrainDeadline);
        }
    }
}
