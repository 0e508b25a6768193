//! What servers send: received, unsealed, handed to whose connection it is.
//!
//! Invariants: a connection whose user takes no input is not read. Bytes that a receive brought are
//! handed over before its end is told. What comes on a connection of the pool ends it.

use super::Worker;
use super::connections::State;
use super::outbound::{Ended, Stage, User};
use super::relays::Passed;
use crate::base::prefetch::prefetch;
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::io::{Driver, Recv};
use crate::metrics::ConnectResult;
use crate::tls;
use std::io;

/// Connections that are read in one turn.
pub(super) const READS: usize = 256;
/// Bytes for clients after which no further connection is read in one turn.
const PASSED_BYTES: usize = 512 * 1024;
/// A receive of so many bytes at most is a little.
const LITTLE: usize = 1024;
/// So many of them in a row are often.
const OFTEN: u8 = 2;
/// Receives after which the driver is told again: it may have had no room for this connection.
const AGAIN: u8 = 32;
/// Receives after which the kernel is told again to acknowledge late.
const DELAY_AGAIN: u8 = 16;

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Reads a bounded number of connections, and passes on what came in one flush.
    pub(super) fn intake_outbounds(&mut self, now: Moment) -> io::Result<()> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let mut passed = std::mem::take(&mut self.scratch.passed);
        passed.unix_millis = self.calendar.unix_millis(now, &self.clock);
        self.anticipate_user(0);
        self.anticipate_user(1);
        self.anticipate_exchange(0);
        for _ in 0..self.arrived.len().min(READS) {
            if passed.bytes.len() >= PASSED_BYTES {
                break;
            }
            self.anticipate_user(2);
            self.anticipate_exchange(1);
            let Some(handle) = self.arrived.pop_front() else { break };
            self.read_outbound(handle, &mut passed, now)?;
        }
        self.pass(&mut passed, now)?;
        // What came before an end has gone out: now the end may follow.
        for (handle, ended) in std::mem::take(&mut passed.ends) {
            self.end_outbound(handle, ended, now)?;
        }
        self.scratch.passed = passed;
        Ok(())
    }

    /// Asks for the user of the connection at this place of the queue.
    fn anticipate_user(&self, place: usize) {
        match self.next_user(place) {
            Some(User::Relay(client)) => self.connections.prefetch(client),
            Some(User::Source(source)) => self.sources.prefetch(source),
            Some(User::Mirror(_) | User::Pool) | None => {}
        }
    }

    /// Asks for what that user refers to, once the user itself has come.
    fn anticipate_exchange(&self, place: usize) {
        match self.next_user(place) {
            Some(User::Relay(client)) => {
                let connection = self.connections.find(client);
                if let Some(State::Relaying(passing)) = connection.map(|c| &c.state) {
                    prefetch(&**passing);
                }
            }
            Some(User::Source(source)) => {
                if let Some(feeding) = self.sources.find(source) {
                    prefetch(feeding.tap());
                }
            }
            Some(User::Mirror(_) | User::Pool) | None => {}
        }
    }

    fn next_user(&self, place: usize) -> Option<User> {
        self.outbounds.find(*self.arrived.get(place)?).map(|outbound| outbound.user)
    }

    fn read_outbound(
        &mut self,
        handle: Handle,
        passed: &mut Passed,
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        outbound.queued = false;
        let (socket, user, stage) = (outbound.socket, outbound.user, outbound.stage);
        if stage == Stage::Open && !self.takes_input(user) {
            return Ok(()); // Its user asks for it again.
        }
        let mut input = std::mem::take(&mut self.scratch.input);
        let received = self.driver.recv(socket, &mut input);
        let done = match received {
            Recv::Bytes(count) => {
                self.measure(handle, count);
                let bytes = input.get(..count).unwrap_or_default();
                let more = count == input.len();
                self.arrive(handle, bytes, more, passed, now)
            }
            // Nothing can be sent any more, and nothing is on its way to be told.
            Recv::Empty if self.is_broken(handle) && self.driver.is_idle(socket) => {
                self.end_of_input(handle, false, now)
            }
            Recv::Empty => {
                self.await_outbound(handle);
                Ok(())
            }
            Recv::End => self.end_of_input(handle, true, now),
            Recv::Failed(_) => self.end_of_input(handle, false, now),
        };
        self.scratch.input = input;
        done
    }

    /// Lets the driver receive by itself where a server sends little and often, as event streams
    /// do; and again after each rush, at which it stops.
    fn measure(&mut self, handle: Handle, count: usize) {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return };
        if count > LITTLE {
            outbound.little = 0;
            return;
        }
        outbound.little = outbound.little.wrapping_add(1);
        if outbound.delayed_acks && outbound.little.is_multiple_of(DELAY_AGAIN) {
            self.driver.delay_acks(outbound.socket);
        }
        if outbound.little == OFTEN || outbound.little.is_multiple_of(AGAIN) {
            self.driver.receive_ahead(outbound.socket, true);
        }
    }

    /// Bytes came.
    fn arrive(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        more: bool,
        passed: &mut Passed,
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        let Some(tls) = &mut outbound.tls else {
            return self.hand_over(handle, bytes, more, passed, now);
        };
        let mut plain = std::mem::take(&mut self.scratch.plain);
        plain.clear();
        let mut sealed = bytes;
        let state = tls.receive(&mut sealed, &mut plain);
        let was_securing = outbound.stage == Stage::Securing;
        let mut done = self.transmit(handle);
        if was_securing && done.is_ok() {
            done = match &state {
                Ok(tls::TlsState::Established) => self.opened(handle, now),
                Ok(_) => Ok(()),
                Err(_) => self.end_outbound(handle, Ended::Tls, now),
            };
        }
        if done.is_ok() && !plain.is_empty() {
            done = self.hand_over(handle, &plain, more, passed, now);
        } else if done.is_ok() && self.outbounds.find(handle).is_some() {
            if more { self.enqueue_outbound(handle) } else { self.await_outbound(handle) }
        }
        let ended = match &state {
            Err(_) if !was_securing => Some(Ended::Broken),
            Ok(tls::TlsState::Ended) => Some(Ended::Orderly),
            _ => None,
        };
        // Behind what came with it, which waits for the turn's flush.
        passed.ends.extend(ended.map(|ended| (handle, ended)));
        if plain.capacity() <= 2 * super::INPUT_BYTES {
            self.scratch.plain = plain;
        }
        done
    }

    /// Plain bytes for the user.
    fn hand_over(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        more: bool,
        passed: &mut Passed,
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find(handle) else { return Ok(()) };
        match outbound.user {
            User::Relay(client) => self.relay_input(client, handle, bytes, more, passed, now),
            User::Mirror(mirror) => self.mirror_input(mirror, handle, bytes, more, now),
            User::Source(source) => self.source_input(source, handle, bytes, more, now),
            // Bytes that nobody asked for: whatever they are, the next exchange must not get them.
            User::Pool => {
                self.drop_outbound(handle);
                Ok(())
            }
        }
    }

    /// The connection has no more input: in order, unless TLS says that it was cut.
    fn end_of_input(&mut self, handle: Handle, orderly: bool, now: Moment) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find(handle) else { return Ok(()) };
        let whole = outbound.tls.as_ref().is_none_or(|tls| tls.end().is_ok());
        let ended = match outbound.stage {
            Stage::Securing => Ended::Tls,
            Stage::Connecting => Ended::Connect(0),
            Stage::Open if orderly && whole => Ended::Orderly,
            Stage::Open => Ended::Cut,
        };
        self.end_outbound(handle, ended, now)
    }

    /// Closes a connection and tells its user.
    pub(super) fn end_outbound(
        &mut self,
        handle: Handle,
        ended: Ended,
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find(handle) else { return Ok(()) };
        let (user, backend) = (outbound.user, outbound.backend);
        let endpoint = Arc::clone(&outbound.endpoint);
        let fault = outbound.tls.as_ref().and_then(|tls| tls.end().err());
        self.drop_outbound(handle);
        match (ended, fault) {
            (Ended::Connect(errno), _) => {
                self.count_connect(user, ConnectResult::Failed);
                let cause = io::Error::from_raw_os_error(errno);
                self.tell_trouble("backend_unreachable", backend, &endpoint, &cause);
            }
            (Ended::Tls, fault) => {
                self.count_connect(user, ConnectResult::Tls);
                if let Some(fault) = fault {
                    self.tell_trouble("backend_unreachable", backend, &endpoint, &fault);
                }
            }
            // TLS 1.3 has no room in the handshake for what a server says of our certificate.
            (Ended::Broken, Some(fault)) => {
                self.tell_trouble("backend_tls", backend, &endpoint, &fault);
            }
            (Ended::Full | Ended::Orderly | Ended::Cut | Ended::Broken, _) => {}
        }
        match user {
            User::Relay(client) => self.relay_backend_ended(client, ended, now),
            User::Mirror(mirror) => {
                self.end_mirror(mirror);
                Ok(())
            }
            User::Source(source) => self.source_ended(source, ended, now),
            User::Pool => Ok(()),
        }
    }

    /// Whether TLS on an open connection can seal nothing: its keys are used up.
    fn is_broken(&self, handle: Handle) -> bool {
        let Some(outbound) = self.outbounds.find(handle) else { return false };
        let open = outbound.stage == Stage::Open;
        open && outbound.tls.as_ref().is_some_and(|tls| !tls.is_established())
    }

    fn takes_input(&self, user: User) -> bool {
        match user {
            User::Relay(client) => self.relay_takes_input(client),
            User::Source(source) => self.source_takes_input(source),
            User::Mirror(_) | User::Pool => true,
        }
    }
}
