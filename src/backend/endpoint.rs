//! One endpoint: its address, and what is known of it, in atomics that all workers share. Only why
//! it failed last is text, under a lock that nothing but failures and the admin page takes.
//!
//! Invariants: what one thread writes others see soon, not at once, and nothing depends on more:
//! a count that is off by one request misplaces one request. Passive ejection starts once for each
//! time that the failures in a row reach their limit, and lasts a fixed time. When it is over, the
//! failures still count: one more ejects again, one success clears all.

use super::Address;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicU8;
use crate::base::sync::atomic::AtomicU32;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::time::Moment;
use std::fmt::Display;
use std::sync::PoisonError;
use std::time::Duration;

/// What probes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet, or there are no probes: it may be used.
    Unknown,
    /// It answers as it should.
    Healthy,
    /// It does not.
    Unhealthy,
}

impl Health {
    const ALL: [Self; 3] = [Self::Unknown, Self::Healthy, Self::Unhealthy];

    /// Its name on the admin page and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// When requests' failures take an endpoint out of turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ejection {
    /// Failures in a row; 0: never.
    pub(super) failures: u32,
    /// For how long.
    pub(super) time: Duration,
}

/// A server at one address.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    token: u64,
    ejection: Ejection,
    in_flight: AtomicU32,
    failures: AtomicU32,
    /// In milliseconds of the monotonic clock; in the past: not ejected.
    ejected_until: AtomicU64,
    health: AtomicU8,
    last_error: AppendLock<String>,
}

impl Endpoint {
    pub(super) fn new(address: Address, ejection: Ejection) -> Self {
        Self {
            token: address.token(),
            address,
            ejection,
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            health: AtomicU8::new(Health::Unknown as u8),
            last_error: AppendLock::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn token(&self) -> u64 {
        self.token
    }

    /// Requests, streams and tunnels under way, of all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// A request was answered: failures are forgotten, and an ejection ends.
    pub fn succeeded(&self) {
        // The usual case writes nothing, so that workers do not fight for the cache line.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.ejected_until.store(0, Relaxed);
        }
    }

    /// A request could not be answered: the endpoint was not to be reached, or broke off, or gave
    /// an answer that nobody can use. Says whether this ejected it.
    pub fn failed(&self, now: Moment) -> bool {
        let before = self.failures.fetch_add(1, Relaxed);
        let limit = self.ejection.failures;
        if limit == 0 || before.saturating_add(1) < limit {
            return false;
        }
        let until = self.ejected_until.load(Relaxed);
        let later = now.after(self.ejection.time).millis();
        // Failures that were under way when the ejection began do not make it longer.
        until <= now.millis()
            && self.ejected_until.compare_exchange(until, later, Relaxed, Relaxed).is_ok()
    }

    /// Takes why a request or a probe failed, for the operator. It stays until the next.
    pub fn note(&self, error: &dyn Display) {
        let text = error.to_string();
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = text;
    }

    /// Why a request or a probe failed last; empty: none did.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much longer it is left alone; zero: it is not.
    #[must_use]
    pub fn ejected_for(&self, now: Moment) -> Duration {
        Duration::from_millis(self.ejected_until.load(Relaxed).saturating_sub(now.millis()))
    }

    /// What probes found.
    #[must_use]
    pub fn health(&self) -> Health {
        let at = usize::from(self.health.load(Relaxed));
        Health::ALL.get(at).copied().unwrap_or(Health::Unknown)
    }

    /// Takes what probes found, and says whether that is new. An endpoint that becomes healthy
    /// starts without failures.
    pub fn set_health(&self, health: Health) -> bool {
        let new = self.health.swap(health as u8, Relaxed) != health as u8;
        if new && health == Health::Healthy {
            self.succeeded();
        }
        new
    }
}

/// One request under way to an endpoint; dropping it says that the request is over.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(super) fn begin(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(endpoint))
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn endpoint(failures: u32) -> Endpoint {
        let address = Address::Tcp("127.0.0.1:1".parse().unwrap());
        Endpoint::new(address, Ejection { failures, time: TIME })
    }

    #[test]
    fn failures_in_a_row_eject_for_a_time_and_one_more_ejects_again() {
        let (endpoint, now) = (endpoint(3), Moment::from_millis(5));
        assert!(!endpoint.failed(now) && !endpoint.failed(now));
        endpoint.succeeded();
        assert!(!endpoint.failed(now) && !endpoint.failed(now), "not in a row");
        assert!(endpoint.failed(now));
        assert_eq!(endpoint.ejected_for(now), TIME);
        assert!(!endpoint.failed(now.after(TIME / 2)), "an ejection is not made longer");
        assert_eq!(endpoint.ejected_for(now.after(TIME / 2)), TIME / 2);
        let back = now.after(TIME);
        assert_eq!(endpoint.ejected_for(back), Duration::ZERO);
        assert!(endpoint.failed(back), "it had its chance");
        endpoint.succeeded();
        assert_eq!((endpoint.ejected_for(back), endpoint.failures()), (Duration::ZERO, 0));
    }

    #[test]
    fn without_a_limit_nothing_is_ejected() {
        let endpoint = endpoint(0);
        assert!((0..100).all(|_| !endpoint.failed(Moment::START)));
        assert_eq!(endpoint.ejected_for(Moment::START), Duration::ZERO);
    }

    #[test]
    fn health_that_returns_forgets_failures() {
        let (endpoint, now) = (endpoint(1), Moment::START);
        assert!(endpoint.set_health(Health::Unhealthy) && !endpoint.set_health(Health::Unhealthy));
        assert!(endpoint.failed(now));
        assert!(endpoint.set_health(Health::Healthy));
        assert_eq!((endpoint.health(), endpoint.failures()), (Health::Healthy, 0));
        assert_eq!(endpoint.ejected_for(now), Duration::ZERO);
    }
}
