//! The control thread through real sockets and real signals, on both runtimes.
//!
//! One test on purpose: signals reach the whole process, so scenarios run one after the other.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::StreamOwned;
use rustls::pki_types::PrivateKeyDer;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate::backend::Backends;
use tidegate::base::phase::Phase;
use tidegate::base::phase::PhaseFlag;
use tidegate::base::sync::Arc;
use tidegate::base::time::SystemClock;
use tidegate::config::gateway::Backend;
use tidegate::config::gateway::BackendTls;
use tidegate::config::gateway::Balance;
use tidegate::config::gateway::Endpoint;
use tidegate::config::gateway::Gateway;
use tidegate::config::gateway::Health;
use tidegate::config::gateway::Place;
use tidegate::control;
use tidegate::control::Control;
use tidegate::control::End;
use tidegate::metrics::Counter;
use tidegate::metrics::Process;
use tidegate::metrics::Recorder;
use tidegate::metrics::log::Log;
use tidegate::tls::Alpn;
use tidegate::tls::ClientSettings;
use tidegate::tls::Roots;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    phase: Arc<PhaseFlag>,
    woken: Receiver<Phase>,
    lines: Receiver<String>,
    end: End,
    thread: JoinHandle<std::io::Result<()>>,
}

const NAME: &str = "backend.test";

/// A server that answers probes, over TLS if there is a certificate for it; its port.
fn probed(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match &tls {
                None => answer(stream),
                Some(config) => {
                    let tls = ServerConnection::new(Arc::clone(config)).unwrap();
                    answer(StreamOwned::new(tls, stream));
                }
            }
        }
    });
    port
}

fn answer(mut stream: impl std::io::Read + std::io::Write) {
    let mut request = [0; 4096];
    // One that does not trust us goes away.
    if stream.read(&mut request).is_ok() && request.starts_with(b"GET /well ") {
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    }
}

fn backend(name: &str, port: u16, server_name: Option<&str>) -> Backend {
    let second = Duration::from_secs(1);
    let health = Health {
        path: "/well".into(),
        host: None,
        interval: second / 20,
        timeout: second * 10,
        healthy: 1,
        // `localhost` may be an address too that the server does not have.
        unhealthy: 2,
        statuses: (200, 299),
    };
    let files = tidegate::config::gateway::TlsFiles::default;
    let tls = |name: &str| BackendTls {
        server_name: name.into(),
        ca_pem: None,
        client: None,
        files: files(),
    };
    Backend {
        name: name.into(),
        endpoints: vec![Endpoint { place: Place::Tcp("localhost".into(), port), weight: 1 }],
        tls: server_name.map(tls),
        balance: Balance::RoundRobin,
        affinity: None,
        eject_failures: 0,
        eject_time: second,
        health: Some(health),
        connect_timeout: second,
        idle_connections_max: 0,
        idle_timeout: second,
        resolve_interval: second,
        delayed_acks: false,
    }
}

/// Backends at `localhost`: one without TLS, one with it, one whose certificate has another name;
/// and the settings for them.
fn backends(clock: Arc<SystemClock>) -> (Gateway, Vec<Option<ClientSettings>>) {
    let signed = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let roots = Roots::from_pem(&signed.cert.pem()).unwrap();
    let settings = ClientSettings::new(&roots, None, Alpn::Http1, clock).unwrap();
    let sealed = probed(Some(Arc::new(config)));
    let backends = vec![
        backend("plain", probed(None), None),
        backend("sealed", sealed, Some(NAME)),
        backend("strange", sealed, Some("other.test")),
    ];
    let gateway = Gateway { backends, ..Gateway::default() };
    (gateway, vec![None, Some(settings.clone()), Some(settings)])
}

