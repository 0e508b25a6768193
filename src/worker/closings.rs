//! Ends of exchanges: completed, cut, late, drained; and what becomes of the two connections.
//!
//! Invariants:
//! 1. Each exchange is counted once, with one reason.
//! 2. A client whose response was cut can tell: its connection is closed or reset, never kept (X3).
//! 3. A drain ends an event stream between two events, any other exchange when the period is over.

use super::Worker;
use super::connections::State;
use super::relays::Passing;
use crate::backend::Endpoint;
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::http::h1::Decoder;
use crate::io::Driver;
use crate::metrics::{CloseReason, Counter, Gauge, RelayEnd};
use crate::relay::{self, BadAnswer, Cause, ClientNext, End, Step};
use crate::session::Session;
use std::fmt::Display;
use std::io;

/// The reason in metrics.
fn label(end: End) -> RelayEnd {
    match end {
        End::Completed | End::Early => RelayEnd::Done,
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
    /// The exchange is over.
    pub(super) fn end_relay(&mut self, client: Handle, end: End, now: Moment) -> io::Result<()> {
        let Some(connection) = self.connections.find_mut(client) else { return Ok(()) };
        let state = std::mem::replace(&mut connection.state, State::Closing);
        let State::Relaying(passing) = state else {
            connection.state = state;
            return Ok(());
        };
        let Passing { relay, backend, outbound, in_flight, later, .. } = *passing;
        self.count_end(end);
        if let Some(flight) = in_flight {
            let endpoint = flight.endpoint();
            if end.blames_backend() {
                endpoint.failed(now);
                self.tell_failure(backend, endpoint, end, relay.fault().as_ref());
            } else if end.credits_backend() {
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

    /// Tells an operator of an exchange that its endpoint failed, and how. Failed connects are told
    /// of where they fail.
    pub(super) fn tell_failure(
        &mut self,
        backend: usize,
        endpoint: &Endpoint,
        end: End,
        fault: Option<&BadAnswer>,
    ) {
        let (event, cause): (_, &dyn Display) = match (end, &fault) {
            (End::BackendFault, Some(fault)) => ("backend_malformed", fault),
            (End::BackendLost, _) => {
                ("backend_lost", &"it closed the connection without an answer")
            }
            (End::BackendTruncated, _) => ("backend_lost", &"its answer ended in the middle"),
            (End::TimedOut(relay::Timer::BackendRequest | relay::Timer::ResponseHead), _) => {
                ("backend_late", &"it did not begin to answer in time")
            }
            _ => return,
        };
        self.tell_trouble(event, backend, endpoint, cause);
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

    /// The client has shut its side, or all of the connection, while it is not read.
    pub(super) fn hung_up(&mut self, client: Handle, now: Moment) {
        let Some(passing) = self.passing(client) else { return };
        if !passing.relay.is_tunnel() {
            // Who asked has gone, whatever is on its way to it.
            return self.client_gone(client, CloseReason::PeerGone);
        }
        // What it said before is the backend's. It has its time, as for a client that is stuck.
        if !std::mem::replace(&mut passing.parting, true) {
            self.set_stuck(client, now);
        }
    }

    /// The client has gone: so does its request (X4).
    pub(super) fn client_gone(&mut self, client: Handle, reason: CloseReason) {
        if let Some(passing) = self.passing(client) {
            // Who leaves a stream has been answered: streams hardly end in another way.
            if let Some(flight) = passing.in_flight.as_ref().filter(|_| passing.relay.has_begun()) {
                flight.endpoint().succeeded();
            }
            // A backend that did not get all that was sent through a tunnel must not think so.
            let (outbound, tunnel) = (passing.outbound, passing.relay.is_tunnel());
            if let Step::Over(end) = passing.relay.client_gone() {
                self.count_end(end);
            }
            match outbound {
                Some(outbound) if tunnel && reason != CloseReason::PeerGone => {
                    self.reset_outbound(outbound);
                }
                _ => self.leave_backend(client),
            }
        }
        self.release(client, reason);
    }

    /// When the exchange has to be looked at.
    pub(super) fn set_relay_deadline(&mut self, client: Handle) {
        let Some(passing) = self.passing(client) else { return };
        let due =
            [passing.relay.deadline(), passing.connect_by, passing.stuck_until, passing.drain_at];
        let never = Moment::from_nanos(u64::MAX);
        let due = due.into_iter().fold(never, |first, due| first.min(due.unwrap_or(never)));
        self.set_deadline(client, due);
    }

    /// The client has not taken bytes, and must take some in time.
    pub(super) fn set_stuck(&mut self, client: Handle, now: Moment) {
        let until = now.after(self.site.config().limits.write_timeout);
        if let Some(passing) = self.passing(client) {
            passing.stuck_until = Some(until);
            self.set_relay_deadline(client);
        }
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
            self.client_gone(client, CloseReason::WriteTimeout);
            return Ok(());
        }
        if passing.drain_at.is_some_and(|at| at <= now) {
            match passing.relay.is_between_events() {
                Some(true) => {
                    return self.call(client, now, |passing, _, _| passing.relay.cancel());
                }
                Some(false) => passing.drain_at = Some(now.after(super::TICK)),
                // It may still become an event stream.
                None if !passing.relay.has_begun() => {
                    passing.drain_at = Some(now.after(super::TICK));
                }
                // Any other response has until the period is over.
                None => passing.drain_at = None,
            }
        }
        if passing.connect_by.is_some_and(|by| by <= now) {
            passing.connect_by = None;
            let endpoint = passing.in_flight.as_ref().map(|flight| Arc::clone(flight.endpoint()));
            self.leave_backend(client);
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
