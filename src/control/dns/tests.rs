//! Names against a name server of the test's own, on a loopback socket.

use super::*;
use crate::backend::Seat;
use crate::base::sync::Arc;
use crate::config::gateway;
use crate::config::gateway::Place;
use crate::control::desk::sample_backend;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::ResolverOpts;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::mpsc::Receiver;
use tokio::net::UdpSocket;

/// What the name server says of every name.
#[derive(Clone, Default)]
struct Zone {
    code: u8,
    ttl: u32,
    addresses: Vec<IpAddr>,
    silent_about: &'static str,
}

struct Server {
    zone: Rc<RefCell<Zone>>,
    questions: Rc<Cell<usize>>,
    resolver: Rc<Resolver>,
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

impl Server {
    async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let server = NameServerConfig::new(loopback, true, vec![connection]);
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = Duration::from_secs(5);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let resolver = Rc::new(Resolver::fixed(config, options));
        let (zone, questions) = (Rc::new(RefCell::new(zone)), Rc::new(Cell::new(0)));
        tokio::task::spawn_local(answer(socket, Rc::clone(&zone), Rc::clone(&questions)));
        Self { zone, questions, resolver }
    }

    fn set(&self, zone: Zone) {
        *self.zone.borrow_mut() = zone;
    }
}

async fn answer(socket: UdpSocket, zone: Rc<RefCell<Zone>>, questions: Rc<Cell<usize>>) {
    let mut buffer = [0; 512];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        questions.set(questions.get() + 1);
        let reply = reply(&buffer[..length], &zone.borrow());
        if let Some(reply) = reply {
            socket.send_to(&reply, peer).await.unwrap();
        }
    }
}

/// RFC 1035 4.1: the header, the question again, and what the zone has of its type.
fn reply(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let mut end = 12;
    let mut name = String::new();
    while query[end] != 0 {
        let length = usize::from(query[end]);
        name.push_str(std::str::from_utf8(&query[end + 1..=end + length]).unwrap());
        name.push('.');
        end += length + 1;
    }
    if name == zone.silent_about {
        return None;
    }
    let kind = u16::from_be_bytes([query[end + 1], query[end + 2]]);
    let question = &query[12..end + 5];
    let of_kind = |ip: &&IpAddr| zone.code == 0 && kind == if ip.is_ipv4() { A } else { AAAA };
    let found: Vec<_> = zone.addresses.iter().filter(of_kind).collect();
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | zone.code, 0, 1, 0, u8::try_from(found.len()).unwrap()]);
    out.extend([0, 0, 0, 0]);
    out.extend(question);
    for ip in found {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(zone.ttl.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => out.extend([&[0, 4][..], &ip.octets()].concat()),
            IpAddr::V6(ip) => out.extend([&[0, 16][..], &ip.octets()].concat()),
        }
    }
    Some(out)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patient = async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, patient)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

fn zone(ttl: u32, addresses: &[&str]) -> Zone {
    Zone { ttl, addresses: ips(addresses), ..Zone::default() }
}

/// A desk, and a channel that hears each wake.
fn desk(backend: gateway::Backend) -> (Rc<Desk>, Receiver<()>) {
    let (sender, wakes) = std::sync::mpsc::channel();
    let wake = Box::new(move || sender.send(()).unwrap());
    (Rc::new(Desk { wake, ..Desk::with(backend) }), wakes)
}

fn named(hosts: &[&str]) -> gateway::Backend {
    sample_backend(hosts.iter().map(|h| Place::Tcp((*h).to_owned(), 80)).collect())
}

fn addresses(desk: &Desk) -> Vec<String> {
    let address = |seat: &Seat| seat.endpoint.address().to_string();
    desk.backends.seats(0).iter().map(address).collect()
}

