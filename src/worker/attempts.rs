//! Attempts of an exchange: an endpoint, a connection to it, and what follows when there is none.
//!
//! Invariants: an endpoint that failed is told so, once for each failure, and is tried again for
//! the same request only if no other is left. Who waits for names is asked again after each wake.

use super::Worker;
use super::outbound::{Ended, User};
use crate::backend::{Endpoint, PickError};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::io::Driver;
use crate::relay::{Cause, End, Lost, Timer};
use std::io;
use std::time::Duration;

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Chooses an endpoint and gets a connection to it.
    pub(super) fn attempt(&mut self, client: Handle, now: Moment) -> io::Result<()> {
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
        let was_tried = !tried.is_empty();
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
        if !was_tried && let Some(outbound) = self.reuse(&pick.endpoint, user) {
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
            // A limit of ours is no fault of the endpoint.
            Err(Ended::Full) => self.call(client, now, |passing, at, out| {
                passing.relay.attempt_failed(Cause::NoEndpoint, at, out)
            }),
            Err(_) => self.no_connection(client, &pick.endpoint, Cause::Failed, now),
        }
    }

    fn connect_timeout(&self, backend: usize) -> Duration {
        let backend = self.site.config().gateway.backends.get(backend);
        backend.map_or(Duration::ZERO, |backend| backend.connect_timeout)
    }

    /// No connection to the endpoint came about.
    pub(super) fn no_connection(
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
            let backend = passing.backend;
            if cause == Cause::Timeout {
                let cause = "no connection within connect_timeout";
                self.tell_trouble("backend_unreachable", backend, endpoint, &cause);
            }
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
        (passing.pooled, passing.connect_by) = (pooled, None);
        self.call(client, now, |passing, at, out| passing.relay.connected(pooled, at, out))?;
        self.feed_later(client, now)
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
            (Ended::Connect(_) | Ended::Tls, Some(endpoint)) => {
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

    /// The attempt came to nothing, and another one follows: its endpoint is tried again only if no
    /// other is left. A connection of the pool may end as a request goes out: nobody's fault.
    pub(super) fn give_up_attempt(&mut self, client: Handle, now: Moment) {
        let Some(passing) = self.passing(client) else { return };
        // Without one, no connection came about: that was told.
        if let Some(flight) = &passing.in_flight {
            let endpoint = Arc::clone(flight.endpoint());
            let (backend, late) = (passing.backend, passing.outbound.is_some());
            let blamed = late || !passing.pooled;
            passing.tried.push(Arc::clone(&endpoint));
            if blamed {
                endpoint.failed(now);
                let end =
                    if late { End::TimedOut(Timer::BackendRequest) } else { End::BackendLost };
                self.tell_failure(backend, &endpoint, end, None);
            }
        }
        self.leave_backend(client);
    }

    /// Closes the relay's connection.
    pub(super) fn leave_backend(&mut self, client: Handle) {
        let Some(passing) = self.passing(client) else { return };
        passing.in_flight = None;
        if let Some(outbound) = passing.outbound.take() {
            self.drop_outbound(outbound);
        }
    }
}
