//! A simulated upstream: event streams with a history, on a server that flaps.
//!
//! It answers in several framings and line ends, cuts at any byte, ends in order, stalls, refuses
//! connects, moves channels, says that it is overloaded; and replays after `Last-Event-ID`.
//!
//! Invariants:
//! 1. It sends each connection what follows the id that was asked for, in order, without a hole.
//! 2. With orders to settle it misbehaves no more, and each channel gets a last event.

use super::Peer;
use super::message::Framing;
use super::message::Message;
use super::pick;
use crate::base::time::Moment;
use crate::io::Remote;
use crate::sim::book::Book;
use crate::sim::faults::Canary;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::verdict::Law;
use std::time::Duration;

/// How an upstream is.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Where it serves.
    pub at: Remote,
    /// The paths of its channels.
    pub paths: Vec<String>,
    /// Whether a reader without an id gets everything.
    pub from_start: bool,
    /// Between two events of a channel, at most.
    pub pause_max: Duration,
    /// Bytes of data, at most.
    pub data_max: usize,
    /// One in so many sends is cut, ends the stream, or is followed by a stall.
    pub flaps: u64,
    /// One in so many requests is not answered with the stream.
    pub refuses: u64,
    /// One in so many of those is refused for good.
    pub forbids: u64,
}

/// A connection of the server's.
#[derive(Debug)]
struct Conversation {
    link: LinkId,
    read: Vec<u8>,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    path: String,
    framing: Framing,
    /// The number of the event that is sent next.
    next: u64,
    /// It says nothing before.
    not_before: Moment,
}

/// An upstream.
#[derive(Debug)]
pub struct Broadcaster {
    manners: Manners,
    conversations: Vec<Conversation>,
    /// When each channel has its next event.
    due: Vec<Moment>,
    /// It refuses connects until then.
    down_until: Option<Moment>,
    serves: bool,
    has_settled: bool,
}

impl Broadcaster {
    /// An upstream that serves from its first step on.
    #[must_use]
    pub fn new(manners: Manners) -> Self {
        Self {
            due: vec![Moment::START; manners.paths.len()],
            manners,
            conversations: Vec::new(),
            down_until: None,
            serves: false,
            has_settled: false,
        }
    }

    /// One in so many, while it may misbehave.
    fn happens(net: &mut Net, one_in: u64) -> bool {
        net.orders == Orders::Work && net.chance.one_in(one_in)
    }

    /// Opens and closes its door.
    fn attend(&mut self, me: usize, net: &mut Net, book: &mut Book) {
        let now = net.now();
        if self.down_until.is_some_and(|until| until <= now || net.orders != Orders::Work) {
            (self.down_until, self.serves) = (None, false);
        }
        if !self.serves && self.down_until.is_none() {
            if self.due.iter().all(|due| *due == Moment::START) {
                for path in &self.manners.paths {
                    book.streams.open(path, self.manners.from_start);
                }
            }
            net.serve(me, self.manners.at.clone());
            self.serves = true;
        }
        while let Some(link) = net.answer(me) {
            self.conversations.push(Conversation { link, read: Vec::new(), stream: None });
        }
    }

    /// Makes the events that are due.
    fn produce(&mut self, net: &mut Net, book: &mut Book) {
        let now = net.now();
        let last = net.orders != Orders::Work && !std::mem::replace(&mut self.has_settled, true);
        if net.orders != Orders::Work && !last {
            return;
        }
        for (path, due) in self.manners.paths.iter().zip(&mut self.due) {
            if *due > now && !last {
                continue;
            }
            let most = if net.chance.one_in(8) { self.manners.data_max } else { 120 };
            book.streams.produce(path, net.below(most.min(self.manners.data_max)));
            *due = now.after(net.span(self.manners.pause_max) + Duration::from_millis(1));
        }
    }

