//! From the tables of the text to the model: every error at once, each with the path of its key.
//!
//! The order is that of references: listeners, backends, upstreams, routes. So a name is known
//! when it is met, wherever it stands in the text. A definition with errors keeps its name, so one
//! mistake is one error.
//!
//! Invariants: reads through `Outside` only; text that a secret may stand in never shows.

use crate::config::error::Cause;
use crate::config::error::Place;
use crate::config::error::Problem;
use crate::config::gateway::Gateway;
use crate::config::gateway::TABLES;
use crate::config::gateway::backend;
use crate::config::gateway::listener;
use crate::config::gateway::manual;
use crate::config::gateway::route;
use crate::config::gateway::row::Shape;
use crate::config::gateway::upstream;
use crate::config::lines::Lines;
use crate::config::near;
use crate::config::toml::Outside;
use crate::config::toml::given;
use crate::config::toml::is_telling;
use crate::config::value::Given;
use crate::config::value::Kind;
use crate::config::value::MASK;
use crate::config::value::Value;
use ::toml::de::DeTable;
use ::toml::de::DeValue;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Names of a message that lists what there is.
const NAMES_SHOWN: usize = 8;

/// A value of the text, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    /// Its path, as `route[2].rule[0].path`.
    pub(crate) key: String,
    /// What was written.
    pub(crate) value: &'t DeValue<'t>,
    /// Its line.
    pub(crate) place: Place,
    /// Whether it may hold a secret.
    pub(crate) hidden: bool,
}

/// What is being read, and what is known so far.
pub(crate) struct Reader<'r> {
    /// What is read so far.
    pub(crate) gateway: Gateway,
    /// Indices by name.
    pub(crate) names: Names,
    lines: &'r Lines,
    outside: &'r dyn Outside,
    problems: &'r mut Vec<Problem>,
}

/// Indices into the lists of the gateway, by name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) listeners: BTreeMap<String, usize>,
    pub(crate) backends: BTreeMap<String, usize>,
    pub(crate) upstreams: BTreeMap<String, usize>,
    pub(crate) routes: BTreeMap<String, usize>,
}

/// Reads all tables of the gateway; what is wrong becomes problems.
pub(crate) fn read(
    table: &DeTable<'_>,
    listen: SocketAddr,
    lines: &Lines,
    outside: &dyn Outside,
    problems: &mut Vec<Problem>,
) -> Gateway {
    let (gateway, names) = (Gateway::at(listen), Names::default());
    let mut reader = Reader { gateway, names, lines, outside, problems };
    let [listeners, backends, upstreams, routes] = TABLES;
    let node = |name: &str| {
        let (name, value) = table.get_key_value(name)?;
        let (key, place) = (name.get_ref().to_string(), lines.place(name.span().start));
        Some(Node { key, value: value.get_ref(), place, hidden: false })
    };
    listener::read(node(listeners).as_ref(), &mut reader);
    backend::read(node(backends).as_ref(), &mut reader);
    upstream::read(node(upstreams).as_ref(), &mut reader);
    route::read(node(routes).as_ref(), &mut reader);
    reader.gateway
}

impl<'r> Reader<'r> {
    /// Says what is wrong with a value.
    pub(crate) fn problem(&mut self, node: &Node<'_>, cause: Cause) {
        let whole = matches!((node.value, &cause), (DeValue::Table(_), Cause::Relation { .. }));
        let value = match () {
            () if whole => String::new(),
            () if node.hidden => MASK.to_owned(),
            () => given(node.value).show(),
        };
        self.problems.push(Problem { key: node.key.clone(), value, place: node.place, cause });
    }

    /// Says that a value has the wrong form.
    pub(crate) fn form(&mut self, node: &Node<'_>, wanted: impl Into<String>) {
        self.problem(node, Cause::Form { wanted: wanted.into() });
    }

