//! The claims of a 0.x token, and the grants that they make.
//!
//! Invariants: the claim `https://mercure.rocks/` replaces `mercure` whole when it is there; an
//! absent or null list grants nothing; a selector is `*` or a plain string compared byte by byte.
//! URI templates are plain strings here, as the dialect says of templates that do not compile;
//! `Grant::covers` is the one place that changes when they come.

use super::SELECTORS_MAX;
use super::TokenError;

/// Topics that a token covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    any: bool,
    exact: Box<[String]>,
}

impl Grant {
    /// Covers every topic.
    #[must_use]
    pub fn all() -> Self {
        Self { any: true, exact: Box::default() }
    }

    /// Covers the listed selectors; `*` covers every topic.
    #[must_use]
    pub fn new(selectors: Vec<String>) -> Self {
        if selectors.iter().any(|s| s == "*") {
            return Self::all();
        }
        Self { any: false, exact: selectors.into_boxed_slice() }
    }

    /// Whether it covers this topic.
    #[must_use]
    pub fn covers(&self, topic: &str) -> bool {
        self.any || self.exact.iter().any(|selector| selector == topic)
    }

    /// Whether it covers every topic.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.any
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.exact.is_empty()
    }

    /// The topics it lists; empty if it covers all.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(String::as_str)
    }
}

/// The registered and the Mercure claims; others are ignored.
#[derive(serde::Deserialize)]
pub(super) struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    mercure: Option<Mercure>,
    #[serde(rename = "https://mercure.rocks/")]
    namespaced: Option<Mercure>,
}

#[derive(serde::Deserialize)]
struct Mercure {
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
}

/// Which list of the claim counts.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Publish,
    Subscribe,
}

impl Claims {
    /// When the token ends, in milliseconds of the Unix epoch; `None`: never.
    ///
    /// # Errors
    /// The token has ended or not begun at `unix_millis`.
    pub(super) fn until(&self, unix_millis: u64) -> Result<Option<u64>, TokenError> {
        if self.nbf.is_some_and(|nbf| millis(nbf) > unix_millis) {
            return Err(TokenError::Premature);
        }
        let until = self.exp.map(millis);
        if until.is_some_and(|until| until <= unix_millis) {
            return Err(TokenError::Expired);
        }
        Ok(until)
    }

    /// The grant for one side.
    ///
    /// # Errors
    /// A list is longer than the limit: both are checked, so that a token is good or bad whichever
    /// side it is shown to.
    pub(super) fn grant(self, side: Side) -> Result<Grant, TokenError> {
        let Some(mercure) = self.namespaced.or(self.mercure) else {
            return Ok(Grant::default());
        };
        let publish = mercure.publish.unwrap_or_default();
        let subscribe = mercure.subscribe.unwrap_or_default();
        if publish.len().max(subscribe.len()) > SELECTORS_MAX {
            return Err(TokenError::Selectors);
        }
        Ok(Grant::new(match side {
            Side::Publish => publish,
            Side::Subscribe => subscribe,
        }))
    }
}

/// RFC 7519 section 2: a `NumericDate` counts seconds and may have a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_plain_string() {
        let grant = Grant::new(vec!["/u/{id}".into()]);
        assert!(grant.covers("/u/{id}"));
        assert!(!grant.covers("/u/1"));
        assert!(!grant.covers("*"));
    }

    #[test]
    fn a_star_among_others_covers_all() {
        let grant = Grant::new(vec!["a".into(), "*".into()]);
        assert!(grant.is_all() && grant.covers("b") && grant.topics().next().is_none());
        assert!(Grant::default().is_empty());
    }
}
