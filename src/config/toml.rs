//! From text to the checked model: TOML and arguments in, a `Config` or every error at once out.
//!
//! The way: text → entries (unknown keys refused) → values (form and bounds, from the table of
//! keys) → `Config` → relations between keys. Arguments go the same way and win over the file. The
//! tables of the gateway, which come many times, are read by `gateway::reader`.
//!
//! Invariants: reads no file and no environment itself; `Outside` does. No error hides another,
//! except that text which is no TOML is not looked at further.

use crate::config::Config;
use crate::config::error::Cause;
use crate::config::error::Place;
use crate::config::error::Problem;
use crate::config::error::Problems;
use crate::config::gateway::TABLES;
use crate::config::gateway::reader;
use crate::config::keys::KEYS;
use crate::config::keys::Key;
use crate::config::keys::Source;
use crate::config::lines::Lines;
use crate::config::near;
use crate::config::relations;
use crate::config::value::Given;
use crate::config::value::Kind;
use crate::config::value::MASK;
use crate::config::value::Value;
use ::toml::de::DeTable;
use ::toml::de::DeValue;

/// What a configuration may refer to outside of itself.
pub trait Outside {
    /// The text of a file that a key names.
    ///
    /// # Errors
    /// It cannot be read, or is no text.
    fn file(&self, path: &str) -> std::io::Result<String>;
    /// The value of an environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// A value given on the command line: the key and what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The key's full name.
    pub key: &'static str,
    /// The value, as the file would have it but without quotes.
    pub value: String,
}

/// A key and what was written for it: the raw form.
struct Entry {
    key: &'static Key,
    given: Given,
    place: Place,
}

/// Makes the checked model from a file's text and the arguments, which win over it.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn load(text: &str, arguments: &[Argument], outside: &dyn Outside) -> Result<Config, Problems> {
    let lines = Lines::of(text);
    let table = parse(text, &lines)?;
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    walk(&lines, "", &table, &mut entries, &mut problems);
    for argument in arguments {
        replace(&mut entries, argument, &mut problems);
    }
    let mut config = check(&entries, outside, &mut problems);
    config.gateway = reader::read(&table, config.listen, &lines, outside, &mut problems);
    relations::check(&config, &mut problems);
    problems.sort_by_key(|problem| problem.place);
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

fn parse<'t>(text: &'t str, lines: &Lines) -> Result<DeTable<'t>, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    let problems = errors.iter().map(|error| {
        let place = error.span().map_or(Place::Default, |span| lines.place(span.start));
        let repeated = error.message() == "duplicate key";
        let key = error.span().and_then(|span| text.get(span)).filter(|_| repeated);
        let cause = match key {
            Some(_) => Cause::Repeated,
            None => Cause::Syntax { message: error.message().to_owned() },
        };
        let key = key.unwrap_or_default().to_owned();
        Problem { key, value: String::new(), place, cause }
    });
    let mut problems: Vec<_> = problems.collect();
    problems.sort_by_key(|problem| problem.place);
    Err(Problems(problems))
}

/// Collects the leaves of a table. A table that holds no known key is walked too, so that each of
/// its keys is named.
fn walk(
    lines: &Lines,
    prefix: &str,
    table: &DeTable<'_>,
    entries: &mut Vec<Entry>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let full = format!("{prefix}{}", name.get_ref());
        let place = lines.place(name.span().start);
        if TABLES.contains(&full.as_str()) {
            continue;
        }
        match (value.get_ref(), Key::find(&full)) {
            (DeValue::Table(inner), None) if !inner.is_empty() || is_section(&full) => {
                walk(lines, &format!("{full}."), inner, entries, problems);
            }
            (value, Some(key)) => entries.push(Entry { key, given: given(value), place }),
            (value, None) => problems.push(Problem {
                value: if is_telling(&full) { MASK.to_owned() } else { given(value).show() },
                place,
                cause: Cause::UnknownKey { nearest: near::key(&full), elsewhere: None },
                key: full,
            }),
        }
    }
}

/// Whether what stands at a key of this name, which there is not, may be a secret: a slip in a name
/// makes none public.
pub(crate) fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "secret", "token", "password", "auth", "jwt"].iter().any(|word| name.contains(word))
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.split().0 == name)
}

