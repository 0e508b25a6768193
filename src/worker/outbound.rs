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
use crate::io::{Driver, Interest, Outgoing, Remote, Socket, shortage};
use crate::metrics::{ConnectResult, Counter};
use crate::tls;
use std::fmt;
use std::fmt::Display;
use std::io;

/// The errno of a connect that goes on.
const EINPROGRESS: i32 = 115;

/// One connection to a server.
pub(super) struct Outbound {
    pub(super) socket: Socket,
    pub(super) user: User,
    pub(super) stage: Stage,
    pub(super) tls: Option<Box<tls::Client>>,
    /// What the kernel did not take.
    pub(super) unsent: Vec<u8>,
    /// It stands in the queue of those that may have input.
    pub(super) queued: bool,
    /// Receives in a row that brought little.
    pub(super) little: u8,
    /// What comes is to be acknowledged late.
    pub(super) delayed_acks: bool,
    /// It has carried an exchange before.
    pub(super) pooled: bool,
    /// When its time in the pool is over.
    idle_until: Moment,
    /// The wheel holds an entry for that, or for an earlier time.
    timed: bool,
    pub(super) backend: usize,
    pub(super) endpoint: Arc<Endpoint>,
}

/// Without what is unsent: credentials are among its bytes.
impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("socket", &self.socket)
            .field("user", &self.user)
            .field("stage", &self.stage)
            .field("unsent", &self.unsent.len())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
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
pub(super) enum Stage {
    Connecting,
    Securing,
    Open,
}

