//! One lookup: hosts file, `localhost`, name servers, as the system is set up at the moment.
//!
//! Invariants: the system's files are read again when they change, so neither a new name server nor
//! a new line in the hosts file needs a restart. Answers are not kept here: who asks knows the TTL.
//! Addresses that this host has no route to are left out if others remain (RFC 6724 5, rule 1), so
//! that a host without IPv6 does not fail every other connect.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::ResolverOpts;
use hickory_resolver::net::DnsError;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use std::cell::RefCell;
use std::net::IpAddr;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::SystemTime;

/// What a lookup found: at least one address.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Looks names up.
pub(in crate::control) struct Resolver {
    state: RefCell<State>,
    /// Whether the system's files are followed.
    system: bool,
}

struct State {
    resolver: Option<TokioResolver>,
    /// Why there are no name servers, if so.
    trouble: Option<String>,
    stamps: Stamps,
}

/// When the files last changed, and their lengths.
type Stamps = [Option<(SystemTime, u64)>; 2];

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

impl Resolver {
    /// As the system is set up.
    pub(in crate::control) fn system() -> Self {
        Self { state: RefCell::new(State::read(stamps())), system: true }
    }

    /// With given name servers, and without the system's files.
    #[cfg(test)]
    pub(super) fn fixed(config: ResolverConfig, options: ResolverOpts) -> Self {
        let resolver = build(config, options).ok();
        let state = State { resolver, trouble: None, stamps: [None; 2] };
        Self { state: RefCell::new(state), system: false }
    }

    /// All addresses of a name, or why there are none.
    pub(super) async fn find(&self, host: &str) -> Result<Answer, String> {
        if self.system {
            let stamps = stamps();
            if stamps != self.state.borrow().stamps {
                *self.state.borrow_mut() = State::read(stamps);
            }
        }
        let (resolver, trouble) = {
            let state = self.state.borrow();
            (state.resolver.clone(), state.trouble.clone())
        };
        let why = |cause: String| match &trouble {
            Some(trouble) => format!("{cause}; {}: {trouble}", FILES[0]),
            None => cause,
        };
        let Some(resolver) = resolver else { return Err(why("there is no resolver".into())) };
        let found = resolver.lookup_ip(host).await.map_err(|error| why(cause(&error)))?;
        let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min();
        let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
        Ok(Answer { addresses: with_route(found.iter().collect()), ttl })
    }
}

impl State {
    fn read(stamps: Stamps) -> Self {
        let (config, options, trouble) = match read_system_conf() {
            Ok((config, options)) => (config, options, None),
            // The hosts file and `localhost` need no name server.
            Err(error) => {
                (ResolverConfig::default(), ResolverOpts::default(), Some(error.to_string()))
            }
        };
        match build(config, options) {
            Ok(resolver) => Self { resolver: Some(resolver), trouble, stamps },
            Err(error) => Self { resolver: None, trouble: Some(cause(&error)), stamps },
        }
    }
}

fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.cache_size = 0;
    // Both families at once; of two failures that of IPv4 is told.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let provider = TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider).with_options(options).build()
}

/// An error in words: the library's own text shows its inner form.
fn cause(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            hickory_resolver::proto::op::ResponseCode::NXDomain => "no such name".into(),
            _ => "the name has no address".into(),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answers: {code}"),
        NetError::NoConnections => "no name server to be reached".into(),
        NetError::Timeout => "no answer from a name server in time".into(),
        other => other.to_string(),
    }
}

fn stamps() -> Stamps {
    FILES.map(|file| {
        let of = std::fs::metadata(file).ok()?;
        Some((of.modified().ok()?, of.len()))
    })
}

/// Those that this host has a route to; all if it has one to none.
fn with_route(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let routed: Vec<_> = addresses.iter().copied().filter(|ip| has_route(*ip)).collect();
    if routed.is_empty() { addresses } else { routed }
}

/// Connecting a datagram socket asks for a route and sends nothing.
fn has_route(ip: IpAddr) -> bool {
    const DISCARD: u16 = 9;
    let from = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(from).and_then(|socket| socket.connect((ip, DISCARD))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_route_are_left_out_while_others_remain() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        // Broadcast is refused to a socket that did not ask for it, on every host.
        let (good, bad) = (ip("127.0.0.1"), ip("255.255.255.255"));
        assert_eq!(with_route(vec![good, bad]), [good]);
        assert_eq!(with_route(vec![bad]), [bad], "better than nothing");
    }
}