fn start(uring: bool) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let recorder = Recorder::new();
    recorder.add(Counter::Published, 42);
    let clock = Arc::new(SystemClock::start());
    let (log, lines) = Log::memory(clock.clone());
    let phase = Arc::new(PhaseFlag::new());
    let (sender, woken) = channel();
    let (end, ending) = control::ending();
    let flag = Arc::clone(&phase);
    let (gateway, tls) = backends(Arc::clone(&clock));
    let control = Control {
        admin: Some(listener),
        counters: vec![recorder.counters()],
        process: Process::default(),
        sample: Box::new(|_| {}),
        backends: Arc::new(Backends::new(&gateway)),
        tls,
        upstreams: control::no_upstreams(),
        phase: Arc::clone(&phase),
        wake: Box::new(move || sender.send(flag.now()).unwrap()),
        clock,
        log,
        uring,
        started: Box::new(|| ()),
        ending,
    };
    let thread = std::thread::spawn(move || control::run(control));
    Running { address, phase, woken, lines, end, thread }
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n"))
}

fn kill(signal: &str) {
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn serves_answers_signals_and_ends() {
    for uring in [false, true] {
        let running = start(uring);
        paths(&running);
        health(&running);
        peers_that_misbehave(running.address);
        signals(&running);
        // A client is still connected: the thread ends all the same.
        let _stalled = TcpStream::connect(running.address).unwrap();
        drop(running.end);
        running.thread.join().unwrap().unwrap();
    }
}

fn paths(running: &Running) {
    let address = running.address;
    assert!(get(address, "/").contains("/metrics"));
    assert!(get(address, "/metrics").contains("\ntidegate_events_published_total 42\n"));
    assert!(get(address, "/live").starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/ready").starts_with("HTTP/1.1 503 "), "it is still starting");
    running.phase.advance(Phase::Serving);
    assert!(get(address, "/ready").starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/upstreams").ends_with("\r\n\r\nThere are no upstream streams.\n"));
}

/// The name is looked up, and what it leads to is probed.
fn health(running: &Running) {
    let deadline = std::time::Instant::now() + PATIENCE;
    for (backend, health) in [("plain", "healthy"), ("sealed", "healthy"), ("strange", "unhealthy")]
    {
        let head = format!("backend={backend} endpoint=127.0.0.1:");
        let health = format!(" health={health} ");
        let is = |line: &str| line.starts_with(&head) && line.contains(&health);
        while !get(running.address, "/backends").lines().any(is) {
            assert!(std::time::Instant::now() < deadline, "{}", get(running.address, "/backends"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(running.woken.try_iter().count(), 1, "workers hear of the addresses");
    let lines: Vec<_> = running.lines.try_iter().collect();
    let why = |l: &String| l.contains("endpoint_unhealthy backend=strange") && l.contains("TLS");
    assert!(lines.iter().any(why), "{lines:?}");
}

fn peers_that_misbehave(address: SocketAddr) {
    // More stalled peers than there is room for, some of them in the middle of a request.
    let stalled: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /metrics HTT").unwrap();
            }
            stream
        })
        .collect();
    assert!(get(address, "/live").starts_with("HTTP/1.1 200 "), "stalled peers lock nobody out");
    drop(stalled);
    assert!(ask(address, "\u{16}\u{3}\u{1}junk\n\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(9000));
    assert!(ask(address, &long).starts_with("HTTP/1.1 431 "));
    let body = "POST / HTTP/1.1\r\nContent-Length: 50000\r\n\r\n".to_owned() + &"b".repeat(50_000);
    assert!(ask(address, &body).starts_with("HTTP/1.1 405 "), "the answer survives unread bytes");
}

fn signals(running: &Running) {
    kill("-HUP");
    // Probes have something to say as well.
    let said = " warn reload_not_supported signal=SIGHUP";
    while !running.lines.recv_timeout(PATIENCE).unwrap().contains(said) {}
    assert_eq!(running.phase.now(), Phase::Serving);
    kill("-TERM");
    assert_eq!(running.woken.recv_timeout(PATIENCE), Ok(Phase::Draining));
    assert!(get(running.address, "/ready").ends_with("\r\n\r\ndraining\n"));
    assert!(get(running.address, "/live").starts_with("HTTP/1.1 200 "));
    kill("-INT");
    assert_eq!(running.woken.recv_timeout(PATIENCE), Ok(Phase::Closed));
}
