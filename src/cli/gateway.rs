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
use crate::config::gateway::Part;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Variable;
use crate::config::show;
use crate::config::toml::Argument;
use std::process::ExitCode;

/// Arguments of `fanout` and `proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// http:// or https:// and a host, for fanout with the path of an event stream; proxy takes
    /// unix:/PATH as well
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
    // All of it is the file: what is for people stands in comments.
    let screen = format!("{screen}\nThe same as a file, for `tidegate serve --config FILE`:\n");
    let comment = |line: &str| format!("# {line}").trim_end().to_owned() + "\n";
    let screen: String = screen.lines().map(comment).collect();
    answer(&format!("{screen}\n{file}\n"))?;
    serve::start(Loaded::of(config))
}

fn fanout_screen(url: &str, config: &Config) -> String {
    let listen = config.listen;
    let receive = receive(config);
    format!(
        "\
tidegate {version}: {url}
  read once, for any number of clients

  Look      open http://{listen}/ in a browser
  Receive   {receive}
  Shared    by clients with the same cookies and Authorization; by all with `public = true`
  State     {admin}
  Stop      Ctrl-C; a second one does not wait for clients to be closed one by one
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
  Stop      Ctrl-C; a second one does not wait for what is under way
",
        version = env!("CARGO_PKG_VERSION"),
        admin = admin(config, "/backends"),
    )
}

fn admin(config: &Config, page: &str) -> String {
    config.admin.map_or_else(|| "switched off".to_owned(), |at| format!("http://{at}{page}"))
}

/// How to get the stream with curl.
fn receive(config: &Config) -> String {
    let path = served(config).unwrap_or("/");
    // At the root others get the page.
    let options = if path == "/" { "-NH 'Accept: text/event-stream'" } else { "-N" };
    let at = format!("http://{}{path}", config.listen);
    let mut targets = config.gateway.upstreams.iter().flat_map(|upstream| &upstream.target);
    if targets.any(|part| *part == Part::Variable(Variable::Channel)) {
        format!("curl {options} '{at}?channel=NAME'")
    } else {
        format!("curl {options} {at}")
    }
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
    use crate::config::gateway::Nothing;
    use crate::config::toml::load;

    #[test]
    fn the_printed_file_is_what_runs() {
        let url = "http://127.0.0.1:9000/feed?x=1";
        for make in [gateway::fanout, gateway::proxy] {
            let config = make("http://127.0.0.1:9000/feed", &[]).unwrap();
            assert_eq!(load(&show::brief(&config), &[], &Nothing).unwrap(), config);
        }
        let config = gateway::fanout(url, &[]).unwrap();
        assert_eq!(load(&show::brief(&config), &[], &Nothing).unwrap(), config);
        assert_eq!(served(&config), Some("/feed"));
        assert!(fanout_screen(url, &config).contains("curl -N http://127.0.0.1:8080/feed\n"));
    }

    #[test]
    fn the_screen_shows_a_request_that_gets_the_stream() {
        for (url, shown) in [
            ("http://127.0.0.1:9000/feed?x=1", "curl -N http://127.0.0.1:8080/feed"),
            (
                "http://127.0.0.1:9000",
                "curl -NH 'Accept: text/event-stream' http://127.0.0.1:8080/",
            ),
            ("http://127.0.0.1:9000/a/{channel}", "curl -N 'http://127.0.0.1:8080/a?channel=NAME'"),
            (
                "http://127.0.0.1:9000/{channel}",
                "curl -NH 'Accept: text/event-stream' 'http://127.0.0.1:8080/?channel=NAME'",
            ),
        ] {
            assert_eq!(receive(&gateway::fanout(url, &[]).unwrap()), shown);
        }
    }
}
