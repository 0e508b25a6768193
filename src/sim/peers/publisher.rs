//! A simulated publisher: posts over keep-alive connections, and checks every answer.
//!
//! Invariants: a post whose answer was lost is not repeated: whether it is in the log is open.

use super::Peer;
use super::encoded;
use super::response::Head;
use crate::base::time::Moment;
use crate::sim::book::Book;
use crate::sim::book::Post;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::verdict::Law;
use std::fmt::Write;
use std::time::Duration;

/// What a publisher does.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Its name in marks and ids; no other publisher has it.
    pub name: String,
    /// The topics it publishes to; one to three of them per post.
    pub topics: Vec<String>,
    /// Between two posts, at most.
    pub pause_max: Duration,
    /// Bytes of data, at most.
    pub data_max: usize,
    /// One post in so many is private.
    pub private: u64,
    /// One post in so many is followed by a burst of ten.
    pub burst: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Requests were sent, oldest first; their answers are awaited.
    Waiting {
        link: LinkId,
        posts: Vec<Post>,
        read: Vec<u8>,
    },
    /// Connected, nothing asked.
    Open {
        link: LinkId,
    },
}

/// A publisher.
#[derive(Debug)]
pub struct Publisher {
    habits: Habits,
    state: State,
    next: Moment,
    count: u64,
    burst: u32,
}

impl Publisher {
    /// A publisher that is not connected yet.
    #[must_use]
    pub fn new(habits: Habits) -> Self {
        Self { habits, state: State::Idle, next: Moment::START, count: 0, burst: 0 }
    }

    fn compose(&mut self, net: &mut Net) -> Post {
        self.count += 1;
        let count = self.count;
        let first = net.below(self.habits.topics.len());
        let many = 1 + net.below(3);
        let mut topics: Vec<String> =
            self.habits.topics.iter().cycle().skip(first).take(many).cloned().collect();
        topics.dedup();
        let mut data = format!("{}-{count} ", self.habits.name);
        let most = if net.chance.one_in(8) { self.habits.data_max } else { 120 };
        for n in 0..net.below(most.min(self.habits.data_max)) {
            data.push(if n % 61 == 60 { '\n' } else { 'x' });
        }
        let id = net.chance.one_in(3).then(|| format!("id/{}-{count}", self.habits.name));
        Post { topics, private: net.chance.one_in(self.habits.private), id, data }
    }

    fn post(&mut self, link: LinkId, net: &mut Net, book: &mut Book) -> State {
        let many = if net.chance.one_in(5) { 1 + net.below(3) } else { 1 };
        let posts: Vec<Post> = (0..many).map(|_| self.compose(net)).collect();
        for post in &posts {
            book.posted(post.clone());
            let bytes = request(post, net.chance.one_in(4));
            net.send(link, bytes.as_bytes());
        }
        State::Waiting { link, posts, read: Vec::new() }
    }

    /// Sets when it posts next.
    fn rest(&mut self, net: &mut Net) {
        if self.burst == 0 && net.chance.one_in(self.habits.burst) {
            self.burst = 10;
        }
        self.burst = self.burst.saturating_sub(1);
        let pause = if self.burst > 0 { Duration::ZERO } else { net.span(self.habits.pause_max) };
        self.next = net.now().after(pause);
    }
}

impl Peer for Publisher {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        let now = net.now();
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Waiting { link, mut posts, mut read } => {
                let more = net.read(link, usize::MAX, &mut read);
                while let Some(result) = answer(&mut read) {
                    check(result, posts.first(), net, book);
                    if posts.is_empty() {
                        break;
                    }
                    posts.remove(0);
                }
                if matches!(more, PeerRead::End | PeerRead::Reset) || net.orders == Orders::Leave {
                    net.hang_up(link);
                    self.rest(net);
                } else if posts.is_empty() {
                    self.rest(net);
                    self.state = State::Open { link };
                } else {
                    self.state = State::Waiting { link, posts, read };
                    // What was read may have hidden the end behind it.
                    return (more != PeerRead::Empty).then_some(now);
                }
            }
            State::Open { link } => {
                let mut read = Vec::new();
                let news = net.read(link, usize::MAX, &mut read) != PeerRead::Empty;
                if news || net.orders != Orders::Work {
                    net.hang_up(link);
                } else if now >= self.next {
                    self.state = self.post(link, net, book);
                } else {
                    self.state = State::Open { link };
                }
            }
            State::Idle if net.orders != Orders::Work => return None,
            State::Idle if now >= self.next => match net.connect(me) {
                Some(link) => self.state = self.post(link, net, book),
                None => self.next = now.after(Duration::from_millis(50)),
            },
            State::Idle => {}
        }
        (net.orders == Orders::Work).then_some(self.next.max(now))
    }

    fn owed(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        let State::Waiting { link, posts, .. } = &self.state else { return None };
        Some((*link, format!("{} has no answer to {} posts", self.habits.name, posts.len())))
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        let State::Waiting { posts, .. } = &self.state else { return None };
        Some(format!("{} waits for {} answers", self.habits.name, posts.len()))
    }

    fn is_gone(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}

/// The answer to a publish, taken from the front: status and body.
fn answer(read: &mut Vec<u8>) -> Option<Result<(u16, String), String>> {
    let mut rest = read.clone();
    let head = match Head::take(&mut rest) {
        Ok(head) => head?,
        Err(what) => return Some(Err(what)),
    };
    let Some(length) = head.length() else { return Some(Err("no content-length".to_owned())) };
    let body = rest.get(..length)?.to_vec();
    rest.drain(..length);
    *read = rest;
    Some(String::from_utf8(body).map(|body| (head.status, body)).map_err(|e| e.to_string()))
}

fn check(
    result: Result<(u16, String), String>,
    post: Option<&Post>,
    net: &mut Net,
    book: &mut Book,
) {
    match (result, post) {
        (Ok((200, id)), Some(post)) => book.answered(&post.data, &id, &mut net.verdict),
        // Refused for want of room or time: it must not be in the log, which the end checks.
        (Ok((503 | 408, _)), Some(_)) => {}
        (other, post) => {
            let what = format!("{other:?} answers {:?}", post.map(|post| &post.data));
            net.verdict.fail(Law::Publish, what);
        }
    }
}

/// The request that publishes.
fn request(post: &Post, chunked: bool) -> String {
    let mut body = String::new();
    for topic in &post.topics {
        let _ = write!(body, "topic={}&", encoded(topic));
    }
    if post.private {
        body.push_str("private=on&");
    }
    if let Some(id) = &post.id {
        let _ = write!(body, "id={}&", encoded(id));
    }
    let _ = write!(body, "data={}", encoded(&post.data));
    let mut out = "POST /.well-known/mercure HTTP/1.1\r\nHost: hub\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n"
        .to_owned();
    if chunked {
        let (head, tail) = body.split_at(body.len() / 3);
        out.push_str("Transfer-Encoding: chunked\r\n\r\n");
        for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
            let _ = write!(out, "{:x}\r\n{part}\r\n", part.len());
        }
        out.push_str("0\r\n\r\n");
    } else {
        let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
    }
    out
}
