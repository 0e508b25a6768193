//! What a response's head means for an event stream.
//!
//! Invariants: exactly one verdict for each head; only a plain 200 event stream opens.

use super::cause::Cause;
use super::family::Family;
use super::location;
use crate::http::date;
use crate::http::h1::response::ResponseHead;
use std::time::Duration;

/// The verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Events follow.
    Open,
    /// Ask there.
    Move {
        target: Box<str>,
        /// And at later reconnects too.
        permanent: bool,
    },
    /// Never again, says the upstream.
    Refuse(u16),
    /// Not now.
    Fail {
        cause: Cause,
        /// Not before so long.
        retry_after: Option<Duration>,
    },
}

/// Judges a head that answers a request for `target`.
pub(super) fn judge(
    family: &Family,
    target: &str,
    head: &ResponseHead,
    unix_millis: u64,
) -> Answer {
    let status = head.status();
    match status {
        200 => match check_open(head) {
            Ok(()) => Answer::Open,
            Err(cause) => Answer::Fail { cause, retry_after: None },
        },
        301 | 302 | 303 | 307 | 308 => {
            let place = head.first("location").unwrap_or_default();
            match location::resolve(family, target, place) {
                Ok(target) => Answer::Move { target, permanent: matches!(status, 301 | 308) },
                Err(cause) => Answer::Fail { cause, retry_after: None },
            }
        }
        // These say that another attempt may succeed; so do those of 500 and more.
        408 | 425 | 429 => later(head, unix_millis),
        204 | 400..=499 => Answer::Refuse(status),
        _ => later(head, unix_millis),
    }
}

fn later(head: &ResponseHead, unix_millis: u64) -> Answer {
    let retry_after = retry_after(head, unix_millis);
    Answer::Fail { cause: Cause::Status(head.status()), retry_after }
}

/// C2: the MIME essence decides; P1: `charset` does not.
fn check_open(head: &ResponseHead) -> Result<(), Cause> {
    let is_stream = |value: &[u8]| {
        let essence = value.split(|b| *b == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    let mut types = head.all("content-type").peekable();
    if types.peek().is_none() || !types.all(is_stream) {
        return Err(Cause::ContentType);
    }
    if head.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Cause::ContentEncoding);
    }
    Ok(())
}

/// Seconds, or a date: read against the upstream's own clock where it tells it.
fn retry_after(head: &ResponseHead, unix_millis: u64) -> Option<Duration> {
    let value = head.first("retry-after")?;
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let then = date::parse(value)?;
    let now = head.first("date").and_then(date::parse).unwrap_or(unix_millis / 1000);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use crate::http::h1::response::ResponseDecoder;
    use crate::http::h1::response::ResponseItem;
    use crate::upstream::tests::family;

    const NOW: u64 = 784_111_777_000;

    fn judged(status: u16, fields: &str) -> Answer {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let mut decoder = ResponseDecoder::new();
        decoder.expect(false);
        let item = decoder.decode(&mut text.as_bytes(), &Limits::default()).unwrap();
        let ResponseItem::Head(head) = item else { panic!("{item:?}") };
        judge(&family(), "/s/a", &head, NOW)
    }

    fn fail(cause: Cause) -> Answer {
        Answer::Fail { cause, retry_after: None }
    }

    #[test]
    fn only_a_plain_event_stream_opens() {
        for kind in [
            "text/event-stream",
            "Text/Event-Stream",
            "text/event-stream; charset=windows-1252",
            "text/event-stream;foo=bar",
        ] {
            assert_eq!(judged(200, &format!("Content-Type: {kind}\r\n")), Answer::Open, "{kind}");
        }
        let plain = "Content-Type: text/event-stream\r\n";
        assert_eq!(judged(200, &format!("{plain}Content-Encoding: identity\r\n")), Answer::Open);
        for kind in ["", "Content-Type: text/html\r\n", "Content-Type: text/event-streams\r\n"] {
            assert_eq!(judged(200, kind), fail(Cause::ContentType), "{kind}");
        }
        let two = format!("{plain}Content-Type: text/html\r\n");
        assert_eq!(judged(200, &two), fail(Cause::ContentType));
        let coded = format!("{plain}Content-Encoding: gzip\r\n");
        assert_eq!(judged(200, &coded), fail(Cause::ContentEncoding));
    }

    #[test]
    fn statuses_by_what_they_mean() {
        for status in [204, 400, 401, 403, 404, 405, 410, 421, 451, 499] {
            assert_eq!(judged(status, ""), Answer::Refuse(status));
        }
        for status in [201, 202, 205, 206, 300, 304, 305, 408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judged(status, ""), fail(Cause::Status(status)));
        }
    }

    #[test]
    fn redirects_stay_with_the_origin() {
        for (status, permanent) in
            [(301, true), (302, false), (303, false), (307, false), (308, true)]
        {
            let there = Answer::Move { target: "/s/b?c".into(), permanent };
            assert_eq!(judged(status, "Location: b?c\r\n"), there);
            assert_eq!(judged(status, ""), fail(Cause::RedirectMalformed));
            let away = judged(status, "Location: http://other.test/\r\n");
            assert_eq!(away, fail(Cause::RedirectAway));
        }
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let asked = |fields: &str| match judged(503, fields) {
            Answer::Fail { retry_after, .. } => retry_after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(asked("Retry-After: 7\r\n"), Some(7));
        assert_eq!(asked("Retry-After: 99999999999999999999999\r\n"), Some(u64::MAX));
        for bad in ["", "-1", "1.5", "soon", "7 s"] {
            assert_eq!(asked(&format!("Retry-After: {bad}\r\n")), None, "{bad}");
        }
        let date = "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
        assert_eq!(asked(date), Some(30));
        assert_eq!(asked("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT\r\n"), Some(0));
        let own = format!("{date}Date: Sun, 06 Nov 1994 08:50:00 GMT\r\n");
        assert_eq!(asked(&own), Some(7));
    }
}
