//! One value of the configuration: what was written, what a key takes, what it became, how it is
//! printed.
//!
//! Invariants: what `Value::show` prints, `Kind::parse` of the same key reads back as the same
//! value; only a secret is masked.

use crate::base::redact::Secret;
use crate::config::error::Cause;
use crate::config::form::Form;
use crate::config::units;
use std::net::SocketAddr;
use std::time::Duration;

/// What a secret looks like in print; as a value it is refused.
pub const MASK: &str = "***";

/// Least length of an HS256 key in bytes (RFC 7518 3.2: as long as the hash).
pub const SECRET_BYTES_MIN: usize = 32;

/// Greatest length of a key in bytes: a guard against naming the wrong file.
const SECRET_BYTES_MAX: usize = 4096;

/// What was written, before its key is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A list of strings.
    List(Vec<String>),
    /// Anything else, as it reads.
    Other(String),
}

impl Given {
    /// The value as TOML.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => quote(text),
            Self::Flag(flag) => flag.to_string(),
            Self::List(list) => show_list(list),
            Self::Other(text) => text.clone(),
        }
    }
}

/// A value that its key has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: switched off, or found out by the server itself.
    None,
    /// A listening address.
    Address(SocketAddr),
    /// A count.
    Number(u64),
    /// A number of bytes.
    Size(u64),
    /// A duration.
    Span(Duration),
    /// CPUs.
    Cpus(Vec<usize>),
    /// A word, also one of several.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// Words.
    List(Vec<String>),
    /// A key.
    Secret(Secret),
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IP address with a port.
    Address,
    /// A count from `min` to `max`; `zero` says what 0 means where it is allowed below `min`.
    Number(Bounds),
    /// Bytes.
    Size(Bounds),
    /// A duration; bounds in milliseconds.
    Span(Bounds),
    /// A list of CPUs.
    Cpus,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// The type of an event, or empty.
    EventType,
    /// A list of web origins, or `*`.
    Origins,
    /// A text of some form.
    Text(&'static Form),
    /// An HS256 key.
    Secret,
}

/// The least and the greatest value, and what zero means where it is allowed besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// What 0 means, where 0 is allowed though it is below `min`.
    pub zero: Option<&'static str>,
}

impl Bounds {
    fn holds(self, amount: u64) -> bool {
        (self.min..=self.max).contains(&amount) || (amount == 0 && self.zero.is_some())
    }
}

impl Kind {
    /// What the key takes, in words: form and bounds.
    #[must_use]
    pub fn wanted(self) -> String {
        let (bounds, show): (Bounds, fn(u64) -> String) = match self {
            Self::Number(bounds) => (bounds, |n| n.to_string()),
            Self::Size(bounds) => (bounds, units::show_size),
            Self::Span(bounds) => (bounds, |ms| units::show_span(Duration::from_millis(ms))),
            Self::Address => return "an IP address with a port, as \"127.0.0.1:8080\"".into(),
            Self::Cpus => return "a list of different CPUs, as \"0-3,8\"".into(),
            Self::Choice(words) => {
                return format!("one of \"{}\"", words.join("\", \""));
            }
            Self::Flag => return "true or false".into(),
            Self::EventType => {
                return "an event type of at most 256 bytes without control characters, not \
                        \"mercure\", or \"\""
                    .into();
            }
            Self::Origins => {
                return "a list of origins, as [\"https://app.example\"], or [\"*\"]".into();
            }
            Self::Text(form) => return form.wanted.into(),
            Self::Secret => {
                return format!("a key of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes");
            }
        };
        let noun = match self {
            Self::Size(_) => "a size from ",
            Self::Span(_) => "a duration from ",
            _ => "a number from ",
        };
        let zero =
            bounds.zero.map_or_else(String::new, |what| format!(", or {} ({what})", show(0)));
        format!("{noun}{} to {}{zero}", show(bounds.min), show(bounds.max))
    }

    /// Checks a value against the key's form and bounds.
    ///
    /// # Errors
    /// The form or the range is wrong; the caller adds key and place.
    pub fn parse(self, given: &Given) -> Result<Value, Cause> {
        let form = || Cause::Form { wanted: self.wanted() };
        let within = |bounds: Bounds, amount: u64, value: Value| {
            let wanted = || self.wanted();
            if bounds.holds(amount) { Ok(value) } else { Err(Cause::Range { wanted: wanted() }) }
        };
        match (self, given) {
            (Self::Address, Given::Text(text)) => {
                text.parse().map(Value::Address).map_err(|_| form())
            }
            (Self::Number(bounds), Given::Integer(number)) => {
                let number = u64::try_from(*number);
                let number = number.map_err(|_| Cause::Range { wanted: self.wanted() })?;
                within(bounds, number, Value::Number(number))
            }
            (Self::Size(bounds), Given::Integer(number)) => {
                let bytes = u64::try_from(*number);
                let bytes = bytes.map_err(|_| Cause::Range { wanted: self.wanted() })?;
                within(bounds, bytes, Value::Size(bytes))
            }
            (Self::Size(bounds), Given::Text(text)) => {
                let bytes = units::parse_size(text).ok_or_else(form)?;
                within(bounds, bytes, Value::Size(bytes))
            }
            (Self::Span(bounds), Given::Text(text)) => {
                let span = units::parse_span(text).ok_or_else(form)?;
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                within(bounds, millis, Value::Span(span))
            }
            (Self::Cpus, Given::Text(text)) => parse_cpus(text).ok_or_else(form),
            (Self::Choice(words), Given::Text(text)) if words.contains(&text.as_str()) => {
                Ok(Value::Text(text.clone()))
            }
            (Self::Flag, Given::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Self::EventType, Given::Text(text)) if is_event_type(text) => {
                Ok(Value::Text(text.clone()))
            }
            (Self::Origins, Given::List(list)) if list.iter().all(|o| is_origin(o)) => {
                Ok(Value::List(list.clone()))
            }
            (Self::Text(wanted), Given::Text(text)) => {
                (wanted.parse)(text).map(Value::Text).ok_or_else(form)
            }
            (Self::Secret, Given::Text(text)) => parse_secret(text, form),
            _ => Err(form()),
        }
    }
}

