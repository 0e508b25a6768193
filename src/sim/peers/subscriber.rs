//! A simulated subscriber: an event-stream client that misbehaves, comes back, and misses nothing.
//!
//! Invariants:
//! 1. What it gets is judged event by event against the book: exactly its events, in order, once,
//!    or an announced gap ([`Place`]).
//! 2. It resumes from the last id that it saw, like `EventSource`.

use super::Peer;
use super::encoded;
use super::reading::Found;
use super::reading::Reading;
use super::response::Head;
use crate::base::time::Moment;
use crate::config::LagPolicy;
use crate::sim::book::Book;
use crate::sim::faults::Canary;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::place::Place;
use crate::sim::place::Wish;
use crate::sim::verdict::Law;
use std::time::Duration;

/// How a subscriber behaves while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Reads everything at once.
    Steady,
    /// Reads a little now and then.
    Slow,
    /// Stops reading for a while, also in the middle of an event.
    Stalling,
    /// Is gone without a word now and then, and comes back.
    Vanishing,
}

/// What a subscriber does.
#[derive(Clone, Debug)]
pub struct Taste {
    /// Its name in failures.
    pub name: String,
    /// What it reads.
    pub wish: Wish,
    /// How it behaves.
    pub manner: Manner,
    /// Whether it starts with everything that is kept.
    pub earliest: bool,
    /// The hub's lag policy: what a gap announces.
    pub policy: LagPolicy,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The rest of the request is still to be sent.
    Asking {
        link: LinkId,
        request: String,
    },
    /// The head is awaited. `low`: nothing up to there may come (without a cursor).
    Awaiting {
        link: LinkId,
        low: u64,
        read: Vec<u8>,
    },
    Reading(Reading),
}

/// A subscriber.
#[derive(Debug)]
pub struct Subscriber {
    taste: Taste,
    state: State,
    /// It does nothing before.
    not_before: Moment,
    /// It vanishes at.
    until: Option<Moment>,
    place: Option<Place>,
    /// What it asks to resume from.
    cursor: Option<String>,
    /// Events seen.
    events: u64,
}

impl Subscriber {
    /// A subscriber that is not connected yet.
    #[must_use]
    pub fn new(taste: Taste) -> Self {
        let cursor = taste.earliest.then(|| "earliest".to_owned());
        Self {
            taste,
            state: State::Idle,
            not_before: Moment::START,
            until: None,
            place: None,
            cursor,
            events: 0,
        }
    }

    fn fail(&self, net: &mut Net, what: impl std::fmt::Display) {
        net.verdict.fail(Law::Delivery, format!("{}: {what}", self.taste.name));
    }

    /// The id that goes over the wire: a planted bug sends a neighbour's.
    fn asked(&self, net: &Net, book: &Book) -> Option<String> {
        let own = self.cursor.clone()?;
        let seq = book.position(&own);
        let other = match (net.canary, seq) {
            (Some(Canary::DoubledSeam), Some(seq)) => seq.checked_sub(1),
            (Some(Canary::LostSeam), Some(seq)) => Some(seq + 1).filter(|s| *s <= book.tail()),
            _ => None,
        };
        Some(other.and_then(|seq| book.made_id(seq)).unwrap_or(own))
    }

    fn connect(&mut self, me: usize, net: &mut Net, book: &Book) -> Option<Moment> {
        let Some(link) = net.connect(me) else {
            return Some(net.now().after(Duration::from_millis(20)));
        };
        let mut query: Vec<String> =
            self.taste.wish.topics.iter().map(|t| format!("topic={}", encoded(t))).collect();
        if query.is_empty() {
            query.push("topic=*".to_owned());
        }
        let mut header = String::new();
        if let Some(id) = self.asked(net, book) {
            if net.chance.one_in(3) {
                query.push(format!("lastEventID={}", encoded(&id)));
            } else {
                header = format!("Last-Event-ID: {id}\r\n");
            }
        }
        let request = format!(
            "GET /.well-known/mercure?{} HTTP/1.1\r\nHost: hub\r\n{header}\r\n",
            query.join("&")
        );
        self.until = None;
        if self.taste.manner == Manner::Vanishing {
            self.until = Some(net.now().after(net.span(Duration::from_millis(400))));
        }
        self.state = State::Asking { link, request };
        Some(net.now())
    }

