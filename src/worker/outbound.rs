//! Connections that this worker opened: to the servers of backends and upstreams.
//!
//! | stage | what is watched | next |
//! |---|---|---|
//! | connecting | room to write | securing, or open |
//! | securing | input | open |
//! | open | input while its user takes it; room while bytes are stuck | closed, or idle |
//! | idle (no user) | input: whatever comes ends it | open, or closed |
//!
//! Invariants:
//! 1. One user at a time; it is told of the connection's making, input and end, each once.
//! 2. Bytes that the kernel did not take wait here, in order. The user stops what feeds them.
//! 3. Behind TLS nothing is sent before the handshake is done, and nothing is passed on in clear.

use super::{Owner, Worker};
use crate::backend::{Address, Endpoint};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::io::{Driver, Interest, Outgoing, Recv, Remote, Socket};
use crate::metrics::{ConnectResult, Counter};
use crate::tls;
use std::io;

/// Connections that are read in one turn.
const READS: usize = 256;
/// Bytes for clients after which no further connection is read in one turn.
const PASSED_BYTES: usize = 512 * 1024;
/// The errno of a connect that goes on.
const EINPROGRESS: i32 = 115;

/// One connection to a server.
#[derive(Debug)]
pub(super) struct Outbound {
    socket: Socket,
    user: User,
    stage: Stage,
    tls: Option<Box<tls::Client>>,
    /// What the kernel did not take.
    unsent: Vec<u8>,
    /// It stands in the queue of those that may have input.
    queued: bool,
    /// It has carried an exchange before.
    pub(super) pooled: bool,
    pub(super) backend: usize,
    pub(super) endpoint: Arc<Endpoint>,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// That of the exchange on this client connection.
    Relay(Handle),
    /// That of a copy of a request.
    Mirror(Handle),
    /// That of an upstream event stream.
    Source(Handle),
    /// Nobody's: it waits for the next exchange.
    Pool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Securing,
    Open,
}

