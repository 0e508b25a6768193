//! The server around the send loop: accepts, answers GETs with a stream's head, waits for the plan
//! in a POST (`RUN EVENTS RATE SIZE`), and from then on only sends.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a measuring tool: it may end at a surprise, and its numbers are small"
)]

use crate::ring::Send;
use crate::ring::Sender;
use std::collections::VecDeque;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::time::Duration;
use tidegate::cli::bench::payload;
use tidegate::cli::bench::payload::Record;
use tidegate::io::poller::Found;
use tidegate::io::poller::Poller;
use tidegate::io::poller::Want;
use tidegate::io::poller::monotonic_nanos;

const LISTENER: u64 = u64::MAX;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nConnection: close\r\n\r\n:\n";
/// One send of a replay.
const REPLAY_SEND: usize = 100_000;
/// Unsent bytes of one socket beyond which it gets no further events.
const BEHIND_MAX: usize = 4 << 20;

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    io: String,
    port: u16,
    /// Length of each event's id, so that the bytes per event equal those of the server compared.
    id_bytes: usize,
    replay: bool,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Self {
        let value = |name: &str, or: &str| {
            let at = arguments.iter().position(|a| a == name);
            at.and_then(|at| arguments.get(at + 1)).map_or(or.to_owned(), Clone::clone)
        };
        Self {
            io: value("--io", "uring"),
            port: value("--port", "8090").parse().expect("--port takes a number"),
            id_bytes: value("--id-bytes", "24").parse().expect("--id-bytes takes a number"),
            replay: arguments.iter().any(|a| a == "--replay"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    run: u16,
    events: u64,
    rate: f64,
    size: usize,
    start: u64,
}

struct Client {
    stream: Option<TcpStream>,
    request: Vec<u8>,
    subscribed: bool,
    /// What did not fit into the socket.
    behind: Vec<u8>,
    /// Place in the replay.
    offset: usize,
}

struct Server {
    options: Options,
    listener: TcpListener,
    poller: Poller,
    sender: Sender,
    clients: Vec<Client>,
    /// Clients of a replay whose socket has room.
    ready: VecDeque<usize>,
    replay: Vec<u8>,
}

/// Serves until it is killed.
pub(crate) fn run(options: &Options) {
    let address = SocketAddr::from(([127, 0, 0, 1], options.port));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).expect("the port is taken");
    socket.listen(4096).unwrap();
    let listener: TcpListener = socket.into();
    let poller = Poller::new(512).unwrap();
    poller.add(&listener, LISTENER, Want::Read).unwrap();
    let mut server = Server {
        sender: Sender::open(&options.io),
        options: options.clone(),
        listener,
        poller,
        clients: Vec::new(),
        ready: VecDeque::new(),
        replay: Vec::new(),
    };
    println!("listening on http://{address}");
    loop {
        let plan = server.accept();
        server.send(plan);
    }
}

impl Server {
    /// Accepts and answers until a plan has come.
    fn accept(&mut self) -> Plan {
        let mut found = Vec::new();
        loop {
            let wait = if self.ready.is_empty() { 50 } else { 0 };
            self.poller.wait(Duration::from_millis(wait), &mut found).unwrap();
            for ready in std::mem::take(&mut found) {
                if ready.key == LISTENER {
                    self.accept_some();
                } else if let Some(plan) = self.turn(ready) {
                    if !self.options.replay {
                        return plan;
                    }
                    self.replay = (0..plan.events).flat_map(|g| self.event(plan, g, 0)).collect();
                }
            }
            self.replay_some();
        }
    }

    fn accept_some(&mut self) {
        for _ in 0..256 {
            let Ok((stream, _)) = self.listener.accept() else { return };
            stream.set_nonblocking(true).unwrap();
            self.poller.add(&stream, self.clients.len() as u64, Want::Read).unwrap();
            self.clients.push(Client {
                stream: Some(stream),
                request: Vec::new(),
                subscribed: false,
                behind: Vec::new(),
                offset: 0,
            });
        }
    }

    fn turn(&mut self, ready: Found) -> Option<Plan> {
        let index = ready.key as usize;
        let client = &mut self.clients[index];
        let stream = client.stream.as_mut()?;
        if ready.writable && client.offset > 0 {
            self.poller.change(stream, ready.key, Want::Read).unwrap();
            self.ready.push_back(index);
        }
        if !ready.readable {
            return None;
        }
        let mut bytes = [0; 4096];
        let fresh = stream.read(&mut bytes).unwrap_or(0);
        if fresh == 0 {
            client.stream = None;
            return None;
        }
        client.request.extend_from_slice(&bytes[..fresh]);
        let end = memchr::memmem::find(&client.request, b"\r\n\r\n")? + 4;
        if client.request.starts_with(b"POST") {
            return self.plan(index, end);
        }
        client.request = Vec::new();
        client.subscribed = true;
        stream.write_all(HEAD).unwrap();
        if self.options.replay {
            self.ready.push_back(index);
        }
        None
    }

    fn plan(&mut self, index: usize, head: usize) -> Option<Plan> {
        let client = &mut self.clients[index];
        let text = String::from_utf8_lossy(&client.request).into_owned();
        let length = text.lines().find_map(|l| l.strip_prefix("Content-Length: ")?.parse().ok());
        let body = text.get(head..).filter(|body| Some(body.len()) == length)?;
        let mut words = body.split_ascii_whitespace();
        let start = monotonic_nanos() + 50_000_000;
        let plan = Plan {
            run: words.next()?.parse().ok()?,
            events: words.next()?.parse().ok()?,
            rate: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            start,
        };
        let body = start.to_string();
        let mut stream = client.stream.take()?;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        Some(plan)
    }

    /// The bytes of one event.
    fn event(&self, plan: Plan, number: u64, due: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(plan.size + 64);
        write!(out, "id: {number:0>width$}\ndata: ", width = self.options.id_bytes).unwrap();
        payload::append(plan.run, Record { number, due }, plan.size, &mut out);
        out.extend_from_slice(b"\n\n");
        out
    }

    /// Sends the plan's events, each when it is due, to everyone.
    fn send(&mut self, plan: Plan) {
        let everyone: Vec<usize> = (0..self.clients.len())
            .filter(|i| self.clients[*i].subscribed && self.clients[*i].stream.is_some())
            .collect();
        let mut sleeper = Poller::new(1).unwrap();
        let mut nothing = Vec::new();
        for number in 0..plan.events {
            let mut due = monotonic_nanos();
            if plan.rate > 0.0 {
                due = plan.start + (number as f64 * 1e9 / plan.rate) as u64;
                let wait = due.saturating_sub(monotonic_nanos());
                if wait > 0 {
                    sleeper.wait(Duration::from_nanos(wait), &mut nothing).unwrap();
                }
            }
            self.catch_up(&everyone);
            let event = self.event(plan, number, due);
            self.send_one(&everyone, &event);
        }
        while everyone.iter().any(|i| !self.clients[*i].behind.is_empty()) {
            sleeper.wait(Duration::from_millis(1), &mut nothing).unwrap();
            self.catch_up(&everyone);
        }
    }

    fn send_one(&mut self, everyone: &[usize], event: &[u8]) {
        let mut sends = Vec::with_capacity(everyone.len());
        let mut whom = Vec::with_capacity(everyone.len());
        let mut behind = Vec::new();
        for index in everyone {
            let client = &self.clients[*index];
            let Some(stream) = &client.stream else { continue };
            if client.behind.is_empty() {
                sends.push(Send { stream, bytes: event });
                whom.push(*index);
            } else {
                behind.push(*index);
            }
        }
        let mut short = Vec::new();
        self.sender.flush(&sends, &mut short);
        drop(sends);
        for (at, sent) in short {
            let client = &mut self.clients[whom[at]];
            match sent {
                Ok(sent) => client.behind.extend_from_slice(&event[sent..]),
                Err(_) => client.stream = None,
            }
        }
        for index in behind {
            let client = &mut self.clients[index];
            if client.behind.len() < BEHIND_MAX {
                client.behind.extend_from_slice(event);
            }
        }
    }

    /// Offers what did not fit before.
    fn catch_up(&mut self, everyone: &[usize]) {
        for index in everyone {
            let client = &mut self.clients[*index];
            if client.behind.is_empty() {
                continue;
            }
            let Some(stream) = &mut client.stream else {
                client.behind.clear();
                continue;
            };
            match stream.write(&client.behind) {
                Ok(taken) => drop(client.behind.drain(..taken)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => client.stream = None,
            }
        }
    }

    /// One batch of a replay: each ready client gets 100 KB, in turn.
    fn replay_some(&mut self) {
        let batch: Vec<usize> = self.ready.drain(..self.ready.len().min(128)).collect();
        let mut sends = Vec::with_capacity(batch.len());
        let mut whom = Vec::with_capacity(batch.len());
        for index in batch {
            let client = &self.clients[index];
            let end = self.replay.len().min(client.offset + REPLAY_SEND);
            if let (Some(stream), true) = (&client.stream, client.offset < end) {
                sends.push(Send { stream, bytes: &self.replay[client.offset..end] });
                whom.push((index, end));
            }
        }
        let mut short = Vec::new();
        self.sender.flush(&sends, &mut short);
        drop(sends);
        let mut done = vec![true; whom.len()];
        for (at, sent) in short {
            let (index, _) = whom[at];
            done[at] = false;
            let client = &mut self.clients[index];
            match (sent, &client.stream) {
                (Ok(sent), Some(stream)) => {
                    // An offset of 0 means that the replay has not begun.
                    client.offset += sent;
                    if client.offset == 0 {
                        self.ready.push_back(index);
                    } else {
                        self.poller.change(stream, index as u64, Want::Both).unwrap();
                    }
                }
                _ => client.stream = None,
            }
        }
        for ((index, end), done) in whom.into_iter().zip(done) {
            if done {
                self.clients[index].offset = end;
                self.ready.push_back(index);
            }
        }
    }
}
