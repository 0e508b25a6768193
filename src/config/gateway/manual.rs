//! The tables of the gateway for the operator's manual, and the defaults that messages name.
//!
//! Invariants: every shape is listed, so every key of the text is documented.

use crate::config::gateway::Gateway;
use crate::config::gateway::backend;
use crate::config::gateway::backend::endpoint;
use crate::config::gateway::backend::health;
use crate::config::gateway::backend::tls;
use crate::config::gateway::listener;
use crate::config::gateway::route;
use crate::config::gateway::route::action;
use crate::config::gateway::route::change;
use crate::config::gateway::route::filter;
use crate::config::gateway::route::matches;
use crate::config::gateway::route::rule;
use crate::config::gateway::row::Shape;
use crate::config::gateway::show::Detail;
use crate::config::gateway::show::Printer;
use crate::config::gateway::upstream::stream;

/// What the manual needs of a shape, whatever it is read into.
trait Documented: Sync {
    fn nouns(&self) -> &'static [&'static str];
    fn default(&self, name: &str) -> Option<String>;
    fn markdown(&self) -> String;
}

static SHAPES: &[&dyn Documented] = &[
    &listener::LISTENER,
    &backend::BACKEND,
    &endpoint::ENDPOINT,
    &tls::TLS,
    &health::AFFINITY,
    &health::HEALTH,
    &stream::UPSTREAM,
    &route::ROUTE,
    &rule::RULE,
    &matches::PATHS,
    &matches::MATCH,
    &action::TIMEOUTS,
    &action::BACKEND_REF,
    &action::RESPOND,
    &filter::FILTER,
    &change::CHANGE,
    &filter::REDIRECT,
    &filter::REWRITE,
    &filter::PATHS,
    &filter::MIRROR,
];

/// The tables as Markdown.
pub(crate) fn markdown() -> String {
    SHAPES.iter().map(|shape| shape.markdown()).collect()
}

/// The default of the key with this path, as `backend[0].health.path`, if it has one.
pub(crate) fn default(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('.')?;
    let noun = parent.rsplit('.').next()?.split('[').next()?;
    let shapes = SHAPES.iter().filter(|shape| shape.nouns().contains(&noun));
    shapes.filter_map(|shape| shape.default(name)).next()
}

impl<T: Clone> Documented for Shape<T> {
    fn nouns(&self) -> &'static [&'static str] {
        self.nouns
    }

    fn default(&self, name: &str) -> Option<String> {
        let row = self.row(name).filter(|row| !row.required)?;
        if let Some(default) = row.default {
            return Some(default.to_owned());
        }
        let (gateway, mut blank) = (Gateway::default(), (self.blank)());
        row.show(&mut blank, &Printer { gateway: &gateway, detail: Detail::Changed })
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n", self.title);
        text.push_str("| key | default | takes | what it is for |\n|---|---|---|---|\n");
        for row in self.rows {
            let default = match (self.default(row.name), row.default) {
                (None, _) if row.required => "required".to_owned(),
                (None, _) => "not set".to_owned(),
                // Words, not a value.
                (Some(words), Some(_)) if !is_value(&words) => words,
                (Some(value), _) => format!("`{value}`"),
            };
            let takes = row.wanted().replace('|', "\\|");
            text.push_str(&format!("| `{}` | {default} | {takes} | {} |\n", row.name, row.doc));
        }
        text
    }
}

fn is_value(default: &str) -> bool {
    default.parse::<u64>().is_ok() || default.starts_with(['"', '{']) || default == "false"
}