/// Why a connection did not come about, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// No connection may or can be opened here: a limit of ours, or no descriptor is left.
    Full,
    /// No connection: refused, unreachable, by errno.
    Connect(i32),
    /// No trust: the handshake failed.
    Tls,
    /// In an orderly way: the end of the stream, after close_notify where there is TLS.
    Orderly,
    /// By a reset or an error, or without close_notify.
    Cut,
    /// TLS failed on an open connection: by an alert, or by bytes that are not the server's.
    Broken,
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
        if !self.make_room() {
            self.count_connect(user, ConnectResult::Failed);
            return Err(Ended::Full);
        }
        let tls = match server_name {
            None => None,
            Some(name) => match self.tls_client(backend, name) {
                Ok(tls) => Some(Box::new(tls)),
                Err(ended) => {
                    self.load.close();
                    return Err(ended);
                }
            },
        };
        let backends = &self.site.config().gateway.backends;
        let outbound = Outbound {
            socket: Socket(-1),
            user,
            stage: Stage::Connecting,
            tls,
            unsent: Vec::new(),
            queued: false,
            little: 0,
            delayed_acks: backends.get(backend).is_some_and(|backend| backend.delayed_acks),
            pooled: false,
            idle_until: Moment::START,
            timed: false,
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
            Err(errno) => {
                self.outbounds.remove(handle);
                self.load.close();
                self.count_connect(user, ConnectResult::Failed);
                let cause = io::Error::from_raw_os_error(errno);
                self.tell_trouble("backend_unreachable", backend, endpoint, &cause);
                // What this host lacks says nothing about the endpoint.
                Err(if shortage::of_either(errno) { Ended::Full } else { Ended::Connect(errno) })
            }
        }
    }

    /// Tells an operator what is wrong with an endpoint, and why; rarely.
    pub(super) fn tell_trouble(
        &mut self,
        event: &str,
        backend: usize,
        endpoint: &Endpoint,
        cause: &dyn Display,
    ) {
        let backends = &self.site.config().gateway.backends;
        let name: &dyn Display = &backends.get(backend).map_or("", |backend| &backend.name);
        let address: &dyn Display = endpoint.address();
        let fields = [("backend", name), ("endpoint", address), ("cause", cause)];
        let now = self.clock.now();
        let throttle = self.troubles.of(endpoint, now);
        // What follows from it within moments is not why.
        if self.log.warn_rarely(throttle, now, event, &fields) {
            endpoint.note(cause);
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
            Err(errno) => return self.end_outbound(handle, Ended::Connect(errno), now),
        }
        if outbound.tls.is_none() {
            return self.opened(handle, now);
        }
        outbound.stage = Stage::Securing;
        self.transmit(handle)?;
        self.await_outbound(handle);
        Ok(())
    }

    /// It can carry bytes of its user.
    pub(super) fn opened(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
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
    pub(super) fn transmit(&mut self, handle: Handle) -> io::Result<()> {
        let Some(tls) = self.outbounds.find_mut(handle).and_then(|o| o.tls.as_mut()) else {
            return Ok(());
        };
        let mut sealed = std::mem::take(&mut self.scratch.sealed);
        sealed.clear();
        tls.transmit(&mut sealed);
        let sent = self.send_raw(handle, &sealed);
        self.scratch.sealed = sealed;
        sent
    }

    /// Sends bytes of its user, behind what is stuck. A failure is told as the end of input.
    pub(super) fn send_outbound(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<()> {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(tls) = &mut outbound.tls else { return self.send_raw(handle, bytes) };
        let mut sealed = std::mem::take(&mut self.scratch.sealed);
        sealed.clear();
        let done = tls.seal(bytes, &mut sealed);
        let sent = match done {
            Ok(()) => self.send_raw(handle, &sealed),
            // Its keys are used up, or it has ended: the next read tells its user.
            Err(_) => {
                self.enqueue_outbound(handle);
                Ok(())
            }
        };
        self.scratch.sealed = sealed;
        sent
    }

    fn send_raw(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<()> {
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

    /// Closes a connection without a word to its user: to the server it looks like a cancellation.
    pub(super) fn drop_outbound(&mut self, handle: Handle) {
        self.say_farewell(handle);
        let Some(outbound) = self.outbounds.remove(handle) else { return };
        if outbound.user == User::Pool {
            self.pool.forget(handle, &outbound.endpoint);
        }
        self.load.close();
        self.driver.close(outbound.socket);
    }

    /// Closes a connection such that the server reads a reset, not an end.
    pub(super) fn reset_outbound(&mut self, handle: Handle) {
        let Some(outbound) = self.outbounds.remove(handle) else { return };
        debug_assert!(outbound.user != User::Pool, "nothing is cut there");
        self.load.close();
        self.driver.reset(outbound.socket);
    }

    /// Ends a TLS session (RFC 8446 section 6.1) whose server has got all that it is to get, or it
    /// would complain of a cut. What is cut on its way from a client is to look cut.
    fn say_farewell(&mut self, handle: Handle) {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return };
        let socket = outbound.socket;
        let is_cut = matches!(outbound.user, User::Relay(_)) || !outbound.unsent.is_empty();
        let Some(tls) = outbound.tls.as_mut().filter(|tls| tls.is_established() && !is_cut) else {
            return;
        };
        let mut sealed = std::mem::take(&mut self.scratch.sealed);
        sealed.clear();
        tls.close(&mut sealed);
        // Whether it still takes this, or the driver is broken, is nothing to what ends anyway.
        let _ = self.driver.flush(&[Outgoing { socket, bytes: &sealed }]);
        self.scratch.sealed = sealed;
    }

    /// Counts a connection in; one that idles in the pool goes for it if there are as many as may
    /// be.
    fn make_room(&mut self) -> bool {
        if self.load.open() {
            return true;
        }
        let Some(idle) = self.pool.any() else { return false };
        self.drop_outbound(idle);
        self.load.open()
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

    /// Gives a connection to the pool, if it is of use there.
    pub(super) fn retire(&mut self, handle: Handle, now: Moment) {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return };
        let settings = self.site.config().gateway.backends.get(outbound.backend);
        let (most, time) = settings
            .map_or((0, std::time::Duration::ZERO), |b| (b.idle_connections_max, b.idle_timeout));
        // Nobody's from now on, also if it is of no use: its server is told.
        outbound.user = User::Pool;
        if !outbound.unsent.is_empty() || !self.pool.has_room(&outbound.endpoint, most) {
            self.drop_outbound(handle);
            return;
        }
        (outbound.pooled, outbound.little) = (true, 0);
        self.driver.receive_ahead(outbound.socket, false);
        outbound.idle_until = now.after(time);
        self.pool.put(handle, &outbound.endpoint);
        // A busy connection comes back very often: one entry serves all its stays.
        if !std::mem::replace(&mut outbound.timed, true) {
            self.wheel.set(outbound.idle_until, super::Timer::Idle(handle));
        }
        self.await_outbound(handle);
    }

    /// A connection of the pool for a new user, the one that was used last. One that has something
    /// to read, or has ended, is not used: whatever it says would be taken for the next answer.
    pub(super) fn reuse(&mut self, endpoint: &Arc<Endpoint>, user: User) -> Option<Handle> {
        loop {
            let handle = self.pool.take(endpoint)?;
            let socket = self.outbounds.find(handle)?.socket;
            let idle = self.driver.is_idle(socket);
            let outbound = self.outbounds.find_mut(handle)?;
            outbound.user = user;
            if idle {
                self.recorder.add(Counter::BackendReused, 1);
                return Some(handle);
            }
            self.drop_outbound(handle);
        }
    }

    /// The worker ends: so do all connections that it opened.
    pub(super) fn release_outbounds(&mut self) {
        self.release_sources();
        let mirrors: Vec<Handle> = self.mirrors.iter().map(|(handle, _)| handle).collect();
        mirrors.into_iter().for_each(|mirror| self.end_mirror(mirror));
        let left: Vec<Handle> = self.outbounds.iter().map(|(handle, _)| handle).collect();
        left.into_iter().for_each(|outbound| self.drop_outbound(outbound));
    }

    /// A connection of the pool may have been idle for its time.
    pub(super) fn expire_idle(&mut self, handle: Handle, now: Moment) {
        let Some(outbound) = self.outbounds.find_mut(handle) else { return };
        let (idles, until) = (outbound.user == User::Pool, outbound.idle_until);
        // One that is in use gets another entry when it comes back.
        outbound.timed = idles && until > now;
        if outbound.timed {
            self.wheel.set(until, super::Timer::Idle(handle));
        } else if idles {
            self.drop_outbound(handle);
        }
    }
}
