//! Exchanges passed on to backends: from a session to the relay, its connection, and its end.
//!
//! ```text
//!   session ─Passage─▶ relay ─▶ pick an endpoint ─▶ pool or connect ─▶ bytes both ways ─▶ end
//! ```
//!
//! Invariants:
//! 1. A relay has at most one connection to a backend, and the connection knows it.
//! 2. Backpressure: a backend is not read while bytes for its client are stuck, and a client is not
//!    read while bytes for its backend are; so each side holds one receive at most, besides what
//!    its driver has received ahead (up to about 100 KiB of a rush).
//! 3. What a turn passes to clients goes out in one flush, that of the turn or of the next sleep.
//! 4. When the client has gone, its backend's connection is closed in the same turn (X4).

use super::connections::State;
use super::outbound::Ended;
use super::{Owner, Worker};
use crate::backend::{Endpoint, InFlight};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::io::{Driver, Interest};
use crate::metrics::{Counter, Direction, Gauge, RequestKind, StatusClass};
use crate::relay::{At, Out, Relay, Step};
use crate::session::Passage;
use std::fmt;
use std::io;

/// An exchange under way.
pub(super) struct Passing {
    pub(super) relay: Relay,
    pub(super) backend: usize,
    pub(super) outbound: Option<Handle>,
    pub(super) in_flight: Option<InFlight>,
    /// The connection has carried an exchange before.
    pub(super) pooled: bool,
    /// Endpoints that were tried before.
    pub(super) tried: Vec<Arc<Endpoint>>,
    /// The request's cookies, for affinity.
    pub(super) cookies: Option<Box<[u8]>>,
    /// When the connection must be made.
    pub(super) connect_by: Option<Moment>,
    /// Input that came with what was of use: the next request's, or more than may be held now.
    pub(super) later: Vec<u8>,
    /// The client's end is watched for, because nothing is read.
    pub(super) watched: bool,
    /// The client of a tunnel has gone, while the backend was too slow to take what it had sent:
    /// that is read and sent first.
    pub(super) parting: bool,
    /// Bytes for the client are stuck, and it must take some by then.
    pub(super) stuck_until: Option<Moment>,
    /// The process drains: when the exchange is to end if it is an event stream.
    pub(super) drain_at: Option<Moment>,
}

/// Without cookies and input: credentials are among their bytes.
impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("relay", &self.relay)
            .field("backend", &self.backend)
            .field("outbound", &self.outbound)
            .finish_non_exhaustive()
    }
}