/// Why a connection did not come about, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// No connection: refused, unreachable, out of descriptors.
    Connect,
    /// No trust: the handshake failed.
    Tls,
    /// In an orderly way: the end of the stream, after close_notify where there is TLS.
    Orderly,
    /// By a reset or an error, or without close_notify.
    Cut,
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Starts a connection to an endpoint. Its user is told when it is made.
    ///
    /// # Errors
    /// It failed at once.
    pub(super) fn open_outbound(
        &mut self,
        backend: usize,
        endpoint: &Arc<Endpoint>,
        server_name: Option<&str>,
        user: User,
    ) -> Result<Handle, Ended> {
        let tls = match server_name {
            None => None,
            Some(name) => Some(Box::new(self.tls_client(backend, name)?)),
        };
        let outbound = Outbound {
            socket: Socket(-1),
            user,
            stage: Stage::Connecting,
            tls,
            unsent: Vec::new(),
            queued: false,
            pooled: false,
            backend,
            endpoint: Arc::clone(endpoint),
        };
        let handle = self.outbounds.insert(outbound);
        let remote = match endpoint.address() {
            Address::Tcp(address) => Remote::Tcp(*address),
            Address::Unix(path) => Remote::Unix(path.clone()),
        };
        match self.driver.connect(&remote, Owner::Outbound(handle).token()) {
            Ok(socket) => {
                if let Some(outbound) = self.outbounds.find_mut(handle) {
                    outbound.socket = socket;
                }
                Ok(handle)
            }
            Err(_) => {
                self.outbounds.remove(handle);
                self.count_connect(user, ConnectResult::Failed);
                Err(Ended::Connect)
            }
        }
    }

    fn tls_client(&self, backend: usize, name: &str) -> Result<tls::Client, Ended> {
        let settings = self.tls.get(backend).and_then(Option::as_ref).ok_or(Ended::Tls)?;
        tls::Client::new(settings, name).map_err(|_| Ended::Tls)
    }

    /// The kernel reports a connection.
    pub(super) fn outbound_event(
        &mut self,
        handle: Handle,
        readable: bool,
        writable: bool,
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find(handle) else { return Ok(()) };
        if outbound.stage == Stage::Connecting {
            return self.decided(handle, now);
        }
        if writable && !outbound.unsent.is_empty() {
            self.send_unsent(handle, now)?;
        }
        if readable {
            self.enqueue_outbound(handle);
        }
        Ok(())
    }

    /// A connect has ended, well or not.
    fn decided(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        let socket = outbound.socket;
        match self.driver.connected(socket) {
            Ok(()) => {}
            Err(EINPROGRESS) => {
                self.watch(socket, Owner::Outbound(handle), Interest::Write);
                return Ok(());
            }
            Err(_) => return self.end_outbound(handle, Ended::Connect, now),
        }
        if outbound.tls.is_none() {
            return self.opened(handle, now);
        }
        outbound.stage = Stage::Securing;
        self.transmit(handle, now)?;
        self.await_outbound(handle);
        Ok(())
    }

    /// It can carry bytes of its user.
    fn opened(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        outbound.stage = Stage::Open;
        let user = outbound.user;
        self.count_connect(user, ConnectResult::Success);
        self.await_outbound(handle);
        match user {
            User::Relay(client) => self.relay_connected(client, handle, now),
            User::Mirror(mirror) => self.mirror_connected(mirror, handle, now),
            User::Source(source) => self.source_connected(source, handle, now),
            User::Pool => Ok(()),
        }
    }

    /// Sends what TLS itself has to say.
    fn transmit(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(tls) = self.outbounds.find_mut(handle).and_then(|o| o.tls.as_mut()) else {
            return Ok(());
        };
        let mut sealed = std::mem::take(&mut self.scratch.sealed);
        sealed.clear();
        tls.transmit(&mut sealed);
        let sent = self.send_raw(handle, &sealed, now);
        self.scratch.sealed = sealed;
        sent
    }

    /// Sends bytes of its user, behind what is stuck. A failure is told as the end of input.
    pub(super) fn send_outbound(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        now: Moment,
    ) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(tls) = &mut outbound.tls else { return self.send_raw(handle, bytes, now) };
        let mut sealed = std::mem::take(&mut self.scratch.sealed);
        sealed.clear();
        let done = tls.seal(bytes, &mut sealed);
        let sent = match done {
            Ok(()) => self.send_raw(handle, &sealed, now),
            // Its keys are used up, or it has ended: the next read tells its user.
            Err(_) => {
                self.enqueue_outbound(handle);
                Ok(())
            }
        };
        self.scratch.sealed = sealed;
        sent
    }

    fn send_raw(&mut self, handle: Handle, bytes: &[u8], _now: Moment) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        if !outbound.unsent.is_empty() {
            outbound.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let socket = outbound.socket;
        let short = self.driver.flush(&[Outgoing { socket, bytes }])?.first().copied();
        match short.map(|short| short.sent) {
            None => {}
            Some(Ok(sent)) => {
                outbound.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
                self.watch(socket, Owner::Outbound(handle), Interest::Write);
            }
            // What the server said before may still be there to be read.
            Some(Err(_)) => self.enqueue_outbound(handle),
        }
        Ok(())
    }

    fn send_unsent(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        let socket = outbound.socket;
        let sends = [Outgoing { socket, bytes: &outbound.unsent }];
        let short = self.driver.flush(&sends)?.first().copied();
        match short.map(|short| short.sent) {
            None => {
                outbound.unsent = Vec::new();
                let user = outbound.user;
                self.drained(user, now)?;
            }
            Some(Ok(sent)) => {
                outbound.unsent.drain(..sent);
                let user = outbound.user;
                self.watch(socket, Owner::Outbound(handle), Interest::Write);
                if sent > 0
                    && let User::Relay(client) = user
                {
                    self.relay_moved(client, now);
                }
            }
            Some(Err(_)) => {
                outbound.unsent = Vec::new();
                self.enqueue_outbound(handle);
            }
        }
        Ok(())
    }

    /// Nothing is stuck any more: its user may go on.
    fn drained(&mut self, user: User, now: Moment) -> io::Result<()> {
        if let User::Relay(client) = user {
            self.relay_moved(client, now);
            self.await_relay_client(client);
        }
        Ok(())
    }

    /// Whether bytes for the server are stuck.
    pub(super) fn is_stuck(&self, handle: Handle) -> bool {
        self.outbounds.find(handle).is_some_and(|outbound| !outbound.unsent.is_empty())
    }

    pub(super) fn enqueue_outbound(&mut self, handle: Handle) {
        if let Some(outbound) = self.outbounds.find_mut(handle)
            && !outbound.queued
        {
            outbound.queued = true;
            self.arrived.push_back(handle);
        }
    }

    /// Waits for input, unless it is queued to be read anyway.
    pub(super) fn await_outbound(&mut self, handle: Handle) {
        if let Some(outbound) = self.outbounds.find(handle)
            && !outbound.queued
        {
            self.watch(outbound.socket, Owner::Outbound(handle), Interest::Read);
        }
    }

    /// Reads a bounded number of connections, and passes on what came in one flush.
    pub(super) fn intake_outbounds(&mut self, now: Moment) -> io::Result<()> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let mut passed = std::mem::take(&mut self.scratch.passed);
        for _ in 0..self.arrived.len().min(READS) {
            if passed.bytes.len() >= PASSED_BYTES {
                break;
            }
            let Some(handle) = self.arrived.pop_front() else { break };
            self.read_outbound(handle, &mut passed, now)?;
        }
        self.pass(&mut passed, now)?;
        self.scratch.passed = passed;
        Ok(())
    }

    fn read_outbound(
        &mut self,
        handle: Handle,
        passed: &mut super::relays::Passed,
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
                let bytes = input.get(..count).unwrap_or_default();
                let more = count == input.len();
                self.arrive(handle, bytes, more, passed, now)
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

    /// Bytes came.
    fn arrive(
        &mut self,
        handle: Handle,
        bytes: &[u8],
        more: bool,
        passed: &mut super::relays::Passed,
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
        let mut done = self.transmit(handle, now);
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
        if done.is_ok() && !was_securing && state.is_err() {
            done = self.end_outbound(handle, Ended::Cut, now);
        } else if done.is_ok() && state == Ok(tls::TlsState::Ended) {
            done = self.end_outbound(handle, Ended::Orderly, now);
        }
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
        passed: &mut super::relays::Passed,
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
            Stage::Connecting => Ended::Connect,
            Stage::Open if orderly && whole => Ended::Orderly,
            Stage::Open => Ended::Cut,
        };
        self.end_outbound(handle, ended, now)
    }

    /// Closes a connection and tells its user.
    fn end_outbound(&mut self, handle: Handle, ended: Ended, now: Moment) -> io::Result<()> {
        let Some(user) = self.outbounds.find(handle).map(|outbound| outbound.user) else {
            return Ok(());
        };
        self.drop_outbound(handle);
        match ended {
            Ended::Connect => self.count_connect(user, ConnectResult::Failed),
            Ended::Tls => self.count_connect(user, ConnectResult::Tls),
            Ended::Orderly | Ended::Cut => {}
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

    /// Closes a connection without a word to its user: to the server it looks like a cancellation.
    pub(super) fn drop_outbound(&mut self, handle: Handle) {
        let Some(outbound) = self.outbounds.remove(handle) else { return };
        if outbound.user == User::Pool {
            self.pool.forget(handle, &outbound.endpoint);
        }
        self.driver.close(outbound.socket);
    }

    pub(super) fn count_connect(&self, user: User, result: ConnectResult) {
        self.recorder.add(
            match user {
                User::Source(_) => Counter::UpstreamConnects(result),
                User::Relay(_) | User::Mirror(_) | User::Pool => Counter::BackendConnects(result),
            },
            1,
        );
    }

    fn takes_input(&self, user: User) -> bool {
        match user {
            User::Relay(client) => self.relay_takes_input(client),
            User::Source(source) => self.source_takes_input(source),
            User::Mirror(_) | User::Pool => true,
        }
    }

    /// Gives a connection to the pool, if it is of use there.
    pub(super) fn retire(&mut self, handle: Handle, now: Moment) {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return };
        let settings = self.site.config().gateway.backends.get(outbound.backend);
        let (most, time) = settings
            .map_or((0, std::time::Duration::ZERO), |b| (b.idle_connections_max, b.idle_timeout));
        if !outbound.unsent.is_empty() || !self.pool.has_room(&outbound.endpoint, most) {
            self.drop_outbound(handle);
            return;
        }
        outbound.user = User::Pool;
        outbound.pooled = true;
        self.pool.put(handle, &outbound.endpoint);
        self.wheel.set(now.after(time), super::Timer::Idle(handle));
        self.await_outbound(handle);
    }

    /// A connection of the pool for a new user, the one that was used last.
    pub(super) fn reuse(&mut self, endpoint: &Arc<Endpoint>, user: User) -> Option<Handle> {
        let handle = self.pool.take(endpoint)?;
        let outbound = self.outbounds.find_mut(handle)?;
        outbound.user = user;
        self.recorder.add(Counter::BackendReused, 1);
        Some(handle)
    }

    /// A connection of the pool has been idle for its time.
    pub(super) fn expire_idle(&mut self, handle: Handle) {
        // One that was used again meanwhile gets another entry when it comes back.
        if self.outbounds.find(handle).is_some_and(|o| o.user == User::Pool) {
            self.drop_outbound(handle);
        }
    }
}
