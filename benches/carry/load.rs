//! The load: N streams' sources and N clients in one process, so that one clock times each event.
//!
//! The clients ask the proxy, the proxy asks the sources, and each source writes one event when it
//! is due, whether or not the last one has arrived: no omission is coordinated with the proxy.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measuring tool: it may end at a surprise, and its numbers are small"
)]

use serde_json::Value;
use serde_json::json;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::time::Duration;
use tidegate::cli::bench::observed::Observed;
use tidegate::io::poller::Found;
use tidegate::io::poller::Poller;
use tidegate::io::poller::Want;
use tidegate::io::poller::monotonic_nanos;

const LISTENER: u64 = u64::MAX;
/// Keys from here on are sources, below it clients.
const SOURCE: u64 = 1 << 32;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Stands before the 19 digits of an event's due time, and nowhere else.
const MARK: u8 = b'@';
const DIGITS: usize = 19;
/// Clients that are connecting at a time.
const CONNECTING: usize = 200;
const SECOND: u64 = 1_000_000_000;
/// How long everything may take to connect, and stragglers to arrive.
const PATIENCE: u64 = 30 * SECOND;

/// What the load is.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where the clients connect.
    pub(crate) proxy: u16,
    /// Where the sources listen.
    pub(crate) upstream: u16,
    pub(crate) streams: usize,
    /// Events a second of each stream.
    pub(crate) rate: f64,
    /// Bytes of an event's data.
    pub(crate) size: usize,
    pub(crate) seconds: f64,
    /// The clients ask with POST and a small body.
    pub(crate) post: bool,
    /// Whose CPU time and memory are read.
    pub(crate) pid: u32,
}

struct Client {
    /// `None`: it has ended.
    stream: Option<TcpStream>,
    /// The response's head has come.
    open: bool,
    /// The end of what was read, where a mark may be cut.
    carry: Vec<u8>,
}

struct Source {
    stream: TcpStream,
    request: Vec<u8>,
    open: bool,
    /// Bytes that did not fit.
    behind: Vec<u8>,
}

struct Load {
    options: Options,
    poller: Poller,
    listener: TcpListener,
    clients: Vec<Client>,
    sources: Vec<Source>,
    asked: usize,
    open: usize,
    ready: usize,
    sent: u64,
    arrived: u64,
    ended: u64,
    latencies: Vec<u32>,
    found: Vec<Found>,
}

/// Runs the load and reports.
pub(crate) fn run(options: Options) -> Value {
    let listener = TcpListener::bind(("127.0.0.1", options.upstream)).unwrap();
    widen(&listener);
    listener.set_nonblocking(true).unwrap();
    let poller = Poller::new(1024).unwrap();
    poller.add(&listener, LISTENER, Want::Read).unwrap();
    let observed = Observed::find(options.pid).expect("the server runs");
    let empty = observed.look().unwrap();
    let mut load = Load {
        options,
        poller,
        listener,
        clients: Vec::new(),
        sources: Vec::new(),
        asked: 0,
        open: 0,
        ready: 0,
        sent: 0,
        arrived: 0,
        ended: 0,
        latencies: Vec::new(),
        found: Vec::new(),
    };
    let opened = load.connect();
    load.turns(monotonic_nanos() + SECOND);
    let before = observed.look().unwrap();
    let start = monotonic_nanos();
    load.emit(start);
    let took = monotonic_nanos() - start;
    let after = observed.look().unwrap();
    let resident = after.resident.saturating_sub(empty.resident) as f64;
    let cpu = (after.cpu_nanos - before.cpu_nanos) as f64;
    load.latencies.sort_unstable();
    let at = |share: f64| {
        let index = (load.latencies.len() as f64 * share) as usize;
        load.latencies.get(index.min(load.latencies.len().saturating_sub(1))).copied()
    };
    json!({
        "opened": opened, "streams": load.open, "sent": load.sent, "arrived": load.arrived,
        "ended": load.ended,
        "per_second": load.arrived as f64 * 1e9 / took as f64,
        "cpu_us_per_event": cpu / 1e3 / load.arrived.max(1) as f64,
        "cpu_share": cpu / took as f64,
        "bytes_per_stream": resident / load.options.streams.max(1) as f64,
        "p50_us": at(0.5), "p99_us": at(0.99),
        "faults": load.sent.saturating_sub(load.arrived) + load.ended,
    })
}

/// A backlog for a herd of connections.
fn widen(listener: &TcpListener) {
    let socket = socket2::SockRef::from(listener);
    socket.listen(4096).unwrap();
}

impl Load {
    /// Opens every stream; false if some did not open in time.
    fn connect(&mut self) -> bool {
        let end = monotonic_nanos() + PATIENCE;
        while self.open < self.options.streams {
            while self.asked < self.options.streams && self.asked < self.open + CONNECTING {
                self.ask();
            }
            if monotonic_nanos() > end {
                return false;
            }
            self.turn(10);
        }
        true
    }

