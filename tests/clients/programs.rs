//! Programs against the real server: the project's own commands, curl, Node, Python, and the
//! scripts in `examples`. Each receives, survives a restart of the server, and loses nothing when
//! its connection is cut at any byte.

use crate::process::Process;
use crate::process::installed;
use crate::process::tidegate;
use crate::process::until;
use crate::proxy::Proxy;
use crate::server::Server;
use std::net::SocketAddr;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

/// How a client is started: given where the hub is, it subscribes to `news`, prints one JSON
/// object for each event, and says `connected` on standard error.
type Start = fn(SocketAddr) -> Process;

fn hub(address: SocketAddr) -> String {
    format!("http://{address}/.well-known/mercure")
}

/// With the hub in the environment, as the examples want it.
fn example(address: SocketAddr, program: &str, args: &[&str]) -> Process {
    let variable = format!("HUB={}", hub(address));
    let mut all = vec![variable.as_str(), program];
    all.extend(args);
    Process::start("env", &all, b"")
}

fn own(address: SocketAddr) -> Process {
    let args = ["subscribe", &hub(address), "--topic", "news", "--json", "--backoff-max", "50"];
    Process::tidegate(&args)
}

fn python(address: SocketAddr) -> Process {
    example(address, "python3", &["examples/subscribe.py", "news"])
}

fn node(address: SocketAddr) -> Process {
    example(address, "node", &["examples/subscribe.mjs", "news"])
}

/// What Node itself offers, which behaves as a browser's does.
fn node_event_source(address: SocketAddr) -> Process {
    let url = format!("{}?topic=news", hub(address));
    let args = ["--experimental-eventsource", "tests/clients/eventsource.mjs", &url];
    Process::start("node", &args, b"")
}

/// The `data` of the events that a client printed, gap events apart.
fn data(client: &mut Process) -> Vec<String> {
    let out = client.out();
    let lines = out.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events = events.filter(|event| event["type"] != "gap");
    events.map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

/// The history is gone with the server, so the client must hear of a gap, which proves that it
/// sent its last id, and must receive what comes next.
#[track_caller]
fn survives_a_restart(start: Start) {
    let mut server = Server::start("");
    let mut client = start(server.address);
    client.await_err("connected");
    server.publish("news", "before");
    client.await_out("before");
    server.restart();
    client.await_out("\"gap\"");
    server.publish("news", "after");
    client.await_out("after");
    assert_eq!(data(&mut client), ["before", "after"]);
}

/// Cut again and again, at any byte, while events are published: all arrive, in order, once.
#[track_caller]
fn loses_nothing_when_cut(start: Start) {
    let server = Server::start("");
    let proxy = Proxy::to(server.address);
    let mut client = start(proxy.address);
    client.await_err("connected");
    // A client without an id cannot resume: the first event gives it one.
    server.publish("news", "0");
    client.await_out("\"0\"");
    proxy.cut();
    let events: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for event in &events[1..] {
        server.publish("news", event);
    }
    until("all events", || (data(&mut client).len() >= events.len()).then_some(()));
    let cuts = proxy.mend();
    server.publish("news", "end");
    client.await_out("\"end\"");
    let mut want = events;
    want.push("end".to_owned());
    assert_eq!(data(&mut client), want);
    assert!(cuts >= 3, "only {cuts} cuts: the test proves little");
    assert!(!client.out().contains("\"gap\""), "nothing was lost, so no gap is announced");
}

#[test]
fn own_client_survives_a_restart() {
    survives_a_restart(own);
}

#[test]
fn own_client_loses_nothing_when_cut() {
    loses_nothing_when_cut(own);
}

#[test]
fn python_survives_a_restart() {
    if installed("python3", "python_survives_a_restart") {
        survives_a_restart(python);
    }
}

#[test]
fn python_loses_nothing_when_cut() {
    if installed("python3", "python_loses_nothing_when_cut") {
        loses_nothing_when_cut(python);
    }
}

#[test]
fn node_survives_a_restart() {
    if installed("node", "node_survives_a_restart") {
        survives_a_restart(node);
    }
}

#[test]
fn node_loses_nothing_when_cut() {
    if installed("node", "node_loses_nothing_when_cut") {
        loses_nothing_when_cut(node);
    }
}

#[test]
fn node_event_source_survives_a_restart() {
    if installed("node", "node_event_source_survives_a_restart") {
        survives_a_restart(node_event_source);
    }
}

#[test]
fn node_event_source_loses_nothing_when_cut() {
    if installed("node", "node_event_source_loses_nothing_when_cut") {
        loses_nothing_when_cut(node_event_source);
    }
}

#[test]
fn curl_publishes_subscribes_and_resumes() {
    if !installed("curl", "curl_publishes_subscribes_and_resumes") {
        return;
    }
    let server = Server::start("");
    let hub = server.hub();
    let stream = format!("{hub}?topic=news&topic=other");
    let mut live = Process::start("curl", &["--silent", "--no-buffer", "--include", &stream], b"");
    live.await_out("text/event-stream");
    let publish = |fields: &[&str]| {
        let mut args = vec!["--silent", "--show-error", "--fail"];
        args.extend(fields.iter().flat_map(|field| ["--data-urlencode", *field]));
        args.push(&hub);
        let outcome = Process::start("curl", &args, b"").outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.err);
        outcome.out
    };
    let first = publish(&["topic=news", "data=hello\r\nworld"]);
    let second = publish(&["topic=news", "topic=other", "data=", "type=t", "id=my é", "retry=5"]);
    assert_eq!(second, "my é");
    live.await_out(&format!("id: {first}\ndata: hello\ndata: world\n\n"));
    live.await_out("event: t\nretry: 5\nid: my é\ndata: \n\n");
    assert_eq!(live.out().matches("my é").count(), 1, "two matching topics, one delivery");
    let header = format!("Last-Event-ID: {first}");
    let args = ["--silent", "--no-buffer", "--include", "--header", &header, &stream];
    let mut resumed = Process::start("curl", &args, b"");
    resumed.await_out("id: my é\ndata: \n\n");
    assert!(!resumed.out().contains("hello"), "{}", resumed.out());
}

