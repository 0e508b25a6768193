//! MCP with its Python package on both sides: sessions (up to 2025-11-25) and single requests
//! (2026-07-28). Reports arrive before the result, and a call that is given up stops at the server.

use crate::gateway::Gateway;
use crate::process::Process;
use crate::process::until;
use crate::program::Found;
use crate::program::Program;
use crate::program::await_objects;
use crate::program::results;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;

/// A server as a process of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(python: &Found) -> Self {
        let mut process = python.start("mcp_server.py", &[]);
        process.await_out("\n");
        let address = process.out().trim().rsplit(' ').next().unwrap().parse().unwrap();
        Self { address, process }
    }
}

/// What each version has in common.
#[track_caller]
fn tour(test: &str, version: &str, mode: &str) {
    let Some(python) = Program::Python.find(test) else { return };
    let server = Server::start(&python);
    let gateway = Gateway::to(server.address, "auto");
    let url = format!("{}/mcp", gateway.url());
    let said = results(&python.start("mcp_client.py", &["tour", mode, &url]).outcome());
    let tools = said[1]["tools"].as_array().unwrap();
    assert!(tools.contains(&json!("stepped")), "{tools:?}");
    let report = |step| json!({ "progress": f64::from(step), "message": format!("step {step} é") });
    let mut want = vec![json!({ "version": version }), said[1].clone()];
    want.push(json!({ "result": "This is a simple text response for testing." }));
    want.extend((0..5).map(report));
    want.push(json!({ "result": "all steps" }));
    let logged = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    want.extend(logged.map(|line| json!({ "log": line })));
    want.push(json!({ "result": "logged" }));
    want.push(json!({ "error": "This tool intentionally returns an error for testing" }));
    want.extend([json!({ "lingering": "lingering" }), json!({ "cancelled": true })]);
    want.push(json!({ "closed": true }));
    assert_eq!(said, want);
}

#[test]
fn sessions() {
    tour("mcp::sessions", "2025-11-25", "legacy");
}

#[test]
fn single_requests() {
    tour("mcp::single_requests", "2026-07-28", "2026-07-28");
}

/// Nobody says goodbye: in this version the end of the connection is the message.
#[test]
fn the_server_learns_that_a_client_died() {
    let Some(python) = Program::Python.find("mcp::the_server_learns_that_a_client_died") else {
        return;
    };
    let mut server = Server::start(&python);
    let gateway = Gateway::to(server.address, "epoll");
    let url = format!("{}/mcp", gateway.url());
    let mut client = python.start("mcp_client.py", &["linger", "2026-07-28", &url]);
    await_objects(&mut client, 1, |object| object["lingering"] != Value::Null);
    assert!(!server.process.out().contains("cancelled"));
    drop(client);
    until("the server to cancel the call", || {
        server.process.out().contains("cancelled").then_some(())
    });
}