    fn ask(&mut self) {
        let number = self.asked;
        let mut stream = TcpStream::connect(("127.0.0.1", self.options.proxy)).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = if self.options.post {
            let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
            format!(
                "POST /s/{number} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
                 Accept: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        } else {
            format!("GET /s/{number} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")
        };
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.poller.add(&stream, number as u64, Want::Read).unwrap();
        self.clients.push(Client { stream: Some(stream), open: false, carry: Vec::new() });
        self.asked += 1;
    }

    fn turns(&mut self, until: u64) {
        while monotonic_nanos() < until {
            self.turn(10);
        }
    }

    fn turn(&mut self, wait_millis: u64) {
        let mut found = std::mem::take(&mut self.found);
        self.poller.wait(Duration::from_millis(wait_millis), &mut found).unwrap();
        for ready in found.drain(..) {
            match ready.key {
                LISTENER => self.accept(),
                key if key >= SOURCE => self.source(key, ready),
                key => self.read(key as usize),
            }
        }
        self.found = found;
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let key = SOURCE + self.sources.len() as u64;
            self.poller.add(&stream, key, Want::Read).unwrap();
            let (request, behind) = (Vec::new(), Vec::new());
            self.sources.push(Source { stream, request, open: false, behind });
        }
    }

    fn source(&mut self, key: u64, ready: Found) {
        let source = &mut self.sources[(key - SOURCE) as usize];
        if ready.writable && !source.behind.is_empty() {
            let behind = std::mem::take(&mut source.behind);
            write(&self.poller, source, key, &behind);
        }
        if !ready.readable {
            return;
        }
        let mut bytes = [0; 4096];
        let Ok(count) = source.stream.read(&mut bytes) else { return };
        if count == 0 {
            // Its client has gone; what is still due to it is written into the void.
            let _ = source.stream.shutdown(std::net::Shutdown::Both);
            return;
        }
        source.request.extend_from_slice(&bytes[..count]);
        if !source.open && is_whole(&source.request) {
            source.open = true;
            source.request = Vec::new();
            source.stream.write_all(HEAD).unwrap();
            self.ready += 1;
            // The first event opens the stream for those who wait for one.
            self.sent += 1;
            let event = event(self.options.size, monotonic_nanos());
            write(&self.poller, &mut self.sources[(key - SOURCE) as usize], key, &event);
        }
    }

    fn read(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let mut bytes = [0; 16 * 1024];
        loop {
            let Some(stream) = &mut client.stream else { return };
            let count = match stream.read(&mut bytes) {
                Ok(count) if count > 0 => count,
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return,
                _ => {
                    self.ended += 1;
                    client.stream = None;
                    return;
                }
            };
            let now = monotonic_nanos();
            if !client.open {
                client.open = true;
                assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", lossy(&bytes[..count]));
                self.open += 1;
            }
            let mut joined;
            let mut rest = if client.carry.is_empty() {
                &bytes[..count]
            } else {
                joined = std::mem::take(&mut client.carry);
                joined.extend_from_slice(&bytes[..count]);
                &joined[..]
            };
            while let Some(at) = memchr::memchr(MARK, rest) {
                let Some(digits) = rest.get(at + 1..=at + DIGITS) else {
                    client.carry.extend_from_slice(&rest[at..]);
                    break;
                };
                let due = digits.iter().fold(0_u64, |sum, d| sum * 10 + u64::from(d - b'0'));
                self.arrived += 1;
                let late = now.saturating_sub(due) / 1000;
                self.latencies.push(u32::try_from(late).unwrap_or(u32::MAX));
                rest = &rest[at + 1 + DIGITS..];
            }
            if count < bytes.len() {
                return;
            }
        }
    }

    /// Writes each event when it is due, spread evenly over the streams, and reads what arrives.
    fn emit(&mut self, start: u64) {
        self.sent = 0;
        self.arrived = 0;
        self.latencies.clear();
        let streams = self.sources.len();
        let total = (self.options.seconds * self.options.rate * streams as f64) as u64;
        let gap = 1e9 / (self.options.rate * streams as f64);
        let mut order: VecDeque<usize> = (0..streams).collect();
        let end = start + (self.options.seconds * 1e9) as u64;
        while self.sent < total && monotonic_nanos() < end + SECOND {
            let now = monotonic_nanos();
            let mut burst = 0;
            while self.sent < total && burst < 256 {
                let due = start + (self.sent as f64 * gap) as u64;
                if due > now {
                    break;
                }
                let index = order.pop_front().unwrap();
                order.push_back(index);
                let event = event(self.options.size, due);
                let key = SOURCE + index as u64;
                write(&self.poller, &mut self.sources[index], key, &event);
                self.sent += 1;
                burst += 1;
            }
            let next = start + (self.sent as f64 * gap) as u64;
            self.turn(u64::from(next > monotonic_nanos() + 1_000_000));
        }
        let patience = monotonic_nanos() + 5 * SECOND;
        while self.arrived < self.sent && monotonic_nanos() < patience {
            self.turn(1);
        }
    }
}

fn write(poller: &Poller, source: &mut Source, key: u64, bytes: &[u8]) {
    if !source.behind.is_empty() {
        source.behind.extend_from_slice(bytes);
        return;
    }
    let taken = match source.stream.write(bytes) {
        Ok(taken) => taken,
        Err(cause) if cause.kind() == ErrorKind::WouldBlock => 0,
        Err(_) => return,
    };
    if taken < bytes.len() {
        source.behind.extend_from_slice(&bytes[taken..]);
        let _ = poller.change(&source.stream, key, Want::Both);
    }
}

/// One event in one chunk.
fn event(size: usize, due: u64) -> Vec<u8> {
    let pad = size.saturating_sub(1 + DIGITS);
    let mut data = format!("data: @{due:0>DIGITS$}").into_bytes();
    data.resize(data.len() + pad, b'x');
    data.extend_from_slice(b"\n\n");
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(&data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Whether a request has come with its body.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(request, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return request.ends_with(b"0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0_usize)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
