//! One publisher connection: keep-alive, pipelined, paced by due times.
//!
//! Invariants:
//! 1. An event's due time is set by the plan, never by when the server let it through: a server
//!    that stalls makes events late, not rare.
//! 2. Events of one connection are sent in order, so a subscriber may expect them in order.
//! 3. What is not sent some seconds after the plan's time is over is given up and counted, so a
//!    run ends.

use super::answers::Answers;
use crate::base::sync::atomic::AtomicBool;
use crate::base::sync::atomic::AtomicU64;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::cli::bench::payload;
use crate::cli::bench::payload::Record;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plan::Templates;
use crate::cli::bench::plan::encode;
use crate::io::poller::Poller;
use crate::io::poller::Want;
use crate::io::poller::monotonic_nanos;
use std::collections::VecDeque;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// How long answers are waited for after the last publish.
const PATIENCE: u64 = 10_000_000_000;
/// How long after the plan's time events that are late by then are still offered.
const BACKLOG: u64 = 3_000_000_000;
/// Bytes waiting to be written beyond which no further publish is prepared.
const UNWRITTEN_MAX: usize = 256 * 1024;

/// What publishers share with the coordinator. Relaxed: each word stands for itself.
#[derive(Debug, Default)]
pub struct Pace {
    /// When event 0 is due, in monotonic nanoseconds.
    pub start: AtomicU64,
    /// Answers so far.
    pub answered: AtomicU64,
    /// Give up what is not sent.
    pub stop: AtomicBool,
}

/// What a connection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Events sent.
    pub sent: u64,
    /// Events answered, in any way. Those behind were sent, but nobody knows what became of them.
    pub answered: u64,
    /// Answers with a status of 200 to 299.
    pub accepted: u64,
    /// Events that were sent and not accepted.
    pub refused: u64,
    /// Events due and never sent, because the server did not keep up.
    pub unsent: u64,
    /// Due time and time of the answer, of each accepted event.
    pub answers: Vec<(u64, u64)>,
    /// The first answer that was not an acceptance.
    pub refusal: Option<String>,
    /// Body of the last answer.
    pub body: Vec<u8>,
}

/// A publisher connection.
#[derive(Debug)]
pub struct Publisher<'a> {
    plan: &'a Plan,
    templates: &'a Templates,
    pace: &'a Pace,
    stream: TcpStream,
    poller: Poller,
    /// The number of the next event.
    next: u64,
    unwritten: Vec<u8>,
    /// Due times of publishes without an answer.
    open: VecDeque<u64>,
    answers: Answers,
    result: Published,
    scratch: (Vec<u8>, Vec<u8>),
}