/// Waits until the backend has these addresses.
async fn until(desk: &Desk, want: &[&str]) {
    while addresses(desk) != want {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_name_has_its_addresses_and_the_shortest_ttl() {
    run(async {
        let server = Server::start(zone(77, &["127.0.0.1", "127.0.0.2"])).await;
        let answer = server.resolver.find("api.test").await.unwrap();
        let mut got = answer.addresses;
        got.sort();
        assert_eq!((got, answer.ttl.as_secs()), (ips(&["127.0.0.1", "127.0.0.2"]), 77));
        server.set(zone(7, &["::1"]));
        let answer = server.resolver.find("api.test").await.unwrap();
        assert_eq!((answer.addresses, answer.ttl.as_secs()), (ips(&["::1"]), 7), "nothing is kept");
    });
}

#[test]
fn failures_have_their_cause() {
    run(async {
        let server = Server::start(Zone { code: SERVFAIL, ..Zone::default() }).await;
        for (code, cause) in
            [(SERVFAIL, "Server Failure"), (NXDOMAIN, "no such name"), (0, "has no address")]
        {
            server.set(Zone { code, ..Zone::default() });
            let got = server.resolver.find("api.test").await.unwrap_err();
            assert!(got.contains(cause), "{code}: {got}");
        }
        let none = Resolver::fixed(ResolverConfig::default(), ResolverOpts::default());
        let got = none.find("api.test").await.unwrap_err();
        assert!(got.contains("no name server"), "{got}");
        let got = none.find("not a name..").await.unwrap_err();
        assert!(!got.is_empty());
    });
}

#[test]
fn localhost_needs_no_name_server() {
    run(async {
        let none = Resolver::fixed(ResolverConfig::default(), ResolverOpts::default());
        for name in ["localhost", "api.localhost"] {
            let answer = none.find(name).await.unwrap();
            assert!(answer.addresses.iter().all(IpAddr::is_loopback), "{answer:?}");
        }
    });
}

#[test]
fn a_name_is_followed_and_failures_take_nothing_away() {
    run(async {
        let server = Server::start(zone(1, &["127.0.0.1", "127.0.0.2"])).await;
        let (desk, wakes) = desk(named(&["api.test"]));
        start(&desk, &server.resolver, &mut Chance::new(1));
        let mut changes = desk.changes.subscribe();
        until(&desk, &["127.0.0.1:80", "127.0.0.2:80"]).await;
        assert_eq!(wakes.try_iter().count(), 1, "who waits goes on");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let kept = desk.backends.seats(0)[1].endpoint.clone();
        kept.failed(desk.clock.now());

        server.set(Zone { code: SERVFAIL, ..Zone::default() });
        changes.changed().await.unwrap();
        assert_eq!(addresses(&desk), ["127.0.0.1:80", "127.0.0.2:80"], "the last good ones");
        let report = desk.backends.report(desk.clock.now());
        assert!(report.contains("addresses=2 lookup=failed cause=\"the name server"), "{report}");

        server.set(zone(0, &["127.0.0.2", "127.0.0.3"]));
        until(&desk, &["127.0.0.2:80", "127.0.0.3:80"]).await;
        assert!(Arc::ptr_eq(&kept, &desk.backends.seats(0)[0].endpoint));
        assert_eq!(kept.failures(), 1);
        assert_eq!(wakes.try_iter().count(), 2);
        let asked = server.questions.get();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(server.questions.get(), asked, "a TTL of 0 does not make a storm");
        let counters = desk.recorder.counters();
        assert!(counters.counter(Counter::BackendLookups(Outcome::Success)) >= 2);
        assert!(counters.counter(Counter::BackendLookups(Outcome::Failure)) >= 1);
    });
}

#[test]
fn the_interval_is_shorter_than_a_long_ttl() {
    run(async {
        let server = Server::start(zone(86_400, &["127.0.0.1"])).await;
        let mut backend = named(&["api.test"]);
        backend.resolve_interval = Duration::from_secs(1);
        let (desk, _wakes) = desk(backend);
        start(&desk, &server.resolver, &mut Chance::new(1));
        until(&desk, &["127.0.0.1:80"]).await;
        server.set(zone(86_400, &["127.0.0.2"]));
        until(&desk, &["127.0.0.2:80"]).await;
    });
}

#[test]
fn a_name_without_an_answer_holds_up_no_other() {
    run(async {
        let silent_about = "slow.test.";
        let server = Server::start(Zone { silent_about, ..zone(60, &["127.0.0.1"]) }).await;
        let (desk, _wakes) = desk(named(&["slow.test", "127.0.0.9", "fast.test"]));
        assert_eq!(addresses(&desk), ["127.0.0.9:80"], "an address is there at once");
        start(&desk, &server.resolver, &mut Chance::new(1));
        until(&desk, &["127.0.0.9:80", "127.0.0.1:80"]).await;
        let report = desk.backends.report(desk.clock.now());
        assert!(report.contains("name=slow.test:80 addresses=0 lookup=pending"), "{report}");
    });
}

#[test]
fn pauses_have_bounds() {
    let mut chance = Chance::new(1);
    let seconds = Duration::from_secs;
    for pause in [Duration::ZERO, seconds(1), seconds(30), seconds(86_400)] {
        for _ in 0..50 {
            let early = early(pause, &mut chance);
            assert!(early >= PAUSE_MIN && early <= pause.max(PAUSE_MIN) && early >= pause * 9 / 10);
        }
    }
    let pauses: Vec<_> = (1..8).map(|n| backoff(n, seconds(60)).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(backoff(u32::MAX, seconds(5)), seconds(5), "never later than the interval");
}
