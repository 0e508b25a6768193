//! Exchanges passed on to backends: from a session to the relay, its connection, and its end.
//!
//! ```text
//!   session ─Passage─▶ relay ─▶ pick an endpoint ─▶ pool or connect ─▶ bytes both ways ─▶ end
//! ```
//!
//! Invariants:
//! 1. A relay has at most one connection to a backend, and the connection knows it.
//! 2. Backpressure: a backend is not read while bytes for its client are stuck, and a client is not
//!    read while bytes for its backend are; so each side holds one receive at most.
//! 3. What a turn passes to clients goes out in one flush.
//! 4. When the client has gone, its backend's connection is closed in the same turn (X4).

use super::connections::State;
use super::outbound::{Ended, User};
use super::{Owner, Worker};
use crate::backend::{Endpoint, InFlight, PickError};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::http::h1::Decoder;
use crate::io::{Driver, Interest, Outgoing, Short};
use crate::metrics::{CloseReason, Counter, Direction, Gauge, RelayEnd};
use crate::relay::{self, At, Cause, ClientNext, End, Lost, Out, Relay, Step};
use crate::session::{Passage, Session};
use std::io;
use std::time::Duration;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Passing {
    relay: Relay,
    backend: usize,
    outbound: Option<Handle>,
    in_flight: Option<InFlight>,
    /// Endpoints that were tried before.
    tried: Vec<Arc<Endpoint>>,
    /// The request's cookies, for affinity.
    cookies: Option<Box<[u8]>>,
    /// When the connection must be made.
    connect_by: Option<Moment>,
    /// Input that came with what was of use: the next request's, or more than may be held now.
    later: Vec<u8>,
    /// The client's end is watched for, because nothing is read.
    pub(super) watched: bool,
    /// Bytes for the client are stuck, and it must take some by then.
    stuck_until: Option<Moment>,
    /// The process drains: when the exchange is to end if it is an event stream.
    drain_at: Option<Moment>,
}

/// What a turn passes on to clients.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
    /// What the relays have for their backends.
    backend: Vec<u8>,
}

/// One client's share of it.
#[derive(Debug)]
struct Part {
    client: Handle,
    outbound: Handle,
    from: usize,
    step: Step,
    /// The receive filled its room: there may be more.
    more: bool,
}