impl<'a> Publisher<'a> {
    /// Connects. `lane` is the connection's number, which events `g` ≡ `lane` travel on.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(
        plan: &'a Plan,
        templates: &'a Templates,
        pace: &'a Pace,
        lane: u32,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&plan.publish_at, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let poller = Poller::new(4)?;
        poller.add(&stream, 0, Want::Read)?;
        Ok(Self {
            plan,
            templates,
            pace,
            stream,
            poller,
            next: u64::from(lane),
            unwritten: Vec::new(),
            open: VecDeque::new(),
            answers: Answers::default(),
            result: Published::default(),
            scratch: (Vec::new(), Vec::new()),
        })
    }

    /// Publishes what the plan says and waits for the answers.
    ///
    /// # Errors
    /// The poller is broken, or the answers cannot be understood.
    pub fn run(mut self) -> anyhow::Result<Published> {
        let start = self.pace.start.load(Relaxed);
        let over = self.plan.due(start, self.plan.events).map(|end| end.saturating_add(BACKLOG));
        let mut found = Vec::new();
        let mut patience = u64::MAX;
        loop {
            let now = monotonic_nanos();
            self.prepare(start, now);
            let mut whole = self.write()?;
            whole &= self.read()?;
            let done = self.next >= self.plan.events
                || self.pace.stop.load(Relaxed)
                || over.is_some_and(|over| now >= over);
            if done && patience == u64::MAX {
                patience = now.saturating_add(PATIENCE);
            }
            if !whole || (done && self.open.is_empty()) || now >= patience {
                break;
            }
            let wait = self.wait(start, now, done);
            let want = if self.unwritten.is_empty() { Want::Read } else { Want::Both };
            self.poller.change(&self.stream, 0, want)?;
            found.clear();
            self.poller.wait(wait, &mut found)?;
        }
        self.result.refused += self.open.len() as u64;
        let step = u64::from(self.plan.publishers.max(1));
        self.result.unsent = self.plan.events.saturating_sub(self.next).div_ceil(step);
        Ok(self.result)
    }

    /// How long nothing can happen but an answer.
    fn wait(&self, start: u64, now: u64, done: bool) -> Duration {
        let idle = Duration::from_millis(20);
        if done || self.open.len() >= self.plan.pipeline || self.unwritten.len() >= UNWRITTEN_MAX {
            return idle;
        }
        let due = self.plan.due(start, self.next).unwrap_or(0);
        Duration::from_nanos(due.saturating_sub(now)).min(idle)
    }

    /// Writes the requests that are due into `unwritten`, as far as the pipeline has room.
    fn prepare(&mut self, start: u64, now: u64) {
        while self.next < self.plan.events
            && self.open.len() < self.plan.pipeline
            && self.unwritten.len() < UNWRITTEN_MAX
            && !self.pace.stop.load(Relaxed)
        {
            let due = self.plan.due(start, self.next).unwrap_or_else(|| now.max(start));
            if due > now {
                return;
            }
            self.append_request(due);
            self.open.push_back(due);
            self.result.sent += 1;
            self.next += u64::from(self.plan.publishers.max(1));
        }
    }

    fn append_request(&mut self, due: u64) {
        let (plan, templates, number) = (self.plan, self.templates, self.next);
        let (data, body) = &mut self.scratch;
        data.clear();
        payload::append(plan.run, Record { number, due }, plan.size, data);
        let turn = (number % plan.topic_count.max(1)).to_string();
        let topic = encode(&templates.publish_topic.with(&[("t", &turn)]));
        let fill = |name: &str, out: &mut Vec<u8>| match name {
            "data" => out.extend_from_slice(data),
            "topic" => out.extend_from_slice(topic.as_bytes()),
            "t" => out.extend_from_slice(turn.as_bytes()),
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        };
        body.clear();
        templates.body.fill(body, fill);
        let out = &mut self.unwritten;
        out.extend_from_slice(b"POST ");
        templates.publish_target.fill(out, fill);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(plan.publish_host.as_bytes());
        for header in &plan.publish_headers {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(header.as_bytes());
        }
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    }

    /// Writes as much as the socket takes; `false` if the connection has ended.
    fn write(&mut self) -> io::Result<bool> {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(taken) => drop(self.unwritten.drain(..taken)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return self.broken(&cause.to_string()),
            }
        }
        Ok(true)
    }

    /// Reads answers; `false` if the connection has ended.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Ok(self.broken("the server closed the publisher's connection")?),
            Ok(fresh) => self.answers.append(buffer.get(..fresh).unwrap_or_default()),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                return Ok(true);
            }
            Err(cause) => return Ok(self.broken(&cause.to_string())?),
        }
        let now = monotonic_nanos();
        while let Some(answer) = self.answers.poll()? {
            let Some(due) = self.open.pop_front() else { continue };
            self.pace.answered.fetch_add(1, Relaxed);
            self.result.answered += 1;
            if (200..300).contains(&answer.status) {
                self.result.accepted += 1;
                self.result.answers.push((due, now));
            } else {
                self.result.refused += 1;
                let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
                let refusal = &mut self.result.refusal;
                refusal.get_or_insert_with(|| format!("status {}: {text}", answer.status));
            }
            self.result.body = answer.body;
        }
        Ok(true)
    }

    /// The connection has ended: with publishes open they are lost and the run is over for it; with
    /// none open (servers limit the requests of a connection) a new one takes its place.
    fn broken(&mut self, cause: &str) -> io::Result<bool> {
        if !self.open.is_empty() {
            self.result.refusal.get_or_insert_with(|| cause.to_owned());
            return Ok(false);
        }
        if self.next >= self.plan.events {
            return Ok(false);
        }
        self.stream = TcpStream::connect_timeout(&self.plan.publish_at, Duration::from_secs(10))?;
        self.stream.set_nodelay(true)?;
        self.stream.set_nonblocking(true)?;
        self.poller.add(&self.stream, 0, Want::Read)?;
        self.answers.clear();
        self.unwritten.clear();
        Ok(true)
    }
}