    /// Goes on with a connection; `false`: it is over.
    fn talk(&mut self, at: usize, me: usize, net: &mut Net, book: &mut Book) -> bool {
        let Some(conversation) = self.conversations.get_mut(at) else { return false };
        loop {
            match net.read(conversation.link, usize::MAX, &mut conversation.read) {
                PeerRead::Bytes(_) => {}
                PeerRead::Empty => break,
                PeerRead::End | PeerRead::Reset => {
                    net.hang_up(conversation.link);
                    return false;
                }
            }
        }
        if conversation.stream.is_none() {
            let head = match Message::take(&mut conversation.read) {
                Ok(Some(head)) => head,
                Ok(None) => return true,
                Err(what) => {
                    net.verdict.fail(Law::Upstream, what);
                    return false;
                }
            };
            let link = conversation.link;
            let Some(stream) = self.answer(link, &head, me, net, book) else { return false };
            if let Some(conversation) = self.conversations.get_mut(at) {
                conversation.stream = Some(stream);
            }
        }
        self.stream(at, me, net, book)
    }

    /// Judges a request, and answers it; `None`: not with a stream.
    fn answer(
        &mut self,
        link: LinkId,
        head: &Message,
        me: usize,
        net: &mut Net,
        book: &mut Book,
    ) -> Option<Stream> {
        let (path, after) = match self.judge(head, book) {
            Ok(asked) => asked,
            Err(what) => {
                net.verdict.fail(Law::Upstream, format!("{what}: {head:?}"));
                return None;
            }
        };
        let moved = head.first.contains("?moved");
        if Self::happens(net, self.manners.refuses) {
            self.refuse(link, &path, moved, me, net);
            return None;
        }
        let begun = after.map_or(0, |id| id + u64::from(net.canary == Some(Canary::LostReplay)));
        let from_start = self.manners.from_start || after.is_some();
        let begun = if from_start { begun } else { book.streams.tail(&path) };
        if let Some(other) = book.streams.begin(&path, link, begun)
            && net.is_up(other)
        {
            let what = format!("{path} is asked for on {link:?} while {other:?} is open");
            net.verdict.fail(Law::Upstream, what);
        }
        let framing = pick(net, Framing::Chunked, &[Framing::UntilClose]);
        let kind = pick(net, "text/event-stream", &["text/event-stream; charset=utf-8"]);
        let mut out = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n");
        if framing == Framing::Chunked {
            out.push_str("Transfer-Encoding: chunked\r\n");
        }
        out.push_str("\r\n");
        net.send(link, out.as_bytes());
        if !from_start && begun > 0 {
            // Where a reader stands that has seen nothing yet.
            net.send(link, &framing.piece(format!("id: {begun}\n\n").as_bytes()));
        }
        Some(Stream { path, framing, next: begun + 1, not_before: net.now() })
    }

    /// The channel that is asked for, and the id to go on after.
    fn judge(&self, head: &Message, book: &Book) -> Result<(String, Option<u64>), String> {
        let target = head.first.strip_prefix("GET ").and_then(|r| r.strip_suffix(" HTTP/1.1"));
        let path = target.ok_or("no GET")?.split('?').next().unwrap_or_default();
        if !self.manners.paths.iter().any(|own| own == path) {
            return Err("no channel".into());
        }
        if head.field("accept") != Some("text/event-stream") {
            return Err("no event stream is accepted".into());
        }
        let Some(id) = head.field("last-event-id") else { return Ok((path.to_owned(), None)) };
        let number = id.parse().map_err(|_| "an id that is not of this channel")?;
        if number > book.streams.tail(path) {
            return Err("an id from the future".into());
        }
        Ok((path.to_owned(), Some(number)))
    }

