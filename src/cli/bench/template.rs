//! Text with placeholders: `{name}` is replaced, everything else stays as it is.
//!
//! Invariants: an unknown placeholder is an error when the template is parsed, not when it is
//! used, so a typing error cannot turn into a million requests for `{topc}`. A brace that opens no
//! name (`{"a":1}`) is plain text, so JSON bodies need no escapes.

/// Why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{name}}}` in `{template}` is not known here; known are {known}")]
pub struct UnknownPlaceholder {
    name: String,
    template: String,
    known: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(String),
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Parses a template that may use the placeholders `known`.
    ///
    /// # Errors
    /// It uses another one.
    pub fn parse(template: &str, known: &[&str]) -> Result<Self, UnknownPlaceholder> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let name: String =
                after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let behind = after.get(name.len()..).unwrap_or_default();
            if name.is_empty() || !behind.starts_with('}') {
                text.push('{');
                rest = after;
                continue;
            }
            if !known.contains(&name.as_str()) {
                let known = known.iter().map(|n| format!("{{{n}}}")).collect::<Vec<_>>().join(", ");
                return Err(UnknownPlaceholder { name, template: template.to_owned(), known });
            }
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Hole(name));
            rest = behind.get(1..).unwrap_or_default();
        }
        text.push_str(rest);
        pieces.push(Piece::Text(text));
        Ok(Self(pieces))
    }

    /// Whether it uses a placeholder.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Hole(hole) if hole == name))
    }

    /// Appends the text, with `fill` writing each placeholder's value.
    pub fn fill(&self, out: &mut Vec<u8>, mut fill: impl FnMut(&str, &mut Vec<u8>)) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Hole(name) => fill(name, out),
            }
        }
    }

    /// The text, with the value of each placeholder taken from `values`.
    #[must_use]
    pub fn with(&self, values: &[(&str, &str)]) -> String {
        let mut out = Vec::new();
        self.fill(&mut out, |name, out| {
            let value = values.iter().find(|(known, _)| *known == name);
            out.extend_from_slice(value.map_or("", |(_, value)| value).as_bytes());
        });
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// An `http://` URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port, for the `Host` field.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

/// Why a URL cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an http:// URL; write http://HOST[:PORT]/PATH (TLS is not measured)")]
pub struct NotAnUrl(String);

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// It is no `http://` URL with a host.
    pub fn parse(url: &str) -> Result<Self, NotAnUrl> {
        let rest = url.strip_prefix("http://").ok_or_else(|| NotAnUrl(url.to_owned()))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(NotAnUrl(url.to_owned()));
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { authority: authority.to_owned(), target: format!("{slash}{target}") })
    }

    /// Host and port, with port 80 where none is named.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let bare = self.authority.rsplit_once(']').map_or(self.authority.as_str(), |(_, b)| b);
        if bare.contains(':') { self.authority.clone() } else { format!("{}:80", self.authority) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_what_it_knows_and_leaves_the_rest() {
        let template = Template::parse("topic={topic}&data={data}", &["topic", "data"]).unwrap();
        assert_eq!(template.with(&[("topic", "/a"), ("data", "1")]), "topic=/a&data=1");
        assert!(template.uses("data") && !template.uses("id"));
        let json = Template::parse(r#"{"d":"{data}","x":{}}"#, &["data"]).unwrap();
        assert_eq!(json.with(&[("data", "1")]), r#"{"d":"1","x":{}}"#);
        assert_eq!(Template::parse("{{n}}", &["n"]).unwrap().with(&[("n", "5")]), "{5}");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let error = Template::parse("/{topc}", &["topic", "n"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`{topc}` in `/{topc}` is not known here; known are {topic}, {n}"
        );
    }

    #[test]
    fn takes_urls_apart() {
        let url = Url::parse("http://localhost:8080/sub?topic=a").unwrap();
        assert_eq!(
            (url.authority.as_str(), url.target.as_str()),
            ("localhost:8080", "/sub?topic=a")
        );
        assert_eq!(Url::parse("http://h").unwrap().target, "/");
        assert_eq!(Url::parse("http://h?x").unwrap().target, "/?x");
        assert_eq!(Url::parse("http://[::1]/").unwrap().host_and_port(), "[::1]:80");
        assert_eq!(url.host_and_port(), "localhost:8080");
        assert!(Url::parse("https://h/").is_err() && Url::parse("http:///x").is_err());
    }
}
