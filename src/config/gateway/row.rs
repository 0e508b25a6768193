//! A key of a table of the gateway: name, what it takes, meaning, and how it is read and printed.
//!
//! Each table of the text has one [`Shape`]: its rows make the reader, the printed configuration
//! and the operator's manual, as `config::keys` does for the keys that are given once.
//!
//! Invariants: what a row prints, it reads back as the same value.

use crate::config::field::Field;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::show::Printer;
use crate::config::value::Kind;
use crate::config::value::Value;
use crate::config::value::quote;

/// Reads what was written into the draft.
pub(crate) type Read<T> = fn(&mut T, &Node<'_>, &mut Reader<'_>);

/// Prints what the draft holds, as TOML on one line; `None`: nothing, the key is left out.
pub(crate) type Show<T> = fn(&T, &Printer<'_>) -> Option<String>;

/// A key of a table that is read into a `T`.
pub(crate) struct Row<T: 'static> {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Whether a table without it is wrong.
    pub(crate) required: bool,
    /// What holds without it, where that is not what the blank draft prints.
    pub(crate) default: Option<&'static str>,
    /// What it takes.
    pub(crate) takes: Takes<T>,
    /// What it is for, as one or two sentences.
    pub(crate) doc: &'static str,
}

/// What a key takes.
pub(crate) enum Takes<T: 'static> {
    /// One value.
    Value {
        /// Its form and bounds.
        kind: Kind,
        /// The word for "no value" and what that means, where it is allowed.
        none: Option<(&'static str, &'static str)>,
        /// Its field.
        field: fn(&mut T) -> &mut dyn Field,
    },
    /// Something made of parts.
    Parts {
        /// In words.
        wanted: &'static str,
        /// In.
        read: Read<T>,
        /// Out.
        show: Show<T>,
    },
}

/// A table of the text.
pub(crate) struct Shape<T: 'static> {
    /// Its title in the manual.
    pub(crate) title: &'static str,
    /// The last parts of the key paths where it stands, as `health`.
    pub(crate) nouns: &'static [&'static str],
    /// What holds where the text says nothing.
    pub(crate) blank: fn() -> T,
    /// Its keys.
    pub(crate) rows: &'static [Row<T>],
}

/// A key with one value.
pub(crate) const fn value<T>(
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    field: fn(&mut T) -> &mut dyn Field,
) -> Row<T> {
    let takes = Takes::Value { kind, none: None, field };
    Row { name, required: false, default: None, takes, doc }
}

/// A key whose value may be switched off by a word.
pub(crate) const fn value_or<T>(
    name: &'static str,
    kind: Kind,
    none: (&'static str, &'static str),
    doc: &'static str,
    field: fn(&mut T) -> &mut dyn Field,
) -> Row<T> {
    let takes = Takes::Value { kind, none: Some(none), field };
    Row { name, required: false, default: None, takes, doc }
}

/// A key made of parts.
pub(crate) const fn parts<T>(
    name: &'static str,
    wanted: &'static str,
    doc: &'static str,
    read: Read<T>,
    show: Show<T>,
) -> Row<T> {
    let takes = Takes::Parts { wanted, read, show };
    Row { name, required: false, default: None, takes, doc }
}

impl<T> Row<T> {
    /// A table without this key is wrong.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What holds without it, in TOML.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// What it takes, in words.
    pub(crate) fn wanted(&self) -> String {
        match &self.takes {
            Takes::Value { kind, none: Some((word, what)), .. } => {
                format!("{}, or \"{word}\" ({what})", kind.wanted())
            }
            Takes::Value { kind, none: None, .. } => kind.wanted(),
            Takes::Parts { wanted, .. } => (*wanted).to_owned(),
        }
    }

    /// Reads what was written.
    pub(crate) fn read(&self, draft: &mut T, node: &Node<'_>, reader: &mut Reader<'_>) {
        match &self.takes {
            Takes::Value { kind, none, field } => {
                let none = none.map(|(word, _)| word);
                let Some(value) = reader.value(node, *kind, none, || self.wanted()) else { return };
                field(draft).put(value).expect("the kind in the row fits the field");
            }
            Takes::Parts { read, .. } => read(draft, node, reader),
        }
    }

    /// Prints what the draft holds.
    pub(crate) fn show(&self, draft: &mut T, printer: &Printer<'_>) -> Option<String> {
        match &self.takes {
            Takes::Value { kind, none, field } => match (field(draft).value(), kind, none) {
                (Value::None, _, none) => none.map(|(word, _)| quote(word)),
                (Value::Number(bytes), Kind::Size(_), _) => Some(Value::Size(bytes).show()),
                (value, _, _) => Some(value.show()),
            },
            Takes::Parts { show, .. } => show(draft, printer),
        }
    }
}

impl<T> Shape<T> {
    /// The row of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&'static Row<T>> {
        self.rows.iter().find(|row| row.name == name)
    }
}
