//! Credentials: clients share a channel only if theirs are equal, and they go nowhere else.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::fanout;
use crate::stage::get;
use crate::stage::share;

crate::on_both_drivers!(
    each_gets_the_stream_of_its_own_credentials,
    a_public_stream_is_asked_for_without_credentials,
    a_refusal_is_remembered_for_its_credentials_alone,
    secrets_are_in_no_log_and_on_no_page,
);

/// Streams what it knows of who asks.
fn mirror() -> Origin {
    Origin::start(|call| {
        let all = |name: &str| call.asked.all(name).join("|");
        let text = format!("data: {}~{}\n\n", all("authorization"), all("cookie"));
        call.send(format!("{STREAM}{text}"));
        call.hold()
    })
}

fn each_gets_the_stream_of_its_own_credentials(io: Io) {
    let origin = mirror();
    let server = share(io, &origin, "/e", "initial = 9\nlinger = \"10m\"");
    let cases = [
        ("", "~"),
        ("Authorization: Bearer a\r\n", "Bearer a~"),
        ("Authorization: Bearer A\r\n", "Bearer A~"),
        ("Authorization: Bearer ab\r\n", "Bearer ab~"),
        ("Cookie: s=1\r\n", "~s=1"),
        ("Cookie: s=2\r\n", "~s=2"),
        ("Cookie: s=1; t=2\r\n", "~s=1; t=2"),
        ("Cookie: t=2; s=1\r\n", "~t=2; s=1"),
        ("Cookie: s=1\r\nCookie: t=2\r\n", "~s=1|t=2"),
        ("Authorization: Bearer a\r\nCookie: s=1\r\n", "Bearer a~s=1"),
    ];
    let mut streams = Vec::new();
    for round in 0..3 {
        for (fields, want) in cases {
            let more = format!("{fields}X-Round: {round}\r\n");
            let mut stream = Stream::at(&server, "/s", &more);
            assert_eq!(stream.data(), want, "the stream of somebody else");
            streams.push(stream);
        }
    }
    assert_eq!(origin.connections(), cases.len(), "equal ones are shared, others never");
    assert!(origin.asked().iter().all(|asked| asked.field("x-round").is_none()));
}

fn a_public_stream_is_asked_for_without_credentials(io: Io) {
    let origin = mirror();
    let server = share(io, &origin, "/e", "initial = 9\npublic = true");
    let mut streams = Vec::new();
    for fields in ["", "Authorization: Bearer a\r\n", "Cookie: s=1\r\n", "Cookie: s=2\r\n"] {
        let mut stream = Stream::at(&server, "/s", fields);
        assert_eq!(stream.data(), "~", "{fields:?}");
        streams.push(stream);
    }
    assert_eq!(origin.connections(), 1);
}

fn a_refusal_is_remembered_for_its_credentials_alone(io: Io) {
    let origin = Origin::start(|call| {
        if call.asked.field("authorization") != Some("Bearer good") {
            return call.respond(401, "", "");
        }
        call.send(format!("{STREAM}data: welcome\n\n"));
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 9");
    let bad = "Accept: text/event-stream\r\nAuthorization: Bearer bad\r\n";
    let refused = || (get(&server, "/s", bad).status == 401).then_some(());
    crate::common::eventually("the refusal", refused);
    let mut stream = Stream::at(&server, "/s", "Authorization: Bearer good\r\n");
    assert_eq!(stream.data(), "welcome");
    assert_eq!(get(&server, "/s", bad).status, 401);
    assert_eq!(origin.asked().len(), 2);
}

fn secrets_are_in_no_log_and_on_no_page(io: Io) {
    let secret = "hunter2-secret";
    let origin = Origin::start(|call| match call.number {
        0 => call.respond(500, "", ""),
        1 => call.respond(302, "Location: http://elsewhere.example/hunter2-secret\r\n", ""),
        2 => {
            call.send("HTTP/1.1 200 OK\r\nX: hunter2-secret\r\nContent-Length: x\r\n\r\n");
            call.hold()
        }
        _ => call.respond(403, "", "hunter2-secret"),
    });
    let settings = fanout(&origin, "/e", "");
    let server = Server::start(io, &settings);
    let fields = format!(
        "Accept: text/event-stream\r\nAuthorization: Bearer {secret}\r\nCookie: a={secret}\r\n"
    );
    let refused = || (get(&server, "/s", &fields).status == 403).then_some(());
    crate::common::eventually("the refusal", refused);
    assert!(!server.log().contains(secret), "{}", server.log());
    for page in ["/metrics", "/upstreams", "/backends", "/"] {
        let text = server.admin_get(page).text();
        assert!(!text.contains(secret), "{page}: {text}");
    }
}