fn parse_cpus(text: &str) -> Option<Value> {
    let cpus = units::parse_cpus(text)?;
    let mut sorted = cpus.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == cpus.len()).then_some(Value::Cpus(cpus))
}

fn parse_secret(text: &str, form: impl Fn() -> Cause) -> Result<Value, Cause> {
    if text == MASK {
        let bound = format!("{MASK} is the mask that `check` prints in place of a key");
        return Err(Cause::Relation { bound, remedy: "give the key itself, or its file".into() });
    }
    match text.len() {
        0..SECRET_BYTES_MIN => Err(Cause::WeakKey { bytes: text.len(), least: SECRET_BYTES_MIN }),
        SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Value::Secret(Secret::new(text.to_owned()))),
        _ => Err(form()),
    }
}

/// An event type goes into one `event:` line; `mercure` belongs to the protocol.
fn is_event_type(text: &str) -> bool {
    text.len() <= 256 && text != "mercure" && !text.chars().any(char::is_control)
}

/// Scheme, host and port as a browser sends them: no path, no trailing slash (RFC 6454 6.2).
fn is_origin(text: &str) -> bool {
    if matches!(text, "*" | "null") {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let host_fits = host.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\\"<>".contains(c));
    scheme_fits && host_fits && !host.is_empty()
}

impl Value {
    /// The value as TOML; a secret is masked.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Address(address) => format!("\"{address}\""),
            Self::Number(number) => number.to_string(),
            Self::Size(bytes) => match units::show_size(*bytes) {
                plain if plain.parse::<u64>().is_ok() => plain,
                text => format!("\"{text}\""),
            },
            Self::Span(span) => format!("\"{}\"", units::show_span(*span)),
            Self::Cpus(cpus) => format!("\"{}\"", units::show_cpus(cpus)),
            Self::Text(text) => quote(text),
            Self::Flag(flag) => flag.to_string(),
            Self::List(list) => show_list(list),
            Self::Secret(_) => quote(MASK),
        }
    }
}

/// A TOML string.
pub(crate) fn quote(text: &str) -> String {
    ::toml::Value::String(text.to_owned()).to_string()
}

fn show_list(list: &[String]) -> String {
    let quoted: Vec<_> = list.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, text: &str) -> Result<Value, Cause> {
        kind.parse(&Given::Text(text.into()))
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        for good in ["*", "null", "https://app.example", "http://[::1]:3000", "app+x://local"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "app.example", "https://", "https://a/", "https://a b", "HTTPS://a"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn event_types_cannot_forge_fields() {
        assert!(text(Kind::EventType, "").is_ok());
        assert!(text(Kind::EventType, "gap").is_ok());
        for bad in ["a\nb", "a\rb", "a\0b", "mercure"] {
            assert!(text(Kind::EventType, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_reference_development_key_is_usable_and_a_short_key_is_not() {
        assert!(text(Kind::Secret, "!ChangeThisMercureHubJWTSecretKey!").is_ok());
        let short = text(Kind::Secret, "secret");
        assert_eq!(short, Err(Cause::WeakKey { bytes: 6, least: 32 }));
        assert!(text(Kind::Secret, &"k".repeat(4097)).is_err());
        assert!(matches!(text(Kind::Secret, "***"), Err(Cause::Relation { .. })));
    }

    #[test]
    fn a_cpu_is_named_once() {
        assert_eq!(text(Kind::Cpus, "0-1,8"), Ok(Value::Cpus(vec![0, 1, 8])));
        assert!(text(Kind::Cpus, "0-3,2").is_err());
    }

    #[test]
    fn zero_is_allowed_where_it_means_something() {
        let bounds = Bounds { min: 10, max: 1000, zero: Some("off") };
        assert!(text(Kind::Span(bounds), "0s").is_ok());
        assert!(text(Kind::Span(bounds), "9ms").is_err());
        assert!(text(Kind::Span(Bounds { zero: None, ..bounds }), "0s").is_err());
        assert_eq!(Kind::Span(bounds).wanted(), "a duration from 10ms to 1s, or 0s (off)");
    }
}
