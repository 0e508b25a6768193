//! From event-stream bytes to events, as the standard says, however the bytes are cut.
//!
//! Invariants:
//! 1. The events do not depend on how the input is cut.
//! 2. An event that the end of the stream cuts off is not reported, and its id is not taken.
//! 3. What is held is bounded by the size limit; over it, decoding ends with an error for good.

use memchr::memchr;
use memchr::memchr2;

/// Buffers larger than this are given back once their line or event is over.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What a further line of data counts besides its bytes: `data: ` on the wire.
const LINE_COST: usize = 6;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why decoding ended: the fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// One line is longer than the limit.
    #[error("a line of the stream is longer than {bytes_max} bytes: raise the limit or split it")]
    LineTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The data of one event is longer than the limit.
    #[error("an event's data is longer than {bytes_max} bytes: raise the limit or split the event")]
    EventTooLarge {
        /// The limit.
        bytes_max: usize,
    },
}

/// What the decoder reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An event.
    Event(Event<'a>),
    /// A comment without its colon; only reported when asked for.
    Comment(&'a str),
}

/// An event as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The type, `message` if none was given.
    pub kind: &'a str,
    /// The last event id as of this event; empty if there was none yet.
    pub id: &'a str,
    /// The data lines, joined by LF.
    pub data: &'a str,
}

