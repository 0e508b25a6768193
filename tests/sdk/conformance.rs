//! The conformance suite of MCP: what it finds when it talks to a server it finds through the
//! gateway too, and a client that comes through the gateway resumes when it is told to.

use crate::gateway::Folder;
use crate::gateway::Gateway;
use crate::mcp::Server;
use crate::process::Process;
use crate::program::Found;
use crate::program::Program;
use crate::program::file;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;

const SUITE: &str = "node_modules/@modelcontextprotocol/conformance/dist/index.js";

/// Python and Node, as both are needed.
fn programs(test: &str) -> Option<(Found, Found)> {
    Program::Python.find(test).zip(Program::Node.find(test))
}

/// A check: the scenario, what was checked, and what came of it.
type Check = (String, String, String);

/// All checks that the suite wrote below a folder, scenarios in order of their names.
fn checks(folder: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        // The name ends with a time stamp of 24 letters.
        let name = path.file_name().unwrap().to_str().unwrap();
        let scenario = &name[..name.len() - 25];
        let text = std::fs::read_to_string(path.join("checks.json")).unwrap();
        let found: Vec<Value> = serde_json::from_str(&text).unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let found = found.iter().map(|c| (scenario.to_owned(), word(&c["id"]), word(&c["status"])));
        checks.extend(found);
    }
    checks
}

fn count(checks: &[Check], status: &str) -> usize {
    checks.iter().filter(|(_, _, is)| is == status).count()
}

#[track_caller]
fn server_scenarios(node: &Found, address: SocketAddr) -> Vec<Check> {
    let folder = Folder::new();
    let output = folder.0.to_str().unwrap();
    let (suite, url) = (file(SUITE), format!("http://{address}/mcp"));
    let suite = suite.to_str().unwrap();
    let args = [suite, "server", "--suite", "all", "--url", &url, "-o", output];
    let outcome = Process::start(&node.path, &args, b"").outcome();
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.out, outcome.err);
    checks(&folder.0)
}

#[test]
fn a_server_passes_through_the_gateway_what_it_passes_without() {
    let test = "conformance::a_server_passes_through_the_gateway_what_it_passes_without";
    let Some((python, node)) = programs(test) else { return };
    // A server each: ids of events count on from one run to the next.
    let direct = server_scenarios(&node, Server::start(&python).address);
    assert_eq!(count(&direct, "FAILURE") + count(&direct, "WARNING"), 0, "{direct:?}");
    assert!(count(&direct, "SUCCESS") >= 47, "the suite has shrunk: {direct:?}");
    let server = Server::start(&python);
    let gateway = Gateway::to(server.address, "auto");
    assert_eq!(server_scenarios(&node, gateway.address), direct);
}

/// The scenario allows 200 ms over the 500 ms that the client must wait, the gateway included. The
/// machine may be busy, so the time must be right once in three tries; all else, always.
#[test]
fn a_client_resumes_in_time_through_the_gateway() {
    let test = "conformance::a_client_resumes_in_time_through_the_gateway";
    let Some((python, node)) = programs(test) else { return };
    let gateway = format!("TIDEGATE={}", env!("CARGO_BIN_EXE_tidegate"));
    let command = format!("{} tests/sdk/mcp_client.py resume", python.path);
    let suite = file(SUITE);
    let try_once = || {
        let folder = Folder::new();
        let output = folder.0.to_str().unwrap();
        let suite = suite.to_str().unwrap();
        let scenario = ["--scenario", "sse-retry", "--command", &command, "-o", output];
        let args = [&[gateway.as_str(), &node.path, suite, "client"], &scenario[..]].concat();
        let outcome = Process::start("env", &args, b"").outcome();
        let found = checks(&folder.0);
        let status = |id: &str| {
            let check = found.iter().find(|(_, is, _)| is == id);
            let (_, _, status) = check.unwrap_or_else(|| panic!("no {id}: {outcome:?}"));
            status.clone()
        };
        assert_eq!(status("client-sse-graceful-reconnect"), "SUCCESS", "{outcome:?}");
        assert_eq!(status("client-sse-last-event-id"), "SUCCESS", "{outcome:?}");
        status("client-sse-retry-timing") == "SUCCESS"
    };
    assert!((0..3).any(|_| try_once()), "never in time");
}
