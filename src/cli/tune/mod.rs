//! `tidegate tune`: reads the host and says what falls short of what the server wants.
//!
//! Each finding has the current value, the wanted value, the reason, and the command that sets it.
//! Exit code 0 when nothing falls short, else 1.
//!
//! Invariants: changes nothing. What cannot be read is said, and does not fall short.

pub mod checks;
#[cfg(test)]
pub mod fake;
pub mod memory;

use crate::cli::answer;
use crate::cli::failure;
use crate::cli::failure::Failure;
use crate::cli::host::Tree;
use crate::cli::settings::Settings;
use crate::config::Config;
use crate::config::budget;
use crate::config::budget::FILES_RESERVED;
use std::path::PathBuf;
use std::process::ExitCode;

/// Clients that the host is weighed against where the configuration names no number.
const CLIENTS: u64 = 100_000;

/// Arguments of `tune`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Clients that the host should carry [default: limits.connections_max, else 100000]
    #[arg(long, value_name = "COUNT")]
    clients: Option<u64>,
    /// Read proc and sys below this folder instead of /
    #[arg(long, value_name = "FOLDER", hide = true)]
    root: Option<PathBuf>,
}

/// What the host is weighed against.
#[derive(Clone, Debug)]
pub struct Want {
    /// The configuration that will run.
    pub config: Config,
    /// Clients.
    pub clients: u64,
    /// Workers.
    pub workers: usize,
}

impl Want {
    /// Descriptors for all clients and the server's own.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.clients.saturating_add(FILES_RESERVED)
    }
}

/// How one property of the host compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As wanted, or better.
    Fine,
    /// Falls short.
    Short,
    /// Cannot be told from here.
    Unknown,
}

/// One property of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is called where it is set.
    pub name: &'static str,
    /// How it compares.
    pub state: State,
    /// Its value now.
    pub current: String,
    /// The value wanted.
    pub wanted: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command that sets it.
    pub command: String,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.settings.load()?;
    loaded.warn();
    let tree = args.root.clone().map_or_else(Tree::host, Tree::at);
    let config = loaded.config;
    let key = config.limits.connections_max.and_then(|max| u64::try_from(max).ok());
    let want = Want {
        clients: args.clients.or(key).unwrap_or(CLIENTS),
        workers: budget::workers(&config, &tree.facts()),
        config,
    };
    let findings = checks::all(&tree, &want);
    answer(&report(&findings, &want))?;
    let short = findings.iter().any(|finding| finding.state == State::Short);
    Ok(ExitCode::from(if short { failure::RUNTIME } else { 0 }))
}

/// The findings in print: one line for what is fine, the whole story for what is not.
#[must_use]
pub fn report(findings: &[Finding], want: &Want) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { name, current, wanted, why, command, .. } = finding;
        let mark = match finding.state {
            State::Fine => "ok",
            State::Short => "SHORT",
            State::Unknown => "?",
        };
        text.push_str(&format!("{mark:<6} {name}: {current} (wanted: {wanted})\n"));
        if finding.state != State::Fine {
            text.push_str(&format!("         why: {why}\n         set: {command}\n"));
        }
    }
    let short = findings.iter().filter(|finding| finding.state == State::Short).count();
    text.push_str(&format!(
        "{short} of {} fall short for {} clients on {} workers\n",
        findings.len(),
        want.clients,
        want.workers
    ));
    text
}

#[cfg(test)]
mod tests;
