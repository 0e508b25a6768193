//! What is known of all backends at one moment, for the admin page and for gauges.
//!
//! Invariants: one line for each name and each endpoint, `key=value`, in the configuration's order;
//! values with anything but plain characters are quoted as in logs.

use super::Backends;
use super::Health;
use super::backends::Fleet;
use super::roster::Place;
use super::roster::Seat;
use super::roster::UNIT;
use crate::base::time::Moment;
use crate::metrics::log::append;
use std::fmt::Write as _;
use std::time::Duration;

/// A backend at one moment.
#[derive(Clone, Debug)]
pub struct BackendState {
    /// Its name.
    pub name: String,
    /// Its names in DNS.
    pub names: Vec<NameState>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointState>,
}

/// A name that is looked up.
#[derive(Clone, Debug)]
pub struct NameState {
    /// The name, with its port.
    pub name: String,
    /// The addresses in use.
    pub addresses: usize,
    /// What the last lookup found; `None`: there was none yet.
    pub lookup: Option<Result<(), String>>,
}

/// An endpoint at one moment.
#[derive(Clone, Debug)]
pub struct EndpointState {
    /// Its address.
    pub address: String,
    /// Its share, in hundredths of a configured weight of 1.
    pub weight_hundredths: u64,
    /// What probes found.
    pub health: Health,
    /// How much longer it is left alone; zero: it is not.
    pub ejected_for: Duration,
    /// Requests under way.
    pub in_flight: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Why a request or a probe failed last; empty: none did.
    pub last_error: String,
}

impl EndpointState {
    /// In a word, whether it gets requests.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.weight_hundredths, self.health) {
            (0, _) => "weightless",
            (_, Health::Unhealthy) => "unhealthy",
            _ if !self.ejected_for.is_zero() => "ejected",
            _ => "serving",
        }
    }

    /// Whether it gets no requests though it has a weight.
    #[must_use]
    pub fn is_out(&self) -> bool {
        matches!(self.state(), "unhealthy" | "ejected")
    }
}

impl Backends {
    /// All backends as they are now.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Vec<BackendState> {
        self.fleets.iter().map(|fleet| backend(fleet, now)).collect()
    }

    /// All backends as they are now, as text.
    #[must_use]
    pub fn report(&self, now: Moment) -> String {
        let mut text = String::new();
        for backend in self.snapshot(now) {
            for name in &backend.names {
                head(&mut text, &backend, "name", &name.name);
                // Writing to a string does not fail.
                let _ = write!(text, " addresses={} lookup=", name.addresses);
                match &name.lookup {
                    None => text.push_str("pending"),
                    Some(Ok(())) => text.push_str("done"),
                    Some(Err(cause)) => {
                        text.push_str("failed cause=");
                        append(&mut text, cause);
                    }
                }
                text.push('\n');
            }
            for endpoint in &backend.endpoints {
                head(&mut text, &backend, "endpoint", &endpoint.address);
                line(&mut text, endpoint);
            }
        }
        if text.is_empty() {
            text.push_str("There are no backends.\n");
        }
        text
    }
}

fn backend(fleet: &Fleet, now: Moment) -> BackendState {
    let book = fleet.book();
    let endpoint = |seat: &Seat| EndpointState {
        address: seat.endpoint.address().to_string(),
        // What has a weight shows one.
        weight_hundredths: (seat.weight.saturating_mul(100) / UNIT).max(seat.weight.min(1)),
        health: seat.endpoint.health(),
        ejected_for: seat.endpoint.ejected_for(now),
        in_flight: seat.endpoint.in_flight(),
        failures: seat.endpoint.failures(),
        last_error: seat.endpoint.last_error(),
    };
    let name = |place: &Place| {
        let (host, port) = place.name.as_ref()?;
        let lookup = place
            .lookup
            .as_ref()
            .map(|l| l.as_ref().map_or_else(|cause| Err(cause.to_string()), |()| Ok(())));
        let addresses = place.addresses.len();
        Some(NameState { name: format!("{host}:{port}"), addresses, lookup })
    };
    BackendState {
        name: fleet.name.to_string(),
        names: book.places.iter().filter_map(name).collect(),
        endpoints: book.roster.seats.iter().map(endpoint).collect(),
    }
}

fn head(text: &mut String, backend: &BackendState, key: &str, value: &str) {
    text.push_str("backend=");
    append(text, &backend.name);
    let _ = write!(text, " {key}=");
    append(text, value);
}

fn line(text: &mut String, endpoint: &EndpointState) {
    let EndpointState { weight_hundredths: weight, health, in_flight, failures, .. } = endpoint;
    let _ = write!(
        text,
        " state={} health={} weight={}.{:02} in_flight={in_flight} failures={failures} \
         ejected_for={}ms",
        endpoint.state(),
        health.name(),
        weight / 100,
        weight % 100,
        endpoint.ejected_for.as_millis(),
    );
    if !endpoint.last_error.is_empty() {
        text.push_str(" last_error=");
        append(text, &endpoint.last_error);
    }
    text.push('\n');
}