/// What was written, without its type.
pub(crate) fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.clone().into_owned()),
        DeValue::Boolean(flag) => Given::Flag(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Given::Other(number.to_string()), Given::Integer),
        DeValue::Float(number) => Given::Other(number.to_string()),
        DeValue::Datetime(moment) => Given::Other(moment.to_string()),
        DeValue::Table(_) => Given::Other("a table".to_owned()),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            let texts: Option<Vec<_>> = texts.collect();
            texts.map_or_else(|| Given::Other("a list of other things".to_owned()), Given::List)
        }
    }
}

/// An argument takes the place of what the file says for its key.
fn replace(entries: &mut Vec<Entry>, argument: &Argument, problems: &mut Vec<Problem>) {
    let Some(key) = Key::find(argument.key) else {
        let cause = Cause::UnknownKey { nearest: near::key(argument.key), elsewhere: None };
        let (key, value) = (argument.key.to_owned(), argument.value.clone());
        problems.push(Problem { key, value, place: Place::Argument, cause });
        return;
    };
    entries.retain(|entry| entry.key.name != key.name);
    let given = match argument.value.parse() {
        Ok(number) if matches!(key.kind, Kind::Number(_)) => Given::Integer(number),
        _ => Given::Text(argument.value.clone()),
    };
    entries.push(Entry { key, given, place: Place::Argument });
}

/// Entries to the model: what is wrong stays at its default and becomes a problem.
fn check(entries: &[Entry], outside: &dyn Outside, problems: &mut Vec<Problem>) -> Config {
    let mut config = Config::default();
    for (index, entry) in entries.iter().enumerate() {
        let twin = entries.iter().take(index).find(|other| is_twin(other.key, entry.key));
        let result = match twin {
            Some(other) => Err(Cause::Doubled { other: other.key.name }),
            None => value(entry, outside),
        };
        match result {
            Ok(value) => (entry.key.field)(&mut config)
                .put(value)
                .expect("the kind in the table of keys fits the field"),
            Err(cause) => problems.push(Problem {
                key: entry.key.name.to_owned(),
                value: shown(entry),
                place: entry.place,
                cause,
            }),
        }
    }
    config
}

/// Two ways to give one secret: the same key with and without `_file` or `_env`.
fn is_twin(a: &Key, b: &Key) -> bool {
    let stem = |key: &Key| key.name.trim_end_matches("_file").trim_end_matches("_env");
    a.kind == Kind::Secret && b.kind == Kind::Secret && stem(a) == stem(b)
}

fn value(entry: &Entry, outside: &dyn Outside) -> Result<Value, Cause> {
    let Entry { key, given, .. } = entry;
    let form = || Cause::Form { wanted: key.wanted() };
    match (key.source, given, key.none) {
        (Source::Text, Given::Text(text), Some((word, _))) if text == word => Ok(Value::None),
        (Source::Text, _, _) => key.kind.parse(given).map_err(|cause| match cause {
            Cause::Form { .. } => form(),
            Cause::Range { .. } => Cause::Range { wanted: key.wanted() },
            cause => cause,
        }),
        (Source::File, Given::Text(path), _) => match outside.file(path) {
            Ok(text) => secret(key, &text),
            Err(why) => Err(Cause::Unreadable { why: why.to_string() }),
        },
        (Source::Variable, Given::Text(name), _) => match outside.variable(name) {
            Some(text) => secret(key, &text),
            None => Err(Cause::Unreadable { why: "no such environment variable".into() }),
        },
        _ => Err(form()),
    }
}

/// A secret from outside: the line end that editors add is not part of it.
fn secret(key: &Key, text: &str) -> Result<Value, Cause> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    key.kind.parse(&Given::Text(text.to_owned()))
}

/// What was written, for a message. A secret given as text never shows.
fn shown(entry: &Entry) -> String {
    let hidden = entry.key.kind == Kind::Secret && entry.key.source == Source::Text;
    if hidden { MASK.to_owned() } else { entry.given.show() }
}

#[cfg(test)]
#[path = "toml_tests.rs"]
mod tests;