/// The reason in metrics.
fn label(end: End) -> RelayEnd {
    match end {
        End::Completed | End::Early | End::Answered => RelayEnd::Done,
        End::Upgraded => RelayEnd::TunnelDone,
        End::ClientGone => RelayEnd::ClientGone,
        End::ClientFault => RelayEnd::BadRequest,
        End::NoEndpoint | End::ConnectFailed | End::ConnectTimeout => RelayEnd::Unavailable,
        End::BackendLost | End::BackendTruncated => RelayEnd::BackendGone,
        End::BackendFault => RelayEnd::Malformed,
        End::TimedOut(relay::Timer::RequestBody) => RelayEnd::ClientTimeout,
        End::TimedOut(relay::Timer::Idle) => RelayEnd::Idle,
        End::TimedOut(_) => RelayEnd::Timeout,
        End::Cancelled => RelayEnd::Drained,
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// A session has a request to pass on, and of its answers before this is stuck.
    pub(super) fn begin_relay(
        &mut self,
        client: Handle,
        passage: Passage,
        stuck: Option<&[u8]>,
        now: Moment,
    ) -> io::Result<()> {
        let Passage { backend, plan, cookies, mirrors, input } = passage;
        let drain_at = self.drain_moment(now);
        let Some(connection) = self.connections.find_mut(client) else { return Ok(()) };
        let state = std::mem::replace(&mut connection.state, State::Closing);
        let State::Reading(session) = state else {
            connection.state = state;
            return Ok(());
        };
        let passing = Passing {
            relay: Relay::new(plan, session.into_decoder(), now),
            backend,
            outbound: None,
            in_flight: None,
            tried: Vec::new(),
            cookies,
            connect_by: None,
            later: input,
            watched: false,
            stuck_until: None,
            drain_at,
        };
        connection.state = State::Relaying(Box::new(passing));
        self.recorder.raise(Gauge::Relays, 1);
        self.stick(client, stuck.unwrap_or_default(), now);
        for (backend, plan) in mirrors {
            self.begin_mirror(backend, plan, now)?;
        }
        self.feed_later(client, now)?;
        self.attempt(client, now)
    }

    fn passing(&mut self, client: Handle) -> Option<&mut Passing> {
        match &mut self.connections.find_mut(client)?.state {
            State::Relaying(passing) => Some(passing),
            _ => None,
        }
    }

    /// Calls the relay of a client and does what follows.
    fn call(
        &mut self,
        client: Handle,
        now: Moment,
        call: impl FnOnce(&mut Passing, &At<'_>, &mut Out<'_>) -> Step,
    ) -> io::Result<()> {
        let site = Arc::clone(&self.site);
        let at = At { now, unix_millis: self.clock.unix_millis(), limits: site.limits() };
        let Some(passing) = self.passing(client) else { return Ok(()) };
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let mut out = Out { client: &mut to_client, backend: &mut to_backend };
        let step = call(passing, &at, &mut out);
        let outbound = passing.outbound;
        if let Some(outbound) = outbound
            && !to_backend.is_empty()
        {
            self.recorder.add(Counter::RelayBytes(Direction::Request), to_backend.len() as u64);
            self.send_outbound(outbound, &to_backend, now)?;
        }
        self.send_client(client, &to_client, now)?;
        self.follow(client, step, now)
    }

    /// Does what a relay asked for, once its bytes are on their way.
    fn follow(&mut self, client: Handle, step: Step, now: Moment) -> io::Result<()> {
        match step {
            Step::On => {
                self.set_relay_deadline(client);
                self.await_relay_client(client);
                Ok(())
            }
            Step::Retry => {
                self.recorder.add(Counter::BackendRetries, 1);
                self.leave_backend(client, true);
                self.attempt(client, now)
            }
            Step::Over(end) => self.end_relay(client, end, now),
        }
    }

    /// Chooses an endpoint and gets a connection to it.
    fn attempt(&mut self, client: Handle, now: Moment) -> io::Result<()> {
        let Some(passing) = self.passing(client) else { return Ok(()) };
        if passing.relay.end().is_some() {
            return Ok(());
        }
        let (backend, tried) = (passing.backend, std::mem::take(&mut passing.tried));
        let cookies = passing.cookies.take();
        let chance = &mut self.chance;
        let picked = self.view.pick(backend, now, chance, cookies.as_deref(), &tried);
        let timeout = self.connect_timeout(backend);
        let Some(passing) = self.passing(client) else { return Ok(()) };
        let fresh = !tried.is_empty();
        (passing.tried, passing.cookies) = (tried, cookies);
        passing.connect_by.get_or_insert(now.after(timeout));
        let pick = match picked {
            Ok(pick) => pick,
            // Its names are being looked up: the wake that follows tries again.
            Err(PickError::Pending { .. }) => {
                self.nameless.push(client);
                self.set_relay_deadline(client);
                self.await_relay_client(client);
                return Ok(());
            }
            Err(_) => {
                return self.call(client, now, |passing, at, out| {
                    passing.relay.attempt_failed(Cause::NoEndpoint, at, out)
                });
            }
        };
        passing.relay.set_cookie(pick.set_cookie.as_deref());
        passing.in_flight = Some(pick.in_flight);
        let user = User::Relay(client);
        // After a failure a connection that nobody has used can be trusted more.
        if !fresh && let Some(outbound) = self.reuse(&pick.endpoint, user) {
            return self.relay_connected(client, outbound, now);
        }
        let name = pick.server_name.as_deref();
        match self.open_outbound(backend, &pick.endpoint, name, user) {
            Ok(outbound) => {
                if let Some(passing) = self.passing(client) {
                    passing.outbound = Some(outbound);
                    passing.connect_by = Some(now.after(timeout));
                }
                self.set_relay_deadline(client);
                self.await_relay_client(client);
                Ok(())
            }
            Err(_) => self.no_connection(client, &pick.endpoint, Cause::Failed, now),
        }
    }

    fn connect_timeout(&self, backend: usize) -> Duration {
        let backend = self.site.config().gateway.backends.get(backend);
        backend.map_or(Duration::ZERO, |backend| backend.connect_timeout)
    }

    /// No connection to the endpoint came about.
    fn no_connection(
        &mut self,
        client: Handle,
        endpoint: &Arc<Endpoint>,
        cause: Cause,
        now: Moment,
    ) -> io::Result<()> {
        endpoint.failed(now);
        if let Some(passing) = self.passing(client) {
            passing.tried.push(Arc::clone(endpoint));
            passing.in_flight = None;
        }
        self.call(client, now, |passing, at, out| passing.relay.attempt_failed(cause, at, out))
    }

    /// Names were looked up: who waited for them tries again.
    pub(super) fn attempt_nameless(&mut self, now: Moment) -> io::Result<()> {
        for client in std::mem::take(&mut self.nameless) {
            if self.passing(client).is_some_and(|passing| passing.outbound.is_none()) {
                self.attempt(client, now)?;
            }
        }
        Ok(())
    }

    /// A connection is there.
    pub(super) fn relay_connected(
        &mut self,
        client: Handle,
        outbound: Handle,
        now: Moment,
    ) -> io::Result<()> {
        let pooled = self.outbounds.find(outbound).is_some_and(|outbound| outbound.pooled);
        let Some(passing) = self.passing(client) else { return Ok(()) };
        passing.outbound = Some(outbound);
        passing.connect_by = None;
        self.call(client, now, |passing, at, out| passing.relay.connected(pooled, at, out))?;
        self.feed_later(client, now)
    }

    /// Input that waited for the backend goes on.
    fn feed_later(&mut self, client: Handle, now: Moment) -> io::Result<()> {
        let Some(passing) = self.passing(client) else { return Ok(()) };
        if passing.later.is_empty() || !passing.relay.wants_client_input() {
            return Ok(());
        }
        let later = std::mem::take(&mut passing.later);
        self.client_bytes(client, &later, now)
    }

    /// Bytes of the client.
    pub(super) fn client_bytes(
        &mut self,
        client: Handle,
        bytes: &[u8],
        now: Moment,
    ) -> io::Result<()> {
        self.call(client, now, |passing, at, out| {
            let mut input = bytes;
            let step = passing.relay.client_input(&mut input, at, out);
            passing.later.extend_from_slice(input);
            step
        })
    }

    /// Bytes of the backend. What they become goes out with what others have for their clients.
    pub(super) fn relay_input(
        &mut self,
        client: Handle,
        outbound: Handle,
        bytes: &[u8],
        more: bool,
        passed: &mut Passed,
        now: Moment,
    ) -> io::Result<()> {
        let site = Arc::clone(&self.site);
        let at = At { now, unix_millis: self.clock.unix_millis(), limits: site.limits() };
        let Some(passing) = self.passing(client) else { return Ok(()) };
        let from = passed.bytes.len();
        let mut out = Out { client: &mut passed.bytes, backend: &mut passed.backend };
        let step = passing.relay.backend_input(bytes, &at, &mut out);
        passed.parts.push(Part { client, outbound, from, step, more });
        if !passed.backend.is_empty() {
            let bytes = std::mem::take(&mut passed.backend);
            self.send_outbound(outbound, &bytes, now)?;
        }
        Ok(())
    }

    /// Sends what this turn's backends had for their clients in one flush.
    pub(super) fn pass(&mut self, passed: &mut Passed, now: Moment) -> io::Result<()> {
        let Passed { bytes, parts, .. } = passed;
        let ends: Vec<usize> =
            parts.iter().skip(1).map(|part| part.from).chain([bytes.len()]).collect();
        let mut shorts: Vec<Short> = Vec::new();
        let mut whose: Vec<usize> = Vec::with_capacity(parts.len());
        {
            let mut sends: Vec<Outgoing<'_>> = Vec::with_capacity(parts.len());
            for (n, (part, end)) in parts.iter().zip(&ends).enumerate() {
                let Some(connection) = self.connections.find(part.client) else { continue };
                let bytes = bytes.get(part.from..*end).unwrap_or_default();
                if !bytes.is_empty() {
                    sends.push(Outgoing { socket: connection.socket, bytes });
                    whose.push(n);
                }
            }
            if !sends.is_empty() {
                shorts.extend_from_slice(self.driver.flush(&sends)?);
            }
        }
        self.recorder.add(Counter::RelayBytes(Direction::Response), bytes.len() as u64);
        for short in shorts {
            let Some((part, end)) =
                whose.get(short.index).and_then(|n| parts.get(*n).zip(ends.get(*n)))
            else {
                continue;
            };
            let client = part.client;
            match short.sent {
                Ok(sent) => {
                    let rest = bytes.get(part.from + sent..*end).unwrap_or_default();
                    self.stick(client, rest, now);
                }
                Err(_) => self.client_gone(client, CloseReason::PeerReset, now),
            }
        }
        for part in parts.drain(..) {
            self.follow(part.client, part.step, now)?;
            if part.more {
                self.enqueue_outbound(part.outbound)
            } else {
                self.await_outbound(part.outbound)
            }
        }
        bytes.clear();
        Ok(())
    }

    /// Whether the backend's bytes can go on to the client.
    pub(super) fn relay_takes_input(&self, client: Handle) -> bool {
        self.connections.find(client).is_some_and(|connection| !connection.is_stuck())
    }

    /// The backend's connection has ended; it is closed already.
    pub(super) fn relay_backend_ended(
        &mut self,
        client: Handle,
        ended: Ended,
        now: Moment,
    ) -> io::Result<()> {
        let Some(passing) = self.passing(client) else { return Ok(()) };
        passing.outbound = None;
        let endpoint = passing.in_flight.as_ref().map(|flight| Arc::clone(flight.endpoint()));
        match (ended, endpoint) {
            (Ended::Connect | Ended::Tls, Some(endpoint)) => {
                self.no_connection(client, &endpoint, Cause::Failed, now)
            }
            (ended, _) => {
                let lost = if ended == Ended::Orderly { Lost::Clean } else { Lost::Broken };
                self.call(client, now, |passing, at, out| {
                    passing.relay.backend_ended(lost, at, out)
                })
            }
        }
    }

    /// Gives up the relay's connection; the endpoint is tried again only if no other is left.
    fn leave_backend(&mut self, client: Handle, failed: bool) {
        let Some(passing) = self.passing(client) else { return };
        let (outbound, flight) = (passing.outbound.take(), passing.in_flight.take());
        if let (Some(flight), true) = (&flight, failed) {
            let endpoint = Arc::clone(flight.endpoint());
            if !passing.tried.iter().any(|tried| Arc::ptr_eq(tried, &endpoint)) {
                passing.tried.push(endpoint);
            }
        }
        if let Some(outbound) = outbound {
            self.drop_outbound(outbound);
        }
    }

    /// The exchange is over.
    fn end_relay(&mut self, client: Handle, end: End, now: Moment) -> io::Result<()> {
        let Some(connection) = self.connections.find_mut(client) else { return Ok(()) };
        let state = std::mem::replace(&mut connection.state, State::Closing);
        let State::Relaying(passing) = state else {
            connection.state = state;
            return Ok(());
        };
        let Passing { relay, outbound, in_flight, later, .. } = *passing;
        self.count_end(end);
        if let Some(flight) = in_flight {
            let endpoint = flight.endpoint();
            if end.blames_backend() {
                endpoint.failed(now);
            } else if relay.has_begun() {
                endpoint.succeeded();
            }
        }
        if let Some(outbound) = outbound {
            if relay.backend_reusable() {
                self.retire(outbound, now);
            } else {
                self.drop_outbound(outbound);
            }
        }
        let next = relay.client_next();
        match (next, relay.into_decoder()) {
            (ClientNext::Keep, Some(decoder)) => self.keep_client(client, decoder, later, now),
            (ClientNext::Reset, _) => {
                if let Some((socket, key)) = self.promote(client) {
                    self.recorder.add(Counter::Closed(CloseReason::RelayCut), 1);
                    self.driver.reset(socket);
                    self.forget(key);
                }
            }
            _ => {
                let whole = matches!(end, End::Completed | End::Early | End::Upgraded);
                let reason = if whole { CloseReason::RelayDone } else { CloseReason::RelayCut };
                self.recorder.add(Counter::Closed(reason), 1);
                self.close_client_after(client, now);
            }
        }
        Ok(())
    }

    /// The client's connection takes another request.
    fn keep_client(&mut self, client: Handle, decoder: Decoder, later: Vec<u8>, now: Moment) {
        let session = Session::resume(decoder, now, &self.site);
        let deadline = session.deadline();
        let Some(connection) = self.connections.find_mut(client) else { return };
        connection.state = State::Reading(session);
        connection.backlog = later;
        let (is_stuck, has_more) = (connection.is_stuck(), !connection.backlog.is_empty());
        if is_stuck {
            // Read on when the rest is out.
            let write_timeout = self.site.config().limits.write_timeout;
            self.set_deadline(client, now.after(write_timeout));
            return;
        }
        self.set_deadline(client, deadline);
        if has_more { self.enqueue(client) } else { self.await_input(client) }
    }

    /// Ends the client's connection once its rest is out.
    fn close_client_after(&mut self, client: Handle, now: Moment) {
        let Some(connection) = self.connections.find(client) else { return };
        if connection.is_stuck() {
            let write_timeout = self.site.config().limits.write_timeout;
            self.set_deadline(client, now.after(write_timeout));
        } else {
            self.half_close(client, now);
        }
    }

    fn count_end(&self, end: End) {
        self.recorder.add(Counter::RelayEnds(label(end)), 1);
        self.recorder.lower(Gauge::Relays, 1);
    }

    /// The client has gone: so does its request (X4).
    pub(super) fn client_gone(&mut self, client: Handle, reason: CloseReason, _now: Moment) {
        if let Some(passing) = self.passing(client) {
            if let Step::Over(end) = passing.relay.client_gone() {
                self.count_end(end);
            }
            self.leave_backend(client, false);
        }
        self.release(client, reason);
    }

    /// Whether the client is read, or only watched for its end.
    pub(super) fn relay_wants_client(&mut self, client: Handle) -> bool {
        let Some(passing) = self.passing(client) else { return false };
        let outbound = passing.outbound;
        let wants = passing.relay.wants_client_input() && passing.later.is_empty();
        wants && !outbound.is_some_and(|outbound| self.is_stuck(outbound))
    }

    /// Waits for the client's input, or for its end.
    pub(super) fn await_relay_client(&mut self, client: Handle) {
        if self.relay_wants_client(client) {
            return self.await_input(client);
        }
        let Some(connection) = self.connections.find_mut(client) else { return };
        let socket = connection.socket;
        let State::Relaying(passing) = &mut connection.state else { return };
        if !passing.watched {
            passing.watched = true;
            self.watch(socket, Owner::Connection(client), Interest::Hangup);
        }
    }

    /// Bytes that were stuck have moved: a slow peer is not a silent one.
    pub(super) fn relay_moved(&mut self, client: Handle, now: Moment) {
        if let Some(passing) = self.passing(client) {
            passing.relay.moved(now);
        }
    }

    /// When the exchange has to be looked at.
    pub(super) fn set_relay_deadline(&mut self, client: Handle) {
        let Some(passing) = self.passing(client) else { return };
        let due =
            [passing.relay.deadline(), passing.connect_by, passing.stuck_until, passing.drain_at];
        let due = due.into_iter().flatten().min();
        self.set_deadline(client, due.unwrap_or(Moment::from_nanos(u64::MAX)));
    }

    /// The client has not taken bytes, and must take some in time.
    pub(super) fn set_stuck(&mut self, client: Handle, now: Moment) {
        let until = now.after(self.site.config().limits.write_timeout);
        if let Some(passing) = self.passing(client) {
            passing.stuck_until = Some(until);
            self.set_relay_deadline(client);
        }
    }

    /// The client has taken everything: its backend is read again.
    pub(super) fn unstuck(&mut self, client: Handle, now: Moment) {
        let Some(passing) = self.passing(client) else { return };
        passing.stuck_until = None;
        passing.relay.moved(now);
        let outbound = passing.outbound;
        if let Some(outbound) = outbound {
            self.enqueue_outbound(outbound);
        }
        self.set_relay_deadline(client);
        self.await_relay_client(client);
    }

    /// The process drains: responses from now on close their connections, event streams end at
    /// some time of the period, each between two events.
    pub(super) fn drain_relays(&mut self, now: Moment) {
        let clients: Vec<Handle> = self.connections.iter().map(|(handle, _)| handle).collect();
        for client in clients {
            let drain_at = self.drain_moment(now);
            if let Some(passing) = self.passing(client) {
                passing.relay.closing();
                passing.drain_at = drain_at;
                self.set_relay_deadline(client);
            }
        }
    }

    /// The period is over: exchanges end in the middle.
    pub(super) fn cancel_relays(&mut self, now: Moment) -> io::Result<()> {
        let clients: Vec<Handle> = self.connections.iter().map(|(handle, _)| handle).collect();
        for client in clients {
            self.call(client, now, |passing, _, _| passing.relay.cancel())?;
        }
        Ok(())
    }

    /// Something of the exchange may be due.
    pub(super) fn expire_relay(&mut self, client: Handle, now: Moment) -> io::Result<()> {
        let Some(passing) = self.passing(client) else { return Ok(()) };
        if passing.stuck_until.is_some_and(|by| by <= now) {
            self.client_gone(client, CloseReason::WriteTimeout, now);
            return Ok(());
        }
        if passing.drain_at.is_some_and(|at| at <= now) {
            match passing.relay.is_between_events() {
                Some(true) => {
                    return self.call(client, now, |passing, _, _| passing.relay.cancel());
                }
                Some(false) => passing.drain_at = Some(now.after(super::TICK)),
                // Any other response has until the period is over.
                None => passing.drain_at = None,
            }
        }
        if passing.connect_by.is_some_and(|by| by <= now) {
            passing.connect_by = None;
            let endpoint = passing.in_flight.as_ref().map(|flight| Arc::clone(flight.endpoint()));
            self.leave_backend(client, true);
            return match endpoint {
                Some(endpoint) => self.no_connection(client, &endpoint, Cause::Timeout, now),
                None => self.call(client, now, |passing, at, out| {
                    passing.relay.attempt_failed(Cause::Timeout, at, out)
                }),
            };
        }
        self.call(client, now, |passing, at, out| passing.relay.expire(at, out))
    }
}
