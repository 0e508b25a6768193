//! A simulated backend: answers requests in every framing, and fails in every way.
//!
//! Invariants:
//! 1. What it answers follows from the request's mark, and so does the body that it must get.
//! 2. A body of its own that ends with the connection is cut by a reset only: nobody could tell an
//!    orderly end from the body's.
//! 3. With orders to settle it misbehaves no more.

use super::Peer;
use super::message::Body;
use super::message::Framing;
use super::message::Message;
use super::pick;
use crate::base::time::Moment;
use crate::io::Remote;
use crate::sim::book::Book;
use crate::sim::exchanges::pattern;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::verdict::Law;
use std::time::Duration;

/// How a backend is.
#[derive(Clone, Debug)]
pub struct Conduct {
    /// Where it serves.
    pub at: Remote,
    /// One in so many pieces is cut, or followed by a stall.
    pub fails: u64,
    /// How long a stall may be.
    pub stall_max: Duration,
}

/// A connection of the server's.
#[derive(Debug)]
struct Conversation {
    link: LinkId,
    read: Vec<u8>,
    doing: Doing,
    /// It says nothing before.
    not_before: Moment,
}

#[derive(Debug)]
enum Doing {
    /// A request is awaited.
    Waiting,
    Taking(Asked, Body),
    Answering {
        asked: Asked,
        framing: Framing,
        left: Vec<u8>,
    },
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Asked {
    mark: String,
    size: usize,
    how: String,
    to_head: bool,
    /// The body that must come.
    sends: usize,
    /// It is answered before all of it has come.
    early: bool,
}

/// A backend.
#[derive(Debug)]
pub struct Responder {
    conduct: Conduct,
    conversations: Vec<Conversation>,
    serves: bool,
    down_until: Option<Moment>,
}

impl Responder {
    /// A backend that serves from its first step on.
    #[must_use]
    pub fn new(conduct: Conduct) -> Self {
        Self { conduct, conversations: Vec::new(), serves: false, down_until: None }
    }

    fn attend(&mut self, me: usize, net: &mut Net) {
        let works = net.orders == Orders::Work;
        if self.down_until.is_some_and(|until| until <= net.now() || !works) {
            (self.down_until, self.serves) = (None, false);
        }
        if !self.serves && self.down_until.is_none() {
            net.serve(me, self.conduct.at.clone());
            self.serves = true;
        }
        while let Some(link) = net.answer(me) {
            let (read, doing) = (Vec::new(), Doing::Waiting);
            self.conversations.push(Conversation { link, read, doing, not_before: net.now() });
        }
    }
}

impl Conversation {
    /// Goes on; `false`: it is over.
    fn talk(&mut self, conduct: &Conduct, net: &mut Net, book: &mut Book) -> bool {
        let stalls =
            |not_before: Moment, net: &Net| not_before > net.now() && net.orders == Orders::Work;
        if matches!(self.doing, Doing::Waiting) && stalls(self.not_before, net) {
            return true;
        }
        loop {
            match net.read(self.link, usize::MAX, &mut self.read) {
                PeerRead::Bytes(_) => {}
                PeerRead::Empty => break,
                PeerRead::End | PeerRead::Reset => {
                    net.hang_up(self.link);
                    return false;
                }
            }
        }
        loop {
            if stalls(self.not_before, net) {
                return true;
            }
            match std::mem::replace(&mut self.doing, Doing::Waiting) {
                Doing::Waiting => {
                    let asked = match self.ask(book) {
                        Ok(Some(asked)) => asked,
                        Ok(None) => return self.idle(conduct, net),
                        Err(what) => return self.fail(what, net),
                    };
                    self.doing = asked;
                }
                Doing::Taking(asked, body) => match self.upload(asked, body, conduct, net) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(what) => return self.fail(what, net),
                },
                Doing::Answering { asked, framing, left } => {
                    if !self.answer(asked, framing, left, conduct, net, book) {
                        return false;
                    }
                }
            }
        }
    }

    fn fail(&self, what: String, net: &mut Net) -> bool {
        net.verdict.fail(Law::Relay, what);
        false
    }

    /// Between two requests it may close.
    fn idle(&self, conduct: &Conduct, net: &mut Net) -> bool {
        let closes = net.orders == Orders::Work && net.chance.one_in(conduct.fails * 4);
        if closes && self.read.is_empty() {
            net.hang_up(self.link);
            return false;
        }
        true
    }