    fn ask(&mut self, link: LinkId, request: &str, net: &mut Net, book: &Book) -> Option<Moment> {
        let part = if net.chance.one_in(2) { net.below(request.len()) } else { request.len() };
        let (part, rest) = request.split_at(part);
        net.send(link, part.as_bytes());
        if rest.is_empty() {
            let low = if self.cursor.is_some() { book.before_head() } else { book.tail() };
            self.state = State::Awaiting { link, low, read: Vec::new() };
            // The end may have come while it was asking.
            return Some(net.now());
        }
        self.state = State::Asking { link, request: rest.to_owned() };
        Some(net.now().after(net.span(Duration::from_millis(10))))
    }

    fn head(&mut self, head: &Head, low: u64, net: &mut Net, book: &Book) -> bool {
        // A leap of the clock ends the time for a head that came in pieces.
        if head.status >= 500 || head.status == 408 {
            return false;
        }
        if head.status != 200 || head.field("content-type") != Some("text/event-stream") {
            self.fail(net, format!("was answered {head:?}"));
            return false;
        }
        let told = head.field("last-event-id");
        match self.cursor.as_deref() {
            // Without a cursor nothing is owed for the time between two connections.
            None => self.place = Some(Place::Between { low, high: book.tail() }),
            Some("earliest") => {
                self.place = Some(Place::Between { low, high: book.before_head() });
            }
            Some(id) => {
                let Some(seq) = book.seq(id) else { return true };
                let planted = net.canary.is_some();
                if told == Some("earliest") {
                    // A gap: the notice in band must say where the stream goes on.
                    // A made id is a position; another id is known while its event is kept.
                    let made = u64::from(book.position(id).is_some());
                    if book.before_head() < seq + made && !planted {
                        self.fail(net, format!("{id} is known, and a gap was told"));
                    }
                } else if told != Some(id) && !planted {
                    self.fail(net, format!("asked for {id}, and the head says {told:?}"));
                } else {
                    self.place = Some(Place::At(seq));
                }
            }
        }
        true
    }

    /// A gap was announced: everything before its `to` is excused.
    fn gap(&mut self, notice: &str, net: &mut Net, book: &Book) {
        let to = notice.split("\"to\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(seq) = to.and_then(|to| book.position(to)) else {
            return self.fail(net, format!("a gap to nowhere: {notice}"));
        };
        let lagged = notice.contains("\"reason\":\"lag\"");
        let place = self.place.unwrap_or(Place::At(0));
        if lagged && self.taste.policy == LagPolicy::Latest {
            if place.must(&self.taste.wish, book).is_some_and(|must| must <= seq) {
                self.fail(net, format!("conflated to {seq}, and it was at {place:?}"));
            }
            self.place = Some(Place::Newest { after: seq, upto: None });
            return;
        }
        if lagged && self.taste.policy == LagPolicy::Close {
            self.fail(net, "a lag gap although the policy is to close");
        }
        if let Place::Newest { upto, .. } = place {
            // What expired is missing among the newest too; the rest is still one of each topic.
            self.place = Some(Place::Newest { after: seq, upto });
            return;
        }
        if let Place::At(at) = place
            && seq < at
        {
            self.fail(net, format!("a gap back to {seq} from {at}"));
        }
        self.place = Some(Place::At(seq));
    }

    fn event(&mut self, id: &str, data: &str, net: &mut Net, book: &Book) {
        self.events += 1;
        let place = self.place.unwrap_or(Place::At(0));
        let Some(seq) = book.seq(id) else {
            return self.fail(net, format!("an event with the unknown id {id:?}"));
        };
        if book.event(seq).is_none_or(|known| known.post.data != data || known.id != id) {
            return self.fail(net, format!("event {seq} came with other data: {data:.60?}"));
        }
        let place = match place {
            // Everything kept is what is kept when the first page is made.
            Place::Between { low, high } if self.cursor.as_deref() == Some("earliest") => {
                Place::Between { low, high: high.max(book.before_head()) }
            }
            place => place,
        };
        match place.accept(seq, &self.taste.wish, book) {
            Ok(place) => self.place = Some(place),
            Err(what) => self.fail(net, what),
        }
        self.cursor = Some(id.to_owned());
    }

    fn bytes(&mut self, stream: &mut Reading, bytes: &[u8], net: &mut Net, book: &Book) {
        let found = match stream.take(bytes) {
            Ok(found) => found,
            Err(what) => return self.fail(net, what),
        };
        for found in found {
            match found {
                Found::Comment(text) if text.starts_with("gap ") => self.gap(&text, net, book),
                Found::Comment(_) => {}
                // Its comment came before it; it moves the cursor, as in any client.
                Found::Event { kind, id, .. } if kind == "gap" => self.cursor = Some(id),
                Found::Event { id, data, .. } => self.event(&id, &data, net, book),
            }
        }
    }

