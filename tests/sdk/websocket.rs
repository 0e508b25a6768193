//! WebSocket through the gateway: the package `ws` on both sides, and the client of Node itself.

use crate::gateway::Gateway;
use crate::process::until;
use crate::program::Program;

#[track_caller]
fn visit(test: &str, io: &str) {
    let Some(node) = Program::Node.find(test) else { return };
    let mut server = node.start("websocket.mjs", &["serve"]);
    server.await_out("\n");
    let address = server.out().trim().rsplit(' ').next().unwrap().parse().unwrap();
    let gateway = Gateway::to(address, io);
    let url = format!("ws://{}", gateway.address);
    let outcome = node.start("websocket.mjs", &["visit", &url]).outcome();
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "fine\n"), "{}", outcome.err);
    // What the server saw: codes and reasons of the client, and that one was gone without a word.
    let ends = ["4001 the client says é", "4002 the server says é", "4003 its own"];
    until("the server to see every end", || {
        let said = server.out();
        let of = |end: &str| said.matches(&format!("closed {end}\n")).count();
        // Its own drop, and the client's.
        (of("1006 ") == 2 && of("1000 ") == 50 && ends.iter().all(|end| of(end) == 1)).then_some(())
    });
}

#[test]
fn passes_both_ways() {
    visit("websocket::passes_both_ways", "auto");
}

#[test]
fn passes_both_ways_on_epoll() {
    visit("websocket::passes_both_ways_on_epoll", "epoll");
}
