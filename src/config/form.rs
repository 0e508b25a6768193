//! The forms that texts of the configuration have: names, hosts, paths, header fields, patterns.
//!
//! Invariants: a text that passes is stored as it is used (host and field names in lower case) and
//! cannot break a request line or a header: no form lets a control character pass.

use crate::config::error::Cause;
use std::net::IpAddr;

/// What a text must look like.
#[derive(Clone, Copy)]
pub struct Form {
    /// In words, for messages and the manual.
    pub wanted: &'static str,
    /// The text as it is stored; `None` if it has another form.
    pub parse: fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Form").field(&self.wanted).finish()
    }
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted
    }
}

impl Eq for Form {}

/// Longest text of a regular expression.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Most memory that a compiled regular expression takes.
pub const PATTERN_SIZE_MAX: usize = 1 << 20;

/// Most memory that a thread keeps to run one.
pub const PATTERN_CACHE_MAX: usize = 256 << 10;

/// Longest path or target.
const PATH_BYTES_MAX: usize = 1024;

/// Longest body of a fixed answer.
const BODY_BYTES_MAX: usize = 64 * 1024;

macro_rules! forms {
    ($($name:ident = $parse:expr, $wanted:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub static $name: Form = Form { wanted: $wanted, parse: $parse };)*
    };
}

forms! {
    NAME = |text| keep(text, is_name(text)),
        "a name of at most 253 letters, digits and `-_./`, starting with a letter or digit",
        "The name of a listener, backend, upstream or route.";
    HOSTNAME = |text| {
        hostname(text.strip_prefix("*.").unwrap_or(text)).map(|_| text.to_ascii_lowercase())
    },
        "a host name, as \"a.example.com\" or \"*.example.com\", not an address",
        "A host name, or all below one.";
    HOST = hostname,
        "a host name, as \"a.example.com\", not an address",
        "One host name.";
    SERVER_NAME = |text| hostname(text).or_else(|| keep(text, text.parse::<IpAddr>().is_ok())),
        "a host name or an IP address",
        "The name in a certificate.";
    AUTHORITY = |text| keep(text, (1..=253).contains(&text.len()) && text.chars().all(is_visible)),
        "a host with or without a port",
        "The value of a `Host` field.";
    PATH = |text| keep(text, is_path(text)),
        "a path of at most 1024 bytes, as \"/a/b\", percent-encoded, without `//`, `%2f`, `?`, \
         `#`, `.` and `..` segments",
        "A path.";
    PATH_OR_EMPTY = |text| keep(text, text.is_empty() || is_path(text)),
        "a path, as \"/a/b\", or \"\"",
        "What a prefix becomes.";
    TARGET = |text| {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        keep(text, is_path(path) && query.len() <= PATH_BYTES_MAX && is_query(query))
    },
        "a path with or without a query, as \"/a?b=c\"",
        "A path with its query.";
    FIELD_NAME = |text| keep(text, is_token(text)).map(|text| text.to_ascii_lowercase()),
        "the name of a header field",
        "The name of a header field, stored in lower case.";
    FIELD_VALUE = |text| keep(text, text.len() <= 4096 && is_field_value(text)),
        "a text of at most 4096 bytes without control characters, and without blanks around it",
        "The value of a header field.";
    PARAMETER = |text| keep(text, (1..=1024).contains(&text.len()) && no_control(text)),
        "a text of 1 to 1024 bytes without control characters",
        "The name or value of a query parameter.";
    METHOD = |text| {
        keep(text, text.len() <= 32 && is_token(text) && text == text.to_ascii_uppercase())
    },
        "a method in capitals, as \"GET\"",
        "A request method.";
    COOKIE = |text| keep(text, is_token(text)),
        "the name of a cookie",
        "The name of a cookie.";
    MEDIA_TYPE = |text| keep(text, text.contains('/') && is_field_value(text)),
        "a media type, as \"text/plain\"",
        "A media type.";
    CHANNEL = |text| keep(text, (1..=256).contains(&text.len()) && no_control(text)),
        "a channel's name of 1 to 256 bytes without control characters",
        "The value of `{channel}`.";
    BODY = |text| keep(text, text.len() <= BODY_BYTES_MAX),
        "a text of at most 64KiB",
        "The body of a fixed answer.";
    FILE = |text| keep(text, !text.is_empty() && no_control(text)),
        "the path of a file",
        "The path of a file, from the configuration file's folder.";
}

fn keep(text: &str, holds: bool) -> Option<String> {
    holds.then(|| text.to_owned())
}

fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

/// RFC 1123 2.1, as the Gateway API has it: labels of letters, digits and inner `-`.
fn hostname(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits makes it an address, or nothing that can be looked up.
    let digits = text.rsplit('.').next().is_some_and(|l| l.chars().all(|c| c.is_ascii_digit()));
    let holds = text.len() <= 253 && !digits && text.split('.').all(label);
    holds.then(|| text.to_ascii_lowercase())
}

/// RFC 3986 3.3, and what the Gateway API refuses, since servers differ about what it means.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= PATH_BYTES_MAX
        && !text.contains("//")
        && !text.to_ascii_lowercase().contains("%2f")
        && text.split('/').all(|segment| !matches!(segment, "." | ".."))
        && is_encoded(text, "/")
}