    /// Says that a relation between keys does not hold.
    pub(crate) fn relation(&mut self, node: &Node<'_>, bound: &str, remedy: &str) {
        let (bound, remedy) = (bound.to_owned(), remedy.to_owned());
        self.problem(node, Cause::Relation { bound, remedy });
    }

    /// Whether a secret is given as its mask, which is a problem.
    pub(crate) fn is_mask(&mut self, node: &Node<'_>) -> bool {
        let masked = node.hidden && node.value.as_str() == Some(MASK);
        if masked {
            let bound = format!("{MASK} is the mask that `check` prints in place of a secret");
            self.relation(node, &bound, "give the value itself");
        }
        masked
    }

    /// How many problems there are, to see whether a part was right by itself.
    pub(crate) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// One value of a kind.
    pub(crate) fn value(
        &mut self,
        node: &Node<'_>,
        kind: Kind,
        none: Option<&str>,
        wanted: impl Fn() -> String,
    ) -> Option<Value> {
        let written = given(node.value);
        if matches!((&written, none), (Given::Text(text), Some(word)) if text == word) {
            return Some(Value::None);
        }
        let cause = match kind.parse(&written) {
            Ok(value) => return Some(value),
            Err(Cause::Form { .. }) => Cause::Form { wanted: wanted() },
            Err(Cause::Range { .. }) => Cause::Range { wanted: wanted() },
            Err(cause) => cause,
        };
        self.problem(node, cause);
        None
    }

