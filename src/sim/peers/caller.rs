//! A simulated client whose requests are passed on: it checks that each answer is whole or visibly
//! cut, and that its bytes are right.
//!
//! Invariants:
//! 1. What comes of a body is a prefix of what its mark says, and whole where nothing shows a cut.
//! 2. With orders to settle it finishes what it has, then asks a few times more, and must be
//!    answered.

use super::Peer;
use super::message::Body;
use super::message::Framing;
use super::pick;
use super::response::Head;
use crate::base::time::Moment;
use crate::sim::book::Book;
use crate::sim::exchanges::pattern;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::net::Net;
use crate::sim::net::Orders;
use crate::sim::verdict::Law;
use std::collections::VecDeque;
use std::time::Duration;

/// Answers that it must get once everything has healed.
const LAST: usize = 2;

/// What a caller does.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Its name in marks; no other caller has it.
    pub name: String,
    /// Between two requests, at most.
    pub pause_max: Duration,
    /// Bytes of a body, at most.
    pub body_max: usize,
    /// One in so many requests it is gone without a word, a little later.
    pub vanishes: u64,
    /// One in so many reads takes a little only, and waits.
    pub slow: u64,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    mark: String,
    want: Vec<u8>,
    to_head: bool,
    /// Comments may stand between its events.
    events: bool,
}

/// A connection.
#[derive(Debug)]
struct Line {
    link: LinkId,
    /// What is still to be sent.
    unsent: Vec<u8>,
    asked: VecDeque<Asked>,
    read: Vec<u8>,
    /// The answer to the first that was asked, from its head on.
    answer: Option<(u16, Body)>,
    /// It is not used again.
    last: bool,
}

/// A caller.
#[derive(Debug)]
pub struct Caller {
    calls: Calls,
    line: Option<Line>,
    not_before: Moment,
    /// It vanishes at.
    until: Option<Moment>,
    count: u64,
    /// Answers since everything has healed, for requests that began then.
    settled: usize,
    /// The line was opened since then.
    fresh: bool,
    /// When everybody knows that all is well.
    calm_at: Option<Moment>,
}

impl Caller {
    /// A caller that is not connected yet.
    #[must_use]
    pub fn new(calls: Calls) -> Self {
        Self {
            calls,
            line: None,
            not_before: Moment::START,
            until: None,
            count: 0,
            settled: 0,
            fresh: false,
            calm_at: None,
        }
    }

    fn fail(&self, net: &mut Net, what: impl std::fmt::Display) {
        net.verdict.fail(Law::Relay, format!("{}: {what}", self.calls.name));
    }

    /// Composes a request; its bytes and whether another may follow it at once.
    fn compose(&mut self, link: LinkId, net: &mut Net, book: &mut Book) -> (Asked, Vec<u8>, bool) {
        self.count += 1;
        let mark = format!("{}-{}", self.calls.name, self.count);
        let works = net.orders == Orders::Work;
        let method = if works { pick(net, "GET", &["GET", "HEAD", "POST"]) } else { "GET" };
        let how = pick(net, "sized", &["chunked", "close", "events"]);
        let most = if net.chance.one_in(4) { self.calls.body_max } else { 300 };
        let size = net.below(most);
        let sends = if method == "POST" { net.below(most) } else { 0 };
        let old = works && net.chance.one_in(6);
        let version = if old { "1.0" } else { "1.1" };
        let target = format!("/b/{mark}?size={size}&how={how}&sends={sends}");
        let mut out = format!("{method} {target} HTTP/{version}\r\nHost: gate\r\n").into_bytes();
        let body = pattern(&mark, sends);
        if method == "POST" && !old && net.chance.one_in(2) {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(1 + net.below(400)) {
                out.extend(Framing::Chunked.piece(piece));
            }
            out.extend_from_slice(Framing::Chunked.last());
        } else if method == "POST" {
            out.extend_from_slice(format!("Content-Length: {sends}\r\n\r\n").as_bytes());
            out.extend(body);
        } else {
            out.extend_from_slice(b"\r\n");
        }
        book.exchanges.ask(&mark, link, method != "POST");
        let (want, to_head) = (pattern(&mark, size), method == "HEAD");
        let another = method == "GET" && !old && works && net.chance.one_in(3);
        let asked = Asked { mark, want, to_head, events: how == "events" };
        (asked, out, another)
    }

