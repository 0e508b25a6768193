//! All backends of the process: what control tells, and what workers see of it.
//!
//! Invariants: a version grows with each change of its roster and is written after it, under the
//! lock; who has seen the version and takes the lock finds that roster or a newer one. The lock is
//! held for the exchange of a reference, or by control for one rebuild.

use super::endpoint::Ejection;
use super::roster::Place;
use super::roster::Roster;
use super::roster::Seat;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Acquire;
use crate::base::sync::atomic::Ordering::Release;
use crate::config::gateway;
use crate::config::gateway::Affinity;
use crate::config::gateway::Balance;
use crate::config::gateway::Gateway;
use crate::config::gateway::Health;
use std::net::IpAddr;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// The backends of the configuration, by their index in it.
#[derive(Debug)]
pub struct Backends {
    pub(super) fleets: Vec<Fleet>,
}

/// A name that somebody has to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub host: String,
    /// How often at the least.
    pub interval: Duration,
}

/// A backend whose endpoints somebody has to probe.
#[derive(Clone, Copy, Debug)]
pub struct Probed<'a> {
    /// Its index.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
    /// The name for TLS; `None`: no TLS.
    pub server_name: Option<&'a str>,
    /// How they are asked.
    pub health: &'a Health,
}

/// One backend.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) name: Arc<str>,
    pub(super) balance: Balance,
    pub(super) affinity: Option<Affinity>,
    /// `None`: no TLS.
    pub(super) server_name: Option<Arc<str>>,
    health: Option<Health>,
    resolve_interval: Duration,
    ejection: Ejection,
    version: AtomicU64,
    /// Two sides of one truth with several readers: control changes the places, workers fetch
    /// the roster that follows from them, and neither waits for more than the other's copy.
    book: AppendLock<Book>,
}

#[derive(Debug)]
pub(super) struct Book {
    pub(super) places: Vec<Place>,
    pub(super) roster: Arc<Roster>,
}

impl Backends {
    /// The backends of a configuration. Addresses are there at once; names are pending.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        Self { fleets: gateway.backends.iter().map(Fleet::new).collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fleets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fleets.is_empty()
    }

    /// The names that have to be looked up, each once, with the shortest interval that is asked.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for fleet in &self.fleets {
            let interval = fleet.resolve_interval;
            for host in fleet.book().places.iter().filter_map(|p| Some(&p.name.as_ref()?.0)) {
                match wanted.iter_mut().find(|w| w.host == *host) {
                    Some(known) => known.interval = known.interval.min(interval),
                    None => wanted.push(Wanted { host: host.clone(), interval }),
                }
            }
        }
        wanted
    }

    /// Takes what a lookup of `host` found, or why it failed, and says whether that is new: then
    /// requests that wait for it can go on, and workers should be woken.
    pub fn looked_up(&self, host: &str, found: Result<&[IpAddr], &str>) -> bool {
        let mut new = false;
        for fleet in &self.fleets {
            new |= fleet.looked_up(host, found);
        }
        new
    }

    /// The backends with probes.
    pub fn probed(&self) -> impl Iterator<Item = Probed<'_>> {
        self.fleets.iter().enumerate().filter_map(|(index, fleet)| {
            let server_name = fleet.server_name.as_deref();
            Some(Probed { index, name: &fleet.name, server_name, health: fleet.health.as_ref()? })
        })
    }

    /// The endpoints of a backend as they are now, those of weight 0 included.
    #[must_use]
    pub fn seats(&self, backend: usize) -> Vec<Seat> {
        self.fleets.get(backend).map_or_else(Vec::new, |fleet| fleet.roster().1.seats.clone())
    }

    /// Grows whenever the endpoints of a backend change, or why it has none.
    #[must_use]
    pub fn version(&self, backend: usize) -> u64 {
        self.fleets.get(backend).map_or(0, Fleet::version)
    }
}

impl Fleet {
    fn new(backend: &gateway::Backend) -> Self {
        let ejection = Ejection { failures: backend.eject_failures, time: backend.eject_time };
        let port_usual = if backend.tls.is_some() { 443 } else { 80 };
        let places: Vec<_> = backend.endpoints.iter().map(|e| Place::new(e, port_usual)).collect();
        let roster = Arc::new(Roster::of(&places, &Roster::default(), ejection));
        Self {
            name: Arc::from(backend.name.as_str()),
            balance: backend.balance,
            affinity: backend.affinity.clone(),
            server_name: backend.tls.as_ref().map(|tls| Arc::from(tls.server_name.as_str())),
            health: backend.health.clone(),
            resolve_interval: backend.resolve_interval,
            ejection,
            version: AtomicU64::new(1),
            book: AppendLock::new(Book { places, roster }),
        }
    }

    fn looked_up(&self, host: &str, found: Result<&[IpAddr], &str>) -> bool {
        let mut book = self.book();
        let mut new = false;
        for place in book.places.iter_mut().filter(|p| p.is(host)) {
            new |= place.update(found);
        }
        if new {
            book.roster = Arc::new(Roster::of(&book.places, &book.roster, self.ejection));
            self.version.fetch_add(1, Release);
        }
        new
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// The roster, with its version.
    pub(super) fn roster(&self) -> (u64, Arc<Roster>) {
        let book = self.book();
        (self.version(), Arc::clone(&book.roster))
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing under this lock can panic half-way through a change that others could see.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
