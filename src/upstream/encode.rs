//! The inlet of a tap: from an upstream's event to an event of the log, as clients get it.
//!
//! | event | its id in the log |
//! |---|---|
//! | has an id of its own | kept, byte for byte |
//! | has none, or the one of the event before it | made: the position |
//! | of a family whose channels may be merged | made, always |
//! | `earliest`, which asks for everything kept | made |
//!
//! Why an inherited id is not kept: two events would have one id, and a client that resumes from it
//! would lose the second or get it twice (R3, R4).
//!
//! Invariants: an upstream's `retry` is for us and goes no further (C6). No field can forge a line.
//! Data arrives as it was; a line break or NUL in a type, which has no wire form, becomes U+FFFD.

use super::open::Arrival;
use super::open::Full;
use super::tap::Tap;
use super::wanted::EARLIEST;
use crate::log::AppendError;
use crate::log::Channel;
use crate::log::Draft;
use crate::sse;
use std::borrow::Cow;

/// Puts a tap's events into the log of its family.
#[derive(Debug)]
pub struct Inlet<'a> {
    log: &'a Channel,
    tap: &'a Tap,
    unix_millis: u64,
}

impl<'a> Inlet<'a> {
    /// An inlet for now.
    #[must_use]
    pub fn new(log: &'a Channel, tap: &'a Tap, unix_millis: u64) -> Self {
        Self { log, tap, unix_millis }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// No room. The same event is offered again later.
    pub fn event(&mut self, arrival: &Arrival<'_>) -> Result<(), Full> {
        let multiplex = self.tap.family.definition.multiplex;
        let keeps = |id: &&str| !multiplex && *id != EARLIEST && !id.contains(BREAKS);
        // A log of sources reserves no ids, so nothing else can stand in the way.
        self.append(arrival, arrival.id.filter(keeps)).map_err(|_| Full)
    }

    fn append(&self, arrival: &Arrival<'_>, id: Option<&str>) -> Result<(), AppendError> {
        let kind = self.kind(arrival.kind);
        let draft = Draft {
            topics: [self.tap.topic.clone()].into(),
            private: false,
            id: id.map(Into::into),
        };
        let encode = |id: &str, out: &mut Vec<u8>| {
            let fields = sse::EventFields { kind: &kind, retry: None, id, data: arrival.data };
            let encoded = sse::encode(&fields, out);
            debug_assert!(encoded.is_ok(), "type and id have no line breaks: {encoded:?}");
        };
        self.log.append(draft, self.unix_millis, encode).map(|_| ())
    }

    /// The type on the wire; empty for the default type.
    fn kind<'k>(&self, kind: &'k str) -> Cow<'k, str> {
        let channel = &self.tap.key.channel;
        let kind = if kind.contains(BREAKS) {
            Cow::Owned(kind.replace(BREAKS, "\u{fffd}"))
        } else {
            Cow::Borrowed(kind)
        };
        if !channel.is_empty() {
            // A key has a name only where types are prefixed.
            Cow::Owned(format!("{channel}:{kind}"))
        } else if kind == "message" {
            Cow::Borrowed("")
        } else {
            kind
        }
    }
}

const BREAKS: [char; 3] = ['\r', '\n', '\0'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateway::Upstream;
    use crate::log::EventId;
    use crate::upstream::tests::definition;
    use crate::upstream::tests::log;
    use crate::upstream::tests::tap_of;

    fn put(definition: &Upstream, log: &Channel, kind: &str, id: Option<&str>) -> String {
        let (tap, bell) = (tap_of(definition, None, None), crate::upstream::tests::bell());
        let (mut reader, _) = log.reader(&bell);
        let arrival = Arrival { kind, id, data: "x\ny" };
        Inlet::new(log, &tap, 5).event(&arrival).unwrap();
        let event = reader.take().unwrap();
        assert_eq!(event.topics.as_ref(), [tap.topic().clone()]);
        assert_eq!(matches!(event.id, EventId::Given(_)), event.wire.starts_with(b"id: 7"));
        String::from_utf8(event.wire.to_vec()).unwrap()
    }

    #[test]
    fn own_ids_are_kept_and_all_others_are_made() {
        let (log, plain) = (log(), definition());
        assert_eq!(put(&plain, &log, "message", Some("7é")), "id: 7é\ndata: x\ndata: y\n\n");
        let made = |seq| format!("id: {}\ndata: x\ndata: y\n\n", log.id(seq));
        assert_eq!(put(&plain, &log, "message", None), made(2));
        assert_eq!(put(&plain, &log, "message", Some("earliest")), made(3));
        let merged = Upstream { multiplex: true, ..definition() };
        assert_eq!(put(&merged, &log, "message", Some("7")), made(4));
    }

    #[test]
    fn types_are_prefixed_where_wanted_and_forge_no_line() {
        let (log, plain) = (log(), definition());
        let kind = |definition: &Upstream, kind| {
            let wire = put(definition, &log, kind, None);
            wire.split("id: ").next().unwrap().to_owned()
        };
        assert_eq!(kind(&plain, "tick"), "event: tick\n");
        assert_eq!(kind(&plain, "a\0b\nc"), "event: a\u{fffd}b\u{fffd}c\n");
        let prefixed = Upstream { prefix_types: true, ..definition() };
        assert_eq!(kind(&prefixed, "tick"), "event: news:tick\n");
        assert_eq!(kind(&prefixed, "message"), "event: news:message\n");
    }

    #[test]
    fn a_log_without_room_takes_nothing() {
        let log = log();
        let (tap, bell) = (tap_of(&definition(), None, None), crate::upstream::tests::bell());
        let _reader = log.reader(&bell);
        let data = "x".repeat(crate::upstream::tests::BACKLOG);
        let arrival = Arrival { kind: "message", id: Some("7"), data: &data };
        let mut inlet = Inlet::new(&log, &tap, 5);
        assert_eq!(inlet.event(&arrival), Ok(()));
        assert_eq!(inlet.event(&arrival), Err(Full));
        assert_eq!(log.tail(), 1);
    }
}
