//! Probes of real listeners on loopback and on a Unix socket.

use super::*;
use crate::backend::Address;
use crate::config::gateway::Place;
use crate::control::desk::sample_backend;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_millis(300);

fn health() -> gateway::Health {
    gateway::Health {
        path: "/health?deep=1".into(),
        host: None,
        interval: Duration::from_millis(20),
        timeout: TIMEOUT,
        healthy: 2,
        unhealthy: 3,
        statuses: (200, 299),
    }
}

/// A server that answers what it is told to.
#[derive(Default)]
struct Server {
    answer: RefCell<Vec<u8>>,
    /// Before the answer.
    pause: Cell<Duration>,
    asked: RefCell<String>,
    count: Cell<usize>,
    open: Cell<usize>,
    open_most: Cell<usize>,
}

impl Server {
    async fn start(answer: &str) -> (Rc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Rc::new(Self { answer: RefCell::new(answer.into()), ..Self::default() });
        let serving = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(Rc::clone(&serving).serve(stream));
            }
        });
        (server, address)
    }

    async fn serve(self: Rc<Self>, mut stream: tokio::net::TcpStream) {
        self.open.set(self.open.get() + 1);
        self.open_most.set(self.open_most.get().max(self.open.get()));
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        *self.asked.borrow_mut() = String::from_utf8(request).unwrap();
        self.count.set(self.count.get() + 1);
        tokio::time::sleep(self.pause.get()).await;
        let answer = self.answer.borrow().clone();
        // Byte by byte at first: the answer may come in any cuts.
        for byte in answer.iter().take(20) {
            let _ = stream.write_all(&[*byte]).await;
        }
        let _ = stream.write_all(answer.get(20..).unwrap_or_default()).await;
        self.open.set(self.open.get() - 1);
    }

    fn set(&self, answer: &str) {
        *self.answer.borrow_mut() = answer.into();
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patient = async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, patient)
}

async fn probe(address: SocketAddr) -> Result<(), Failure> {
    Probe::new(&health(), "api.test:8080", None).run(&Address::Tcp(address), TIMEOUT).await
}

#[test]
fn a_probe_asks_like_this() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        assert_eq!(probe(address).await, Ok(()));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            *server.asked.borrow(),
            format!(
                "GET /health?deep=1 HTTP/1.1\r\nHost: api.test:8080\r\n\
                 User-Agent: tidegate/{version} (health probe)\r\nAccept: */*\r\n\
                 Connection: close\r\n\r\n"
            )
        );
        let named = gateway::Health { host: Some("other.test".into()), ..health() };
        let named = Probe::new(&named, "api.test", None);
        assert_eq!(named.run(&Address::Tcp(address), TIMEOUT).await, Ok(()));
        assert!(server.asked.borrow().contains("\r\nHost: other.test\r\n"));
    });
}

#[test]
fn only_a_whole_head_with_a_right_status_is_a_success() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        for (answer, cause) in [
            (BAD, "status 503 is not within 200 and 299"),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status 302"),
            ("HTTP/1.1 200 OK\r\nContent-Len", "ended before"),
            ("", "ended before"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed"),
        ] {
            server.set(answer);
            let error = probe(address).await.unwrap_err();
            assert!(error.to_string().contains(cause), "{answer:?}: {error}");
        }
        for answer in [
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nuntil the end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            server.set(answer);
            assert_eq!(probe(address).await, Ok(()), "{answer:?}");
        }
        server.pause.set(TIMEOUT * 2);
        assert!(probe(address).await.unwrap_err().to_string().contains("no answer within 300 ms"));
    });
}

#[test]
fn who_does_not_listen_is_not_well() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(probe(address).await.unwrap_err().to_string().contains("cannot connect"));
        let nowhere = Address::Unix("/nonexistent/tidegate.sock".into());
        let error =
            Probe::new(&health(), "localhost", None).run(&nowhere, TIMEOUT).await.unwrap_err();
        assert!(error.to_string().contains("cannot connect"), "{error}");
    });
}

#[test]
fn unix_sockets_are_asked_too() {
    run(async {
        let path = std::env::temp_dir().join(format!("tidegate-probe-{}", std::process::id()));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            stream.write_all(GOOD.as_bytes()).await.unwrap();
        });
        let address = Address::Unix(path.clone());
        let result = Probe::new(&health(), "localhost", None).run(&address, TIMEOUT).await;
        std::fs::remove_file(path).unwrap();
        assert_eq!(result, Ok(()));
    });
}

#[test]
fn health_needs_results_in_a_row() {
    let (rules, mut streak) = (health(), Streak::default());
    let results = [false, false, true, false, false, false, false, true, true, true];
    let got: Vec<_> = results.iter().map(|good| streak.take(*good, &rules)).collect();
    let (healthy, unhealthy) = (Some(Health::Healthy), Some(Health::Unhealthy));
    let want = [None, None, None, None, None, unhealthy, unhealthy, None, healthy, healthy];
    assert_eq!(got, want);
}

