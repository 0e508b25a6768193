//! `tidegate check`: is the configuration right, what is in effect, how much memory does it take.
//!
//! Invariants: what goes to stdout is a configuration file: it reads back as the same
//! configuration, the budget stands in comments, and secrets are masked. Starts nothing, binds
//! nothing.

use crate::cli::answer;
use crate::cli::failure::Failure;
use crate::cli::settings::Settings;
use crate::config::budget::Budget;
use crate::config::show;
use crate::server;
use std::process::ExitCode;

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// List all keys with default, bounds and meaning as Markdown, and check nothing
    #[arg(long)]
    keys: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong; everything that is wrong at once.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.keys {
        answer(&show::markdown())?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = args.settings.load()?;
    loaded.warn();
    let mut faults = server::check(&loaded.config);
    if let Some(last) = faults.pop() {
        for fault in &faults {
            eprint!("{}", Failure::usage(fault).text());
        }
        return Err(Failure::usage(&last));
    }
    let budget = Budget::new(&loaded.config, &loaded.host).to_string();
    let mut text = "# The configuration in effect. Secrets are masked.\n".to_owned();
    text.push_str(&show::toml(&loaded.config));
    text.push('\n');
    for line in budget.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    answer(&text)?;
    Ok(ExitCode::SUCCESS)
}
