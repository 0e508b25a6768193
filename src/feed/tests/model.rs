//! What a client must have received: a model that knows nothing of feeds, pages or blocks.
//!
//! Invariants: the judge sees the bytes that the kernel took, the published events, and for the
//! policy `latest` the stretches that were conflated. Everything that it cannot excuse is a loss.

use super::{LAST, Peer, Rig};
use crate::feed::{Dropped, Gap};
use crate::log::Event;
use crate::sse;

/// One thing in a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Event(u64),
    Gap(Gap, u64),
    Heartbeat,
    Last,
}

/// The events' numbers.
pub(super) fn events(heard: &[Heard]) -> Vec<u64> {
    let event = |heard: &Heard| if let Heard::Event(seq) = heard { Some(*seq) } else { None };
    heard.iter().filter_map(event).collect()
}

impl Rig {
    /// Takes a stream apart, and panics where it holds anything but whole events, notices and
    /// comments; also returns the bytes of the last one, if it is not whole.
    pub(super) fn parse<'a>(&self, mut rest: &'a [u8]) -> (Vec<Heard>, &'a [u8]) {
        let mut heard = Vec::new();
        while let Some((next, len)) = self.parse_one(rest) {
            heard.push(next);
            rest = &rest[len..];
        }
        (heard, rest)
    }

    fn parse_one(&self, rest: &[u8]) -> Option<(Heard, usize)> {
        if rest.starts_with(b":\n") {
            return Some((Heard::Heartbeat, 2));
        }
        let len = sse::boundary(rest, 1)?;
        if rest.starts_with(LAST) {
            return Some((Heard::Last, len));
        }
        let text = String::from_utf8_lossy(&rest[..len.min(200)]).into_owned();
        if let Some(notice) = text.strip_prefix(": gap ") {
            let (line, event) = notice.split_once('\n').unwrap();
            let (kind, upto) = line.split_once(' ').unwrap();
            assert_eq!(event, format!("event: gap\ndata: {kind}\n\n"), "a notice is whole");
            let gap = match kind {
                "skipped" => Gap::Skipped,
                "conflated" => Gap::Conflated,
                _ => Gap::Expired,
            };
            return Some((Heard::Gap(gap, upto.parse().unwrap()), len));
        }
        let seq = text.strip_prefix("id: urn:tide:0000000000000abc:").and_then(|id| {
            let (seq, _) = id.split_once('\n')?;
            seq.parse::<u64>().ok()
        });
        let seq = seq.unwrap_or_else(|| panic!("no event starts like this: {text}"));
        assert!(rest[..len] == *self.wire(seq), "event {seq} is torn: {text}");
        Some((Heard::Event(seq), len))
    }

    /// Panics if a client's stream is not what its subscription is owed.
    pub(super) fn judge(&self, peer: usize, complete: bool) {
        let (at, peer) = (peer, &self.peers[peer]);
        if peer.got.len() < super::HEAD.len() {
            assert!(super::HEAD.starts_with(&peer.got) && !complete, "peer {at} has no head");
            return;
        }
        let (heard, rest) = self.parse(self.stream(at));
        if peer.got.len() < 200_000 {
            self.judge_decoded(self.stream(at), &heard);
        }
        if complete {
            assert!(rest.is_empty(), "peer {at} waits for the rest of {} bytes", rest.len());
        } else {
            self.judge_rest(rest);
        }
        Judge { rig: self, peer, at, heard: &heard }.run(complete);
    }

    /// What is not whole is the start of something that is.
    fn judge_rest(&self, rest: &[u8]) {
        let text = String::from_utf8_lossy(&rest[..rest.len().min(200)]);
        let starts = [&b":\n"[..], LAST, b": gap ", b"id: urn:tide:0000000000000abc:"];
        assert!(
            starts.iter().any(|start| start.starts_with(rest) || rest.starts_with(start)),
            "the stream ends with {text}"
        );
        let id = text.strip_prefix("id: urn:tide:0000000000000abc:");
        if let Some((seq, _)) = id.and_then(|id| id.split_once('\n')) {
            assert!(self.wire(seq.parse().unwrap()).starts_with(rest), "torn: {text}");
        }
    }

    /// A client's own decoder finds the same events.
    fn judge_decoded(&self, mut stream: &[u8], heard: &[Heard]) {
        let mut decoder = sse::Decoder::new(usize::MAX);
        let mut ids = Vec::new();
        while let Some(item) = decoder.decode(&mut stream).unwrap() {
            if let sse::Item::Event(event) = item
                && event.kind == "message"
            {
                ids.push(event.id.to_owned());
            }
        }
        let want: Vec<_> = events(heard).into_iter().map(|seq| self.channel.id(seq)).collect();
        assert_eq!(ids, want);
    }
}

