//! What programs use to talk to streaming services (the SDKs of OpenAI and Anthropic, MCP and its
//! conformance suite, WebSocket, EventSource), each through the real gateway to a backend.
//!
//! What a test drives is installed by `.ci/run` below `target/clients`; a test whose program is
//! missing says so by name and passes. Buffering is proved by cause: a backend writes the next
//! delta when the client has told the last one, so that a gateway that holds one back never ends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and plays backends on threads that read the clock"
)]

mod backend;
mod conformance;
mod events;
mod gateway;
mod llm;
mod mcp;
mod program;
mod stream;
mod websocket;
mod wire;

#[allow(dead_code, reason = "shared with tests/clients, which uses more of it")]
#[path = "../clients/process.rs"]
mod process;
