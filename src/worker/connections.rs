//! Connections before their stream, and after it: receive, answer, linger, close.
//!
//! Invariants:
//! 1. A connection whose answer is stuck is not read: its peer must take it first.
//! 2. A connection that ends in order is half-closed and then read for a while, so that the
//!    peer gets its last answer and not a reset (RFC 9112 section 9.6).
//! 3. Answers of one turn go out in one flush. A connection is read at most once in a turn, so that
//!    what its session asked for is done, and its answer sent, before it is read again.
//! 4. Answers that are stuck have a budget; a connection that would exceed it is closed.

use super::relays::Passing;
use super::{AddressKey, Owner, Refused, Timer, Worker};
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::io::{Driver, Interest, Recv, Socket};
use crate::metrics::{CloseReason, Counter, Gauge, RefuseReason};
use crate::session::{Arrival, Next, Session};
use arrayvec::ArrayVec;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that are read in one turn.
pub(super) const READS: usize = 128;
/// Bytes of answers after which no further connection is read in one turn.
const ANSWERS_BYTES: usize = 256 * 1024;
/// How long a connection may take to say something before it can be shed for others.
const FRESH: Duration = Duration::from_millis(250);
/// Connections between requests that are closed when descriptors run out.
const SHED: usize = 16;

/// One connection that is not a client.
pub(super) struct Connection {
    pub(super) socket: Socket,
    key: AddressKey,
    /// The listener that it came to. One that merely lingers has none: 0.
    listener: u16,
    /// Who is at the other end. Nobody knows it any more of one that merely lingers.
    peer: SocketAddr,
    pub(super) state: State,
    /// When it came in.
    since: Moment,
    /// When its time is over.
    deadline: Moment,
    /// The earliest entry that the wheel holds for it; later entries are stale.
    timer: Moment,
    /// It stands in the queue of the readable.
    queued: bool,
    /// Bytes that the kernel did not take.
    pub(super) rest: Vec<u8>,
    /// They are a relay's: its backend is not read meanwhile, so they need no budget.
    pub(super) is_relayed: bool,
    /// Input of the next request, which came with one that was passed on.
    pub(super) backlog: Vec<u8>,
}

/// Without what it holds: credentials may be among its bytes.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("socket", &self.socket)
            .field("state", &self.state)
            .field("rest", &self.rest.len())
            .field("backlog", &self.backlog.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) enum State {
    Reading(Session),
    /// Its request is passed on.
    Relaying(Box<Passing>),
    /// Its answer must go out; then it ends.
    Closing,
    /// Half-closed; what comes is discarded.
    Lingering,
}

/// An answer of this turn: whose, and where in the scratch it stands.
pub(super) struct Answer {
    pub(super) handle: Handle,
    pub(super) from: usize,
    pub(super) next: Next,
}

impl Connection {
    pub(super) fn is_relaying(&self) -> bool {
        matches!(self.state, State::Relaying(_))
    }