/// RFC 3986 3.4.
fn is_query(text: &str) -> bool {
    is_encoded(text, "/?")
}

/// Characters of a path segment, `more`, and whole percent-encodings.
pub(crate) fn is_encoded(text: &str, more: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let holds = match byte {
            b'%' => {
                let hex = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_hexdigit());
                hex(bytes.next()) && hex(bytes.next())
            }
            byte if byte.is_ascii_alphanumeric() => true,
            byte => b"-._~!$&'()*+,;=:@".contains(&byte) || more.as_bytes().contains(&byte),
        };
        if !holds {
            return false;
        }
    }
    true
}

/// RFC 9110 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// RFC 9110 5.5.
fn is_field_value(text: &str) -> bool {
    no_control(&text.replace('\t', " ")) && text.trim_matches([' ', '\t']) == text
}

fn no_control(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic() && !"/?#@\\\"<>{}".contains(c)
}

/// Compiles a regular expression that must match the whole of a text, in bounded memory.
///
/// # Errors
/// It is too long, too large, or no regular expression.
pub(crate) fn pattern(text: &str) -> Result<regex::Regex, Cause> {
    let refuse = |why: String| Cause::Pattern { why };
    if text.len() > PATTERN_BYTES_MAX {
        return Err(refuse(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let compile = |text: &str| {
        let built = regex::RegexBuilder::new(text).size_limit(PATTERN_SIZE_MAX).build();
        built.map_err(|error| {
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default();
            refuse(last.trim_start_matches("error: ").to_owned())
        })
    };
    // By itself first: `a)|(?:b` is whole only between our own parentheses.
    compile(text)?;
    compile(&format!(r"\A(?:{text})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: &Form, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!((form.parse)(text).is_some(), "{text:?} is {}", form.wanted);
        }
        for text in bad {
            assert!((form.parse)(text).is_none(), "{text:?} is not {}", form.wanted);
        }
    }

    #[test]
    fn hosts_are_names_in_lower_case() {
        check(
            &HOSTNAME,
            &["localhost", "a-b.example.com", "*.example.com", "1.example"],
            &["", "*", "*.", "a*.b", "*.*.b", "-a.b", "a-.b", "a..b", "a.b.", "10.0.0.1", "[::1]"],
        );
        check(&HOSTNAME, &[], &["a b", "a_b", "a:80", "ä.example", &"a".repeat(64)]);
        assert_eq!((HOSTNAME.parse)("*.EXAMPLE.com").unwrap(), "*.example.com");
        check(&HOST, &["a.example"], &["*.a.example", "127.0.0.1"]);
        check(&SERVER_NAME, &["a.example", "10.0.0.1", "::1"], &["*.a", "[::1]", "10.0.0"]);
    }

    #[test]
    fn paths_mean_one_thing_only() {
        check(
            &PATH,
            &["/", "/a/b/", "/a%20b", "/.well-known", "/a..b", "/~a;b=c,d:e@f!$&'()*+", "/..."],
            &["", "a", "//", "/a//b", "/./a", "/a/../b", "/a/.", "/a/..", "/a%2Fb", "/a%2fb"],
        );
        check(&PATH, &[], &["/a#b", "/a?b", "/a b", "/ä", "/a%2", "/a%zz", "/{a}", "/a\\b"]);
        check(&PATH, &[], &["/a\n", &format!("/{}", "a".repeat(1024))]);
        check(&TARGET, &["/a?b=c&d=/e?f", "/a"], &["/a?b#c", "?a", "/a?b c", "/a?\"b\""]);
        check(&PATH_OR_EMPTY, &["", "/a/"], &["a"]);
    }

    #[test]
    fn header_fields_cannot_break_out() {
        check(&FIELD_NAME, &["X-A", "a_b"], &["", "a b", "a:b", "ä", "a\r\nb"]);
        check(&FIELD_VALUE, &["", "a b\tc", "ä"], &["a\r\nb", "a\0", " a", "a ", "\ta"]);
        check(&METHOD, &["GET", "M-SEARCH"], &["get", "", "G T"]);
        check(&MEDIA_TYPE, &["text/plain; charset=utf-8"], &["text", "a/b\r\nx: y"]);
        assert_eq!((FIELD_NAME.parse)("X-Tenant").unwrap(), "x-tenant");
    }

    #[test]
    fn names_are_plain_words() {
        check(&NAME, &["a", "route-1", "ns/name", "1.b_c"], &["", "-a", "a b", "http://a", "é"]);
        check(&CHANNEL, &["ä b/c?d"], &["", "a\n"]);
    }

    #[test]
    fn patterns_match_the_whole_text_within_bounds() {
        let whole = pattern("a|ab").unwrap();
        assert!(whole.is_match("ab") && whole.is_match("a") && !whole.is_match("abc"));
        assert!(!pattern("a$").unwrap().is_match("a\n"));
        for bad in ["(", "a)|(?:b", r"(?=a)", "[z-a]", "(?:a{1000}){1000}"] {
            assert!(matches!(pattern(bad), Err(Cause::Pattern { .. })), "{bad}");
        }
        assert!(pattern(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(pattern("(").unwrap_err().to_string().contains("unclosed group"));
    }
}
