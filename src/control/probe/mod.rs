//! Health probes: whether the endpoints of a backend answer as they should, asked in intervals.
//!
//! One task for each backend with probes follows its endpoints, and one for each endpoint asks.
//!
//! Invariants:
//! 1. Never two probes of one endpoint at once: its task asks, waits, and asks again.
//! 2. At most [`PROBES_MAX`] probes at once; waiting for a place counts for no timeout.
//! 3. Health changes after as many equal results in a row as the configuration says.

mod exchange;
#[cfg(test)]
mod tests;
mod wire;

use super::desk::Desk;
use crate::backend::Endpoint;
use crate::backend::Health;
use crate::backend::Seat;
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::config::gateway;
use crate::metrics::Counter;
use crate::metrics::Outcome;
use exchange::Failure;
use exchange::Probe;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use wire::Tls;

/// Probes under way at a time.
const PROBES_MAX: usize = 64;
/// The first probe of an endpoint comes within this time, so that its health is soon known.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// Starts the probes of all backends that have some.
pub(super) fn start(desk: &Rc<Desk>, chance: &mut Chance) {
    let places = Rc::new(Semaphore::new(PROBES_MAX));
    for probed in desk.backends.probed() {
        let settings = desk.tls.get(probed.index).and_then(Option::as_ref);
        let tls = probed
            .server_name
            .map(|name| Tls { server_name: name.to_owned(), settings: settings.cloned() });
        let watch = Watch {
            name: probed.name.to_owned(),
            index: probed.index,
            tls,
            health: Rc::new(probed.health.clone()),
            desk: Rc::clone(desk),
            places: Rc::clone(&places),
            chance: Chance::new(chance.next()),
        };
        tokio::task::spawn_local(watch.follow());
    }
}

/// The probes of one backend.
struct Watch {
    name: String,
    index: usize,
    tls: Option<Tls>,
    health: Rc<gateway::Health>,
    desk: Rc<Desk>,
    places: Rc<Semaphore>,
    chance: Chance,
}

impl Watch {
    /// Keeps one task for each endpoint that there is.
    async fn follow(mut self) {
        let mut changes = self.desk.changes.subscribe();
        let mut tasks: Vec<(Arc<Endpoint>, JoinHandle<()>)> = Vec::new();
        loop {
            changes.mark_unchanged();
            let seats = self.desk.backends.seats(self.index);
            let is = |e: &Arc<Endpoint>, seat: &Seat| Arc::ptr_eq(e, &seat.endpoint);
            tasks.retain(|(endpoint, task)| {
                let stays = seats.iter().any(|seat| is(endpoint, seat));
                if !stays {
                    task.abort();
                }
                stays
            });
            for seat in seats {
                if !tasks.iter().any(|(endpoint, _)| is(endpoint, &seat)) {
                    let endpoint = Arc::clone(&seat.endpoint);
                    tasks.push((endpoint, tokio::task::spawn_local(self.patient(seat).ask())));
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn patient(&mut self, seat: Seat) -> Patient {
        Patient {
            backend: self.name.clone(),
            probe: Probe::new(&self.health, &seat.host, self.tls.clone()),
            endpoint: seat.endpoint,
            health: Rc::clone(&self.health),
            desk: Rc::clone(&self.desk),
            places: Rc::clone(&self.places),
            chance: Chance::new(self.chance.next()),
        }
    }
}

/// An endpoint that is asked.
struct Patient {
    backend: String,
    probe: Probe,
    endpoint: Arc<Endpoint>,
    health: Rc<gateway::Health>,
    desk: Rc<Desk>,
    places: Rc<Semaphore>,
    chance: Chance,
}

impl Patient {
    async fn ask(mut self) {
        let mut streak = Streak::default();
        let first = u64::try_from(FIRST_WITHIN.min(self.health.interval).as_millis());
        let wait = Duration::from_millis(self.chance.below(first.unwrap_or(0)));
        tokio::time::sleep(wait).await;
        loop {
            // The places are never closed.
            let Ok(place) = self.places.acquire().await else { return };
            let result = self.probe.run(self.endpoint.address(), self.health.timeout).await;
            drop(place);
            self.take(&result, &mut streak);
            tokio::time::sleep(around(self.health.interval, &mut self.chance)).await;
        }
    }

    fn take(&self, result: &Result<(), Failure>, streak: &mut Streak) {
        if matches!(result, Err(Failure::Unasked(_))) {
            return;
        }
        if let Err(cause) = result {
            self.endpoint.note(cause);
        }
        let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure };
        self.desk.recorder.add(Counter::BackendProbes(outcome), 1);
        let Some(health) = streak.take(result.is_ok(), &self.health) else { return };
        if !self.endpoint.set_health(health) {
            return;
        }
        let address = self.endpoint.address();
        let mut fields: Vec<(&str, &dyn Display)> =
            vec![("backend", &self.backend), ("endpoint", address)];
        match result {
            Ok(()) => self.desk.log.info("endpoint_healthy", &fields),
            Err(cause) => {
                fields.push(("cause", cause));
                self.desk.log.warn("endpoint_unhealthy", &fields);
            }
        }
    }
}

/// Equal results in a row.
#[derive(Debug, Default)]
struct Streak {
    good: bool,
    length: u32,
}

impl Streak {
    /// Takes a result, and says what the row amounts to, once it is long enough.
    fn take(&mut self, good: bool, rules: &gateway::Health) -> Option<Health> {
        self.length = if good == self.good { self.length.saturating_add(1) } else { 1 };
        self.good = good;
        match good {
            true if self.length >= rules.healthy => Some(Health::Healthy),
            false if self.length >= rules.unhealthy => Some(Health::Unhealthy),
            _ => None,
        }
    }
}

/// An interval, up to a tenth shorter or longer, so that probes do not march in step.
fn around(interval: Duration, chance: &mut Chance) -> Duration {
    let tenth = u64::try_from((interval / 10).as_millis()).unwrap_or(u64::MAX / 4);
    let shift = Duration::from_millis(chance.below(tenth.saturating_mul(2).saturating_add(1)));
    (interval - interval / 10).saturating_add(shift)
}