    /// A text of some form, as it is stored.
    pub(crate) fn text(
        &mut self,
        node: &Node<'_>,
        form: &'static crate::config::form::Form,
    ) -> Option<String> {
        match self.value(node, Kind::Text(form), None, || form.wanted.to_owned())? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number within bounds.
    pub(crate) fn number(&mut self, node: &Node<'_>, kind: Kind) -> Option<u64> {
        match self.value(node, kind, None, || kind.wanted())? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The entries of a table.
    pub(crate) fn members<'t>(&mut self, node: &Node<'t>) -> Option<Vec<(&'t str, Node<'t>)>> {
        let DeValue::Table(table) = node.value else {
            self.form(node, "a table");
            return None;
        };
        let members = table.iter().map(|(name, value)| {
            let place = self.lines.place(name.span().start);
            let name: &'t str = name.get_ref();
            let key = format!("{}.{name}", node.key);
            (name, Node { key, value: value.get_ref(), place, hidden: node.hidden })
        });
        Some(members.collect())
    }

    /// The items of a list of at most so many; nothing if it is no list or too long.
    pub(crate) fn items<'t>(
        &mut self,
        node: &Node<'t>,
        max: usize,
        wanted: &str,
    ) -> Option<Vec<Node<'t>>> {
        let DeValue::Array(array) = node.value else {
            self.form(node, wanted);
            return None;
        };
        if array.len() > max {
            let wanted = format!("a list of at most {max}, but has {}", array.len());
            self.problem(node, Cause::Range { wanted });
            return None;
        }
        let items = array.iter().enumerate().map(|(index, item)| {
            let place = self.lines.place(item.span().start);
            let key = format!("{}[{index}]", node.key);
            Node { key, value: item.get_ref(), place, hidden: node.hidden }
        });
        Some(items.collect())
    }

    /// A member of a table, if it is there; else the table itself under the member's name.
    pub(crate) fn member<'t>(&self, node: &Node<'t>, name: &str) -> Node<'t> {
        let key = format!("{}.{name}", node.key);
        match find(node, name) {
            Some((at, value)) => {
                Node { key, value, place: self.lines.place(at), hidden: node.hidden }
            }
            None => Node { key, ..node.clone() },
        }
    }

    /// Reads the entries of a table into a draft.
    pub(crate) fn fill<T>(&mut self, shape: &'static Shape<T>, node: &Node<'_>, draft: &mut T) {
        let Some(members) = self.members(node) else { return };
        let mut meant = Vec::new();
        for (name, member) in &members {
            match shape.row(name) {
                Some(row) => row.read(draft, member, self),
                None => meant.push(self.unknown(member, name, shape.rows.iter().map(|r| r.name))),
            }
        }
        let missing = |name| find(node, name).is_none() && !meant.contains(&Some(name));
        for row in shape.rows.iter().filter(|row| row.required && missing(row.name)) {
            let key = format!("{}.{}", node.key, row.name);
            let cause = Cause::Missing { wanted: row.wanted() };
            let value = String::new();
            self.problems.push(Problem { key, value, place: node.place, cause });
        }
    }

    /// A draft from a table; `None` if there is no table.
    pub(crate) fn one<T>(&mut self, shape: &'static Shape<T>, node: &Node<'_>) -> Option<T> {
        let mut draft = (shape.blank)();
        self.fill(shape, node, &mut draft);
        matches!(node.value, DeValue::Table(_)).then_some(draft)
    }

    /// Says that a table has no such key; gives the one that was meant, if one is near.
    pub(crate) fn unknown(
        &mut self,
        node: &Node<'_>,
        name: &str,
        known: impl Iterator<Item = &'static str>,
    ) -> Option<&'static str> {
        let nearest = near::nearest(name, known);
        let node = &Node { hidden: node.hidden || is_telling(name), ..node.clone() };
        let elsewhere = if nearest.is_none() { manual::elsewhere(name) } else { None };
        self.problem(node, Cause::UnknownKey { nearest, elsewhere });
        nearest
    }

    /// The index of a name that must be known.
    pub(crate) fn resolve(
        &mut self,
        node: &Node<'_>,
        kind: &'static str,
        names: fn(&Names) -> &BTreeMap<String, usize>,
    ) -> Option<usize> {
        let DeValue::String(name) = node.value else {
            self.form(node, format!("the name of a {kind}"));
            return None;
        };
        let known = names(&self.names);
        if let Some(index) = known.get(name.as_ref()) {
            return Some(*index);
        }
        let nearest = near::nearest(name, known.keys().map(String::as_str)).map(str::to_owned);
        let shown: Vec<_> = known.keys().take(NAMES_SHOWN).map(String::as_str).collect();
        let more = known.len().saturating_sub(NAMES_SHOWN);
        let known = match (known.len(), more) {
            (0, _) => "none".to_owned(),
            (_, 0) => shown.join(", "),
            (_, more) => format!("{}, and {more} more", shown.join(", ")),
        };
        self.problem(node, Cause::Unresolved { kind, known, nearest });
        None
    }

    /// Enters a name; it must be new.
    pub(crate) fn define(
        &mut self,
        node: &Node<'_>,
        name: &str,
        index: usize,
        names: fn(&mut Names) -> &mut BTreeMap<String, usize>,
    ) {
        if name.is_empty() || names(&mut self.names).insert(name.to_owned(), index).is_none() {
            return;
        }
        let node = self.member(node, "name");
        self.relation(&node, &format!("{name} is taken already"), "give it another name");
    }

    /// The text of a file that a key names.
    pub(crate) fn file(&mut self, node: &Node<'_>, path: &str, holds: &str) -> Option<String> {
        let why = match self.outside.file(path) {
            Ok(text) if text.contains(holds) => return Some(text),
            Ok(_) => format!("it holds no PEM block of the kind {holds}"),
            Err(error) => error.to_string(),
        };
        self.problem(node, Cause::Unreadable { why });
        None
    }
}

/// Whether a table has a key.
pub(crate) fn has(node: &Node<'_>, name: &str) -> bool {
    find(node, name).is_some()
}

fn find<'t>(node: &Node<'t>, name: &str) -> Option<(usize, &'t DeValue<'t>)> {
    let DeValue::Table(table) = node.value else { return None };
    table.get_key_value(name).map(|(name, value)| (name.span().start, value.get_ref()))
}
