//! The gap notice: what a client is told in band when it may have missed events.
//!
//! Invariants: a gap is always a comment, which every client may ignore, and an event besides where
//! the hub is configured so or skips events itself. The event carries the id of the place where the
//! stream goes on, so a client that reconnects after it resumes from there. That id is made by the
//! log from a position: no id of an event that the client may not read.

use crate::config::LagPolicy;
use crate::sse;

/// Why events may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client's last event id means nothing here.
    Unknown,
    /// What came after the client's last event is no longer kept.
    Expired,
    /// The client lagged past its limit.
    Lag,
}

impl Reason {
    /// Its word in the notice and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Lag => "lag",
        }
    }
}

/// A gap in one client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Why.
    pub reason: Reason,
    /// The last id the client is known to have; `None` if it is not known.
    pub from: Option<&'a str>,
    /// The id after which the stream goes on, made by the log.
    pub to: &'a str,
}

/// The event type of a gap, from the key and the policy for those who lag; `None`: only the
/// comment is sent.
#[must_use]
pub fn kind(gap_event: &str, lag_policy: LagPolicy) -> Option<&str> {
    match (gap_event, lag_policy) {
        ("", LagPolicy::Skip) => Some("gap"),
        ("", LagPolicy::Close | LagPolicy::Latest) => None,
        (kind, _) => Some(kind),
    }
}

impl Gap<'_> {
    /// Appends the notice's wire form: a comment, and an event if there is a type for it (see
    /// [`kind`]). It must stand on an event boundary.
    pub fn encode(&self, kind: Option<&str>, out: &mut Vec<u8>) {
        let text = self.json();
        sse::encode_comment(&format!("gap {text}"), out);
        let Some(kind) = kind else { return };
        let event = sse::EventFields { kind, retry: None, id: self.to, data: &text };
        // The type comes from the checked configuration and the id from the log: neither holds a
        // line break. If one did, the comment above has announced the gap all the same.
        let encoded = sse::encode(&event, out);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
    }

    fn json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("reason".into(), self.reason.name().into());
        if let Some(from) = self.from {
            object.insert("from".into(), from.into());
        }
        object.insert("to".into(), self.to.into());
        serde_json::Value::Object(object).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hub;

    fn encoded(gap: Gap<'_>, hub: &Hub) -> String {
        let mut out = Vec::new();
        gap.encode(kind(&hub.gap_event, hub.lag_policy), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_comment_always_and_an_event_where_wanted() {
        let gap = Gap { reason: Reason::Lag, from: None, to: "urn:tide:1:7" };
        let comment = ": gap {\"reason\":\"lag\",\"to\":\"urn:tide:1:7\"}\n";
        assert_eq!(encoded(gap, &Hub::default()), comment);
        let event = "id: urn:tide:1:7\ndata: {\"reason\":\"lag\",\"to\":\"urn:tide:1:7\"}\n\n";
        let skip = Hub { lag_policy: LagPolicy::Skip, ..Hub::default() };
        assert_eq!(encoded(gap, &skip), format!("{comment}event: gap\n{event}"));
        let named = Hub { gap_event: "lost".into(), ..Hub::default() };
        assert_eq!(encoded(gap, &named), format!("{comment}event: lost\n{event}"));
    }

    #[test]
    fn a_hostile_id_forges_no_line() {
        let from = Some("x\n\nevent: evil\r\ndata: \"1\"\n\n");
        let gap = Gap { reason: Reason::Unknown, from, to: "urn:tide:1:7" };
        let hub = Hub { gap_event: "gap".into(), ..Hub::default() };
        let text = encoded(gap, &hub);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_eq!(text.matches("\n\n").count(), 1);
        assert!(text.contains("\\n\\nevent: evil\\r\\n"));
    }
}