    fn ended(&mut self, stream: &Reading, how: &PeerRead, net: &mut Net, book: &Book) {
        net.hang_up(stream.link);
        if net.orders != Orders::Drain || *how != PeerRead::End {
            return;
        }
        let owed = self.place.and_then(|place| place.must(&self.taste.wish, book));
        if let (Some(seq), true) = (owed, net.faults.is_healed()) {
            let what = format!("{} was closed before event {seq}", self.taste.name);
            net.verdict.fail(Law::Drain, what);
        }
        if let Some(what) = stream.unfinished() {
            net.verdict.fail(Law::Drain, format!("{} {what}", self.taste.name));
        }
    }

    fn read(&mut self, mut stream: Reading, net: &mut Net, book: &Book) -> Option<Moment> {
        let manner = if net.orders == Orders::Work { self.taste.manner } else { Manner::Steady };
        let mut read = Vec::new();
        let most = match manner {
            Manner::Slow => 1 + net.below(200),
            Manner::Stalling => 1 + net.below(600),
            _ => usize::MAX,
        };
        let how = net.read(stream.link, most, &mut read);
        self.bytes(&mut stream, &read, net, book);
        if matches!(how, PeerRead::End | PeerRead::Reset) {
            self.ended(&stream, &how, net, book);
            self.not_before = net.now().after(net.span(Duration::from_millis(100)));
            return Some(self.not_before);
        }
        self.state = State::Reading(stream);
        match manner {
            Manner::Slow => {
                self.not_before = net.now().after(net.span(Duration::from_millis(40)));
            }
            Manner::Stalling if net.chance.one_in(6) => {
                self.not_before = net.now().after(net.span(Duration::from_millis(1500)));
            }
            _ => {}
        }
        if how == PeerRead::Empty { self.until } else { Some(self.not_before.max(net.now())) }
    }

    fn leave(&mut self, net: &mut Net) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        if let State::Asking { link, .. }
        | State::Awaiting { link, .. }
        | State::Reading(Reading { link, .. }) = state
        {
            if net.chance.one_in(2) { net.hang_up(link) } else { net.reset(link) }
        }
    }
}

impl Peer for Subscriber {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        let now = net.now();
        if net.orders == Orders::Leave {
            self.leave(net);
            return None;
        }
        if net.orders != Orders::Work {
            (self.until, self.not_before) = (None, self.not_before.min(now));
        }
        if now < self.not_before {
            return Some(self.not_before);
        }
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.leave(net);
            self.not_before = now.after(net.span(Duration::from_millis(200)));
            return Some(self.not_before);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if net.orders == Orders::Drain => None,
            State::Idle => self.connect(me, net, book),
            State::Asking { link, request } => self.ask(link, &request, net, book),
            State::Awaiting { link, low, mut read } => {
                let how = net.read(link, usize::MAX, &mut read);
                match Head::take(&mut read) {
                    Ok(Some(head)) if self.head(&head, low, net, book) => {
                        let mut stream = Reading::new(link);
                        self.bytes(&mut stream, &read, net, book);
                        self.state = State::Reading(stream);
                        Some(now)
                    }
                    Ok(None) if !matches!(how, PeerRead::End | PeerRead::Reset) => {
                        self.state = State::Awaiting { link, low, read };
                        self.until
                    }
                    Ok(_) => {
                        net.hang_up(link);
                        self.not_before = now.after(net.span(Duration::from_millis(100)));
                        Some(self.not_before)
                    }
                    Err(what) => {
                        self.fail(net, what);
                        None
                    }
                }
            }
            State::Reading(stream) => self.read(stream, net, book),
        }
    }

    fn owed(&self, _: &Net, book: &Book) -> Option<(LinkId, String)> {
        let name = &self.taste.name;
        match &self.state {
            State::Awaiting { link, .. } => Some((*link, format!("{name} has no answer"))),
            State::Reading(stream) => {
                let must = self.place?.must(&self.taste.wish, book)?;
                let (place, wish) = (self.place, &self.taste.wish);
                let what = format!("{name} has not got event {must}; {place:?}, {wish:?}");
                Some((stream.link, what))
            }
            _ => None,
        }
    }

    fn unsettled(&self, book: &Book) -> Option<String> {
        let name = &self.taste.name;
        let State::Reading(_) = &self.state else { return Some(format!("{name} has no stream")) };
        let must = self.place.and_then(|place| place.must(&self.taste.wish, book))?;
        Some(format!("{name} has not got event {must} of {}", book.tail()))
    }

    fn is_gone(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}
