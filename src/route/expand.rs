//! The target of an upstream: its template, filled with values of a request.
//!
//! ```text
//!  /rooms/{path.room}/live?user={query.user}
//!         └ as it came       └ decoded, then encoded byte by byte
//! ```
//!
//! Invariants: a value never leaves its place. It adds no `?`, `#` or `&`, and in the path no
//! segment that is `.` or `..`, also not for a server that decodes `%2F` and `%5C` before it
//! resolves dots; it holds no NUL, CR or LF, plain or encoded. So a client chooses among the
//! upstream's channels, and nothing besides.

use super::matched::Matched;
use super::matched::group_of;
use crate::config::gateway::Part;
use crate::config::gateway::Variable;
use crate::http::h1::Head;
use crate::http::query;
use std::borrow::Cow;
use std::fmt::Write as _;
use thiserror::Error;

/// Bytes of an expanded target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The request cannot be turned into an upstream's target: answer 400.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// The template wants a channel and there is none.
    #[error("the request names no channel: add `channel=NAME` to its query")]
    NoChannel,
    /// A value holds a control byte.
    #[error("the value of {{{0}}} holds a NUL, CR or LF: send it without")]
    Control(String),
    /// The path would lead elsewhere.
    #[error("the values make a path with `.` or `..` as a segment: send others")]
    Dots,
    /// The target is too long.
    #[error("the values make a target of more than {TARGET_BYTES_MAX} bytes: send shorter ones")]
    TooLong,
}

/// Path and query of an upstream, for a request and, where the template has one, a channel (its
/// name in plain text).
///
/// # Errors
/// The request has no such target.
pub fn expand(
    parts: &[Part],
    matched: &Matched<'_>,
    head: &Head,
    channel: Option<&str>,
) -> Result<String, ExpandError> {
    let uses_captures = |p: &Part| matches!(p, Part::Variable(Variable::Capture(_)));
    let captures =
        if parts.iter().any(uses_captures) { matched.captures(head.path()) } else { None };
    let mut target = String::new();
    let mut in_query = false;
    for part in parts {
        match part {
            Part::Text(text) => {
                in_query |= text.contains('?');
                target.push_str(text);
            }
            Part::Variable(variable) => {
                let value = match variable {
                    Variable::Channel => {
                        Value::Plain(plain(channel.ok_or(ExpandError::NoChannel)?))
                    }
                    Variable::Rest => Value::Path(matched.rest(head.path())),
                    Variable::Capture(group) => {
                        let found = captures.as_ref().and_then(|c| group_of(c, group));
                        Value::Path(found.unwrap_or_default())
                    }
                    Variable::Query(name) => {
                        let found = head.query().and_then(|all| query::first(all, name));
                        Value::Plain(found.unwrap_or_default())
                    }
                    Variable::Header(name) => {
                        Value::Plain(Cow::Borrowed(head.first(name).unwrap_or_default()))
                    }
                };
                value.push(in_query, &mut target).ok_or_else(|| control(variable))?;
            }
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(ExpandError::TooLong);
        }
    }
    finish(target)
}

/// A value of the request.
enum Value<'v> {
    /// A piece of its path: encoded already.
    Path(&'v str),
    /// Bytes.
    Plain(Cow<'v, [u8]>),
}

impl Value<'_> {
    /// Appends the value; `None` if it holds what no target may.
    fn push(&self, in_query: bool, target: &mut String) -> Option<()> {
        let plain = match self {
            Self::Path(raw) => query::decode_path(raw),
            Self::Plain(plain) => Cow::Borrowed(&**plain),
        };
        if plain.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return None;
        }
        match self {
            // In a query, the `&` and `=` of a path would begin a parameter.
            Self::Path(raw) if !in_query => target.push_str(raw),
            _ => encode(&plain, target),
        }
        Some(())
    }
}

fn plain(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

fn control(variable: &Variable) -> ExpandError {
    ExpandError::Control(match variable {
        Variable::Channel => "channel".to_owned(),
        Variable::Rest => "rest".to_owned(),
        Variable::Capture(group) => format!("path.{group}"),
        Variable::Query(name) => format!("query.{name}"),
        Variable::Header(name) => format!("header.{name}"),
    })
}

/// Appends bytes with all but the unreserved (RFC 3986 section 2.3) percent-encoded.
fn encode(bytes: &[u8], target: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            target.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

fn finish(mut target: String) -> Result<String, ExpandError> {
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    let path = target.split_once('?').map_or(target.as_str(), |(path, _)| path);
    let decoded = query::decode_path(path);
    let mut segments = decoded.split(|b| matches!(b, b'/' | b'\\'));
    // Some servers take what follows a `;` for parameters: to them `..;x` is `..`.
    let bare = |segment: &[u8]| matches!(segment.split(|b| *b == b';').next(), Some(b"." | b".."));
    if segments.any(bare) {
        return Err(ExpandError::Dots);
    }
    if target.len() > TARGET_BYTES_MAX { Err(ExpandError::TooLong) } else { Ok(target) }
}
