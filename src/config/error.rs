//! What is wrong with a configuration: every problem with its key, value, bound and remedy.
//!
//! Invariants: no secret's text appears in a problem; problems come in the order of the lines.

use crate::base::shown::push;
use crate::config::gateway::manual;
use crate::config::keys;
use std::fmt;
use thiserror::Error;

/// Characters of a key or a value that a message shows.
const SHOWN_CHARS_MAX: usize = 256;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The full name of the key, as `hub.heartbeat`; empty for a mistake of syntax.
    pub key: String,
    /// The value as it was written; empty where there is none. Secrets are `***`.
    pub value: String,
    /// Where it was written.
    pub place: Place,
    /// What is wrong with it.
    pub cause: Cause,
}

/// Where a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On this line of the file, from 1.
    Line(usize),
    /// On the command line.
    Argument,
    /// Nowhere: it is the default, or follows from several keys.
    Default,
}

/// What is wrong with a value, with the bound it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Cause {
    /// The text is no TOML.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key is given twice in one table.
    #[error("is given twice")]
    Repeated,
    /// No key has this name.
    #[error("no such key")]
    UnknownKey {
        /// The known key whose name is nearest, if one is near.
        nearest: Option<&'static str>,
        /// Else the one of other tables, and which these are.
        elsewhere: Option<(&'static str, String)>,
    },
    /// The value has another type or form than the key wants.
    #[error("must be {wanted}")]
    Form {
        /// What the key takes.
        wanted: String,
    },
    /// The value is outside its bounds.
    #[error("must be {wanted}")]
    Range {
        /// The bounds.
        wanted: String,
    },
    /// Two keys give the same thing.
    #[error("is given twice, also by {other}")]
    Doubled {
        /// The other key.
        other: &'static str,
    },
    /// A file or variable that the key names cannot be read.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// Why not.
        why: String,
    },
    /// A key that must be there is not.
    #[error("is missing: it must be {wanted}")]
    Missing {
        /// What the key takes.
        wanted: String,
    },
    /// No such thing is defined.
    #[error("no {kind} has this name; there is {known}")]
    Unresolved {
        /// What it should be the name of: `backend`.
        kind: &'static str,
        /// The names that there are, in words.
        known: String,
        /// The nearest of them, if one is near.
        nearest: Option<String>,
    },
    /// The text is no regular expression, or too large a one.
    #[error("is no usable regular expression: {why}")]
    Pattern {
        /// What the compiler says.
        why: String,
    },
    /// A secret is too short to resist guessing (RFC 7518 3.2).
    #[error("has {bytes} bytes; an HS256 key must have at least {least}")]
    WeakKey {
        /// Its length.
        bytes: usize,
        /// The least length.
        least: usize,
    },
    /// Relations between keys do not hold.
    #[error("{bound}")]
    Relation {
        /// The relation, in words.
        bound: String,
        /// What to do.
        remedy: String,
    },
}

impl Problem {
    /// What the operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let key = &self.key;
        match &self.cause {
            Cause::Syntax { .. } => {
                "correct the line (a text has quotes, as listen = \"127.0.0.1:8080\"); \
                 docs/OPERATIONS.md has examples"
                    .into()
            }
            Cause::Repeated => "keep one of them".into(),
            Cause::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            Cause::UnknownKey { elsewhere: Some((name, tables)), .. } => {
                format!("{name} is a key of {tables}")
            }
            Cause::UnknownKey { .. } => "remove it; `tidegate check --keys` lists all keys".into(),
            Cause::Form { wanted } => self.in_place(example(key, wanted)),
            Cause::Range { .. } => self.in_place("give such a value".to_owned()),
            Cause::Doubled { other } => format!("keep either {key} or {other}"),
            Cause::Unreadable { .. } => {
                "see that it exists, that it may be read, and that it holds what the key says"
                    .into()
            }
            Cause::Missing { .. } => format!("add {}", key.rsplit('.').next().unwrap_or(key)),
            Cause::Unresolved { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            Cause::Unresolved { kind, .. } => format!("define it as a [[{kind}]], or take another"),
            Cause::Pattern { .. } => {
                "correct it (syntax: https://docs.rs/regex; there is no look-around)".into()
            }
            Cause::WeakKey { .. } => {
                "use a random key, as `head -c 32 /dev/urandom | base64` makes it".into()
            }
            Cause::Relation { remedy, .. } => remedy.clone(),
        }
    }
}

impl Problem {
    /// What to do with a value that is none of those wanted: that, or what is left without it.
    fn in_place(&self, write: String) -> String {
        match keys::default(&self.key).or_else(|| manual::default(&self.key)) {
            Some(default) => format!("{write}, or remove it for {default}"),
            None if manual::is_required(&self.key) => write,
            None => format!("{write}, or remove it"),
        }
    }
}

/// How a value of this form is written.
fn example(key: &str, wanted: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or_default();
    if wanted.starts_with("a duration") {
        "write it as \"250ms\", \"15s\", \"5m\" or \"1h\"".to_owned()
    } else if wanted.starts_with("a size") {
        "write it as \"64KiB\", \"16MiB\" or \"1GiB\"".to_owned()
    } else if wanted.starts_with("a table") && !last.ends_with(']') {
        format!("write {last} = {{ .. }} (`tidegate check --keys` lists its keys)")
    } else {
        "give such a value".to_owned()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Line(line) => write!(f, "line {line}: ")?,
            Place::Argument => f.write_str("argument: ")?,
            Place::Default => {}
        }
        if !self.key.is_empty() {
            f.write_str(&shown(&self.key))?;
            if !self.value.is_empty() {
                write!(f, " = {}", shown(&self.value))?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.cause)?;
        write!(f, "\n    remedy: {}", self.remedy())
    }
}

/// What was written, for a terminal: no more of it than helps.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            shown.push('…');
            break;
        }
        push(c, &mut shown);
    }
    shown
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "the configuration has {count} {noun}")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Something that works but is likely not wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key it is about.
    pub key: &'static str,
    /// What is the matter.
    pub matter: String,
    /// What the operator can do about it.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.matter, self.remedy)
    }
}