    /// Asks, on the open line or on a new one.
    fn ask(&mut self, me: usize, net: &mut Net, book: &mut Book) {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => {
                let Some(link) = net.connect(me) else {
                    self.not_before = net.now().after(Duration::from_millis(30));
                    return;
                };
                self.fresh = net.orders != Orders::Work && net.faults.is_healed();
                let (unsent, read, asked) = (Vec::new(), Vec::new(), VecDeque::new());
                Line { link, unsent, asked, read, answer: None, last: false }
            }
        };
        loop {
            let (asked, bytes, another) = self.compose(line.link, net, book);
            line.last |= bytes.windows(8).any(|w| w == b"HTTP/1.0");
            line.asked.push_back(asked);
            line.unsent.extend(bytes);
            if !another {
                break;
            }
        }
        self.line = Some(line);
        let vanishes = net.orders == Orders::Work && net.chance.one_in(self.calls.vanishes);
        self.until = vanishes.then(|| net.now().after(net.span(Duration::from_millis(400))));
    }

    /// Sends some of what is to be sent.
    fn send(&mut self, net: &mut Net) {
        let Some(line) = &mut self.line else { return };
        let all = line.unsent.len();
        let hurry = net.orders != Orders::Work || net.chance.one_in(2);
        let count = if hurry { all } else { net.below(all + 1).min(2000) };
        let piece: Vec<u8> = line.unsent.drain(..count).collect();
        net.send(line.link, &piece);
        if !line.unsent.is_empty() {
            self.not_before = net.now().after(net.span(Duration::from_millis(15)));
        }
    }

    /// Reads and judges: whether there may be more; `None`: the line has ended.
    fn read(&mut self, net: &mut Net) -> Option<bool> {
        let line = self.line.as_mut()?;
        let slow = net.orders == Orders::Work && net.chance.one_in(self.calls.slow);
        let most = if slow { 1 + net.below(300) } else { usize::MAX };
        let how = net.read(line.link, most, &mut line.read);
        if slow {
            self.not_before = net.now().after(net.span(Duration::from_millis(300)));
        }
        let ended = matches!(how, PeerRead::End | PeerRead::Reset);
        if let Err(what) = self.judge(how == PeerRead::End) {
            self.fail(net, what);
            return None;
        }
        (!ended).then_some(how != PeerRead::Empty)
    }

    /// Judges what has come; `ended`: nothing more comes, in an orderly way.
    fn judge(&mut self, ended: bool) -> Result<(), String> {
        let Some(line) = &mut self.line else { return Ok(()) };
        while let Some(asked) = line.asked.front() {
            let mark = &asked.mark;
            if line.answer.is_none() {
                let Some(head) = Head::take(&mut line.read)? else { return Ok(()) };
                match head.status {
                    100..=199 => continue,
                    200 | 408 | 502..=504 => {}
                    status => return Err(format!("{mark} was answered with {status}")),
                }
                line.last |= head.field("connection") == Some("close");
                // Of a head that did not come in time nobody knows that it was a `HEAD`.
                let body = Body::new(head.framing(asked.to_head && head.status != 408)?);
                line.answer = Some((head.status, body));
            }
            let Some((status, body)) = &mut line.answer else { return Ok(()) };
            body.take(&mut line.read)?;
            let whole = body.is_whole(ended);
            if *status == 200 && !asked.to_head {
                check(asked, &body.got, whole)?;
            }
            if !whole {
                return Ok(());
            }
            if *status == 200 {
                self.settled += usize::from(self.fresh);
            } else if self.fresh {
                return Err(format!("{mark} was answered with {status} when all was well"));
            }
            (line.answer, _) = (None, line.asked.pop_front());
        }
        if line.read.is_empty() { Ok(()) } else { Err(format!("{:?} came unasked", line.read)) }
    }

    /// Gives up its line; whoever is asked is to be told.
    fn drop_line(&mut self, net: &mut Net) {
        let Some(line) = self.line.take() else { return };
        if net.chance.one_in(2) {
            net.hang_up(line.link)
        } else {
            net.reset(line.link)
        }
        self.not_before = net.now().after(net.span(self.calls.pause_max));
    }
}

/// What came of a body must be its beginning, and all of it if nothing shows that it was cut.
fn check(asked: &Asked, got: &[u8], whole: bool) -> Result<(), String> {
    let got = if asked.events { data(got) } else { got.to_vec() };
    let is_right = asked.want.starts_with(&got) && (!whole || got.len() == asked.want.len());
    let (mark, got, want) = (&asked.mark, got.len(), asked.want.len());
    if is_right {
        return Ok(());
    }
    Err(format!("{mark}: {got} of {want} bytes came as a body that is whole ({whole}), or wrong"))
}

