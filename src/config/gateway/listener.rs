//! Listeners: where clients connect.
//!
//! Invariants: the first is the key `listen`, named `default`; names are unique; two on the same
//! address differ in host name, and no two want to bind the same port in different ways.

use crate::config::error::Cause;
use crate::config::form;
use crate::config::gateway::Endpoint;
use crate::config::gateway::Gateway;
use crate::config::gateway::Hostname;
use crate::config::gateway::Listener;
use crate::config::gateway::Place;
use crate::config::gateway::bounds::LISTENERS_MAX;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::value;
use crate::config::gateway::row::value_or;
use crate::config::value::Kind;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// The name of the listener that the key `listen` makes.
pub(crate) const DEFAULT: &str = "default";

pub(crate) static LISTENER: Shape<Listener> = Shape {
    title: "`[[listener]]`",
    nouns: &["listener"],
    blank: || Listener {
        name: String::new(),
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        hostname: None,
    },
    rows: &[
        value(
            "name",
            Kind::Text(&form::NAME),
            "Its name, for routes to attach to. The key `listen` makes the one named `default`.",
            |l: &mut Listener| &mut l.name,
        )
        .required(),
        value(
            "listen",
            Kind::Address,
            "Address and port. Several listeners may share one and differ in `hostname`.",
            |l: &mut Listener| &mut l.listen,
        )
        .required(),
        value_or(
            "hostname",
            Kind::Text(&form::HOSTNAME),
            ("*", "any"),
            "Serves requests for this host, or for all below it. The listener that fits a request \
             best serves it alone.",
            |l: &mut Listener| &mut l.hostname,
        ),
    ],
};

impl Gateway {
    /// One listener, and nothing else: the hub alone.
    #[must_use]
    pub fn at(listen: SocketAddr) -> Self {
        let default = Listener { name: DEFAULT.to_owned(), listen, hostname: None };
        Self {
            listeners: vec![default],
            backends: Vec::new(),
            upstreams: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// The distinct addresses of all listeners, in order. Each port 0 is one of its own.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for listener in &self.listeners {
            if listener.listen.port() == 0 || !addresses.contains(&listener.listen) {
                addresses.push(listener.listen);
            }
        }
        addresses
    }

    /// Whether an endpoint is where this server itself listens, as far as the texts tell. With
    /// several routes that may be meant; with one, what is passed on comes back.
    pub(crate) fn leads_to_itself(&self) -> bool {
        let addresses = self.addresses();
        let is_own =
            |endpoint: &Endpoint| addresses.iter().any(|own| leads_to(&endpoint.place, *own));
        self.backends.iter().flat_map(|backend| &backend.endpoints).any(is_own)
    }
}

/// Whether a connection to this endpoint reaches a listener there.
pub(crate) fn leads_to(place: &Place, own: SocketAddr) -> bool {
    let Place::Tcp(host, port) = place else { return false };
    let local = host.eq_ignore_ascii_case("localhost");
    let ip = host.parse::<IpAddr>().ok();
    let is_localhost = |ip: &IpAddr| *ip == Ipv4Addr::LOCALHOST || *ip == Ipv6Addr::LOCALHOST;
    let fits = match (own.ip(), ip) {
        (own, None) => local && (own.is_unspecified() || is_localhost(&own)),
        (own, Some(ip)) if ip == own => true,
        // What listens everywhere on IPv4 is not reached by IPv6; the other way round it is.
        (IpAddr::V4(own), Some(IpAddr::V4(ip))) => own.is_unspecified() && ip.is_loopback(),
        (IpAddr::V4(_), Some(IpAddr::V6(_))) => false,
        (IpAddr::V6(own), Some(ip)) => own.is_unspecified() && ip.is_loopback(),
    };
    *port != 0 && *port == own.port() && fits
}

impl Default for Gateway {
    fn default() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}

impl Hostname {
    /// Whether some host fits both, as a listener's and a route's name.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self.0.strip_prefix('*'), other.0.strip_prefix('*')) {
            (None, None) => self == other,
            (Some(suffix), None) => other.0.ends_with(suffix),
            (None, Some(suffix)) => self.0.ends_with(suffix),
            (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        }
    }
}

/// Reads `[[listener]]`.
pub(crate) fn read(node: Option<&Node<'_>>, reader: &mut Reader<'_>) {
    reader.names.listeners.insert(DEFAULT.to_owned(), 0);
    let Some(node) = node else { return };
    let wanted = "a list of tables, as [[listener]]";
    let Some(items) = reader.items(node, LISTENERS_MAX - 1, wanted) else { return };
    for item in &items {
        let before = reader.problems();
        let Some(listener) = reader.one(&LISTENER, item) else { continue };
        let index = reader.gateway.listeners.len();
        reader.define(item, &listener.name, index, |names| &mut names.listeners);
        if reader.problems() == before {
            clashes(&listener, item, reader);
        }
        reader.gateway.listeners.push(listener);
    }
}

/// Gateway API: listeners on one port must differ in host name.
fn clashes(listener: &Listener, node: &Node<'_>, reader: &mut Reader<'_>) {
    let clash = reader.gateway.listeners.iter().find(|other| {
        let same = other.listen == listener.listen && listener.listen.port() != 0;
        let differ = other.hostname != listener.hostname;
        if same { !differ } else { overlap(other.listen, listener.listen) }
    });
    let Some(other) = clash else { return };
    let bound = format!("takes the place of the listener {} at {}", other.name, other.listen);
    let remedy = "give it another port, or the same address and another hostname".to_owned();
    let node = reader.member(node, "listen");
    reader.problem(&node, Cause::Relation { bound, remedy });
}

/// Whether two listeners would want the same port of the same address.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same
}
