//! The stage for exchanges and upstreams: a configuration from text, and the far sides of the
//! connections that the worker has opened.

use super::World;
use super::ground::Door;
use crate::config::gateway::Nothing;
use crate::config::toml;
use crate::io::Remote;
use crate::metrics::Counter;
use crate::metrics::RelayEnd;

/// Everything goes to two servers; GETs may be repeated twice.
pub(super) const PROXY: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80", "http://10.9.0.2:80"]
balance = "round-robin"
connect_timeout = "2s"
idle_timeout = "10s"
[[route]]
backend = "app"
retries = 2
"#;

/// The same with one server, which is tried once.
pub(super) const ONE: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80"]
connect_timeout = "2s"
idle_timeout = "10s"
[[route]]
backend = "app"
retries = 0
"#;

impl World {
    /// The only worker of a process with this configuration.
    pub(super) fn toml(text: &str) -> Self {
        let config = toml::load(text, &[], &Nothing);
        Self::of(config.unwrap_or_else(|problems| panic!("{problems}")))
    }

    /// How connects to this place end from now on.
    pub(super) fn door(&self, place: &str, door: Door) {
        let place = Remote::Tcp(place.parse().expect("an address"));
        self.ground.doors.borrow_mut().insert(place, door);
    }

    /// Sockets that the worker has connected out, in order; those that were made.
    pub(super) fn dialled(&self) -> Vec<i32> {
        self.ground.dialled.borrow().iter().filter_map(|(socket, _)| *socket).collect()
    }

    /// Where the worker has connected to, in order.
    pub(super) fn places(&self) -> Vec<String> {
        let name = |remote: &Remote| match remote {
            Remote::Tcp(address) => address.ip().to_string(),
            Remote::Unix(path) => path.display().to_string(),
        };
        self.ground.dialled.borrow().iter().map(|(_, remote)| name(remote)).collect()
    }

    /// The socket that the worker has connected out last.
    pub(super) fn backend(&self) -> i32 {
        *self.dialled().last().expect("it has connected")
    }

    /// A client that has asked for this; the connection to its backend is there.
    pub(super) fn passing(&mut self, request: &str) -> (i32, i32) {
        let client = self.connect(request.as_bytes());
        self.settle();
        (client, self.backend())
    }

    /// Failures in a row of the backend's endpoints, in the order of their addresses.
    pub(super) fn failures(&self) -> Vec<u32> {
        self.backends.seats(0).iter().map(|seat| seat.endpoint.failures()).collect()
    }

    /// How many exchanges have ended so.
    pub(super) fn ends(&self, end: RelayEnd) -> u64 {
        self.counters.counter(Counter::RelayEnds(end))
    }
}

/// A GET of this path.
pub(super) fn ask(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

/// A POST with a body of this length, which is not here.
pub(super) fn upload(length: usize) -> String {
    format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n")
}

/// A whole answer of a backend.
pub(super) fn answer(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}