/// What a turn passes on to clients.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
    /// The time, by the calendar, of this turn's receives.
    pub(super) unix_millis: u64,
    /// What the relays have for their backends.
    backend: Vec<u8>,
    /// Connections that ended with what came: told of it once that is out.
    pub(super) ends: Vec<(Handle, Ended)>,
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
            pooled: false,
            tried: Vec::new(),
            cookies,
            connect_by: None,
            later: input,
            watched: false,
            parting: false,
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

    pub(super) fn passing(&mut self, client: Handle) -> Option<&mut Passing> {
        match &mut self.connections.find_mut(client)?.state {
            State::Relaying(passing) => Some(passing),
            _ => None,
        }
    }

    /// Calls the relay of a client and does what follows.
    pub(super) fn call(
        &mut self,
        client: Handle,
        now: Moment,
        call: impl FnOnce(&mut Passing, &At<'_>, &mut Out<'_>) -> Step,
    ) -> io::Result<()> {
        let limits = *self.site.limits();
        let at = At { now, unix_millis: self.clock.unix_millis(), limits: &limits };
        let Some(passing) = self.passing(client) else { return Ok(()) };
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let mut out = Out { client: &mut to_client, backend: &mut to_backend };
        let before = passing.relay.status();
        let step = call(passing, &at, &mut out);
        let (outbound, status) = (passing.outbound, passing.relay.status());
        if status != before {
            self.count_answer(status);
        }
        if let Some(outbound) = outbound
            && !to_backend.is_empty()
        {
            self.recorder.add(Counter::RelayBytes(Direction::Request), to_backend.len() as u64);
            self.send_outbound(outbound, &to_backend)?;
        }
        self.send_client(client, &to_client, now)?;
        self.follow(client, step, now)
    }

    /// A client gets this status, of its backend or of ours.
    fn count_answer(&self, status: u16) {
        let class = StatusClass::of(status);
        self.recorder.add(Counter::Requests(RequestKind::Proxy, class), 1);
    }

    /// Does what a relay asked for, once its bytes are on their way.
    fn follow(&mut self, client: Handle, step: Step, now: Moment) -> io::Result<()> {
        match step {
            Step::On => {
                self.set_relay_deadline(client);
                // A tunnel that has just opened takes what came behind the request.
                self.feed_later(client, now)?;
                self.await_relay_client(client);
                Ok(())
            }
            Step::Retry => {
                self.recorder.add(Counter::BackendRetries, 1);
                self.give_up_attempt(client, now);
                self.attempt(client, now)
            }
            Step::Over(end) => self.end_relay(client, end, now),
        }
    }

    /// Input that waited for the backend goes on.
    pub(super) fn feed_later(&mut self, client: Handle, now: Moment) -> io::Result<()> {
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
        let at = At { now, unix_millis: passed.unix_millis, limits: self.site.limits() };
        let connection = self.connections.find_mut(client);
        let Some(State::Relaying(passing)) = connection.map(|connection| &mut connection.state)
        else {
            return Ok(());
        };
        let from = passed.bytes.len();
        let mut out = Out { client: &mut passed.bytes, backend: &mut passed.backend };
        let before = passing.relay.status();
        let step = passing.relay.backend_input(bytes, &at, &mut out);
        let status = passing.relay.status();
        if status != before {
            self.count_answer(status);
        }
        passed.parts.push(Part { client, outbound, from, step, more });
        if !passed.backend.is_empty() {
            let bytes = std::mem::take(&mut passed.backend);
            self.send_outbound(outbound, &bytes)?;
        }
        Ok(())
    }

    /// Passes on what this turn's backends had for their clients: leaves it to be sent with the
    /// call that sleeps if nothing depends on its being sent, and sends it at once otherwise.
    pub(super) fn pass(&mut self, passed: &mut Passed, now: Moment) -> io::Result<()> {
        let Passed { bytes, parts, ends, .. } = passed;
        let mut quiet = ends.is_empty();
        let ends_at = parts.iter().skip(1).map(|part| part.from).chain([bytes.len()]);
        for (part, end) in parts.iter().zip(ends_at) {
            let Some(connection) = self.connections.find(part.client) else { continue };
            debug_assert!(!connection.is_stuck(), "a backend is not read meanwhile");
            let State::Relaying(passing) = &connection.state else { continue };
            quiet &= matches!(part.step, Step::On) && passing.later.is_empty();
            if end > part.from {
                self.left.relayed.push((part.client, connection.socket, part.from..end));
            }
        }
        std::mem::swap(bytes, &mut self.left.bytes);
        bytes.clear();
        // Routing and its sends may take a while.
        if !quiet || (self.groups.len() > 0 && self.groups.is_busy()) {
            self.send_left()?;
        }
        for part in parts.drain(..) {
            self.follow(part.client, part.step, now)?;
            if part.more {
                self.enqueue_outbound(part.outbound)
            } else {
                self.await_outbound(part.outbound)
            }
        }
        Ok(())
    }

    /// Whether the backend's bytes can go on to the client.
    pub(super) fn relay_takes_input(&self, client: Handle) -> bool {
        self.connections.find(client).is_some_and(|connection| !connection.is_stuck())
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
        if !passing.watched && !passing.parting {
            passing.watched = true;
            self.watch(socket, Owner::Connection(client), Interest::Hangup);
        }
    }

    /// Bytes that were stuck have moved: a slow peer is not a silent one.
    pub(super) fn relay_moved(&mut self, client: Handle, now: Moment) {
        let Some(passing) = self.passing(client) else { return };
        passing.relay.moved(now);
        if passing.parting {
            self.set_stuck(client, now);
        }
    }

    /// The client has taken everything: its backend is read again.
    pub(super) fn unstuck(&mut self, client: Handle, now: Moment) {
        let Some(passing) = self.passing(client) else { return };
        passing.stuck_until = None;
        let outbound = passing.outbound;
        if let Some(outbound) = outbound {
            self.enqueue_outbound(outbound);
        }
        self.relay_moved(client, now);
        self.set_relay_deadline(client);
        self.await_relay_client(client);
    }
}
