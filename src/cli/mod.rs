//! The commands: arguments in, an exit code out.
//!
//! Exit codes: 0 fine, 1 the command failed while it ran, 2 the arguments or the configuration are
//! wrong. Each command is a module with its `Args` and a `run`; a failure is printed once, here,
//! as message, causes and remedy.
//!
//! Invariants: what a program may want to read goes to stdout, what only people read to stderr.

pub mod bench;
pub mod check;
mod client;
pub mod failure;
pub mod gateway;
pub mod host;
pub mod publish;
pub mod serve;
pub mod settings;
pub mod subscribe;
pub mod tune;

use clap::Parser;
use clap::Subcommand;
use failure::Failure;
use std::process::ExitCode;

/// A gateway and hub for Server-Sent Events: one stream in, any number of readers out.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    after_help = "Without a command: serve with the defaults, and say what to try."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load an event-stream server and report what it delivers, when, and at what cost
    Bench(Box<bench::BenchArgs>),
    /// Validate a configuration; print what is in effect and the memory budget
    Check(check::Args),
    /// Serve one upstream event stream to any number of clients; print the configuration for it
    Fanout(gateway::Args),
    /// Pass every request to a backend, streaming; print the configuration for it
    Proxy(gateway::Args),
    /// Publish one event to a hub and print its id
    Publish(publish::PublishArgs),
    /// Run the server
    Serve(serve::Args),
    /// Print the events of a stream; connect again and resume when it ends
    Subscribe(subscribe::SubscribeArgs),
    /// Read this host and say what falls short of what the server wants; changes nothing
    Tune(tune::Args),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not failures; clap picks the right stream.
            let code = if error.use_stderr() { failure::USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(failure::RUNTIME),
            };
        }
    };
    let done = match arguments.command {
        None => serve::alone(),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Bench(args)) => bench::run(&args).map_err(|e| Failure::runtime(&*e)),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Fanout(args)) => gateway::fanout(&args),
        Some(Command::Proxy(args)) => gateway::proxy(&args),
        Some(Command::Publish(args)) => publish::run(&args),
        Some(Command::Subscribe(args)) => subscribe::run(&args),
        Some(Command::Tune(args)) => tune::run(&args),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Writes to stdout. A reader that has gone is no failure of ours.
fn answer(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(&error))
        }
        _ => Ok(()),
    }
}