#[test]
fn the_publishing_examples_print_the_id() {
    let server = Server::start("");
    let mut client = own(server.address);
    client.await_err("connected");
    for (program, args) in [
        ("curl", ["bash", "examples/publish.sh"]),
        ("python3", ["python3", "examples/publish.py"]),
        ("node", ["node", "examples/publish.mjs"]),
    ] {
        if !installed(program, "the_publishing_examples_print_the_id") {
            continue;
        }
        let text = format!("a&b=c é {program}");
        let outcome =
            example(server.address, args[0], &[args[1], "news", &text, "type=t"]).outcome();
        assert_eq!(outcome.code, Some(0), "{program}: {}", outcome.err);
        let id = outcome.out.trim();
        let event = serde_json::json!({ "id": id, "type": "t", "data": text }).to_string();
        client.await_out(&event);
    }
}

#[test]
fn the_shell_example_receives_and_resumes() {
    if !installed("curl", "the_shell_example_receives_and_resumes") {
        return;
    }
    let mut server = Server::start("");
    let mut client = example(server.address, "bash", &["examples/subscribe.sh", "news"]);
    // It does not say when it is connected: the first event that it shows tells.
    until("the first event", || {
        server.publish("news", "first");
        client.out().contains("first").then_some(())
    });
    server.restart();
    client.await_out("\"reason\"");
    server.publish("news", "second");
    client.await_out("second");
}

#[test]
fn keys_from_files_sign_what_the_hub_wants() {
    let (publisher, subscriber) = ("p".repeat(32), "s".repeat(32));
    let server = Server::start(&format!(
        "publisher_key = \"{publisher}\"\nsubscriber_key = \"{subscriber}\"\nanonymous = false"
    ));
    let (hub, folder) = (server.hub(), server.folder());
    let publisher = folder.file("publisher", &publisher);
    let subscriber = folder.file("subscriber", &format!("{subscriber}\n"));
    let args = ["subscribe", &hub, "--topic", "news", "--key-file", &subscriber, "--count", "1"];
    let mut client = Process::tidegate(&args);
    client.await_err("connected");
    let publish = |more: &[&str]| {
        let mut args = vec!["publish", &hub, "--topic", "news", "--data", "secret", "--private"];
        args.extend(more);
        tidegate(&args)
    };
    let refused = publish(&[]);
    assert!(refused.code == Some(1) && refused.err.contains("--key-file"), "{}", refused.err);
    let refused = publish(&["--key-file", &subscriber]);
    assert!(refused.code == Some(1) && refused.err.contains("signed with"), "{}", refused.err);
    let published = publish(&["--key-file", &publisher]);
    assert_eq!(published.code, Some(0), "{}", published.err);
    let outcome = client.outcome();
    let want = format!("id: {}\ndata: secret\n\n", published.out.trim());
    assert_eq!((outcome.code, outcome.out), (Some(0), want));
    let outcome = tidegate(&["subscribe", &hub, "--topic", "news"]);
    assert!(outcome.code == Some(1) && outcome.err.contains("401"), "{}", outcome.err);
}

#[test]
fn the_examples_are_read_as_shown() {
    let readme = std::fs::read_to_string("examples/README.md").unwrap();
    for entry in std::fs::read_dir("examples").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&name) || name == "README.md", "{name} is not in the README");
    }
    let config = "examples/browser/tidegate.toml";
    let outcome = Process::start(TIDEGATE, &["check", "--config", config], b"").outcome();
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.out, outcome.err);
}
