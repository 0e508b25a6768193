//! The configurations of `tidegate fanout URL` and `tidegate proxy URL`.
//!
//! They are made as text and read like any file, so that what the commands do can be printed as a
//! file, and a file can do all that they do.
//!
//! Invariants: no hub is served; nothing is shared among clients with different credentials.

use crate::config::Config;
use crate::config::error::Cause;
use crate::config::error::Place;
use crate::config::error::Problem;
use crate::config::error::Problems;
use crate::config::form;
use crate::config::gateway::Part;
use crate::config::gateway::backend::url;
use crate::config::gateway::backend::url::Authority;
use crate::config::gateway::upstream::target;
use crate::config::toml;
use crate::config::toml::Argument;
use crate::config::toml::Outside;
use crate::config::value::MASK;
use crate::config::value::quote;

/// Nothing outside: neither command reads a file.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Outside for Nothing {
    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// Shares the event stream at a URL: at the same path, with the live page at `/`.
///
/// A URL with variables is served below what stands before the first. The stream of a URL without
/// a path is at `/`, for requests that accept event streams; others get the page there.
///
/// # Errors
/// The URL or an argument is wrong; everything that is wrong at once.
pub fn fanout(url: &str, arguments: &[Argument]) -> Result<Config, Problems> {
    if !url.contains("://") {
        return Err(without_scheme(url));
    }
    let target = Authority::parse(url).and_then(|(_, rest)| target::parse(rest).ok());
    let path = match target.as_deref() {
        Some([Part::Text(whole)]) => {
            let path = whole.split('?').next().unwrap_or_default();
            format!("{{ exact = {} }}", quote(path))
        }
        Some([Part::Text(start), ..]) => {
            let path = start.split('?').next().unwrap_or_default();
            // Only whole elements: the last one goes on with the variable, unless it is the query.
            let whole = if start.contains('?') { path.len() } else { path.rfind('/').unwrap_or(0) };
            let path = path.get(..whole.max(1)).unwrap_or("/");
            format!("{{ prefix = {} }}", quote(path))
        }
        _ => "{ prefix = \"/\" }".to_owned(),
    };
    let text = format!(
        "[[upstream]]\nname = \"stream\"\nurl = {}\n[[route]]\nname = \"stream\"\n{}",
        quote(url),
        fanout_rules(&path)
    );
    load(&text, url, arguments)
}

fn fanout_rules(path: &str) -> String {
    let place = path.split('"').nth(1).unwrap_or("/");
    if place != "/" {
        return format!(
            "path = {path}\nupstream = \"stream\"\n\
             [[route]]\nname = \"page\"\npath = {{ exact = \"/\" }}\npage = \"{place}\"\n"
        );
    }
    format!(
        "matches = [{{ path = {path}, headers = {{ accept = {{ regex = \
         \"(?i).*text/event-stream.*\" }} }} }}]\nupstream = \"stream\"\n\
         [[route]]\nname = \"page\"\npath = {{ exact = \"/\" }}\npage = \"/\"\n"
    )
}

/// Passes every request to the server at a URL; a path in the URL goes before that of requests.
///
/// A name behind TLS also replaces `Host`, since such a server answers for its own name only.
///
/// # Errors
/// The URL or an argument is wrong; everything that is wrong at once.
pub fn proxy(url: &str, arguments: &[Argument]) -> Result<Config, Problems> {
    if !url.contains("://") && !url.starts_with("unix:") {
        return Err(without_scheme(url));
    }
    let (origin, base, host) = match Authority::parse(url) {
        None => (url.to_owned(), String::new(), None),
        Some((authority, rest)) if rest.contains(['?', '#']) => {
            let cause = Cause::Form { wanted: "an address without query and fragment".to_owned() };
            return Err(Problems(vec![wrong(url, cause, authority.to_string().as_str())]));
        }
        Some((authority, rest)) => {
            let named = authority.https && (form::HOST.parse)(&authority.host).is_some();
            let host = named.then(|| authority.host.clone());
            (authority.to_string(), rest.trim_end_matches('/').to_owned(), host)
        }
    };
    let mut rewrite = Vec::new();
    if let Some(host) = host {
        rewrite.push(format!("hostname = {}", quote(&host)));
    }
    if !base.is_empty() {
        rewrite.push(format!("path = {{ prefix = {} }}", quote(&base)));
    }
    let filters = match rewrite.is_empty() {
        true => String::new(),
        false => format!("filters = [{{ rewrite = {{ {} }} }}]\n", rewrite.join(", ")),
    };
    let text = format!("[[route]]\nname = \"proxy\"\n{filters}backend = {}\n", quote(&origin));
    load(&text, url, arguments)
}

/// Reads the text; what is wrong in it is the argument's fault.
fn load(text: &str, url: &str, arguments: &[Argument]) -> Result<Config, Problems> {
    let config = toml::load(text, arguments, &Nothing).map_err(|Problems(problems)| {
        let mut problems: Vec<Problem> = problems
            .into_iter()
            .map(|problem| match problem.place {
                Place::Line(_) => wrong(url, problem.cause, url),
                _ => problem,
            })
            .collect();
        problems.dedup();
        Problems(problems)
    })?;
    if config.gateway.leads_to_itself() {
        let bound = format!("must lead to another server: this one listens on {}", config.listen);
        let remedy = "name the other one, or give this one another place with --listen".to_owned();
        return Err(Problems(vec![wrong(url, Cause::Relation { bound, remedy }, url)]));
    }
    Ok(config)
}

/// `localhost:3000`, which many tools take.
fn without_scheme(url: &str) -> Problems {
    let bound = "must begin with http:// or https://".to_owned();
    let remedy = "write one of them before it".to_owned();
    Problems(vec![wrong(url, Cause::Relation { bound, remedy }, url)])
}

fn wrong(url: &str, cause: Cause, shown: &str) -> Problem {
    let value = if url::has_secret(url) { MASK.to_owned() } else { quote(shown) };
    Problem { key: "URL".to_owned(), value, place: Place::Argument, cause }
}