struct Judge<'a> {
    rig: &'a Rig,
    peer: &'a Peer,
    at: usize,
    heard: &'a [Heard],
}

impl Judge<'_> {
    fn run(&self, complete: bool) {
        let mut last = self.peer.after;
        let mut first = true;
        let mut gaps: Vec<(Gap, u64)> = Vec::new();
        let mut conflated = false;
        for heard in self.heard {
            match *heard {
                Heard::Event(seq) => {
                    self.check(seq > last, format_args!("event {seq} after {last}"));
                    let event = &self.rig.events[seq as usize - 1];
                    self.check(self.peer.wish.wants(event), format_args!("event {seq} unasked"));
                    self.excuse(last, seq, first, &gaps, conflated);
                    gaps.clear();
                    (last, first) = (seq, false);
                }
                Heard::Gap(gap, upto) => {
                    conflated |= gap == Gap::Conflated;
                    gaps.push((gap, upto));
                }
                Heard::Heartbeat => {}
                Heard::Last => {
                    let end = *heard == self.heard[self.heard.len() - 1];
                    self.check(end, format_args!("something follows the last bytes"));
                }
            }
        }
        let ended = matches!(self.peer.dropped, Some(Dropped::Ended(_)));
        let said = self.heard.last() == Some(&Heard::Last);
        self.check(!ended || said, format_args!("ended without the last bytes"));
        if complete {
            self.excuse(last, u64::MAX, first, &gaps, conflated);
        } else if let (true, Some(owed)) = (ended && self.rig.is_roomy(), self.peer.owed) {
            // With a lag limit, an ending client may lose what it lags: it resumes elsewhere.
            self.excuse(last, owed + 1, first, &gaps, conflated);
        }
    }

    /// Every event between the two must be excused by a notice.
    fn excuse(&self, last: u64, next: u64, first: bool, gaps: &[(Gap, u64)], conflated: bool) {
        let head = self.rig.channel.tail() + 1 - self.rig.channel.kept().0 as u64;
        let missing =
            self.rig.events.iter().filter(|event| {
                (last + 1..next).contains(&event.seq) && self.peer.wish.wants(event)
            });
        for event in missing {
            let seq = event.seq;
            let said = gaps.iter().any(|(gap, upto)| match gap {
                // The event that is half routed is already in some feeds.
                Gap::Skipped => seq <= *upto + 1,
                Gap::Expired => seq <= *upto,
                Gap::Conflated => false,
            });
            // "Everything kept" starts where the history starts.
            let before = first && self.peer.after == 0 && seq < head;
            let replaced = conflated && self.is_replaced(event);
            let ok = said || before || replaced;
            self.check(ok, format_args!("event {seq} is missing, notices {gaps:?}"));
        }
    }

    /// Whether an event was conflated away: a newer one of its canonical topic came instead, or
    /// would have come.
    fn is_replaced(&self, old: &Event) -> bool {
        let over = |(after, upto): &&(u64, u64)| *after < old.seq && old.seq <= *upto;
        if !self.peer.conflated.iter().any(|range| over(&range)) {
            return false;
        }
        let got = events(self.heard);
        let last = got.last().copied().unwrap_or(0);
        let end = self.peer.conflated.iter().map(|(_, upto)| *upto).max().unwrap_or(0);
        self.rig.events.iter().any(|new| {
            new.seq > old.seq
                && new.seq <= end
                && new.topics[0] == old.topics[0]
                && self.peer.wish.wants(new)
                && (got.contains(&new.seq) || (self.peer.gone && new.seq > last))
        })
    }

    fn check(&self, right: bool, what: std::fmt::Arguments<'_>) {
        assert!(
            right,
            "peer {}: {what}\n{:?} after {}, dropped {:?}, conflated {:?}\nheard {:?}",
            self.at,
            self.peer.wish,
            self.peer.after,
            self.peer.dropped,
            self.peer.conflated,
            self.heard,
        );
    }
}