/// An event stream that is being read.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes_max: usize,
    comments: bool,
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to the same line end.
    after_cr: bool,
    /// No line has ended yet: the first one may start with a byte order mark.
    at_start: bool,
    /// The buffers hold what was reported last; they are emptied by the next line.
    reported: bool,
    data: String,
    /// Lines of data so far.
    lines: usize,
    kind: String,
    /// The id that the next blank line commits.
    id_buffer: String,
    last_event_id: String,
    comment: String,
    retry: Option<u64>,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder that accepts lines and event data of up to `bytes_max` bytes each. Each line of
    /// data but the first counts six bytes more, which it has on the wire.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            comments: false,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            reported: false,
            data: String::new(),
            lines: 0,
            kind: String::new(),
            id_buffer: String::new(),
            last_event_id: String::new(),
            comment: String::new(),
            retry: None,
            failed: None,
        }
    }

    /// The same decoder, which also reports comments.
    #[must_use]
    pub fn with_comments(mut self) -> Self {
        self.comments = true;
        self
    }

    /// The same decoder, which starts with this last event id.
    #[must_use]
    pub fn with_last_event_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.last_event_id);
        id.clone_into(&mut self.id_buffer);
        self
    }

    /// The id to resume from; empty if there is none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time that the peer asked for last, in milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The event that was reported last, while nothing was decoded since: whoever had no room for
    /// it asks again.
    #[must_use]
    pub fn reported(&self) -> Option<Event<'_>> {
        self.reported.then(|| self.event())
    }

    /// The stream ended: forgets what was unfinished, keeps the last event id and the reconnection
    /// time, and is ready for the next stream.
    pub fn end(&mut self) {
        self.line.clear();
        self.data.clear();
        self.kind.clear();
        self.id_buffer.clone_from(&self.last_event_id);
        self.after_cr = false;
        self.at_start = true;
        self.reported = false;
        self.failed = None;
    }

    /// Takes bytes from the front of `input` up to the next item; `None` when all are taken.
    ///
    /// # Errors
    /// A line or an event is over the limit. The error stays until [`Decoder::end`].
    pub fn decode<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<Item<'a>>, DecodeError> {
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some(Found::Comment)) => Ok(Some(Item::Comment(&self.comment))),
            Ok(Some(Found::Event)) => Ok(Some(Item::Event(self.event()))),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// The event that the buffers hold.
    fn event(&self) -> Event<'_> {
        let kind = if self.kind.is_empty() { "message" } else { &self.kind };
        Event { kind, id: &self.last_event_id, data: &self.data }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Found>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.reported {
            self.reported = false;
            self.data.clear();
            self.kind.clear();
            self.data.shrink_to(KEPT_BYTES_MAX);
        }
        loop {
            if self.after_cr && !input.is_empty() {
                self.after_cr = false;
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let Some(end) = memchr2(b'\r', b'\n', input) else {
                self.check_line(input.len())?;
                self.line.extend_from_slice(input);
                *input = &[];
                return Ok(None);
            };
            self.check_line(end)?;
            let (head, tail) = input.split_at(end);
            self.after_cr = tail.first() == Some(&b'\r');
            *input = tail.get(1..).unwrap_or_default();
            let found = if self.line.is_empty() {
                self.line(head)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                let found = self.line(&line);
                line.clear();
                line.shrink_to(KEPT_BYTES_MAX);
                self.line = line;
                found?
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn check_line(&self, more: usize) -> Result<(), DecodeError> {
        if self.line.len() + more > self.bytes_max {
            return Err(DecodeError::LineTooLong { bytes_max: self.bytes_max });
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Found>, DecodeError> {
        let line = match line.strip_prefix(BOM) {
            Some(rest) if self.at_start => rest,
            _ => line,
        };
        self.at_start = false;
        let (name, value) = match memchr(b':', line) {
            None if line.is_empty() => return Ok(self.dispatch()),
            None => (line, [].as_slice()),
            Some(colon) => {
                let (name, rest) = line.split_at(colon);
                (name, rest.get(1..).unwrap_or_default())
            }
        };
        let trimmed = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"" if self.comments => {
                self.comment.clear();
                append(trimmed, &mut self.comment);
                return Ok(Some(Found::Comment));
            }
            b"data" => {
                append(trimmed, &mut self.data);
                // So that what is sent on is bounded as well: short lines are mostly names there.
                let names = self.lines.saturating_mul(LINE_COST);
                if self.data.len().saturating_add(names) > self.bytes_max {
                    return Err(DecodeError::EventTooLarge { bytes_max: self.bytes_max });
                }
                self.data.push('\n');
                self.lines += 1;
            }
            b"event" => {
                self.kind.clear();
                append(trimmed, &mut self.kind);
            }
            b"id" if memchr(0, trimmed).is_none() => {
                self.id_buffer.clear();
                append(trimmed, &mut self.id_buffer);
            }
            b"retry" => self.retry = millis(trimmed).or(self.retry),
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Found> {
        self.lines = 0;
        self.last_event_id.clone_from(&self.id_buffer);
        if self.data.pop().is_none() {
            self.kind.clear();
            return None;
        }
        self.reported = true;
        Some(Found::Event)
    }
}

#[derive(Clone, Copy)]
enum Found {
    Event,
    Comment,
}

fn append(bytes: &[u8], to: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => to.push_str(text),
        Err(_) => to.push_str(&String::from_utf8_lossy(bytes)),
    }
}

/// One or more digits and nothing else; what no counter holds is as long as can be.
fn millis(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder, mut input: &[u8]) -> Result<Vec<String>, DecodeError> {
        let mut items = Vec::new();
        while let Some(item) = decoder.decode(&mut input)? {
            items.push(match item {
                Item::Event(event) => format!("{}/{}/{}", event.kind, event.id, event.data),
                Item::Comment(text) => format!(":{text}"),
            });
        }
        Ok(items)
    }

    #[test]
    fn an_event_cut_by_the_end_is_discarded_with_its_id() {
        let mut decoder = Decoder::new(100);
        let input = b"id: 1\ndata: a\n\nretry: 20\nevent: x\nid: 2\ndata: b\nda";
        assert_eq!(all(&mut decoder, input).unwrap(), ["message/1/a"]);
        decoder.end();
        assert_eq!((decoder.last_event_id(), decoder.retry()), ("1", Some(20)));
        assert_eq!(all(&mut decoder, b"\ndata: c\n\n").unwrap(), ["message/1/c"]);
    }

    #[test]
    fn comments_are_reported_only_when_asked_for() {
        let input = b": hello\n:\n:x\ndata: a\n\n";
        assert_eq!(all(&mut Decoder::new(100), input).unwrap(), ["message//a"]);
        let mut decoder = Decoder::new(100).with_comments();
        assert_eq!(all(&mut decoder, input).unwrap(), [":hello", ":", ":x", "message//a"]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_over_it_ends_decoding() {
        let error = DecodeError::LineTooLong { bytes_max: 9 };
        for cut in 0..10 {
            let mut decoder = Decoder::new(9);
            assert_eq!(all(&mut decoder, b"data: abc\n\n").unwrap(), ["message//abc"]);
            let (head, tail) = b"data: abcd".split_at(cut);
            let got = all(&mut decoder, head).and_then(|_| all(&mut decoder, tail));
            assert_eq!(got, Err(error), "cut at {cut}");
            assert_eq!(all(&mut decoder, b"\n\ndata: x\n\n"), Err(error), "for good");
            decoder.end();
            assert_eq!(all(&mut decoder, b"data: x\n\n").unwrap(), ["message//x"]);
        }
    }

    #[test]
    fn data_over_the_limit_ends_decoding_and_heartbeats_never_do() {
        let mut decoder = Decoder::new(15);
        assert_eq!(all(&mut decoder, &b":\n".repeat(100)).unwrap(), [""; 0]);
        for _ in 0..3 {
            let two = all(&mut decoder, b"data:1234\ndata:5678\n\n").unwrap();
            assert_eq!(two, ["message//1234\n5678"], "each event counts for itself");
        }
        let over = all(&mut decoder, b"data:1234\ndata:56789\n\n");
        assert_eq!(over, Err(DecodeError::EventTooLarge { bytes_max: 15 }));
        // Lines of nothing: as many as their names fill.
        let lines = |count: usize| all(&mut Decoder::new(70), &b"data\n".repeat(count));
        assert_eq!(lines(11), Ok(vec![]));
        assert_eq!(lines(12), Err(DecodeError::EventTooLarge { bytes_max: 70 }));
    }

    #[test]
    fn reconnection_times_without_bound_saturate() {
        let mut decoder = Decoder::new(100);
        all(&mut decoder, b"retry: 99999999999999999999999\n").unwrap();
        assert_eq!(decoder.retry(), Some(u64::MAX));
        all(&mut decoder, b"retry:-1\nretry:1 \nretry\nretry:\nretry:+5\n").unwrap();
        assert_eq!(decoder.retry(), Some(u64::MAX));
    }

    #[test]
    fn an_event_is_reported_until_more_is_decoded() {
        let mut decoder = Decoder::new(100);
        let mut input = b"event: x\nid: 1\ndata: a\n\ndata: b\n\n".as_slice();
        assert_eq!(decoder.reported(), None);
        assert!(decoder.decode(&mut input).unwrap().is_some());
        let event = Some(Event { kind: "x", id: "1", data: "a" });
        assert_eq!((decoder.reported(), decoder.reported()), (event, event));
        assert!(decoder.decode(&mut input).unwrap().is_some());
        assert_eq!(decoder.reported(), Some(Event { kind: "message", id: "1", data: "b" }));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert_eq!(decoder.reported(), None);
    }

    #[test]
    fn a_large_event_leaves_no_large_buffer() {
        let mut decoder = Decoder::new(1 << 20);
        let (head, tail) = (format!("data: {}", "x".repeat(1 << 19)), "\n\n:\n");
        all(&mut decoder, head.as_bytes()).unwrap();
        assert_eq!(all(&mut decoder, tail.as_bytes()).unwrap().len(), 1);
        assert!(decoder.line.capacity() + decoder.data.capacity() <= 2 * KEPT_BYTES_MAX);
    }

    #[test]
    fn a_resumed_stream_starts_with_its_id() {
        let mut decoder = Decoder::new(100).with_last_event_id("7");
        assert_eq!(all(&mut decoder, b"data: a\n\n").unwrap(), ["message/7/a"]);
    }
}
