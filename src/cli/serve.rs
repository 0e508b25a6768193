//! `tidegate serve`, and `tidegate` alone: check, say what is about to run, run until it ends.
//!
//! Alone it is the first minute of a newcomer: the defaults, and one screen of what to try next.
//!
//! Invariants: nothing is opened before the configuration has passed. The screen goes to stdout;
//! the budget and the warnings go to stderr, where the server's log goes too.

use crate::cli::answer;
use crate::cli::failure::Failure;
use crate::cli::settings::Loaded;
use crate::cli::settings::Settings;
use crate::config::Config;
use crate::config::budget::Budget;
use crate::config::relations;
use crate::server;
use std::process::ExitCode;

/// Arguments of `serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
}

/// Runs the server with a configuration.
///
/// # Errors
/// The configuration is wrong, or the server cannot start.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    start(args.settings.load()?)
}

/// Runs the server with the defaults, after one screen of what to try.
///
/// # Errors
/// The server cannot start.
pub fn alone() -> Result<ExitCode, Failure> {
    let loaded = Settings::default().load()?;
    answer(&welcome(&loaded.config))?;
    start(loaded)
}

/// Runs the server with a checked configuration.
///
/// # Errors
/// The server cannot start.
pub fn start(loaded: Loaded) -> Result<ExitCode, Failure> {
    loaded.warn();
    eprintln!("memory for {}", Budget::new(&loaded.config, &loaded.host).summary());
    let hub = (0..loaded.config.gateway.listeners.len())
        .any(|listener| relations::serves_hub(&loaded.config, listener));
    if hub && loaded.config.hub.publisher_key.is_none() {
        eprintln!(
            "no hub.publisher_key: publishes need no token, and only this machine reaches {}",
            loaded.config.listen
        );
    }
    server::run(loaded.config, &loaded.host).map_err(|error| Failure::runtime(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// One screen of what to try next.
fn welcome(config: &Config) -> String {
    let hub = format!("http://{}/.well-known/mercure", config.listen);
    let listen = config.listen;
    let admin = config.admin.map_or_else(
        || "switched off".to_owned(),
        |admin| format!("http://{admin}/metrics, health at /live and /ready"),
    );
    format!(
        "\
tidegate {version}: a hub for Server-Sent Events, open to programs on this machine only

  Look      open http://{listen}/ in a browser: it shows events and publishes

  Receive   curl -N '{hub}?topic=greetings'
            tidegate subscribe --topic greetings

  Publish   curl -d topic=greetings -d data=hello {hub}
            tidegate publish --topic greetings --data hello

  Resume    curl -N '{hub}?topic=greetings&lastEventID=earliest'

  Metrics   {admin}

  Next      tidegate check > tidegate.toml   what is in effect, as a file to edit
            tidegate serve --config tidegate.toml
            tidegate help

  Stop      Ctrl-C; a second one does not wait for clients to be closed one by one

",
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_screen_is_one_screen_and_names_the_addresses() {
        let text = welcome(&Config::default());
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        for part in [
            "http://127.0.0.1:8080/ ",
            "curl -N 'http://127.0.0.1:8080/.well-known/mercure?topic=",
            "curl -d topic=",
            "tidegate subscribe",
            "tidegate publish",
            "http://127.0.0.1:9090/metrics",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
