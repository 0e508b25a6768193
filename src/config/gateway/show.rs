//! The gateway in print: as TOML that reads back as the same model.
//!
//! Invariants: made from the rows of the shapes; backends that an address implies are printed where
//! they are named, not by themselves; secrets are masked.

use crate::config::gateway::Gateway;
use crate::config::gateway::backend;
use crate::config::gateway::listener;
use crate::config::gateway::route;
use crate::config::gateway::row::Shape;
use crate::config::gateway::upstream;
use crate::config::value::quote;

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every key, also where it has its default.
    All,
    /// What differs from the defaults: the file that somebody would write.
    Changed,
}

/// What is printed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer<'g> {
    /// What indices point into.
    pub(crate) gateway: &'g Gateway,
    /// How much.
    pub(crate) detail: Detail,
}

/// The tables of a gateway as TOML; the first listener is the key `listen` and not among them.
#[must_use]
pub fn show(gateway: &Gateway, detail: Detail) -> String {
    let printer = Printer { gateway, detail };
    let mut text = String::new();
    for listener in gateway.listeners.iter().skip(1) {
        text.push_str(&format!("\n[[listener]]\n{}", printer.lines(&listener::LISTENER, listener)));
    }
    for backend in gateway.backends.iter().filter(|backend| !backend::is_implied(backend)) {
        text.push_str(&format!("\n[[backend]]\n{}", backend::show(backend, &printer)));
    }
    for upstream in &gateway.upstreams {
        text.push_str(&format!("\n[[upstream]]\n{}", upstream::show(upstream, &printer)));
    }
    for (index, route) in gateway.routes.iter().enumerate() {
        text.push_str(&format!("\n[[route]]\n{}", route::show(index, route, &printer)));
    }
    text
}

impl Printer<'_> {
    /// A table's entries, one a line.
    pub(crate) fn lines<T: Clone>(&self, shape: &Shape<T>, draft: &T) -> String {
        let entries = self.entries(shape, draft);
        entries.iter().map(|(name, shown)| format!("{name} = {shown}\n")).collect()
    }

    /// A table on one line.
    pub(crate) fn inline<T: Clone>(&self, shape: &Shape<T>, draft: &T) -> String {
        let entries = self.entries(shape, draft);
        table(entries.iter().map(|(name, shown)| format!("{name} = {shown}")))
    }

    fn entries<T: Clone>(&self, shape: &Shape<T>, draft: &T) -> Vec<(&'static str, String)> {
        let (mut draft, mut blank) = (draft.clone(), (shape.blank)());
        let shown = shape.rows.iter().filter_map(|row| {
            let shown = row.show(&mut draft, self)?;
            let default = row.show(&mut blank, self).is_some_and(|default| default == shown);
            let left_out = self.detail == Detail::Changed && !row.required && default;
            (!left_out).then_some((row.name, shown))
        });
        shown.collect()
    }
}

/// An inline table of entries.
pub(crate) fn table(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<_> = entries.collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A list on one line.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A list of tables, one a line where there are several.
pub(crate) fn long_list(items: &[String]) -> String {
    match items {
        [] => "[]".to_owned(),
        [one] => format!("[{one}]"),
        many => many.iter().fold("[\n".to_owned(), |text, item| text + "    " + item + ",\n") + "]",
    }
}

/// A list of texts.
pub(crate) fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    list(texts.map(quote))
}

/// A key of an inline table; quoted where it must be.
pub(crate) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quote(name) }
}
