//! Changes of header fields: set, add, remove.
//!
//! Invariants: names are tokens, one action for each, compared without case; values hold no
//! control characters; what frames a message or belongs to one connection is left alone. Names are
//! in their order, as TOML sorts them.

use crate::config::form;
use crate::config::gateway::HeaderChange;
use crate::config::gateway::bounds::VALUES_MAX;
use crate::config::gateway::list;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::show;
use crate::config::value::MASK;
use crate::config::value::quote;
use ::toml::de::DeValue;

/// Fields that say where a message ends, or belong to one connection (RFC 9110 7.6.1).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// Fields whose values are secrets.
const SECRETS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

const FIELDS: &str = "a table of at most 16 names and values";

pub(crate) static CHANGE: Shape<HeaderChange> = Shape {
    title: "`request_headers` and `response_headers`",
    nouns: &["request_headers", "response_headers"],
    blank: HeaderChange::default,
    rows: &[
        parts(
            "set",
            FIELDS,
            "Overwrites, for requests also what differs in `-` and `_` alone. Values of \
             Authorization and cookies are printed as `***`.",
            |c, node, reader| c.set = fields(node, reader),
            |c, _| Some(show_fields(&c.set)),
        ),
        parts(
            "add",
            FIELDS,
            "Appends: `old,new` where the field is there already.",
            |c, node, reader| c.add = fields(node, reader),
            |c, _| Some(show_fields(&c.add)),
        ),
        parts(
            "remove",
            "a list of at most 16 names",
            "Removes, for requests also what differs in `-` and `_` alone.",
            |c, node, reader| c.remove = list::texts(node, reader, VALUES_MAX, &form::FIELD_NAME),
            |c, _| Some(show::texts(c.remove.iter().map(String::as_str))),
        ),
    ],
};

/// Reads a change.
pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<HeaderChange> {
    let change = reader.one(&CHANGE, node)?;
    let pairs = change.set.iter().chain(&change.add).map(|(name, _)| name);
    let mut names: Vec<String> =
        pairs.chain(&change.remove).map(|name| name.to_ascii_lowercase()).collect();
    if let Some(name) = names.iter().find(|name| FRAMING.contains(&name.as_str())) {
        let bound = format!("must not change {name}: it belongs to the connection");
        let remedy = match name.as_str() {
            "host" => "use the filter rewrite, with hostname",
            _ => "remove it",
        };
        reader.relation(node, &bound, remedy);
    }
    names.sort_unstable();
    let twice = names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(a),
        _ => None,
    });
    if let Some(name) = twice {
        let bound = format!("has two actions for {name}");
        reader.relation(node, &bound, "keep one of them");
    }
    Some(change)
}

fn fields(node: &Node<'_>, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    // Whatever stands where a table should, a value may be in it.
    let hidden = node.hidden || !matches!(node.value, DeValue::Table(_));
    let node = &Node { hidden, ..node.clone() };
    let Some(members) = reader.members(node) else { return Vec::new() };
    if members.len() > VALUES_MAX {
        reader.form(node, FIELDS);
        return Vec::new();
    }
    let mut fields = Vec::with_capacity(members.len());
    for (name, member) in members {
        let hidden = is_secret(name);
        let member = Node { hidden, ..member };
        if !form::is_token(name) {
            reader.relation(&member, "is no name of a header field", "correct the name");
            continue;
        }
        if reader.is_mask(&member) {
            continue;
        }
        if let Some(value) = reader.text(&member, &form::FIELD_VALUE) {
            fields.push((name.to_owned(), value));
        }
    }
    fields
}

/// Values may be secrets, so names are all that shows.
impl std::fmt::Debug for HeaderChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |fields: &[(String, String)]| -> Vec<String> {
            fields.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("HeaderChange")
            .field("set", &names(&self.set))
            .field("add", &names(&self.add))
            .field("remove", &self.remove)
            .finish()
    }
}

/// Whether the values of a field are secrets.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

fn show_fields(fields: &[(String, String)]) -> String {
    show::table(fields.iter().map(|(name, value)| {
        let value = if is_secret(name) { MASK } else { value };
        format!("{} = {}", show::key(name), quote(value))
    }))
}