fn desk(places: Vec<Place>) -> (Rc<Desk>, Receiver<String>) {
    let backend = gateway::Backend { health: Some(health()), ..sample_backend(places) };
    let mut desk = Desk::with(backend);
    let (log, lines) = crate::metrics::log::Log::memory(Arc::clone(&desk.clock));
    desk.log = log;
    (Rc::new(desk), lines)
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn an_endpoint_falls_ill_and_recovers() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        let (desk, lines) = desk(vec![Place::Tcp("127.0.0.1".into(), address.port())]);
        start(&desk, &mut Chance::new(1));
        let endpoint = desk.backends.seats(0)[0].endpoint.clone();
        for (answer, health) in
            [(GOOD, Health::Healthy), (BAD, Health::Unhealthy), (GOOD, Health::Healthy)]
        {
            server.set(answer);
            until(|| endpoint.health() == health).await;
        }
        assert!(endpoint.last_error().contains("status 503"), "{}", endpoint.last_error());
        let said: Vec<_> = lines.try_iter().collect();
        assert_eq!(said.len(), 3, "only changes are told: {said:?}");
        assert!(said[1].contains(" warn endpoint_unhealthy backend=api endpoint=127.0.0.1:"));
        assert!(said[1].contains("status 503") && said[2].contains(" info endpoint_healthy "));
        let counters = desk.recorder.counters();
        assert!(counters.counter(Counter::BackendProbes(Outcome::Failure)) >= 3);
        assert!(counters.counter(Counter::BackendProbes(Outcome::Success)) >= 4);
    });
}

#[test]
fn one_endpoint_is_never_asked_twice_at_once() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        server.pause.set(Duration::from_millis(60));
        let (desk, _lines) = desk(vec![Place::Tcp("127.0.0.1".into(), address.port())]);
        start(&desk, &mut Chance::new(1));
        // Changes that leave the endpoint where it is start no second task.
        for _ in 0..10 {
            desk.changes.send_replace(());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until(|| server.count.get() >= 5).await;
        assert_eq!(server.open_most.get(), 1);
    });
}

#[test]
fn probes_follow_the_addresses_of_a_name() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        let (desk, _lines) = desk(vec![Place::Tcp("api.test".into(), address.port())]);
        start(&desk, &mut Chance::new(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.count.get(), 0);
        desk.looked_up("api.test", Ok(&[address.ip()]));
        until(|| server.count.get() >= 2).await;
        assert!(server.asked.borrow().contains(&format!("\r\nHost: api.test:{}", address.port())));
        desk.looked_up("api.test", Ok(&["127.0.0.2".parse().unwrap()]));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let count = server.count.get();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(server.count.get(), count, "who is gone is not asked");
    });
}

#[test]
fn tls_without_settings_is_a_failure_and_no_cleartext() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        let tls = Tls { server_name: "api.test".into(), settings: None };
        let probe = Probe::new(&health(), "api.test", Some(tls));
        let error = probe.run(&Address::Tcp(address), TIMEOUT).await.unwrap_err();
        assert!(error.to_string().contains("no settings for TLS"), "{error}");
        assert_eq!(server.count.get(), 0);
    });
}

#[test]
fn a_new_endpoint_is_soon_asked_whatever_the_interval() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        let rules = gateway::Health { interval: Duration::from_secs(3600), ..health() };
        let place = Place::Tcp("127.0.0.1".into(), address.port());
        let backend = gateway::Backend { health: Some(rules), ..sample_backend(vec![place]) };
        let desk = Rc::new(Desk::with(backend));
        start(&desk, &mut Chance::new(1));
        tokio::time::sleep(FIRST_WITHIN + Duration::from_millis(500)).await;
        assert_eq!(server.count.get(), 1);
    });
}

#[test]
fn who_waits_for_the_next_probe_holds_no_place() {
    run(async {
        let (server, address) = Server::start(GOOD).await;
        let rules = gateway::Health { interval: Duration::from_secs(3600), ..health() };
        let place = |n: usize| Place::Tcp(format!("127.0.1.{n}"), address.port());
        let places: Vec<_> = (1..=PROBES_MAX + 20).map(place).collect();
        let count = places.len();
        let backend = gateway::Backend { health: Some(rules), ..sample_backend(places) };
        let desk = Rc::new(Desk::with(backend));
        let taken = || {
            let counters = desk.recorder.counters();
            let all = [Outcome::Success, Outcome::Failure].map(Counter::BackendProbes);
            all.iter().map(|one| counters.counter(*one)).sum::<u64>()
        };
        start(&desk, &mut Chance::new(1));
        until(|| taken() == count as u64).await;
        drop(server);
    });
}
