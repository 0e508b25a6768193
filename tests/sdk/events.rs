//! EventSource of Node, and curl, through the gateway: events arrive as they are written, and what
//! a client has seen goes through when it comes back.

use crate::backend::Backend;
use crate::gateway::Gateway;
use crate::process::Process;
use crate::process::installed;
use crate::program::Program;
use crate::program::await_objects;
use crate::program::objects;
use serde_json::json;

/// A stream of some events, which ends; the client comes back for more, again and again.
#[test]
fn event_source_sees_each_event_and_resumes() {
    let Some(node) = Program::Node.find("events::event_source_sees_each_event_and_resumes") else {
        return;
    };
    let backend = Backend::new();
    let gateway = Gateway::to(backend.address, "auto");
    let url = format!("{}/events?plan=stepped:3", gateway.url());
    let args = ["--experimental-eventsource", "tests/clients/eventsource.mjs", &url];
    let mut client = Process::start(&node.path, &args, b"");
    for number in 0..3 {
        backend.step();
        await_objects(&mut client, number + 1, |_| true);
    }
    // From the second stream on nothing waits for a step.
    await_objects(&mut client, 9, |_| true);
    let event = |n: usize| {
        let data = format!("event {n} é\n🌊");
        json!({ "id": n.to_string(), "type": "message", "data": data })
    };
    assert_eq!(objects(&client.out())[..9], (0..9).map(event).collect::<Vec<_>>());
    for last in [None, Some("2"), Some("5")] {
        let exchange = backend.exchange();
        assert_eq!(exchange.field("last-event-id"), last);
        assert_eq!(exchange.field("accept"), Some("text/event-stream"));
    }
}

#[test]
fn curl_sees_the_bytes_as_they_are_written() {
    if !installed("curl", "events::curl_sees_the_bytes_as_they_are_written") {
        return;
    }
    let backend = Backend::new();
    let gateway = Gateway::to(backend.address, "epoll");
    let url = format!("{}/events?plan=stepped:4", gateway.url());
    let header = "Last-Event-ID: 41";
    let args = ["--silent", "--show-error", "--no-buffer", "--header", header, &url];
    let mut client = Process::start("curl", &args, b"");
    let mut want = ": hello\n\nretry: 50\n\n".to_owned();
    for id in 42..46 {
        client.await_out(&want);
        assert_eq!(client.out(), want);
        want += &format!("id: {id}\ndata: event {id} é\ndata: 🌊\n\n");
        backend.step();
    }
    want += ": the end\n\n";
    let outcome = client.outcome();
    assert_eq!((outcome.code, outcome.out), (Some(0), want), "{}", outcome.err);
}

/// curl tells a stream that was cut from one that ended: exit code 18.
#[test]
fn curl_sees_a_cut() {
    if !installed("curl", "events::curl_sees_a_cut") {
        return;
    }
    let backend = Backend::new();
    for io in ["auto", "epoll"] {
        let gateway = Gateway::to(backend.address, io);
        let url = format!("{}/events?plan=cut:2", gateway.url());
        let args = ["--silent", "--show-error", "--no-buffer", &url];
        let outcome = Process::start("curl", &args, b"").outcome();
        assert_eq!(outcome.code, Some(18), "{io}: {}\n{}", outcome.out, outcome.err);
        assert!(outcome.out.ends_with("event 1 é\ndata: 🌊\n\n"), "{}", outcome.out);
    }
}
