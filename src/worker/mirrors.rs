//! Copies of requests for other backends: their responses are read and thrown away.
//!
//! Invariants: a copy never delays, changes or fails its original, and is never tried twice. It
//! ends with its response, or at the latest after [`LIFE`]. There are at most [`MIRRORS_MAX`] at a
//! time on a worker; those above are left out and counted as unavailable.

use super::outbound::User;
use super::{Timer, Worker};
use crate::backend::InFlight;
use crate::base::slots::Handle;
use crate::base::time::{Clock, Moment};
use crate::http::h1::Decoder;
use crate::io::Driver;
use crate::metrics::{Counter, RelayEnd};
use crate::relay::{At, Out, Plan, Relay, Step};
use std::io;
use std::time::Duration;

/// Copies of one worker at a time.
const MIRRORS_MAX: usize = 1024;
/// How long a copy may take.
const LIFE: Duration = Duration::from_secs(30);

/// A copy under way.
#[derive(Debug)]
pub(super) struct Mirror {
    relay: Relay,
    outbound: Option<Handle>,
    in_flight: Option<InFlight>,
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Sends a copy, if there is room and an endpoint.
    pub(super) fn begin_mirror(
        &mut self,
        backend: usize,
        plan: Plan,
        now: Moment,
    ) -> io::Result<()> {
        let picked = self.view.pick(backend, now, &mut self.chance, None, &[]);
        let (Ok(pick), true) = (picked, self.mirrors.len() < MIRRORS_MAX) else {
            self.recorder.add(Counter::RelayEnds(RelayEnd::Unavailable), 1);
            return Ok(());
        };
        let relay = Relay::new(plan, Decoder::new(), now);
        let in_flight = Some(pick.in_flight);
        let handle = self.mirrors.insert(Mirror { relay, outbound: None, in_flight });
        self.wheel.set(now.after(LIFE), Timer::Mirror(handle));
        let user = User::Mirror(handle);
        if let Some(outbound) = self.reuse(&pick.endpoint, user) {
            return self.mirror_connected(handle, outbound, now);
        }
        let name = pick.server_name.as_deref();
        match self.open_outbound(backend, &pick.endpoint, name, user) {
            Ok(outbound) => {
                if let Some(mirror) = self.mirrors.find_mut(handle) {
                    mirror.outbound = Some(outbound);
                }
            }
            Err(_) => self.end_mirror(handle),
        }
        Ok(())
    }

    /// Its connection is there.
    pub(super) fn mirror_connected(
        &mut self,
        handle: Handle,
        outbound: Handle,
        now: Moment,
    ) -> io::Result<()> {
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let limits = *self.site.limits();
        let at = At { now, unix_millis: self.clock.unix_millis(), limits: &limits };
        let Some(mirror) = self.mirrors.find_mut(handle) else { return Ok(()) };
        mirror.outbound = Some(outbound);
        let mut out = Out { client: &mut to_client, backend: &mut to_backend };
        let step = mirror.relay.connected(false, &at, &mut out);
        self.send_outbound(outbound, &to_backend)?;
        self.follow_mirror(handle, step, now);
        Ok(())
    }

    /// Bytes of its response.
    pub(super) fn mirror_input(
        &mut self,
        handle: Handle,
        outbound: Handle,
        bytes: &[u8],
        more: bool,
        now: Moment,
    ) -> io::Result<()> {
        let (mut to_client, mut to_backend) = (Vec::new(), Vec::new());
        let limits = *self.site.limits();
        let at = At { now, unix_millis: self.clock.unix_millis(), limits: &limits };
        let Some(mirror) = self.mirrors.find_mut(handle) else { return Ok(()) };
        let mut out = Out { client: &mut to_client, backend: &mut to_backend };
        let step = mirror.relay.backend_input(bytes, &at, &mut out);
        if step == Step::On {
            if more { self.enqueue_outbound(outbound) } else { self.await_outbound(outbound) }
        }
        self.follow_mirror(handle, step, now);
        Ok(())
    }

    fn follow_mirror(&mut self, handle: Handle, step: Step, now: Moment) {
        match step {
            Step::On => {}
            Step::Over(_) => {
                let Some(mirror) = self.mirrors.find_mut(handle) else { return };
                if mirror.relay.backend_reusable()
                    && let Some(outbound) = mirror.outbound.take()
                {
                    self.retire(outbound, now);
                }
                self.end_mirror(handle);
            }
            Step::Retry => self.end_mirror(handle),
        }
    }

    /// The copy is over, or given up.
    pub(super) fn end_mirror(&mut self, handle: Handle) {
        let Some(mirror) = self.mirrors.remove(handle) else { return };
        if let Some(outbound) = mirror.outbound {
            self.drop_outbound(outbound);
        }
        drop(mirror.in_flight);
    }
}
