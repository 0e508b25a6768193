//! `tidegate fanout URL` and `tidegate proxy URL`: the first minute with an upstream or a backend,
//! without a file.
//!
//! Invariants: what runs is what the printed file would run: the screen shows the configuration
//! that the server is started with, so the step to `serve --config` is a copy.

use crate::cli::answer;
use crate::cli::failure::Failure;
use crate::cli::serve;
use crate::cli::settings::Loaded;
use crate::cli::settings::Overrides;
use crate::config::Config;
use crate::config::error::Problems;
use crate::config::gateway;
use crate::config::gateway::Action;
use crate::config::gateway::PathMatch;
use crate::config::show;
use crate::config::toml::Argument;
use std::process::ExitCode;

/// Arguments of `fanout` and `proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// http:// or https:// and a host; for fanout with the path of an event stream
    url: String,
    #[command(flatten)]
    overrides: Overrides,
}

/// Serves one upstream event stream to any number of clients.
///
/// # Errors
/// The URL or an argument is wrong, or the server cannot start.
pub fn fanout(args: &Args) -> Result<ExitCode, Failure> {
    start(args, gateway::fanout, fanout_screen)
}

/// Passes everything on to one backend.
///
/// # Errors
/// The URL or an argument is wrong, or the server cannot start.
pub fn proxy(args: &Args) -> Result<ExitCode, Failure> {
    start(args, gateway::proxy, proxy_screen)
}

fn start(
    args: &Args,
    make: fn(&str, &[Argument]) -> Result<Config, Problems>,
    screen: fn(&str, &Config) -> String,
) -> Result<ExitCode, Failure> {
    let config = make(&args.url, &args.overrides.arguments())
        .map_err(|problems| Failure::usage(&problems))?;
    let file = show::brief(&config);
    let screen = screen(&args.url, &config);
    answer(&format!(
        "{screen}\nThe same as a file, for `tidegate serve --config FILE`:\n\n{file}\n"
    ))?;
    serve::start(Loaded::of(config))
}

fn fanout_screen(url: &str, config: &Config) -> String {
    let listen = config.listen;
    let path = served(config).unwrap_or("/");
    format!(
        "\
tidegate {version}: {url}
  read once, for any number of clients

  Look      open http://{listen}/ in a browser
  Receive   curl -N http://{listen}{path}
  State     {admin}
  Stop      Ctrl-C
",
        version = env!("CARGO_PKG_VERSION"),
        admin = admin(config, "/upstreams"),
    )
}

fn proxy_screen(url: &str, config: &Config) -> String {
    let listen = config.listen;
    format!(
        "\
tidegate {version}: everything passes to {url}
  as it comes: nothing is buffered, cached or retried after the first byte

  Try       curl -N http://{listen}/
  State     {admin}
  Stop      Ctrl-C
",
        version = env!("CARGO_PKG_VERSION"),
        admin = admin(config, "/backends"),
    )
}

fn admin(config: &Config, page: &str) -> String {
    config.admin.map_or_else(|| "switched off".to_owned(), |at| format!("http://{at}{page}"))
}

/// The path of the rule that serves the upstream.
fn served(config: &Config) -> Option<&str> {
    let rules = config.gateway.routes.iter().flat_map(|route| &route.rules);
    let mut fanouts = rules.filter(|rule| matches!(rule.action, Action::Fanout(_)));
    match &fanouts.next()?.matches.first()?.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) if !path.is_empty() => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::toml::Outside;
    use crate::config::toml::load;
    use std::io;

    struct Nowhere;

    impl Outside for Nowhere {
        fn file(&self, _: &str) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    #[test]
    fn the_printed_file_is_what_runs() {
        let url = "http://127.0.0.1:9000/feed?x=1";
        for make in [gateway::fanout, gateway::proxy] {
            let config = make("http://127.0.0.1:9000/feed", &[]).unwrap();
            assert_eq!(load(&show::brief(&config), &[], &Nowhere).unwrap(), config);
        }
        let config = gateway::fanout(url, &[]).unwrap();
        assert_eq!(load(&show::brief(&config), &[], &Nowhere).unwrap(), config);
        assert_eq!(served(&config), Some("/feed"));
        assert!(fanout_screen(url, &config).contains("curl -N http://127.0.0.1:8080/feed\n"));
    }
}
