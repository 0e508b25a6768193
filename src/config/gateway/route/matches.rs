//! What a request must be like for a rule: path, method, header fields, query parameters.
//!
//! Invariants: a prefix is stored without its trailing `/`; header names are in lower case; each
//! name is there once; every pattern compiles. Names are in their order, as TOML sorts them.

use crate::config::form;
use crate::config::form::Form;
use crate::config::gateway::Match;
use crate::config::gateway::PathMatch;
use crate::config::gateway::TextMatch;
use crate::config::gateway::ValueMatch;
use crate::config::gateway::bounds::VALUES_MAX;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::route::change;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::parts;
use crate::config::gateway::row::value_or;
use crate::config::gateway::show::Printer;
use crate::config::gateway::show::key;
use crate::config::gateway::show::long_list;
use crate::config::gateway::show::table;
use crate::config::value::Kind;
use crate::config::value::MASK;
use crate::config::value::quote;
use ::toml::de::DeValue;

/// The prefix of all paths, which holds where the text says nothing.
pub(crate) const ROOT: PathMatch = PathMatch::Prefix(String::new());

const PATH: &str = "a prefix, as \"/a\", or { exact = \"/a\" }, { prefix = \"/a\" } or \
                    { regex = \"/[a-z]+\" }";
const PATTERN: &str = "a regular expression of at most 1024 bytes";
const VALUES: &str = "a table of at most 16 names, each with a value or { regex = \"..\" }";

pub(crate) static MATCH: Shape<Match> = Shape {
    title: "`matches` of a rule",
    nouns: &["matches"],
    blank: || Match { path: ROOT, method: None, headers: Vec::new(), query: Vec::new() },
    rows: &[
        parts("path", PATH, "The path, which is never decoded.", read_path, |m, _| {
            Some(show_path(&m.path))
        }),
        value_or(
            "method",
            Kind::Text(&form::METHOD),
            ("*", "any"),
            "The method.",
            |m: &mut Match| &mut m.method,
        ),
        parts(
            "headers",
            VALUES,
            "Header fields: all of these. A field that comes several times counts as one, with \
             commas. Values of Authorization and cookies are printed as `***`.",
            |m, node, reader| {
                m.headers = values(node, reader, &form::FIELD_NAME, &form::FIELD_VALUE)
            },
            |m, _| Some(show_values(&m.headers)),
        ),
        parts(
            "query",
            VALUES,
            "Query parameters: all of these. Of one that comes several times the first counts.",
            |m, node, reader| m.query = values(node, reader, &form::PARAMETER, &form::PARAMETER),
            |m, _| Some(show_values(&m.query)),
        ),
    ],
};

/// The ways to match a path.
pub(crate) static PATHS: Shape<Option<PathMatch>> = Shape {
    title: "`path` of a rule or a match",
    nouns: &["path"],
    blank: || None,
    rows: &[
        parts(
            "exact",
            form::PATH.wanted,
            "This path alone, byte for byte. Goes before prefixes.",
            |path, node, reader| *path = reader.text(node, &form::PATH).map(PathMatch::Exact),
            |_, _| None,
        ),
        parts(
            "prefix",
            form::PATH.wanted,
            "This path and all below it, by whole elements. The longest goes first. A plain text \
             is a prefix.",
            |path, node, reader| *path = prefix(node, reader),
            |_, _| None,
        ),
        parts(
            "regex",
            PATTERN,
            "A regular expression that must match the whole path; takes linear time. Goes after \
             prefixes.",
            |path, node, reader| *path = pattern(node, reader).map(PathMatch::Regex),
            |_, _| None,
        ),
    ],
};

fn prefix(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<PathMatch> {
    let path = reader.text(node, &form::PATH)?;
    Some(PathMatch::Prefix(path.strip_suffix('/').unwrap_or(&path).to_owned()))
}

fn pattern(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let Some(text) = node.value.as_str() else {
        reader.form(node, PATTERN);
        return None;
    };
    match form::pattern(text) {
        Ok(_) => Some(text.to_owned()),
        Err(cause) => {
            reader.problem(node, cause);
            None
        }
    }
}

/// A path as a rule and a match have it.
pub(crate) fn path(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<PathMatch> {
    match node.value {
        DeValue::String(_) => prefix(node, reader),
        DeValue::Table(ways) => {
            let before = reader.problems();
            let path = reader.one(&PATHS, node).flatten();
            if ways.len() != 1 && reader.problems() == before {
                reader.form(node, PATH);
            }
            path
        }
        _ => {
            reader.form(node, PATH);
            None
        }
    }
}

fn read_path(draft: &mut Match, node: &Node<'_>, reader: &mut Reader<'_>) {
    if let Some(path) = path(node, reader) {
        draft.path = path;
    }
}

/// A path as it is written.
pub(crate) fn show_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("{{ exact = {} }}", quote(path)),
        PathMatch::Prefix(path) if path.is_empty() => quote("/"),
        PathMatch::Prefix(path) => quote(path),
        PathMatch::Regex(pattern) => format!("{{ regex = {} }}", quote(pattern)),
    }
}

fn values(
    node: &Node<'_>,
    reader: &mut Reader<'_>,
    name_form: &'static Form,
    value_form: &'static Form,
) -> Vec<ValueMatch> {
    let Some(members) = reader.members(node) else { return Vec::new() };
    if members.len() > VALUES_MAX {
        reader.form(node, VALUES);
        return Vec::new();
    }
    let mut values: Vec<ValueMatch> = Vec::with_capacity(members.len());
    for (name, member) in &members {
        let Some(name) = (name_form.parse)(name) else {
            reader.relation(member, "has a name that no request can have", "correct the name");
            continue;
        };
        if values.iter().any(|value| value.name == name) {
            reader.relation(member, "is given twice, in another case", "remove one of them");
            continue;
        }
        let member = &Node { hidden: change::is_secret(&name), ..member.clone() };
        if reader.is_mask(member) {
            continue;
        }
        if let Some(value) = text_match(member, reader, value_form) {
            values.push(ValueMatch { name, value });
        }
    }
    values.sort_by(|a, b| a.name.cmp(&b.name));
    values
}

fn text_match(node: &Node<'_>, reader: &mut Reader<'_>, form: &'static Form) -> Option<TextMatch> {
    if !matches!(node.value, DeValue::Table(_)) {
        return reader.text(node, form).map(TextMatch::Exact);
    }
    let members = reader.members(node)?;
    match &members[..] {
        [("regex", member)] => pattern(member, reader).map(TextMatch::Regex),
        [("exact", member)] => reader.text(member, form).map(TextMatch::Exact),
        _ => {
            reader.form(node, "a value, or { regex = \"..\" }");
            None
        }
    }
}

fn show_values(values: &[ValueMatch]) -> String {
    table(values.iter().map(|ValueMatch { name, value }| {
        let (hidden, name) = (change::is_secret(name), key(name));
        match value {
            _ if hidden => format!("{name} = {}", quote(MASK)),
            TextMatch::Exact(text) => format!("{name} = {}", quote(text)),
            TextMatch::Regex(text) => format!("{name} = {{ regex = {} }}", quote(text)),
        }
    }))
}

/// Prints a rule's matches: those that are not the root's prefix alone.
pub(crate) fn show(matches: &[Match], printer: &Printer<'_>) -> String {
    let items: Vec<_> = matches.iter().map(|one| printer.inline(&MATCH, one)).collect();
    long_list(&items)
}
