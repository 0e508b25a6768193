//! Extra headers of a request, as the command line gives them.
//!
//! Invariants: a `Header` cannot break the request: its name is a token, its value holds no
//! control character, and it is none of those that the client must set itself.

const OWN: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "expect",
    "upgrade",
];

/// Why a text is no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// No colon.
    #[error("write it as 'Name: value'")]
    Colon,
    /// A bad name.
    #[error("`{0}` is no header name: use letters, digits and hyphens")]
    Name(String),
    /// A bad value.
    #[error("the value of `{0}` holds a control character")]
    Value(String),
    /// One that the client sets.
    #[error("`{0}` is set by the client itself")]
    Own(String),
}

/// A name and a value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl std::fmt::Debug for Header {
    /// The name only: a value may be a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

impl std::str::FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::Colon)?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(HeaderError::Name(name.to_owned()));
        }
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(HeaderError::Own(name.to_owned()));
        }
        let value = value.trim_matches([' ', '\t']);
        if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(HeaderError::Value(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// The user's headers, and those of the client whose name the user does not give.
pub(crate) fn merged<'a>(
    own: &[(&'a str, &'a str)],
    given: &'a [Header],
) -> Vec<(&'a str, &'a str)> {
    let is_given = |name: &str| given.iter().any(|h| h.name.eq_ignore_ascii_case(name));
    let mut all: Vec<_> = own.iter().copied().filter(|(name, _)| !is_given(name)).collect();
    all.extend(given.iter().map(|h| (h.name.as_str(), h.value.as_str())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_and_refuses_what_breaks_a_request() {
        let header: Header = "X-A:  b: c ".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_str()), ("X-A", "b: c"));
        assert_eq!(format!("{header:?}"), "X-A: ***");
        let error = |text: &str| text.parse::<Header>().unwrap_err();
        assert_eq!(error("x"), HeaderError::Colon);
        assert_eq!(error("a b: c"), HeaderError::Name("a b".into()));
        assert_eq!(error(": c"), HeaderError::Name(String::new()));
        assert_eq!(error("a: b\r\nc: d"), HeaderError::Value("a".into()));
        assert_eq!(error("HOST: b"), HeaderError::Own("HOST".into()));
    }

    #[test]
    fn the_users_header_replaces_ours() {
        let given = ["accept: x".parse().unwrap()];
        let all = merged(&[("Accept", "text/event-stream"), ("Cache-Control", "no-cache")], &given);
        assert_eq!(all, [("Cache-Control", "no-cache"), ("accept", "x")]);
    }
}
