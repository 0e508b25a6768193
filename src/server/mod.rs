//! One process: threads, phases, endings.
//!
//! Invariants: a process that cannot start says why and leaves nothing open.

use crate::config::Config;

/// Why the server cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The workers are not joined to the process.
    #[error("this build has no workers")]
    NoWorkers,
}

/// Runs the server until it has drained.
///
/// # Errors
/// It cannot start.
pub fn run(config: Config) -> Result<(), StartError> {
    drop(config);
    Err(StartError::NoWorkers)
}
