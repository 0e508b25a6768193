//! An event stream as a client reads it: its comments and events, and where it stands.
//!
//! Invariants: whether an event is torn is judged by bytes, not by the decoder.

use crate::sim::net::LinkId;
use crate::sse;

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) link: LinkId,
    decoder: sse::Decoder,
    /// The start of an event has come and not its end.
    torn: bool,
    last: u8,
}

/// Something that was read.
#[derive(Debug)]
pub(super) enum Found {
    Comment(String),
    Event { kind: String, id: String, data: String },
}

impl Reading {
    pub(super) fn new(link: LinkId) -> Self {
        let decoder = sse::Decoder::new(1 << 24).with_comments();
        Self { link, decoder, torn: false, last: b'\n' }
    }

    /// What these bytes complete.
    ///
    /// # Errors
    /// They are no event stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Found>, String> {
        for byte in bytes {
            match (self.last, byte) {
                (b'\n', b'\n') => self.torn = false,
                // Comments and `retry` stand between events; an event starts with another line.
                (b'\n', b'e' | b'i' | b'd') => self.torn = true,
                _ => {}
            }
            self.last = *byte;
        }
        let (mut input, mut found) = (bytes, Vec::new());
        loop {
            found.push(match self.decoder.decode(&mut input) {
                Ok(None) => return Ok(found),
                Ok(Some(sse::Item::Comment(text))) => Found::Comment(text.to_owned()),
                Ok(Some(sse::Item::Event(event))) => Found::Event {
                    kind: event.kind.to_owned(),
                    id: event.id.to_owned(),
                    data: event.data.to_owned(),
                },
                Err(error) => return Err(error.to_string()),
            });
        }
    }

    /// What is wrong with its end, for one that was ended in order at a drain.
    pub(super) fn unfinished(&self) -> Option<&'static str> {
        if self.torn {
            Some("was cut inside an event")
        } else if self.decoder.retry().is_none() {
            Some("was closed without a `retry:`")
        } else {
            None
        }
    }
}
