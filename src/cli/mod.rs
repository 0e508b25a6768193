//! The commands. (The module grows with them.)

mod client;
pub mod publish;
pub mod subscribe;

use std::process::ExitCode;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
