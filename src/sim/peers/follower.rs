//! A simulated client of shared upstream streams: it misbehaves, comes back, and misses nothing.
//!
//! Invariants:
//! 1. Of each channel it gets event after event, none twice and none left out, or an announced
//!    gap. Where it starts without an id, it gets all that is new, and what came before is open.
//! 2. It resumes from the last id that it saw, like `EventSource`, whatever it is answered.

use super::Peer;
use super::reading::Found;
use super::reading::Reading;
use super::response::Head;
use super::subscriber::Manner;
use crate::base::time::Moment;
use crate::sim::book::Book;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::verdict::Law;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a follower does.
#[derive(Clone, Debug)]
pub struct Pursuit {
    /// Its name in failures.
    pub name: String,
    /// What it asks the server for.
    pub target: String,
    /// The paths of its channels at the upstream.
    pub paths: Vec<String>,
    /// Whether channels are merged: ids are the server's, types have the channel's name before.
    pub merged: bool,
    /// How it behaves.
    pub manner: Manner,
    /// No gap may be announced: every stream stays open, and its history is large enough.
    pub strict: bool,
    /// An event that the server has read must be passed on at once: its log always has room.
    pub prompt: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The head is awaited.
    Awaiting {
        link: LinkId,
        read: Vec<u8>,
    },
    Reading(Reading),
}

/// Where it stands in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It has had everything up to here.
    At(u64),
    /// It started somewhere, or was told of a gap, and has had nothing after `last` since.
    Loose {
        last: u64,
        /// What is not after this may be missing.
        bound: u64,
        /// What comes first may be anything: its upstream began when it liked.
        anywhere: bool,
    },
}

impl Stand {
    /// Where it stands after this event; `None`: others had to come before, or it came before.
    fn accept(self, number: u64) -> Option<Self> {
        let (last, loose) = match self {
            Self::At(last) => (last, None),
            Self::Loose { last, bound, anywhere } => (last, Some((bound, anywhere))),
        };
        let excused = loose.is_some_and(|(bound, anywhere)| number <= bound + 1 || anywhere);
        let is_next = number == last + 1 || (number > last && excused);
        is_next.then_some(match loose {
            Some((bound, _)) if number < bound => {
                Self::Loose { last: number, bound, anywhere: false }
            }
            _ => Self::At(number),
        })
    }
}

/// A follower.
#[derive(Debug)]
pub struct Follower {
    pursuit: Pursuit,
    state: State,
    /// It does nothing before.
    not_before: Moment,
    /// It vanishes at.
    until: Option<Moment>,
    stands: BTreeMap<String, Stand>,
    /// What it asks to resume from.
    cursor: Option<String>,
}

impl Follower {
    /// A follower that is not connected yet.
    #[must_use]
    pub fn new(pursuit: Pursuit) -> Self {
        Self {
            pursuit,
            state: State::Idle,
            not_before: Moment::START,
            until: None,
            stands: BTreeMap::new(),
            cursor: None,
        }
    }

    fn fail(&self, net: &mut Net, what: impl std::fmt::Display) {
        net.verdict.fail(Law::Delivery, format!("{}: {what}", self.pursuit.name));
    }

