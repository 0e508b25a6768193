//! The peer that everybody writes first: axum with a tokio broadcast channel, on one thread.
//!
//! `GET /` subscribes, `POST /` publishes its body. `cargo bench --bench axum_server -- --port P`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a peer for measuring; it may end at a surprise"
)]

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let port = arguments.iter().position(|a| a == "--port").and_then(|at| arguments.get(at + 1));
    let Some(port) = port else {
        println!("usage: axum_server --port PORT");
        return;
    };
    peer::run(port.parse().expect("--port takes a number"));
}

#[path = "compare/axum_peer.rs"]
mod peer;
