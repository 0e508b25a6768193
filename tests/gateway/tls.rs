//! TLS to backends and upstreams: who is trusted, who is not, our own certificate, cuts.

use crate::common::Io;
use crate::common::PATIENCE;
use crate::common::authority::Authority;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::stage::get;
use std::path::PathBuf;
use std::process::Command;

crate::on_both_drivers!(
    a_backend_that_is_trusted_is_used,
    a_backend_that_is_not_trusted_is_502,
    a_backend_may_want_our_certificate,
    a_shared_stream_over_tls,
    an_upstream_that_is_not_trusted_gets_no_request,
    an_end_without_a_close_notify_is_a_cut,
    servers_are_told_of_the_end_unless_it_is_a_cut,
);

fn backend(origin: &Origin, tls: &str) -> String {
    let url = origin.url();
    format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"{url}\"]\ntls = {{ {tls} }}\n\
         [[route]]\nbackend = \"b\"\n"
    )
}

fn echo(call: &mut crate::common::call::Call<'_>) -> Next {
    call.read_body();
    call.respond(200, "", call.asked.body.clone())
}

fn a_backend_that_is_trusted_is_used(io: Io) {
    let authority = Authority::new();
    let file = authority.file();
    for (name, server_name) in [("127.0.0.1", ""), ("in.example", "server_name = \"in.example\", ")]
    {
        let origin = Origin::start_tls(authority.server(name), echo);
        let tls = format!("{server_name}ca_file = \"{}\"", file.path());
        let server = Server::start(io, &backend(&origin, &tls));
        let mut peer = Peer::connect(server.address);
        let body = "0123456789abcdef".repeat(100_000);
        for body in ["", "x", &body] {
            let response = peer.request("POST", "/", "", body);
            assert_eq!(response.status, 200, "{response:?}");
            assert!(response.text() == body, "{} bytes changed", body.len());
        }
        assert_eq!(origin.connections(), 1, "kept");
    }
}

fn a_backend_that_is_not_trusted_is_502(io: Io) {
    let (authority, other) = (Authority::new(), Authority::new());
    let file = authority.file();
    let tls = format!("ca_file = \"{}\"", file.path());
    let strange = Origin::start_tls(other.server("127.0.0.1"), echo);
    let misnamed = Origin::start_tls(authority.server("in.example"), echo);
    let system = Origin::start_tls(authority.server("127.0.0.1"), echo);
    for (origin, settings) in [
        (&strange, backend(&strange, &tls)),
        (&misnamed, backend(&misnamed, &tls)),
        (&system, format!("[[route]]\nbackend = \"{}\"\n", system.url())),
    ] {
        let server = Server::start(io, &settings);
        let response = get(&server, "/", "Authorization: Bearer secret\r\n");
        assert_eq!(response.status, 502, "{response:?}");
        assert!(origin.asked().is_empty(), "nothing is said to a stranger");
    }
    // A server that does not speak TLS at all.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut peer = Peer::over(plain.accept().unwrap().0);
        peer.send("220 mail.example ESMTP\r\n");
        peer.rest();
    });
    let server = Server::start(io, &format!("[[route]]\nbackend = \"{url}\"\nretries = 0\n"));
    assert_eq!(get(&server, "/", "").status, 502);
    thread.join().unwrap();
}

fn a_backend_may_want_our_certificate(io: Io) {
    let authority = Authority::new();
    let (file, (chain, key)) = (authority.file(), authority.client("gateway.example"));
    let origin = Origin::start_tls(authority.strict_server("127.0.0.1"), echo);
    let ca = format!("ca_file = \"{}\"", file.path());
    let server = Server::start(io, &backend(&origin, &ca));
    assert_eq!(get(&server, "/", "").status, 502, "without one");
    // TLS 1.3 says so only after the handshake.
    let said = server.await_log(" warn backend_tls backend=b ");
    assert!(said.contains("requires a client certificate"), "{said}");
    let admin = server.admin_get("/backends").text();
    assert!(admin.contains("last_error=\"the server requires a client certificate"), "{admin}");
    let more = format!("tls = {{ {ca} }}");
    let shared = crate::stage::fanout(&origin, "/s", &more);
    let server = Server::start(io, &shared);
    let mut peer = Peer::connect(server.address);
    peer.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n");
    let said = server.await_log(" warn upstream_lost ");
    assert!(said.contains("no TLS"), "{said}");
    let admin = server.admin_get("/backends").text();
    assert!(!admin.contains(" failures=0 "), "{admin}");
    assert!(admin.contains("last_error=\"the server requires a client certificate"), "{admin}");
    let own =
        format!("{ca}, certificate_file = \"{}\", key_file = \"{}\"", chain.path(), key.path());
    let server = Server::start(io, &backend(&origin, &own));
    assert_eq!(get(&server, "/", "").status, 200);
}