/// The data of an event stream, of the lines that are complete.
fn data(stream: &[u8]) -> Vec<u8> {
    let mut lines = stream.split(|byte| *byte == b'\n').peekable();
    let mut out = Vec::new();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() && !line.is_empty() && line != b":" {
            out.extend_from_slice(line.strip_prefix(b"data: ").unwrap_or(b"?"));
        }
    }
    out
}

impl Peer for Caller {
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment> {
        let now = net.now();
        if net.orders == Orders::Leave {
            self.drop_line(net);
            return None;
        }
        if net.orders != Orders::Work {
            self.until = None;
        } else if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.drop_line(net);
            return Some(self.not_before.max(now));
        } else if now < self.not_before {
            return self.until.into_iter().chain([self.not_before]).min();
        }
        let read = if self.line.is_some() { self.read(net) } else { Some(false) };
        let Some(more) = read else {
            if let Some(line) = self.line.take() {
                net.hang_up(line.link);
            }
            self.not_before = now.after(net.span(Duration::from_millis(50)));
            return Some(self.not_before);
        };
        let idle = self.line.as_ref().is_none_or(|line| line.asked.is_empty());
        if idle {
            if self.line.as_ref().is_some_and(|line| line.last || net.orders != Orders::Work) {
                self.drop_line(net);
            }
            let wants = match net.orders {
                Orders::Work => true,
                Orders::Settle => self.settled < LAST,
                Orders::Drain | Orders::Leave => false,
            };
            if !wants {
                return None;
            }
            if net.orders == Orders::Settle {
                let calm_at = *self.calm_at.get_or_insert(now.after(Duration::from_secs(1)));
                if now < calm_at {
                    return Some(calm_at);
                }
            }
            self.ask(me, net, book);
            return Some(self.not_before.max(now.after(net.span(self.calls.pause_max))));
        }
        self.send(net);
        let unsent = self.line.as_ref().is_some_and(|line| !line.unsent.is_empty());
        // What was read may have hidden the end behind it; a slow one looks again later.
        let again = more || unsent || self.not_before > now;
        again.then(|| self.not_before.max(now)).into_iter().chain(self.until).min()
    }

    fn owed(&self, net: &Net, book: &Book) -> Option<(LinkId, String)> {
        let line = self.line.as_ref().filter(|line| line.unsent.is_empty())?;
        let asked = line.asked.front()?;
        let answered = book.exchanges.is_answered(&asked.mark, net);
        answered.then(|| (line.link, format!("{} is answered, and has not come", asked.mark)))
    }

    fn neglected(&self, net: &Net, book: &Book) -> Option<(LinkId, String)> {
        let line = self.line.as_ref().filter(|line| line.unsent.is_empty())?;
        let (mark, link) = (&line.asked.front()?.mark, line.link);
        if !net.is_quiet(link) {
            return None;
        }
        let what = match book.exchanges.at(mark) {
            None if !net.reaches_out(link) => "has not been passed on",
            Some(at) if net.is_left(at) => "has an answer that is not read, and would be taken",
            _ => return None,
        };
        Some((link, format!("{mark} {what}")))
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        let name = &self.calls.name;
        (self.settled < LAST).then(|| format!("{name} had {} answers", self.settled))
    }

    fn is_gone(&self) -> bool {
        self.line.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_judged_by_its_mark() {
        let want = pattern("c-1", 50);
        let of = |events| Asked { mark: "c-1".into(), want: want.clone(), to_head: false, events };
        assert_eq!(check(&of(false), &want, true), Ok(()));
        assert_eq!(check(&of(false), &want[..20], false), Ok(()));
        assert!(check(&of(false), &want[..20], true).is_err(), "a cut that does not show");
        assert!(check(&of(false), &want[1..], false).is_err(), "other bytes");
        let text = String::from_utf8(want.clone()).unwrap();
        let (a, b) = text.split_at(40);
        let stream = format!(":\ndata: {a}\n\n:\n:\ndata: {b}\n\n");
        assert_eq!(check(&of(true), stream.as_bytes(), true), Ok(()));
        assert_eq!(check(&of(true), &stream.as_bytes()[..20], false), Ok(()));
        let torn = stream.replace(&a[9..], ":\n");
        assert!(check(&of(true), torn.as_bytes(), false).is_err(), "a comment inside an event");
    }
}
