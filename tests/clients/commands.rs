//! `tidegate subscribe` and `tidegate publish` against scripted peers: what they send, what they
//! print, when they stop, and what they say then.

use crate::fake::Fake;
use crate::fake::answer;
use crate::fake::stream;
use crate::process::Outcome;
use crate::process::Process;
use crate::process::tidegate;
use std::time::Duration;

const NOWHERE: &str = "http://127.0.0.1:1/";

/// Runs `subscribe` with short waits.
#[track_caller]
fn subscribe(url: &str, more: &[&str]) -> Outcome {
    let mut args = vec!["subscribe", url, "--backoff", "1", "--backoff-max", "20"];
    args.extend(more);
    tidegate(&args)
}

#[test]
fn resumes_after_the_last_whole_event() {
    let fake = Fake::new(vec![
        stream(":\nid: 1\ndata: a\n\nid: 2\ndata: cut"),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
          Transfer-Encoding: chunked\r\n\r\n5\r\nid: 2\r\n10\r\n\ndata: b\n\nid: 3\n\r\n"
            .to_vec(),
        stream("event: last\nid: é 3\ndata: c\ndata: d\n\n"),
    ]);
    let outcome = subscribe(&fake.url, &["--count", "3", "--json"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    assert_eq!(
        outcome.out,
        "{\"data\":\"a\",\"id\":\"1\",\"type\":\"message\"}\n\
         {\"data\":\"b\",\"id\":\"2\",\"type\":\"message\"}\n\
         {\"data\":\"c\\nd\",\"id\":\"é 3\",\"type\":\"last\"}\n"
    );
    let seen = fake.requests();
    let ids: Vec<_> = seen.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(ids, [None, Some("1"), Some("1"), Some("2")]);
    assert!(seen[0].text.starts_with("GET /events HTTP/1.1\r\n"));
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
    assert_eq!(seen[0].header("cache-control"), Some("no-cache"));
}

#[test]
fn waits_as_long_as_the_server_says_also_without_a_blank_line() {
    let fake = Fake::new(vec![stream("retry: 300"), stream("retry: 400\n"), stream("data: a\n\n")]);
    let outcome = subscribe(&fake.url, &["--count", "1"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let seen = fake.requests();
    let waits: Vec<Duration> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits[1] >= Duration::from_millis(400), "{waits:?}");
}

#[test]
fn stops_where_a_browser_stops_and_says_why() {
    for (status, code, says) in [
        ("204 No Content", 0, "no more connections"),
        ("401 Unauthorized", 1, "--token-file"),
        ("404 Not Found", 1, "/.well-known/mercure"),
        ("503 Service Unavailable", 1, "--keep-trying"),
    ] {
        let fake = Fake::new(vec![answer(status, "", "")]);
        let outcome = subscribe(&fake.url, &[]);
        assert_eq!(outcome.code, Some(code), "{status}: {}", outcome.err);
        assert!(outcome.err.contains(says), "{status}: {}", outcome.err);
        assert_eq!(fake.requests().len(), 1, "{status}: one attempt");
    }
    let fake = Fake::new(vec![answer("200 OK", "Content-Type: text/html\r\n", "x")]);
    let outcome = subscribe(&fake.url, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("`text/html`"), "{}", outcome.err);
}

#[test]
fn keeps_trying_when_told_to() {
    let fake = Fake::new(vec![
        answer("204 No Content", "", ""),
        answer("503 Service Unavailable", "Retry-After: 1\r\n", ""),
        answer("200 OK", "Content-Type: text/html\r\n", "x"),
        stream("data: a\n\n"),
    ]);
    let outcome = subscribe(&fake.url, &["--keep-trying", "--count", "1"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "data: a\n\n"), "{}", outcome.err);
    let seen = fake.requests();
    assert!(seen[2].at - seen[1].at >= Duration::from_secs(1), "Retry-After holds");
}

#[test]
fn follows_redirects_and_keeps_credentials_at_home() {
    let away = Fake::new(vec![stream("data: a\n\n")]);
    let location = |to: &str| format!("Location: {to}\r\n");
    let fake = Fake::new(vec![
        answer("307 Temporary Redirect", &location("/other?x=1"), ""),
        answer("302 Found", &location(&away.url), ""),
    ]);
    let outcome = subscribe(
        &fake.url,
        &["--count", "1", "--token", "secret", "--header", "X-Key: k", "--last-event-id", "7"],
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let (home, away) = (fake.requests(), away.requests());
    assert!(home[1].text.starts_with("GET /other?x=1 "));
    assert_eq!(home[1].header("authorization"), Some("Bearer secret"));
    assert_eq!(home[1].header("x-key"), Some("k"));
    assert_eq!(away[0].header("last-event-id"), Some("7"));
    assert_eq!((away[0].header("authorization"), away[0].header("x-key")), (None, None));
}

#[test]
fn a_gap_is_announced_from_header_and_comment() {
    let mut resumed = stream(": gap of 3\ndata: a\n\n");
    let head = b"HTTP/1.1 200 OK\r\n";
    resumed.splice(..head.len(), head.iter().copied().chain(*b"Last-Event-ID: earliest\r\n"));
    let fake = Fake::new(vec![resumed]);
    let outcome = subscribe(&fake.url, &["--last-event-id", "old", "--count", "1"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    assert!(outcome.err.contains("gap: the server no longer knows `old`"), "{}", outcome.err);
    assert!(outcome.err.contains(": gap of 3"), "{}", outcome.err);
}

#[test]
fn gives_up_when_told_to() {
    let outcome = subscribe(NOWHERE, &["--attempts", "3"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("gave up after 3 failed connections"), "{}", outcome.err);
    assert!(outcome.err.contains("is the server running"), "{}", outcome.err);
}

#[test]
fn bounds_events_and_refuses_strangers() {
    let fake = Fake::new(vec![stream("data: 0123456789\n\n")]);
    let outcome = subscribe(&fake.url, &["--event-bytes-max", "10"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("longer than 10 bytes"), "{}", outcome.err);
    let fake = Fake::new(vec![b"SSH-2.0-x\r\n".to_vec()]);
    let outcome = subscribe(&fake.url, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("does not answer in HTTP/1.1"), "{}", outcome.err);
}

#[test]
fn ends_quietly_when_nobody_reads_its_output() {
    let fake = Fake::new(vec![stream(&"data: 0123456789\n\n".repeat(100_000))]);
    let script = "\"$0\" subscribe \"$1\" | head -n 1; echo ${PIPESTATUS[0]}";
    let args = ["-c", script, env!("CARGO_BIN_EXE_tidegate"), &fake.url];
    let outcome = Process::start("bash", &args, b"").outcome();
    assert_eq!(outcome.out, "data: 0123456789\n0\n", "{}", outcome.err);
}

#[test]
fn publish_sends_the_form_and_prints_the_id() {
    let fake = Fake::new(vec![answer("200 OK", "", "urn:1"), answer("200 OK", "", "urn:2")]);
    let url = fake.url.as_str();
    let all = "publish --topic a/é --topic b --data -x&y --id i --type t --retry 5 --private \
               --token secret";
    let mut args: Vec<&str> = all.split_whitespace().collect();
    args.push(url);
    let outcome = tidegate(&args);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "urn:1\n"), "{}", outcome.err);
    let args = ["publish", url, "--topic", "a"];
    let outcome = Process::start(env!("CARGO_BIN_EXE_tidegate"), &args, b"two\nlines\n").outcome();
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "urn:2\n"), "{}", outcome.err);
    let seen = fake.requests();
    assert!(seen[0].text.starts_with("POST /events HTTP/1.1\r\n"));
    assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(
        seen[0].body(),
        "topic=a%2F%C3%A9&topic=b&data=-x%26y&id=i&type=t&retry=5&private=on"
    );
    assert_eq!(seen[1].body(), "topic=a&data=two%0Alines");
}

#[test]
fn publish_tells_what_went_wrong_and_what_to_do() {
    for (status, says) in [
        ("401 Unauthorized", "--key-file"),
        ("400 Bad Request", "(400, \"no topic\")"),
        ("413 Content Too Large", "smaller"),
        ("405 Method Not Allowed", "configure a publisher key"),
    ] {
        let fake = Fake::new(vec![answer(status, "", "no topic\n")]);
        let outcome = tidegate(&["publish", &fake.url, "--topic", "a", "--data", "x"]);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""), "{status}");
        assert!(outcome.err.contains(says), "{status}: {}", outcome.err);
    }
    let outcome = tidegate(&["publish", NOWHERE, "--topic", "a", "--data", "x"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("is the server running"), "{}", outcome.err);
}

#[test]
fn what_cannot_be_right_is_refused_before_anything_is_sent() {
    let publish = |more: &[&str]| {
        let mut args = vec!["publish", "--topic", "a", "--data", "x"];
        args.extend(more);
        tidegate(&args)
    };
    for (args, says) in [
        (["https://a/", "--private"].as_slice(), "plain http only"),
        (&["--id", "a\nb"], "the event id holds a line break"),
        (&["--type", "a\rb"], "the event type holds a line break"),
        (&["--header", "no colon"], "'Name: value'"),
        (&["--token", "a", "--key", "b"], "cannot be used with"),
    ] {
        let outcome = publish(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(says), "{args:?}: {}", outcome.err);
    }
    let outcome = tidegate(&["publish", "--data", "x"]);
    assert!(outcome.code == Some(2) && outcome.err.contains("--topic"), "{}", outcome.err);
    let input = b"\xff";
    let args = ["publish", "--topic", "a"];
    let outcome = Process::start(env!("CARGO_BIN_EXE_tidegate"), &args, input).outcome();
    assert!(outcome.code == Some(1) && outcome.err.contains("UTF-8"), "{}", outcome.err);
}
