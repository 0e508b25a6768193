//! A backend's endpoints at one time, as workers read them, and the places that they come from.
//!
//! Invariants: a roster never changes; a new one takes its place. Each address stands in it once:
//! where several places lead to one address, their weights add up. A place's weight is shared
//! evenly by its addresses, so that a name with many does not outweigh one with few.

use super::Address;
use super::Endpoint;
use super::endpoint::Ejection;
use crate::base::sync::Arc;
use crate::config::gateway;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Addresses of one name that are used; in the order of addresses, so all workers agree.
pub(super) const ADDRESSES_MAX: usize = 64;

/// What one unit of a configured weight becomes: a multiple of 1 to 16, so that the shares of a
/// name's addresses are exact for so many.
pub(super) const UNIT: u64 = 720_720;

/// An endpoint in its roster.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The `Host` of its place: a name or address, with the port if it is not the scheme's own.
    pub host: Arc<str>,
    /// Its share, in parts of a configured weight of 1.
    pub(super) weight: u64,
}

/// The endpoints of a backend.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) seats: Vec<Seat>,
    pub(super) missing: Missing,
}

/// Whether a place with a weight has no address, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Missing {
    /// All have one.
    #[default]
    Nothing,
    /// A first lookup is under way.
    Pending,
    /// No lookup has succeeded.
    Failed(Arc<str>),
}

/// A configured place, and what is known of it.
#[derive(Debug)]
pub(super) struct Place {
    /// The name that is looked up, and its port; `None`: the address was given.
    pub(super) name: Option<(String, u16)>,
    host: Arc<str>,
    pub(super) weight: u32,
    /// Sorted, each once.
    pub(super) addresses: Vec<Address>,
    /// What the last lookup found; `None`: there was none yet.
    pub(super) lookup: Option<Result<(), Arc<str>>>,
}

impl Place {
    /// A place, and `port_usual` of the scheme that is spoken there.
    pub(super) fn new(endpoint: &gateway::Endpoint, port_usual: u16) -> Self {
        let weight = endpoint.weight;
        let (name, addresses) = match &endpoint.place {
            gateway::Place::Unix(path) => (None, vec![Address::Unix(path.clone())]),
            gateway::Place::Tcp(host, port) => match literal(host) {
                Some(ip) => (None, vec![Address::Tcp(SocketAddr::new(ip, *port))]),
                None => (Some((host.clone(), *port)), Vec::new()),
            },
        };
        let host = match &endpoint.place {
            // RFC 9112 3.2: a Host there must be, and a socket's path has no name.
            gateway::Place::Unix(_) => Arc::from("localhost"),
            gateway::Place::Tcp(host, port) => authority(host, *port, port_usual),
        };
        Self { name, host, weight, addresses, lookup: None }
    }

    /// Whether this is the name.
    pub(super) fn is(&self, host: &str) -> bool {
        self.name.as_ref().is_some_and(|(name, _)| name == host)
    }

    /// Takes what a lookup of its name found, and says whether that is new.
    pub(super) fn update(&mut self, found: Result<&[IpAddr], &str>) -> bool {
        let Some((_, port)) = self.name else { return false };
        let lookup = match found {
            // An answer without addresses is no better than no answer.
            Ok([]) => Err(Arc::from("the answer has no address")),
            Ok(ips) => {
                let mut addresses: Vec<_> =
                    ips.iter().map(|ip| Address::Tcp(SocketAddr::new(*ip, port))).collect();
                addresses.sort();
                addresses.dedup();
                addresses.truncate(ADDRESSES_MAX);
                if addresses != self.addresses {
                    self.addresses = addresses;
                    self.lookup = None;
                }
                Ok(())
            }
            Err(cause) => Err(Arc::from(cause)),
        };
        let new = self.lookup.as_ref() != Some(&lookup);
        self.lookup = Some(lookup);
        new
    }
}

/// RFC 9110 4.2.3: the scheme's own port is left out; an IPv6 address stands in brackets.
fn authority(host: &str, port: u16, port_usual: u16) -> Arc<str> {
    let host = match literal(host) {
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    Arc::from(if port == port_usual { host } else { format!("{host}:{port}") })
}

/// An address in place of a name, in brackets or not.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

impl Roster {
    /// The endpoints of the places; those of `before` go on where the address is the same.
    pub(super) fn of(places: &[Place], before: &Self, ejection: Ejection) -> Self {
        let mut seats: Vec<Seat> = Vec::new();
        for place in places {
            let share = shared(place.weight, place.addresses.len());
            for address in &place.addresses {
                if let Some(seat) = seats.iter_mut().find(|s| s.endpoint.address() == address) {
                    seat.weight = seat.weight.saturating_add(share);
                    continue;
                }
                let kept = before.seats.iter().find(|s| s.endpoint.address() == address);
                let endpoint = match kept {
                    Some(seat) => Arc::clone(&seat.endpoint),
                    None => Arc::new(Endpoint::new(address.clone(), ejection)),
                };
                seats.push(Seat { endpoint, host: Arc::clone(&place.host), weight: share });
            }
        }
        Self { seats, missing: missing(places) }
    }
}

/// One address's share of its place's weight; what has a weight keeps one.
fn shared(weight: u32, addresses: usize) -> u64 {
    let whole = u64::from(weight) * UNIT;
    let count = u64::try_from(addresses).unwrap_or(u64::MAX).max(1);
    (whole / count).max(u64::from(weight > 0))
}

fn missing(places: &[Place]) -> Missing {
    let mut failed = None;
    for place in places.iter().filter(|p| p.addresses.is_empty() && p.weight > 0) {
        match &place.lookup {
            None => return Missing::Pending,
            Some(Err(cause)) => failed = failed.or(Some(cause)),
            Some(Ok(())) => {}
        }
    }
    failed.map_or(Missing::Nothing, |cause| Missing::Failed(Arc::clone(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_not_names() {
        assert!(literal("127.0.0.1").is_some() && literal("::1").is_some());
        assert!(literal("[::1]").is_some() && literal("[a]").is_none());
        assert!(literal("localhost").is_none() && literal("127.1").is_none());
    }

    #[test]
    fn a_host_has_the_port_that_cannot_be_guessed() {
        assert_eq!(&*authority("a.test", 80, 80), "a.test");
        assert_eq!(&*authority("a.test", 80, 443), "a.test:80");
        assert_eq!(&*authority("::1", 8080, 80), "[::1]:8080");
        assert_eq!(&*authority("[::1]", 80, 80), "[::1]");
    }

    #[test]
    fn a_name_shares_its_weight() {
        assert_eq!(shared(3, 3), UNIT);
        assert_eq!(shared(0, 3), 0);
        assert_eq!(shared(1, usize::MAX), 1, "small is not nothing");
    }
}
