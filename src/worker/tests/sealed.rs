//! Exchanges with a backend behind TLS: what one receive brings is passed on in its order.

use super::World;
use super::stage::ask;
use crate::metrics::ConnectResult;
use crate::metrics::Counter;
use crate::metrics::RelayEnd;
use crate::tls::testing::Server;

const CONFIG: &str = r#"
[[backend]]
name = "app"
endpoints = ["https://10.9.0.1:443"]
tls = { server_name = "app.test" }
[[route]]
backend = "app"
retries = 0
"#;

/// A world with a server behind TLS, and a client of this request that has reached it.
fn passing(request: &str) -> (World, Server, i32, i32) {
    let mut world = World::toml(CONFIG);
    let (mut server, settings) = Server::of("app.test");
    world.worker.tls = [Some(settings)].into();
    let (client, backend) = world.passing(request);
    for _ in 0..4 {
        world.answer_sealed(&mut server, b"");
    }
    (world, server, client, backend)
}

impl World {
    /// The server takes what the worker has sent, and says this; what it took.
    fn answer_sealed(&mut self, server: &mut Server, plain: &[u8]) -> String {
        let backend = self.backend();
        let sealed = self.ground.with(backend, |peer| std::mem::take(&mut peer.output));
        let taken = server.receive(&sealed);
        self.say(backend, &server.say(plain));
        self.settle();
        String::from_utf8(taken).expect("text")
    }
}

#[test]
fn an_exchange_behind_tls() {
    let (mut world, mut server, client, backend) = passing(&ask("/a"));
    world.say(client, ask("/b").as_bytes());
    let first = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
    world.answer_sealed(&mut server, first);
    assert!(world.heard(client).ends_with("\r\n\r\none"));
    world.settle();
    let asked = world.answer_sealed(&mut server, b"");
    assert!(asked.starts_with("GET /b "), "on the same connection: {asked}");
    assert!(!world.is_closed(backend));
    let made = world.counters.counter(Counter::BackendConnects(ConnectResult::Success));
    assert_eq!((made, world.dialled().len()), (1, 1));
}

#[test]
fn a_body_until_the_close_comes_whole_before_its_end() {
    let until_close = "HTTP/1.1 200 OK\r\n\r\nall of it";
    for (version, end) in [("1.1", "\r\nall of it\r\n0\r\n\r\n"), ("1.0", "\r\n\r\nall of it")] {
        let request = format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n");
        let (mut world, mut server, client, backend) = passing(&request);
        world.say(backend, &server.say_last(until_close.as_bytes()));
        world.settle();
        let heard = world.heard(client);
        assert!(heard.ends_with(end), "{version}: {heard}");
        assert_eq!(world.ends(RelayEnd::Done), 1);
        assert!(world.is_closed(backend));
    }
}

#[test]
fn a_connection_that_ends_without_saying_so_is_a_cut() {
    let (mut world, mut server, client, backend) = passing(&ask("/"));
    world.say(backend, &server.say(b"HTTP/1.1 200 OK\r\n\r\nsome of it"));
    world.ground.with(backend, |peer| peer.ended = true);
    world.settle();
    let heard = world.heard(client);
    assert!(heard.ends_with("some of it\r\n"), "no last chunk: {heard}");
    assert_eq!(world.ends(RelayEnd::BackendGone), 1);
}

#[test]
fn a_server_of_another_name_gets_no_request() {
    let mut world = World::toml(&CONFIG.replace("app.test", "other.test"));
    let (mut server, settings) = Server::of("app.test");
    world.worker.tls = [Some(settings)].into();
    let (client, _) = world.passing(&ask("/"));
    world.answer_sealed(&mut server, b"");
    assert!(world.heard(client).starts_with("HTTP/1.1 502 "));
    let refused = world.counters.counter(Counter::BackendConnects(ConnectResult::Tls));
    assert_eq!(refused, 1);
}

#[test]
fn a_connection_that_can_seal_nothing_ends_its_exchange() {
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n";
    let (mut world, _, client, backend) = passing(request);
    let (handle, _) = world.worker.outbounds.iter().next().expect("a connection");
    let outbound = world.worker.outbounds.find_mut(handle).expect("a connection");
    // As if its keys were used up.
    outbound.tls.as_mut().expect("TLS").close(&mut Vec::new());
    world.say(client, b"some");
    world.settle();
    assert!(world.heard(client).starts_with("HTTP/1.1 502 "));
    assert!(world.is_closed(backend));
    assert_eq!(world.ends(RelayEnd::BackendGone), 1);
}
