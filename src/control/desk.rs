//! What the tasks of the control thread share: the backends, and the ways to tell what they found.
//!
//! Invariants: workers are woken after what they are to see was published. The recorder has one
//! writer, this thread.

use crate::backend::Backends;
use crate::base::sync::Arc;
use crate::base::time::Clock;
#[cfg(test)]
use crate::config::gateway;
use crate::metrics::Recorder;
use crate::metrics::log::Log;
use crate::tls::ClientSettings;
use std::net::IpAddr;
use tokio::sync::watch;

/// Shared by reference count within the thread.
pub(super) struct Desk {
    pub(super) backends: Arc<Backends>,
    /// Settings of those that speak TLS, by backend.
    pub(super) tls: Vec<Option<ClientSettings>>,
    pub(super) recorder: Recorder,
    pub(super) log: Log,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) wake: Box<dyn Fn() + Send>,
    /// Changes whenever some backend's endpoints may have.
    pub(super) changes: watch::Sender<()>,
}

impl Desk {
    /// Publishes what a lookup found. Requests that wait for it go on at once.
    pub(super) fn looked_up(&self, host: &str, found: Result<&[IpAddr], &str>) {
        if self.backends.looked_up(host, found) {
            (self.wake)();
            self.changes.send_replace(());
        }
    }
}

#[cfg(test)]
impl Desk {
    /// A desk with the backend `api` at these hosts, port 80.
    pub(super) fn sample(hosts: &[&str]) -> Self {
        let places = hosts.iter().map(|h| gateway::Place::Tcp((*h).to_owned(), 80)).collect();
        Self::with(sample_backend(places))
    }

    /// A desk with one backend, and a log that nobody reads.
    pub(super) fn with(backend: gateway::Backend) -> Self {
        let gateway = gateway::Gateway { backends: vec![backend], ..Default::default() };
        let clock = Arc::new(crate::base::time::SystemClock::start());
        let (changes, _) = watch::channel(());
        Self {
            backends: Arc::new(Backends::new(&gateway)),
            tls: Vec::new(),
            recorder: Recorder::new(),
            log: Log::nowhere(clock.clone()),
            clock,
            wake: Box::new(|| ()),
            changes,
        }
    }
}

/// The backend `api` at these places.
#[cfg(test)]
pub(super) fn sample_backend(places: Vec<gateway::Place>) -> gateway::Backend {
    use std::time::Duration;
    let endpoint = |place| gateway::Endpoint { place, weight: 1 };
    gateway::Backend {
        name: "api".into(),
        endpoints: places.into_iter().map(endpoint).collect(),
        tls: None,
        balance: gateway::Balance::RoundRobin,
        affinity: None,
        eject_failures: 3,
        eject_time: Duration::from_secs(10),
        health: None,
        connect_timeout: Duration::from_secs(5),
        idle_connections_max: 8,
        idle_timeout: Duration::from_secs(60),
        resolve_interval: Duration::from_secs(30),
        delayed_acks: false,
    }
}