    /// Takes a request's head.
    fn ask(&mut self, book: &mut Book) -> Result<Option<Doing>, String> {
        let Some(head) = Message::take(&mut self.read)? else { return Ok(None) };
        let mut words = head.first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next());
        let (path, query) = target.and_then(|t| t.split_once('?')).ok_or("a strange target")?;
        let of = |name: &str| {
            let found = query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("no {name} in {query}"))
        };
        let number = |name: &str| of(name)?.parse::<usize>().map_err(|e| e.to_string());
        let mark = path.strip_prefix("/b/").ok_or("a strange path")?.to_owned();
        let (size, how, sends) = (number("size")?, of("how")?.to_owned(), number("sends")?);
        book.exchanges.see(&mark, self.link)?;
        let framing = head.framing()?.unwrap_or(Framing::Sized(0));
        let asked = Asked { mark, size, how, to_head: method == "HEAD", sends, early: false };
        Ok(Some(Doing::Taking(asked, Body::new(framing))))
    }

    /// Takes a request's body; whether something else can be done at once.
    fn upload(
        &mut self,
        asked: Asked,
        mut body: Body,
        conduct: &Conduct,
        net: &mut Net,
    ) -> Result<bool, String> {
        body.take(&mut self.read)?;
        let whole = body.is_whole(false);
        let want = pattern(&asked.mark, asked.sends);
        if !want.starts_with(&body.got) || (whole && want.len() != body.got.len()) {
            let (got, want) = (body.got.len(), want.len());
            return Err(format!("{got} bytes of {want} came for {}, or wrong ones", asked.mark));
        }
        // Whoever says early that it has heard enough does not read the rest.
        let early = net.orders == Orders::Work && net.chance.one_in(conduct.fails * 2);
        if !whole && !early {
            self.doing = Doing::Taking(asked, body);
            return Ok(false);
        }
        self.begin(Asked { early: !whole, ..asked }, net);
        Ok(true)
    }

    /// Sends the head of an answer.
    fn begin(&mut self, asked: Asked, net: &mut Net) {
        if net.chance.one_in(6) {
            net.send(self.link, b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n");
        }
        let mut left = pattern(&asked.mark, asked.size);
        if asked.how == "events" {
            let events = left.chunks(40).map(|data| [b"data: ", data, b"\n\n"].concat());
            left = events.collect::<Vec<_>>().concat();
        }
        let framing = match asked.how.as_str() {
            "sized" => Framing::Sized(left.len()),
            "close" => Framing::UntilClose,
            _ => Framing::Chunked,
        };
        let field = match framing {
            Framing::Sized(length) => format!("Content-Length: {length}\r\n"),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::UntilClose => String::new(),
        };
        let kind = if asked.how == "events" { "text/event-stream" } else { "text/plain" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{field}\r\n");
        net.send(self.link, head.as_bytes());
        if asked.to_head {
            left.clear();
        }
        self.doing = Doing::Answering { asked, framing, left };
    }

    /// Sends a piece of an answer; `false`: the connection is over.
    fn answer(
        &mut self,
        asked: Asked,
        framing: Framing,
        mut left: Vec<u8>,
        conduct: &Conduct,
        net: &mut Net,
        book: &mut Book,
    ) -> bool {
        let most = pick(net, 20, &[500, 5000]).min(left.len());
        let count = if most == left.len() { most } else { 1 + net.below(most) };
        let piece: Vec<u8> = left.drain(..count).collect();
        let wire = if asked.to_head { piece } else { framing.piece(&piece) };
        if net.orders == Orders::Work && net.chance.one_in(conduct.fails) {
            if net.chance.one_in(2) {
                self.not_before = net.now().after(net.span(conduct.stall_max));
            } else {
                let cut = net.below(wire.len() + 1);
                net.send(self.link, wire.get(..cut).unwrap_or_default());
                let shows = framing != Framing::UntilClose && net.chance.one_in(2);
                if shows {
                    net.hang_up(self.link)
                } else {
                    net.reset(self.link)
                }
                return false;
            }
        }
        net.send(self.link, &wire);
        if !left.is_empty() {
            if net.chance.one_in(3) {
                self.not_before = self.not_before.max(net.now().after(Duration::from_millis(3)));
            }
            self.doing = Doing::Answering { asked, framing, left };
            return true;
        }
        if !asked.to_head {
            net.send(self.link, framing.last());
        }
        book.exchanges.answer(&asked.mark);
        let ends = framing == Framing::UntilClose || asked.early;
        if ends {
            net.hang_up(self.link);
        }
        !ends
    }
}

impl Peer for Responder {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        self.attend(me, net);
        let conduct = &self.conduct;
        self.conversations.retain_mut(|conversation| conversation.talk(conduct, net, book));
        if net.orders != Orders::Work {
            return None;
        }
        if self.serves && net.chance.one_in(conduct.fails * 10) {
            net.stop_serving(me);
            self.serves = false;
            self.down_until = Some(net.now().after(net.span(Duration::from_millis(400))));
        }
        let now = net.now();
        let waits = self.conversations.iter().map(|c| c.not_before).filter(|at| *at > now);
        waits.chain(self.down_until).min()
    }

    fn owed(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        None
    }

    fn neglected(&self, net: &Net, book: &Book) -> Option<(LinkId, String)> {
        self.conversations.iter().find_map(|conversation| {
            let (asked, takes) = match &conversation.doing {
                Doing::Taking(asked, _) => (asked, true),
                Doing::Answering { asked, .. } => (asked, false),
                Doing::Waiting => return None,
            };
            let mark = &asked.mark;
            let caller = book.exchanges.caller(mark)?;
            // Nobody waits for what it does: the server must have told it.
            if net.has_noticed(caller) && net.is_up(conversation.link) {
                return Some((caller, format!("{mark} was abandoned, and is still worked on")));
            }
            let stops = takes && net.is_left(caller) && net.is_quiet(conversation.link);
            stops.then(|| (caller, format!("the body of {mark} is not read, and would be taken")))
        })
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        None
    }

    fn is_gone(&self) -> bool {
        self.conversations.is_empty()
    }
}