    fn connect(&mut self, me: usize, net: &mut Net) -> Option<Moment> {
        let Some(link) = net.connect(me) else {
            return Some(net.now().after(Duration::from_millis(20)));
        };
        let mut request = format!("GET {} HTTP/1.1\r\nHost: gate\r\n", self.pursuit.target);
        if let Some(id) = &self.cursor {
            request.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        request.push_str("Accept: text/event-stream\r\n\r\n");
        net.send(link, request.as_bytes());
        self.until = (self.pursuit.manner == Manner::Vanishing)
            .then(|| net.now().after(net.span(Duration::from_millis(700))));
        self.state = State::Awaiting { link, read: Vec::new() };
        Some(net.now())
    }

    /// Everything from now on must come; what there was before may be missing.
    fn start_anywhere(&mut self, book: &Book) {
        for path in &self.pursuit.paths {
            let (bound, anywhere) = (book.streams.tail(path), !book.streams.is_from_start(path));
            self.stands.insert(path.clone(), Stand::Loose { last: 0, bound, anywhere });
        }
    }

    /// Whether a stream follows.
    fn head(&mut self, head: &Head, net: &mut Net, book: &Book) -> bool {
        match (head.status, head.field("content-type")) {
            (200, Some("text/event-stream")) => {}
            // A leap of the clock ends the time for a head; an upstream may refuse for good.
            (408, _) => return false,
            (204 | 403, _) if !self.pursuit.strict && !self.pursuit.merged => return false,
            _ => {
                self.fail(net, format!("was answered {head:?}"));
                return false;
            }
        }
        if self.cursor.is_none() {
            self.start_anywhere(book);
        }
        true
    }

    fn bytes(&mut self, stream: &mut Reading, bytes: &[u8], net: &mut Net, book: &Book) {
        let found = match stream.take(bytes) {
            Ok(found) => found,
            Err(what) => return self.fail(net, what),
        };
        for found in found {
            match found {
                Found::Comment(text) if text.starts_with("gap ") => {
                    if self.pursuit.strict {
                        self.fail(net, format!("is told of a {text}"));
                    }
                    self.start_anywhere(book);
                }
                Found::Comment(_) => {}
                Found::Event { kind, id, data } => self.event(&kind, &id, &data, net, book),
            }
        }
    }

    fn event(&mut self, kind: &str, id: &str, data: &str, net: &mut Net, book: &Book) {
        let Some((path, number)) = book.streams.find(data) else {
            return self.fail(net, format!("got what no upstream sent: {data:.60?}"));
        };
        let Some(stand) = self.stands.get_mut(path) else {
            return self.fail(net, format!("got an event of {path}, which it does not follow"));
        };
        let before = *stand;
        match before.accept(number) {
            // Where nothing may be missing, nothing is after the first.
            Some(_) if self.pursuit.strict => *stand = Stand::At(number),
            Some(after) => *stand = after,
            None => {
                let what = format!("got event {number} of {path}, and was at {before:?}");
                return self.fail(net, what);
            }
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let (own_id, own_kind) = if self.pursuit.merged {
            (id.starts_with("urn:tide:"), kind == format!("{name}:message"))
        } else {
            (id.parse() == Ok(number), kind == "message")
        };
        if !own_id || !own_kind {
            self.fail(net, format!("got event {number} of {path} as {kind:?} with id {id:?}"));
        }
        self.cursor = Some(id.to_owned());
    }

    fn read(&mut self, mut stream: Reading, net: &mut Net, book: &Book) -> Option<Moment> {
        let manner = if net.orders == Orders::Work { self.pursuit.manner } else { Manner::Steady };
        let most = match manner {
            Manner::Slow => 1 + net.below(200),
            Manner::Stalling => 1 + net.below(600),
            Manner::Steady | Manner::Vanishing => usize::MAX,
        };
        let mut read = Vec::new();
        let how = net.read(stream.link, most, &mut read);
        self.bytes(&mut stream, &read, net, book);
        if matches!(how, PeerRead::End | PeerRead::Reset) {
            net.hang_up(stream.link);
            if let Some(what) = stream.unfinished()
                && net.orders == Orders::Drain
                && how == PeerRead::End
            {
                net.verdict.fail(Law::Drain, format!("{} {what}", self.pursuit.name));
            }
            return self.rest(net);
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

    /// It comes back a little later.
    fn rest(&mut self, net: &mut Net) -> Option<Moment> {
        self.not_before = net.now().after(net.span(Duration::from_millis(300)));
        Some(self.not_before)
    }

    fn leave(&mut self, net: &mut Net) {
        if let State::Awaiting { link, .. } | State::Reading(Reading { link, .. }) =
            std::mem::replace(&mut self.state, State::Idle)
        {
            if net.chance.one_in(2) { net.hang_up(link) } else { net.reset(link) }
        }
    }

    /// A channel of which it has not had this event.
    fn missing(&self, upto: impl Fn(&str) -> Option<u64>) -> Option<(&str, u64)> {
        self.stands.iter().find_map(|(path, stand)| {
            let upto = upto(path)?;
            let has = match *stand {
                Stand::At(last) => last,
                Stand::Loose { anywhere: true, .. } => return None,
                Stand::Loose { last, bound, .. } => last.max(bound),
            };
            (has < upto).then_some((path.as_str(), upto))
        })
    }
}

impl Peer for Follower {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        let now = net.now();
        if net.orders == Orders::Leave {
            self.leave(net);
            return None;
        }
        if net.orders != Orders::Work {
            self.until = None;
            if !matches!(self.state, State::Idle) {
                self.not_before = self.not_before.min(now);
            }
        }
        if now < self.not_before {
            return Some(self.not_before);
        }
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.leave(net);
            return self.rest(net);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if net.orders == Orders::Drain => None,
            State::Idle => self.connect(me, net),
            State::Awaiting { link, mut read } => {
                let how = net.read(link, usize::MAX, &mut read);
                match Head::take(&mut read) {
                    Ok(Some(head)) if self.head(&head, net, book) => {
                        let mut stream = Reading::new(link);
                        self.bytes(&mut stream, &read, net, book);
                        self.state = State::Reading(stream);
                        Some(now)
                    }
                    Ok(None) if !matches!(how, PeerRead::End | PeerRead::Reset) => {
                        self.state = State::Awaiting { link, read };
                        // What was read may have hidden the end behind it.
                        if how == PeerRead::Empty { self.until } else { Some(now) }
                    }
                    Ok(_) => {
                        net.hang_up(link);
                        self.rest(net)
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

    fn owed(&self, net: &Net, book: &Book) -> Option<(LinkId, String)> {
        let name = &self.pursuit.name;
        match &self.state {
            State::Awaiting { link, .. } => Some((*link, format!("{name} has no answer"))),
            State::Reading(stream) if self.pursuit.prompt => {
                let (path, number) = self.missing(|path| book.streams.taken(path, net))?;
                Some((stream.link, format!("{name} has not got event {number} of {path}")))
            }
            State::Reading(_) | State::Idle => None,
        }
    }

    fn unsettled(&self, book: &Book) -> Option<String> {
        let name = &self.pursuit.name;
        let State::Reading(_) = &self.state else { return Some(format!("{name} has no stream")) };
        let (path, number) = self.missing(|path| Some(book.streams.tail(path)))?;
        Some(format!("{name} has not got event {number} of {path}; it is at {:?}", self.stands))
    }

    fn is_gone(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_excused_up_to_the_bound_and_nothing_comes_twice() {
        let at = |number| Some(Stand::At(number));
        assert_eq!(Stand::At(4).accept(5), at(5));
        assert_eq!((Stand::At(4).accept(4), Stand::At(4).accept(6)), (None, None));
        let loose = |last, anywhere| Stand::Loose { last, bound: 8, anywhere };
        assert_eq!(loose(0, false).accept(3), Some(loose(3, false)));
        assert_eq!(loose(3, false).accept(7), Some(loose(7, false)));
        assert_eq!((loose(3, false).accept(8), loose(3, false).accept(9)), (at(8), at(9)));
        assert_eq!((loose(3, false).accept(10), loose(3, false).accept(3)), (None, None));
        assert_eq!(loose(0, true).accept(20), at(20), "its upstream began there");
        assert_eq!(loose(0, true).accept(2), Some(loose(2, false)));
    }
}
