//! Answers on their way: one flush for a turn's, the rest of those that got stuck, orderly ends.
//!
//! Invariants:
//! 1. Bytes for a connection go out in the order in which they were made: what is stuck goes first.
//! 2. Answers that are stuck have a budget; a connection that would exceed it is closed. What is
//!    stuck of a relay has none: its backend is not read meanwhile, so it is at most one receive.

use super::connections::{Answer, READS, State};
use super::{AddressKey, Owner, Worker};
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::config::budget::ANSWERS_SHARE;
use crate::io::{Driver, Interest, Outgoing, Socket};
use crate::metrics::{CloseReason, Counter};
use crate::session::Next;
use arrayvec::ArrayVec;
use std::io;
use std::time::Duration;

/// How long a half-closed connection is read at most.
const LINGER: Duration = Duration::from_secs(2);

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Sends this turn's answers in one flush, then does what each session asked for.
    pub(super) fn deliver(
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
                (Next::Relay(passage), taken) => {
                    let sent = taken.map_or(bytes.len(), |sent| sent.unwrap_or(0));
                    self.begin_relay(answer.handle, *passage, bytes.get(sent..), now)?;
                }
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
        let answers = self.stuck_bytes - self.relayed_bytes;
        if answers + rest.len() > unsent_bytes_max / ANSWERS_SHARE {
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

    pub(super) fn send_rest(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let write_timeout = self.site.config().limits.write_timeout;
        let Some(connection) = self.connections.find_mut(handle) else { return Ok(()) };
        let socket = connection.socket;
        let short = self.driver.flush(&[Outgoing { socket, bytes: &connection.rest }])?;
        match short.first().map(|short| short.sent) {
            None => {
                self.stuck_bytes -= connection.rest.len();
                self.relayed_bytes -= connection.relayed(connection.rest.len());
                (connection.rest, connection.is_relayed) = (Vec::new(), false);
                match &connection.state {
                    State::Closing => self.half_close(handle, now),
                    State::Relaying(_) => self.unstuck(handle, now),
                    State::Reading(_) | State::Lingering => self.read_on(handle),
                }
            }
            Some(Ok(sent)) => {
                connection.rest.drain(..sent);
                self.stuck_bytes -= sent;
                self.relayed_bytes -= connection.relayed(sent);
                let relaying = connection.is_relaying();
                if sent > 0 && relaying {
                    self.relay_moved(handle, now);
                    self.set_stuck(handle, now);
                } else if sent > 0 {
                    self.set_deadline(handle, now.after(write_timeout));
                }
                self.watch(socket, Owner::Connection(handle), Interest::Write);
            }
            Some(Err(_)) => self.client_gone(handle, CloseReason::PeerReset),
        }
        Ok(())
    }

    /// Bytes of a relay that the kernel did not take: they go first when there is room.
    pub(super) fn stick(&mut self, handle: Handle, rest: &[u8], now: Moment) {
        let Some(connection) = self.connections.find_mut(handle) else { return };
        if rest.is_empty() {
            return;
        }
        let was_stuck = connection.is_stuck();
        // Behind an answer that is stuck it counts as part of that.
        connection.is_relayed |= !was_stuck;
        connection.rest.extend_from_slice(rest);
        self.stuck_bytes += rest.len();
        self.relayed_bytes += connection.relayed(rest.len());
        let socket = connection.socket;
        if !was_stuck {
            self.set_stuck(handle, now);
            self.watch(socket, Owner::Connection(handle), Interest::Write);
        }
    }

    /// Sends bytes to a client at once, behind what is stuck.
    pub(super) fn send_client(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        now: Moment,
    ) -> io::Result<()> {
        let Some(connection) = self.connections.find(handle) else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        if connection.is_stuck() {
            self.stick(handle, bytes, now);
            return Ok(());
        }
        let socket = connection.socket;
        let short = self.driver.flush(&[Outgoing { socket, bytes }])?.first().copied();
        match short.map(|short| short.sent) {
            None => {}
            Some(Ok(sent)) => self.stick(handle, bytes.get(sent..).unwrap_or_default(), now),
            Some(Err(_)) => self.client_gone(handle, CloseReason::PeerReset),
        }
        Ok(())
    }

    /// An answer is out: the next request may come.
    fn read_on(&mut self, handle: Handle) {
        let Some(connection) = self.connections.find(handle) else { return };
        let has_more = !connection.backlog.is_empty();
        if let State::Reading(session) = &connection.state {
            let deadline = session.deadline();
            self.set_deadline(handle, deadline);
        }
        if has_more { self.enqueue(handle) } else { self.await_input(handle) }
    }

    /// The last answer is out: end in order.
    pub(super) fn finish(&mut self, handle: Handle, reason: CloseReason, now: Moment) {
        self.recorder.add(Counter::Closed(reason), 1);
        self.half_close(handle, now);
    }

    pub(super) fn half_close(&mut self, handle: Handle, now: Moment) {
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
}