    /// Says that there is no stream, in one way or another.
    fn refuse(&mut self, link: LinkId, path: &str, moved: bool, me: usize, net: &mut Net) {
        let away =
            format!("HTTP/1.1 307 Go\r\nLocation: {path}?moved\r\nContent-Length: 0\r\n\r\n");
        let denied = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
        let answer = match net.below(6) {
            _ if net.chance.one_in(self.manners.forbids) => {
                let answer = pick(net, denied, &["HTTP/1.1 204 No\r\n\r\n"]);
                net.send(link, answer.as_bytes());
                return net.hang_up(link);
            }
            0 => "HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
            1 => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>",
            2 => "HTTP/1.1 200 OK\r\nContent-Ty",
            3 if !moved => &away,
            4 => {
                net.stop_serving(me);
                let until = net.now().after(net.span(Duration::from_millis(500)));
                self.down_until = Some(until);
                ""
            }
            _ => "",
        };
        net.send(link, answer.as_bytes());
        if net.chance.one_in(2) { net.hang_up(link) } else { net.reset(link) }
    }

    /// Sends what a stream has not got; `false`: it is over.
    fn stream(&mut self, at: usize, me: usize, net: &mut Net, book: &mut Book) -> bool {
        let now = net.now();
        let flaps = self.manners.flaps;
        let Some(conversation) = self.conversations.get_mut(at) else { return false };
        let link = conversation.link;
        let Some(stream) = &mut conversation.stream else { return true };
        while stream.not_before <= now || net.orders != Orders::Work {
            let Some(data) = book.streams.data(&stream.path, stream.next) else { return true };
            let wire = stream.framing.piece(&encoded(stream.next, data, net));
            if Self::happens(net, flaps) {
                match net.below(4) {
                    0 => {
                        stream.not_before = now.after(net.span(Duration::from_millis(3000)));
                        return true;
                    }
                    1 => {
                        net.send(link, stream.framing.last());
                        net.hang_up(link);
                    }
                    how => {
                        let cut = net.below(wire.len());
                        net.send(link, wire.get(..cut).unwrap_or_default());
                        if how == 2 {
                            net.hang_up(link)
                        } else {
                            net.reset(link)
                        }
                        if net.chance.one_in(4) {
                            net.stop_serving(me);
                            let span = net.span(Duration::from_millis(800));
                            self.down_until = Some(now.after(span));
                        }
                    }
                }
                return false;
            }
            net.send(link, &wire);
            book.streams.sent(&stream.path, link, stream.next);
            stream.next += 1;
        }
        true
    }

    /// When it has something to do by itself.
    fn next(&self, net: &Net) -> Option<Moment> {
        if net.orders != Orders::Work {
            return None;
        }
        let streams = self.conversations.iter().filter_map(|c| c.stream.as_ref());
        let stalled = streams.map(|stream| stream.not_before).filter(|at| *at > net.now());
        self.due.iter().copied().chain(stalled).chain(self.down_until).min()
    }
}

/// An event on the wire, in some form that an upstream may choose.
fn encoded(number: u64, data: &str, net: &mut Net) -> Vec<u8> {
    let end = pick(net, "\n", &["\r\n", "\r"]);
    let mut out = String::new();
    if net.chance.one_in(4) {
        out.push_str(&format!(": still here{end}"));
    }
    if net.chance.one_in(12) {
        out.push_str(&format!("retry: {}{end}", 20 + net.below(200)));
    }
    out.push_str(&format!("id: {number}{end}"));
    for line in data.split('\n') {
        out.push_str(&format!("data: {line}{end}"));
    }
    out.push_str(end);
    out.into_bytes()
}

impl Peer for Broadcaster {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        self.attend(me, net, book);
        self.produce(net, book);
        let mut at = 0;
        while at < self.conversations.len() {
            if self.talk(at, me, net, book) {
                at += 1;
            } else {
                self.conversations.remove(at);
            }
        }
        self.next(net)
    }

    fn owed(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        None
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        (!self.has_settled).then(|| format!("{:?} has not settled", self.manners.at))
    }

    fn is_gone(&self) -> bool {
        self.conversations.is_empty()
    }
}
