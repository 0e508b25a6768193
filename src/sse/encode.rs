//! From an event's fields to its wire form, and where events end in that form.
//!
//! Invariants: fields come in the order event, retry, id, data; one space follows each colon; LF
//! ends every line; `"\n\n"` stands at the end of an event and nowhere else, so an event's end is
//! found without parsing. A field that would forge another line is refused, never repaired.

use crate::base::digits::Room;
use crate::base::digits::digits;
use memchr::memchr2;
use memchr::memchr3;
use memchr::memmem;

/// What an event consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFields<'a> {
    /// The type; empty: none, which clients read as `message`.
    pub kind: &'a str,
    /// The reconnection time that the client shall use from now on, in milliseconds.
    pub retry: Option<u64>,
    /// The id; empty: none. (A line without a value would reset the client's cursor.)
    pub id: &'a str,
    /// The payload, of any number of lines.
    pub data: &'a str,
}

/// Why an event has no wire form: a fault of whoever made the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The type would break its line or cannot be carried.
    #[error("the event type holds a line break or NUL: remove it")]
    Kind,
    /// The id would break its line, or clients would ignore it.
    #[error("the event id holds a line break or NUL: remove it")]
    Id,
}

/// Appends the wire form of an event.
///
/// CR, LF and CRLF all separate lines of the payload (each arrives as LF); an empty payload has
/// one empty line, a final line break gives a last empty line.
///
/// # Errors
/// CR, LF or NUL in the type or the id. Nothing is appended then.
pub fn encode(event: &EventFields<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if memchr3(b'\r', b'\n', 0, event.kind.as_bytes()).is_some() {
        return Err(EncodeError::Kind);
    }
    if memchr3(b'\r', b'\n', 0, event.id.as_bytes()).is_some() {
        return Err(EncodeError::Id);
    }
    out.reserve(event.kind.len() + event.id.len() + event.data.len() + 64);
    if !event.kind.is_empty() {
        line(b"event: ", event.kind.as_bytes(), out);
    }
    if let Some(millis) = event.retry {
        encode_retry(millis, out);
    }
    if !event.id.is_empty() {
        line(b"id: ", event.id.as_bytes(), out);
    }
    lines(b"data: ", event.data.as_bytes(), out);
    out.push(b'\n');
    Ok(())
}

/// Appends a comment, one line for each line of the text; `":\n"`, the heartbeat, if it is empty.
///
/// There is no blank line after it, so it disturbs no event: it stands in front of the next one.
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b":\n");
    } else {
        lines(b": ", text.as_bytes(), out);
    }
}

/// Appends a reconnection time in milliseconds as a line in front of the next event.
///
/// Some clients report a block that holds nothing but `retry` as an empty event: hence no blank
/// line. At the end of a stream use [`encode_ending`].
pub fn encode_retry(millis: u64, out: &mut Vec<u8>) {
    line(b"retry: ", digits(millis, 10, &mut Room::default()), out);
}

/// Appends the last words of a stream: a reconnection time in milliseconds and a blank line.
pub fn encode_ending(millis: u64, out: &mut Vec<u8>) {
    encode_retry(millis, out);
    out.push(b'\n');
}

/// The end of the first event that ends at or after `from`, in what this module encoded.
///
/// `bytes` starts on an event boundary, so 0 is one. `None`: the last event is not complete, or
/// `from` is past the end.
#[must_use]
pub fn boundary(bytes: &[u8], from: usize) -> Option<usize> {
    if from == 0 {
        return Some(0);
    }
    let start = from.saturating_sub(2);
    memmem::find(bytes.get(start..)?, b"\n\n").map(|at| (start + at + 2).max(from))
}

fn lines(name: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        let (head, tail) = rest.split_at(end);
        line(name, head, out);
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    line(name, rest, out);
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: EventFields<'_>) -> String {
        let mut out = Vec::new();
        encode(&event, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_the_fields_in_the_order_of_the_protocol() {
        let event = EventFields { kind: "t", retry: Some(5), id: "i", data: "a\r\nb" };
        assert_eq!(encoded(event), "event: t\nretry: 5\nid: i\ndata: a\ndata: b\n\n");
    }

    #[test]
    fn every_line_break_splits_and_the_last_one_counts() {
        let data = |data| encoded(EventFields { data, ..EventFields::default() });
        assert_eq!(data(""), "data: \n\n");
        assert_eq!(data("a\n"), "data: a\ndata: \n\n");
        assert_eq!(data("\r\n\r\n"), "data: \ndata: \ndata: \n\n");
        assert_eq!(data("a\rb\nc\n\rd"), "data: a\ndata: b\ndata: c\ndata: \ndata: d\n\n");
        assert_eq!(data(" \u{feff}\0"), "data:  \u{feff}\0\n\n");
    }

    #[test]
    fn refuses_what_would_forge_a_line_and_writes_nothing() {
        for bad in ["\r", "a\nb", "\0"] {
            let mut out = Vec::new();
            let kind = EventFields { kind: bad, ..EventFields::default() };
            let id = EventFields { id: bad, ..EventFields::default() };
            assert_eq!(encode(&kind, &mut out), Err(EncodeError::Kind));
            assert_eq!(encode(&id, &mut out), Err(EncodeError::Id));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn comments_and_reconnection_times() {
        let mut out = Vec::new();
        encode_comment("", &mut out);
        encode_comment("gap\nof 3", &mut out);
        for millis in [0, 7, 10, 1500, u64::MAX] {
            encode_retry(millis, &mut out);
        }
        encode_ending(42, &mut out);
        let max = u64::MAX;
        let want = format!(
            ":\n: gap\n: of 3\nretry: 0\nretry: 7\nretry: 10\nretry: 1500\nretry: {max}\n\
             retry: 42\n\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    /// Against a list of the ends that the encoder itself made, from every offset.
    #[test]
    fn boundary_finds_the_end_of_the_event_that_holds_an_offset() {
        let (mut out, mut ends) = (Vec::new(), vec![0]);
        for data in ["", "a\n\nb", "\n", "x", "\r\r\r"] {
            encode_comment("note", &mut out);
            encode(&EventFields { id: "7", data, ..EventFields::default() }, &mut out).unwrap();
            ends.push(out.len());
        }
        for from in 0..=out.len() {
            let want = ends.iter().copied().find(|end| *end >= from);
            assert_eq!(boundary(&out, from), want, "from {from}");
        }
        assert_eq!(boundary(&out, out.len() + 1), None);
        out.extend_from_slice(b"data: cut\n");
        assert_eq!(boundary(&out, out.len() - 1), None);
        assert_eq!(boundary(&out, out.len()), None);
    }
}
