//! `tidegate fanout URL` and `tidegate proxy URL`: they serve at once, and print the file that
//! would do the same.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::get;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

crate::on_both_drivers!(
    fanout_serves_what_it_prints,
    fanout_of_a_url_without_a_path,
    proxy_serves_what_it_prints,
    a_wrong_url_is_explained,
);

/// The configuration in what was printed.
fn file(server: &Server) -> String {
    let mark = "--config FILE`:";
    eventually("the file", || {
        let text = server.printed();
        let (_, file) = text.split_once(mark)?;
        // The last key of the shortest file is that of a route.
        file.contains("[[route]]").then(|| file.to_owned())
    })
}

/// What `check` says of a file, and a server that runs it.
fn serve(io: Io, file: &str) -> Server {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidegate-{}-printed-{number}.toml", std::process::id());
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, file).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{said}\n{file}");
    // The test's server listens where it likes.
    let ours =
        |line: &&str| !["listen =", "admin =", "workers ="].iter().any(|k| line.starts_with(k));
    let rest: Vec<_> = file.lines().filter(ours).collect();
    Server::start(io, &rest.join("\n"))
}

fn fanout_serves_what_it_prints(io: Io) {
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let url = format!("{}/feed/a?x=1", origin.url());
    let first = Server::of_command(io, &["fanout", &url]);
    let second = serve(io, &file(&first));
    for server in [&first, &second] {
        let before = tape.len();
        let mut streams = [Stream::at(server, "/feed/a", ""), Stream::at(server, "/feed/a", "")];
        server.await_metric("tidegate_upstream_events_total", "", before as f64);
        server.await_clients(2);
        tape.push("news");
        for stream in &mut streams {
            while stream.data() != "news" {}
        }
        let page = get(server, "/", "Accept: text/html\r\n");
        assert_eq!(page.status, 200);
        assert!(page.field("content-type").unwrap().starts_with("text/html"));
        assert_eq!(get(server, "/other", "").status, 404);
    }
    assert!(origin.asked().iter().all(|asked| asked.target == "/feed/a?x=1"));
    assert_eq!(origin.connections(), 2);
}

fn fanout_of_a_url_without_a_path(io: Io) {
    let tape = Tape::counting(1);
    let origin = Origin::start(tape.player());
    let first = Server::of_command(io, &["fanout", &origin.url()]);
    let second = serve(io, &file(&first));
    for server in [&first, &second] {
        let mut stream = Stream::at(server, "/", "");
        tape.push("end");
        while stream.data() != "end" {}
        let page = get(server, "/", "Accept: text/html\r\n");
        assert!(page.field("content-type").unwrap().starts_with("text/html"));
    }
}

fn proxy_serves_what_it_prints(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        let target = call.asked.target.clone();
        call.respond(200, &format!("X-Target: {target}\r\n"), call.asked.body.clone())
    });
    for base in ["", "/base"] {
        let first = Server::of_command(io, &["proxy", &format!("{}{base}", origin.url())]);
        let second = serve(io, &file(&first));
        for server in [&first, &second] {
            let response = server.request("POST", "/a?b=c", "", "body");
            assert_eq!((response.status, response.text().as_str()), (200, "body"));
            assert_eq!(response.field("x-target"), Some(format!("{base}/a?b=c").as_str()));
            assert_eq!(get(server, "/.well-known/mercure?topic=a", "").status, 200, "no hub");
        }
    }
}

fn a_wrong_url_is_explained(io: Io) {
    for (command, url) in [
        ("fanout", "nonsense"),
        ("fanout", "ftp://a/b"),
        ("fanout", "http://{host}/e"),
        ("fanout", "http://user:hunter2@a/e"),
        ("proxy", "http://a/b?c"),
        ("proxy", "http://user:hunter2@a"),
    ] {
        let said = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([command, url, "--io", io.name()])
            .output()
            .unwrap();
        assert!(!said.status.success(), "{command} {url}");
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(text.contains("URL"), "{command} {url}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
