//! Backends and upstreams behind a Unix socket.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::get;
use crate::stage::proxy;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

crate::on_both_drivers!(a_backend_behind_a_socket, a_socket_that_is_not_there, a_shared_stream);

fn path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Short: a socket's path has 107 bytes at most.
    std::env::temp_dir().join(format!("tidegate-{}-{number}.sock", std::process::id()))
}

fn a_backend_behind_a_socket(io: Io) {
    let origin = Origin::start_unix(&path(), |call| {
        call.read_body();
        call.respond(200, "", call.asked.body.clone())
    });
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for n in 0..5 {
        let body = "x".repeat(n * 30_000);
        assert_eq!(peer.request("POST", "/", "", &body).text(), body);
    }
    assert_eq!(origin.connections(), 1);
    let asked = origin.asked().remove(0);
    assert_eq!(asked.field("host"), Some("h"));
    assert_eq!(asked.field("x-forwarded-for"), Some("127.0.0.1"));
}

fn a_socket_that_is_not_there(io: Io) {
    let path = path();
    let settings = format!("[[route]]\nbackend = \"unix:{}\"\n", path.display());
    let server = Server::start(io, &settings);
    assert!(matches!(get(&server, "/", "").status, 502 | 503));
    let _origin = Origin::start_unix(&path, |call| call.respond(200, "", ""));
    crate::common::eventually("it serves", || (get(&server, "/", "").status == 200).then_some(()));
}

fn a_shared_stream(io: Io) {
    let tape = Tape::counting(3);
    let origin = Origin::start_unix(&path(), tape.player());
    let settings = format!(
        "[[backend]]\nname = \"b\"\nendpoints = [\"{}\"]\n\
         [[upstream]]\nname = \"u\"\nurl = \"http://feed.example/e\"\nbackend = \"b\"\n\
         initial = 9\n[[route]]\nupstream = \"u\"\n",
        origin.url()
    );
    let server = Server::start(io, &settings);
    let mut stream = Stream::at(&server, "/", "");
    (0..3).for_each(|n| assert_eq!(stream.data(), n.to_string()));
    assert_eq!(origin.asked()[0].field("host"), Some("feed.example"));
}
