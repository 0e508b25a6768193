//! Subscribing: head, first bytes, cursors and gaps (`reference`: Mercure, "Resume").

use super::*;
use crate::config::LagPolicy;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::GapReason;

fn id(seq: u64) -> String {
    format!("urn:tide:0123456789abcdef:{seq}")
}

#[test]
fn the_stream_opens_at_once() {
    let world = World::open(|_| {});
    let answer = world.get("?topic=a", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, ":\n"));
    for (name, value) in [
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "private, no-cache, no-store, must-revalidate, max-age=0"),
        ("Pragma", "no-cache"),
        ("Expires", "0"),
        ("X-Accel-Buffering", "no"),
        ("Connection", "close"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("X-XSS-Protection", "1; mode=block"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("Date", "Fri, 15 Jan 2027 08:00:00 GMT"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    for none in ["Content-Length", "Transfer-Encoding", "Last-Event-ID", "Vary"] {
        assert_eq!(answer.field(none), None);
    }
    let subscribe = answer.subscribe();
    assert_eq!((subscribe.after, subscribe.until_unix_millis), (None, None));
}

#[test]
fn the_retry_line_comes_first() {
    let world = World::open(|hub| hub.retry = Some(2500));
    assert_eq!(world.get("?topic=a", &[]).body, ":\nretry: 2500\n");
}

#[test]
fn refusals() {
    let world = World::open(|_| {});
    let many = format!("?{}", vec!["topic=a"; 1001].join("&"));
    for (query, text) in [
        ("", "Missing \"topic\" parameter.\n"),
        ("?match=a&Topic=a", "Missing \"topic\" parameter.\n"),
        (many.as_str(), "Too many \"topic\" parameters.\n"),
    ] {
        let answer = world.get(query, &[]);
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
    let keyed = World::keyed(|hub| hub.anonymous = false);
    assert_eq!(keyed.get("", &[]).status, 401, "the token comes before the parameters");
}

#[test]
fn head_gets_the_head_and_registers_nothing() {
    let world = World::open(|_| {});
    let line = "HEAD /.well-known/mercure?topic=a HTTP/1.1";
    let answer = world.ask(&[line, "Last-Event-ID: x"], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.field("Content-Type"), Some("text/event-stream"));
    assert_eq!(answer.field("Last-Event-ID"), Some("earliest"));
    assert!(matches!(answer.next, Next::Close(CloseReason::Answered)));
    let bad = world.ask(&["HEAD /.well-known/mercure HTTP/1.1"], "");
    assert_eq!((bad.status, bad.body.as_str()), (400, ""));
}

#[test]
fn what_is_too_old_is_not_promised() {
    let mut world = World::open(|_| {});
    world.post("topic=a&id=x", &[]);
    world.post("topic=a&id=y", &[]);
    world.unix_millis += 3_600_001;
    let answer = world.get("?topic=a", &["Last-Event-ID: x"]);
    assert_eq!(answer.field("Last-Event-ID"), Some("earliest"), "nobody has expired it before");
    assert!(answer.body.contains(": gap "), "{}", answer.body);
}

#[test]
fn a_known_cursor_is_echoed_and_nothing_is_lost() {
    let world = World::open(|_| {});
    for given in ["&id=x", "", "&id=a%20%C3%A9%20%22q%22"] {
        world.post(&format!("topic=a{given}"), &[]);
    }
    for (field, query, want) in [
        ("Last-Event-ID: x", "", vec![2, 3]),
        ("Last-Event-ID: x", "&lastEventID=y", vec![2, 3]),
        ("Last-Event-ID:", "&lastEventID=x", vec![2, 3]),
        ("X-Y: z", "&Last-Event-ID=x", vec![2, 3]),
        (&format!("Last-Event-ID: {}", id(2)), "", vec![3]),
        ("Last-Event-ID: a é \"q\"", "", vec![]),
    ] {
        let answer = world.get(&format!("?topic=a{query}"), &[field]);
        let echoed = answer.field("last-event-id").unwrap();
        assert!(field.ends_with(echoed) || query.ends_with(echoed), "{echoed}");
        assert_eq!(answer.body, ":\n", "no gap");
        assert_eq!(world.replay(&answer.subscribe()), want, "{field} {query}");
    }
    assert_eq!(world.recorder.counters().counter(Counter::Resumes), 6);
}

#[test]
fn earliest_is_everything_without_a_gap() {
    let world = World::open(|_| {});
    let empty = world.get("?topic=a&lastEventID=earliest", &[]);
    assert_eq!(empty.field("last-event-id"), Some("earliest"));
    world.post("topic=a", &[]);
    world.post("topic=b", &[]);
    let answer = world.get("?topic=a", &["Last-Event-ID: earliest"]);
    assert_eq!((answer.field("last-event-id"), answer.body.as_str()), (Some("earliest"), ":\n"));
    assert_eq!(world.replay(&answer.subscribe()), [1]);
}

#[test]
fn an_unknown_cursor_is_a_gap_in_header_and_in_band() {
    let world = World::open(|_| {});
    world.post("topic=a&id=secret", &[]);
    let answer = world.get("?topic=a", &["Last-Event-ID: nobody knows"]);
    assert_eq!(answer.field("last-event-id"), Some("earliest"));
    let notice =
        "{\"from\":\"nobody knows\",\"reason\":\"unknown\",\"to\":\"urn:tide:0123456789abcdef:0\"}";
    assert_eq!(answer.body, format!(":\n: gap {notice}\n"));
    assert_eq!(world.replay(&answer.subscribe()), [1], "all that is kept follows");
    let counted = world.recorder.counters().counter(Counter::Gaps(GapReason::UnknownId));
    assert_eq!(counted, 1);
}

#[test]
fn the_gap_event_moves_the_cursor_to_where_the_stream_is_whole() {
    for change in [(|hub: &mut Hub| hub.gap_event = "gap".into()) as fn(&mut Hub), |hub| {
        hub.lag_policy = LagPolicy::Skip
    }] {
        let world = World::open(|hub| {
            hub.history_events_max = 2;
            change(hub);
        });
        for _ in 0..5 {
            world.post("topic=a", &[]);
        }
        let answer = world.get("?topic=a&lastEventID=x", &[&format!("Last-Event-ID: {}", id(1))]);
        assert_eq!(answer.field("last-event-id"), Some("earliest"));
        assert!(answer.body.contains("\"reason\":\"expired\""), "{}", answer.body);
        let event = answer.body.split_once("event: gap\n").unwrap().1;
        assert!(event.starts_with(&format!("id: {}\ndata: {{", id(3))), "{event}");
        assert!(event.ends_with("}\n\n"));
        assert_eq!(world.replay(&answer.subscribe()), [4, 5]);
        let again = world.get("?topic=a", &[&format!("Last-Event-ID: {}", id(3))]);
        assert_eq!(again.body, ":\n", "no second gap");
        assert_eq!(world.replay(&again.subscribe()), [4, 5]);
    }
}

#[test]
fn another_epoch_is_a_gap() {
    let world = World::open(|_| {});
    let other = "Last-Event-ID: urn:tide:00000000000000ff:7";
    let answer = world.get("?topic=a", &[other]);
    assert!(answer.body.contains("\"reason\":\"expired\""), "{}", answer.body);
    let ahead = world.get("?topic=a", &[&format!("Last-Event-ID: {}", id(9))]);
    assert!(ahead.body.contains("\"reason\":\"unknown\""), "{}", ahead.body);
}

#[test]
fn a_hostile_cursor_forges_nothing() {
    let world = World::open(|hub| hub.gap_event = "gap".into());
    let answer = world.get("?topic=a&lastEventID=%0D%0A%0D%0Adata:evil%0A%0A%00%ff", &[]);
    assert_eq!(answer.field("last-event-id"), Some("earliest"));
    assert_eq!(answer.body.matches("\n\n").count(), 1, "{}", answer.body);
    assert!(!answer.body.contains("\ndata:evil"));
    let long = format!("Last-Event-ID: {}", "x".repeat(5000));
    assert!(world.get("?topic=a", &[&long]).body.len() < 500, "a long one is not echoed");
}

#[test]
fn a_drain_lets_subscribers_in_and_closes_the_rest() {
    let world = World::open(|_| {});
    world.phase.advance(Phase::Draining);
    assert!(matches!(world.get("?topic=a", &[]).next, Next::Subscribe(_)));
    let publish = world.post("topic=a", &[]);
    assert_eq!((publish.status, publish.field("connection")), (200, Some("close")));
    assert!(matches!(publish.next, Next::Close(CloseReason::Answered)));
    assert!(matches!(world.get("", &[]).next, Next::Close(CloseReason::Answered)));
}

#[test]
fn a_query_token_s_end_is_the_stream_s_end() {
    let world = World::keyed(|_| {});
    let token = sign_text(KEY, "{\"mercure\":{},\"exp\":1800000001}");
    let answer = world.get(&format!("?topic=a&authorization={token}"), &[]);
    assert!(answer.field("cache-control").unwrap().starts_with("private"));
    assert_eq!(answer.subscribe().until_unix_millis, Some(1_800_000_001_000));
}