    pub(super) fn is_stuck(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Of so many bytes of the rest, those that are a relay's: all or none.
    pub(super) fn relayed(&self, bytes: usize) -> usize {
        if self.is_relayed { bytes } else { 0 }
    }

    /// How it came in, on this worker.
    fn arrival(&self, worker: usize) -> Arrival {
        Arrival { address: usize::from(self.listener), peer: self.peer, worker }
    }
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
            (connection.listener, connection.peer) = (listener, peer);
        }
        self.watch(socket, Owner::Connection(handle), Interest::Read);
    }

    pub(super) fn own(
        &mut self,
        socket: Socket,
        key: AddressKey,
        state: State,
        deadline: Moment,
        since: Moment,
    ) -> Handle {
        let connection = Connection {
            socket,
            key,
            listener: 0,
            peer: SocketAddr::from(([0, 0, 0, 0], 0)),
            state,
            since,
            deadline,
            timer: deadline,
            queued: false,
            rest: Vec::new(),
            is_relayed: false,
            backlog: Vec::new(),
        };
        let handle = self.connections.insert(connection);
        self.wheel.set(deadline, Timer::Connection(handle));
        handle
    }

    /// Moves a connection's deadline. The wheel gets an entry only if it has none as early: an
    /// earlier one finds the new deadline when it comes up.
    pub(super) fn set_deadline(&mut self, handle: Handle, deadline: Moment) {
        let Some(connection) = self.connections.find_mut(handle) else { return };
        connection.deadline = deadline;
        if deadline < connection.timer {
            connection.timer = deadline;
            self.wheel.set(deadline, Timer::Connection(handle));
        }
    }

    /// Queues a connection to be read.
    pub(super) fn enqueue(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.find_mut(handle)
            && !connection.queued
        {
            connection.queued = true;
            self.readable.push_back(handle);
        }
    }

    /// Waits for more input, unless the connection is queued to be read anyway.
    pub(super) fn await_input(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.find(handle)
            && !connection.queued
        {
            self.watch(connection.socket, Owner::Connection(handle), Interest::Read);
        }
    }

    /// The kernel reports a connection.
    pub(super) fn connection_event(
        &mut self,
        handle: Handle,
        readable: bool,
        writable: bool,
        hangup: bool,
        now: Moment,
    ) {
        let Some(connection) = self.connections.find_mut(handle) else { return };
        let is_stuck = !connection.rest.is_empty();
        if let State::Relaying(passing) = &mut connection.state {
            passing.watched &= !hangup;
            if hangup && !self.relay_wants_client(handle) {
                return self.hung_up(handle, now);
            }
        }
        if is_stuck && !writable && !hangup {
            return;
        }
        if readable || writable || hangup {
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
        if !connection.backlog.is_empty() {
            let bytes = std::mem::take(&mut connection.backlog);
            return self.take(handle, &bytes, true, now, out);
        }
        let (socket, relaying) = (connection.socket, connection.is_relaying());
        if relaying && !self.relay_wants_client(handle) {
            self.await_relay_client(handle);
            return Ok(None);
        }
        let mut input = std::mem::take(&mut self.scratch.input);
        let received = self.driver.recv(socket, &mut input);
        let next = match received {
            Recv::Bytes(count) => {
                let bytes = input.get(..count).unwrap_or_default();
                self.take(handle, bytes, count == input.len(), now, out)
            }
            Recv::Empty => {
                self.await_input(handle);
                Ok(None)
            }
            Recv::End => {
                self.client_gone(handle, CloseReason::PeerGone);
                Ok(None)
            }
            Recv::Failed(_) => {
                self.client_gone(handle, CloseReason::PeerReset);
                Ok(None)
            }
        };
        self.scratch.input = input;
        next
    }

    fn take(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        more: bool,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> io::Result<Option<Next>> {
        let (unix_millis, seed) = (self.clock.unix_millis(), self.chance.next());
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(None) };
        let arrival = connection.arrival(self.index);
        let (recorder, opened) = (&self.recorder, &self.opened);
        let at = crate::session::At { now, unix_millis, recorder, seed, arrival, opened };
        let from = out.len();
        let next = match &mut connection.state {
            State::Reading(session) => {
                let next = session.handle(bytes, &self.site, &at, out);
                let deadline = session.deadline();
                self.set_deadline(handle, deadline);
                next
            }
            State::Relaying(_) => {
                if more {
                    self.enqueue(handle);
                }
                self.client_bytes(handle, bytes, now)?;
                return Ok(None);
            }
            // What comes is discarded.
            State::Closing | State::Lingering => Next::Read,
        };
        self.start_opened(now)?;
        if more {
            self.enqueue(handle);
        }
        if matches!(next, Next::Read) && out.len() == from {
            self.await_input(handle);
            return Ok(None);
        }
        Ok(Some(next))
    }

    /// Takes a connection out, without closing it: it becomes a client, or is reset.
    pub(super) fn promote(&mut self, handle: Handle) -> Option<(Socket, AddressKey)> {
        let connection = self.connections.remove(handle)?;
        self.stuck_bytes -= connection.rest.len();
        self.relayed_bytes -= connection.relayed(connection.rest.len());
        Some((connection.socket, connection.key))
    }

    /// Closes a connection now; by a reset if its peer does not get all that was for it: an orderly
    /// end would make a body that lasts until the close look whole (X3).
    pub(super) fn release(&mut self, handle: Handle, reason: CloseReason) {
        let Some(connection) = self.connections.remove(handle) else { return };
        self.stuck_bytes -= connection.rest.len();
        self.relayed_bytes -= connection.relayed(connection.rest.len());
        // One that lingers or ends was counted when it began to.
        if matches!(connection.state, State::Reading(_) | State::Relaying(_)) {
            self.recorder.add(Counter::Closed(reason), 1);
        }
        if connection.is_stuck() || connection.is_relaying() {
            self.driver.reset(connection.socket);
        } else {
            self.driver.close(connection.socket);
        }
        self.forget(connection.key);
    }

    /// A descriptor is given back: the counts follow.
    pub(super) fn forget(&mut self, key: AddressKey) {
        self.load.leave(key);
        self.recorder.lower(Gauge::Connections, 1);
    }

    /// A connection's timer came up.
    pub(super) fn expire(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(()) };
        if connection.timer > now {
            return Ok(()); // A stale entry: an earlier one has taken its place.
        }
        if connection.deadline > now {
            connection.timer = connection.deadline;
            self.wheel.set(connection.deadline, Timer::Connection(handle));
            return Ok(());
        }
        // The entry is spent: whatever deadline comes next needs one of its own.
        connection.timer = Moment::from_nanos(u64::MAX);
        if connection.is_relaying() {
            return self.expire_relay(handle, now);
        }
        if !connection.rest.is_empty() {
            self.release(handle, CloseReason::WriteTimeout);
            return Ok(());
        }
        self.expire_session(handle, now)
    }

    fn expire_session(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let (unix_millis, seed) = (self.clock.unix_millis(), 0);
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(()) };
        let arrival = connection.arrival(self.index);
        let (recorder, opened) = (&self.recorder, &self.opened);
        let at = crate::session::At { now, unix_millis, recorder, seed, arrival, opened };
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
            Next::Read | Next::Subscribe(_) | Next::Relay(_) => {
                let deadline = session.deadline().max(now.after(super::TICK));
                (connection.deadline, connection.timer) = (deadline, deadline);
                self.wheel.set(deadline, Timer::Connection(handle));
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
        let holds = |c: &Connection| c.is_stuck() || !c.backlog.is_empty();
        self.connections.iter().filter_map(move |(handle, connection)| match &connection.state {
            State::Reading(s) if s.is_idle() && !holds(connection) => Some(handle),
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
            self.client_gone(handle, CloseReason::DrainDeadline);
        }
    }
}