/// A start would find it as well, but a file is checked before.
#[test]
fn a_check_finds_a_key_of_another_certificate() {
    let authority = Authority::new();
    let (file, one, two) = (authority.file(), authority.client("a"), authority.client("b"));
    let check = |key: String| {
        let tls = format!(
            "ca_file = \"{}\", certificate_file = \"{}\", key_file = \"{key}\"",
            file.path(),
            one.0.path()
        );
        let config = format!(
            "[[backend]]\nname = \"b\"\nendpoints = [\"https://a.example\"]\ntls = {{ {tls} }}\n\
             [[route]]\nbackend = \"b\"\n"
        );
        let name = format!("check-{}.toml", std::process::id());
        let at = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&at, &config).unwrap();
        let check = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "--config"])
            .arg(&at)
            .output();
        std::fs::remove_file(&at).unwrap();
        let done = check.unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(check(one.1.path()).0, Some(0));
    let (code, said) = check(two.1.path());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("backend b:") && said.contains("key_file"), "{said}");
}

fn a_shared_stream_over_tls(io: Io) {
    let authority = Authority::new();
    let file = authority.file();
    let tape = Tape::counting(5);
    let origin = Origin::start_tls(authority.server("127.0.0.1"), tape.player());
    let settings = format!(
        "{}[[route]]\nupstream = \"u\"\n",
        crate::stage::upstream(
            &origin,
            "/e",
            &format!("initial = 9\ntls = {{ ca_file = \"{}\" }}", file.path())
        )
    );
    let server = Server::start(io, &settings);
    let mut streams: Vec<_> = (0..10).map(|_| Stream::at(&server, "/", "")).collect();
    for stream in &mut streams {
        (0..5).for_each(|n| assert_eq!(stream.data(), n.to_string()));
    }
    origin.cut_all();
    tape.push("5");
    tape.push("x".repeat(200_000));
    for stream in &mut streams {
        assert_eq!(stream.data(), "5");
        assert_eq!(stream.data().len(), 200_000);
    }
    assert_eq!(origin.connections(), 2);
    assert_eq!(origin.asked()[1].field("last-event-id"), Some("4"));
}

fn an_upstream_that_is_not_trusted_gets_no_request(io: Io) {
    let origin = Origin::start_tls(Authority::new().server("127.0.0.1"), |call| {
        call.send(format!("{STREAM}data: wrong\n\n"));
        call.hold()
    });
    let settings = format!(
        "{}[[route]]\nupstream = \"u\"\n",
        crate::stage::upstream(&origin, "/e", "heartbeat = \"50ms\"")
    );
    let server = Server::start(io, &settings);
    let mut stream = Stream::at(&server, "/", "Cookie: secret=1\r\n");
    server.await_metric("tidegate_upstream_failures_total", "cause=\"tls\"", 3.0);
    assert!(stream.block().is_some(), "the client waits");
    assert!(origin.asked().is_empty(), "nothing is said to a stranger");
}

fn servers_are_told_of_the_end_unless_it_is_a_cut(io: Io) {
    let authority = Authority::new();
    let file = authority.file();
    let (sender, ends) = std::sync::mpsc::channel();
    let origin = Origin::start_tls(authority.server("127.0.0.1"), move |call| {
        match call.asked.path() {
            "/e" => call.send(format!("{STREAM}data: 1\n\n")),
            "/cut" => call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            _ => call.respond(200, "", "") == Next::Keep,
        };
        let path = call.asked.path().to_owned();
        sender.send((path, call.ends_orderly())).unwrap();
        Next::Close
    });
    let ca = format!("ca_file = \"{}\"", file.path());
    let upstream = format!("linger = \"0s\"\ntls = {{ {ca} }}");
    let settings = format!(
        "{}[[route]]\npath = {{ exact = \"/s\" }}\nupstream = \"u\"\n{}",
        crate::stage::upstream(&origin, "/e", &upstream),
        backend(&origin, &ca).replace("tls = ", "idle_timeout = \"100ms\"\ntls = ")
    );
    let server = Server::start(io, &settings);
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!(stream.data(), "1");
    drop(stream);
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), ("/e".to_owned(), true), "nobody reads it");
    assert_eq!(get(&server, "/kept", "").status, 200);
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), ("/kept".to_owned(), true), "kept in vain");
    let never = backend(&origin, &ca).replace("tls = ", "idle_connections_max = 0\ntls = ");
    let unkept = Server::start(io, &never);
    assert_eq!(get(&unkept, "/one", "").status, 200);
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), ("/one".to_owned(), true), "never kept");
    let mut peer = Peer::connect(server.address);
    peer.send("PUT /cut HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhal");
    assert_eq!(peer.head().status, 200);
    peer.reset();
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), ("/cut".to_owned(), false), "it is cut");
}

fn an_end_without_a_close_notify_is_a_cut(io: Io) {
    let authority = Authority::new();
    let file = authority.file();
    let origin = Origin::start_tls(authority.server("127.0.0.1"), |call| {
        call.send("HTTP/1.1 200 OK\r\n\r\nall of it");
        if call.asked.path() == "/whole" {
            call.notify_close();
        }
        Next::Close
    });
    let tls = format!("ca_file = \"{}\"", file.path());
    let server = Server::start(io, &backend(&origin, &tls));
    for (target, want) in [("/whole", true), ("/cut", false)] {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let mut response = peer.head();
        assert_eq!(peer.try_body(&mut response), want, "{target}");
        assert!("all of it".as_bytes().starts_with(&response.body));
    }
}
