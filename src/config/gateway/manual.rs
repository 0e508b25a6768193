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
use crate::config::near;

/// What the manual needs of a shape, whatever it is read into.
trait Documented: Sync {
    fn nouns(&self) -> &'static [&'static str];
    fn default(&self, name: &str) -> Option<String>;
    fn is_required(&self, name: &str) -> bool;
    fn title(&self) -> &'static str;
    fn names(&self) -> Vec<&'static str>;
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
    let (name, shapes) = shapes(path)?;
    shapes.filter_map(|shape| shape.default(name)).next()
}

/// Whether the table of the key with this path is wrong without it.
pub(crate) fn is_required(path: &str) -> bool {
    shapes(path).is_some_and(|(name, mut shapes)| shapes.any(|shape| shape.is_required(name)))
}

/// The key that is nearest to this name in any table, and the tables that have it.
pub(crate) fn elsewhere(name: &str) -> Option<(&'static str, String)> {
    let names = SHAPES.iter().flat_map(|shape| shape.names());
    let name = near::surely(name, names)?;
    let tables = SHAPES.iter().filter(|shape| shape.names().contains(&name));
    let titles: Vec<_> = tables.map(|shape| shape.title()).collect();
    Some((name, titles.join(", and of ")))
}

/// The key's name, and what may be the shape of its table.
fn shapes(path: &str) -> Option<(&str, impl Iterator<Item = &'static &'static dyn Documented>)> {
    let (parent, name) = path.rsplit_once('.')?;
    let noun = parent.rsplit('.').next()?.split('[').next()?;
    Some((name, SHAPES.iter().filter(move |shape| shape.nouns().contains(&noun))))
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

    fn is_required(&self, name: &str) -> bool {
        self.row(name).is_some_and(|row| row.required)
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn names(&self) -> Vec<&'static str> {
        self.rows.iter().map(|row| row.name).collect()
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
