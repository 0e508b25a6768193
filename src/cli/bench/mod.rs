//! `tidegate bench`: open subscribers, publish at a rate, report what arrived, when, and what it
//! cost the server.
//!
//! ```text
//!   publisher ──▶ server under test ──▶ subscribers (threads, processes)
//!       │ due time, number in the data        │ arrival − due, order, holes
//!       └────────────▶ coordinator ◀──────────┘   + /proc of the server ──▶ report
//! ```
//!
//! Invariants:
//! 1. Any event-stream server can be driven: what is measured travels inside the event's data.
//! 2. Latency counts from when an event was due, so a server that stalls cannot hide it.
//! 3. Each subscriber's events are checked one by one: missing, doubled, out of order, foreign.

mod args;
pub mod load;
pub mod observed;
pub mod payload;
pub mod plan;
pub mod report;
mod run;
pub mod template;

pub use args::BenchArgs;
use std::process::ExitCode;

/// Runs the benchmark. The exit code is a failure if events were missing, doubled or out of order,
/// or if a subscriber or a publish was refused.
///
/// # Errors
/// The arguments are contradictory, or the server cannot be reached.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    if args.member {
        load::swarm::member()?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = run::run(args)?;
    report.show(args)?;
    Ok(if report.sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests;
