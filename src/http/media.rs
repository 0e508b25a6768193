//! Media types, as far as a gateway of event streams looks at them.

/// The type of event streams.
const EVENT_STREAM: &str = "text/event-stream";

/// `type/subtype` of a `Content-Type`, in its own case; empty if it is not ASCII.
#[must_use]
pub fn essence(content_type: &[u8]) -> &str {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default();
    std::str::from_utf8(essence.trim_ascii()).ok().filter(|text| text.is_ascii()).unwrap_or("")
}

/// Whether a `Content-Type` is that of event streams, whatever its case and parameters (C2).
#[must_use]
pub fn is_event_stream(content_type: &[u8]) -> bool {
    essence(content_type).eq_ignore_ascii_case(EVENT_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_streams_by_their_essence() {
        for good in [
            "text/event-stream",
            "Text/Event-Stream",
            " text/event-stream ; charset=utf-8",
            "text/event-stream;foo=bar",
            "text/event-stream;",
        ] {
            assert!(is_event_stream(good.as_bytes()), "{good:?}");
        }
        for bad in ["", ";", "text/event-streams", "text/plain; x=text/event-stream", "text/*"] {
            assert!(!is_event_stream(bad.as_bytes()), "{bad:?}");
        }
        assert_eq!(essence(b"Application/JSON ;charset=x"), "Application/JSON");
        assert_eq!(essence(b"\xff/x"), "");
    }
}
