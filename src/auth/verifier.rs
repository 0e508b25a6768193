//! The keys, and the check of a token against them.
//!
//! Invariants: HS256 and nothing else, whatever a token's header says; keys never leave this file
//! and never show in `Debug`.

use super::Denied;
use super::Presented;
use super::TokenError;
use super::claims::Claims;
use super::claims::Grant;
use super::claims::Side;
use super::place::find;
use crate::base::redact::Secret;
use crate::config::Hub;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;

/// Checks tokens. Made once from the configuration, shared by all workers.
pub struct Verifier {
    publisher: Option<DecodingKey>,
    subscriber: Option<DecodingKey>,
    anonymous: bool,
    validation: Validation,
}

/// What a subscriber may read besides public events, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Private events that it may read.
    pub grant: Grant,
    /// When its token ends, in milliseconds of the Unix epoch.
    pub until_unix_millis: Option<u64>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("publisher_key", &self.publisher.is_some())
            .field("subscriber_key", &self.subscriber.is_some())
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// From the hub's keys.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        let key = |secret: &Secret| DecodingKey::from_secret(secret.reveal().as_bytes());
        let mut validation = Validation::new(Algorithm::HS256);
        // Nothing is required, and time is checked in `Claims::until` against the caller's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self {
            publisher: hub.publisher_key.as_ref().map(key),
            subscriber: hub.subscriber_key.as_ref().map(key),
            anonymous: hub.anonymous,
            validation,
        }
    }

    /// Whether no key is configured, so that everyone may publish.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.publisher.is_none() && self.subscriber.is_none()
    }

    /// Whether anybody may publish at all.
    #[must_use]
    pub fn takes_publishes(&self) -> bool {
        self.publisher.is_some() || self.is_open()
    }

    /// Whether anybody may subscribe at all.
    #[must_use]
    pub fn takes_subscribers(&self) -> bool {
        self.subscriber.is_some() || self.anonymous
    }

    /// What a publisher may publish at `unix_millis`.
    ///
    /// # Errors
    /// A token is needed and missing or bad, or nobody may publish.
    pub fn publisher(&self, from: &Presented<'_>, unix_millis: u64) -> Result<Grant, Denied> {
        let Some(key) = &self.publisher else {
            return if self.is_open() { Ok(Grant::all()) } else { Err(Denied::Off) };
        };
        let claims = self.check(find(from)?.ok_or(Denied::Missing)?, key)?;
        claims.until(unix_millis)?;
        Ok(claims.grant(Side::Publish)?)
    }

    /// What a subscriber may read at `unix_millis`.
    ///
    /// # Errors
    /// A token is bad, or missing where anonymous reading is off, or nobody may subscribe.
    pub fn subscriber(&self, from: &Presented<'_>, unix_millis: u64) -> Result<Reader, Denied> {
        if !self.takes_subscribers() {
            return Err(Denied::Off);
        }
        let Some(key) = &self.subscriber else { return Ok(Reader::default()) };
        let Some(token) = find(from)? else {
            return if self.anonymous { Ok(Reader::default()) } else { Err(Denied::Missing) };
        };
        let claims = self.check(token, key)?;
        let until_unix_millis = claims.until(unix_millis)?;
        Ok(Reader { grant: claims.grant(Side::Subscribe)?, until_unix_millis })
    }

    fn check(&self, token: &[u8], key: &DecodingKey) -> Result<Claims, TokenError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let data = decoded.map_err(|error| match error.kind() {
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
            ErrorKind::InvalidSignature => TokenError::Signature,
            // The header is read before the signature is checked, so a bad shape of a claim can
            // only be told apart by where it shows: after the signature was found good.
            ErrorKind::Json(_) if self.header_is_good(token) => TokenError::Claims,
            _ => TokenError::Form,
        })?;
        // RFC 7515 section 4.1.11: an extension that is not understood must be refused.
        if data.header.crit.is_some() { Err(TokenError::Extension) } else { Ok(data.claims) }
    }

    fn header_is_good(&self, token: &[u8]) -> bool {
        jsonwebtoken::decode_header(token)
            .is_ok_and(|header| self.validation.algorithms.contains(&header.alg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::sign;
    use crate::auth::testing::sign_as;
    use serde_json::json;

    const KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";
    const NOW: u64 = 1_800_000_000_000;

    fn hub(publisher: Option<&str>, subscriber: Option<&str>, anonymous: bool) -> Hub {
        let key = |text: Option<&str>| text.map(|t| Secret::new(t.to_owned()));
        let (publisher_key, subscriber_key) = (key(publisher), key(subscriber));
        Hub { publisher_key, subscriber_key, anonymous, ..Hub::default() }
    }

    fn verifier() -> Verifier {
        Verifier::new(&hub(Some(KEY), Some(KEY), true))
    }

    fn publish_with(verifier: &Verifier, token: &str) -> Result<Grant, Denied> {
        let query: &[&[u8]] = &[token.as_bytes()];
        verifier.publisher(&Presented { query, ..Presented::default() }, NOW)
    }

    fn read_with(verifier: &Verifier, token: &str) -> Result<Reader, Denied> {
        let query: &[&[u8]] = &[token.as_bytes()];
        verifier.subscriber(&Presented { query, ..Presented::default() }, NOW)
    }

    fn publish(claims: &serde_json::Value) -> Result<Grant, Denied> {
        publish_with(&verifier(), &sign(KEY, claims))
    }

    #[test]
    fn grants_come_from_the_claim() {
        let claims = json!({"mercure": {"publish": ["a", "b"], "subscribe": ["*"]}, "exp": 1.9e9});
        let grant = publish(&claims).unwrap();
        assert!(grant.covers("a") && grant.covers("b") && !grant.covers("c"));
        let reader = read_with(&verifier(), &sign(KEY, &claims)).unwrap();
        assert!(reader.grant.is_all());
        assert_eq!(reader.until_unix_millis, Some(1_900_000_000_000));
    }

    #[test]
    fn absent_null_and_empty_lists_grant_nothing() {
        for claims in [
            json!({}),
            json!({"mercure": null}),
            json!({"mercure": {}}),
            json!({"mercure": {"publish": null}}),
            json!({"mercure": {"publish": []}}),
        ] {
            assert!(publish(&claims).unwrap().is_empty(), "{claims}");
        }
    }

    #[test]
    fn the_namespaced_claim_replaces_the_other_whole() {
        let both = json!({"mercure": {"publish": ["*"]}, "https://mercure.rocks/": {}});
        assert!(publish(&both).unwrap().is_empty());
        let one = json!({"https://mercure.rocks/": {"publish": ["a"]}, "mercure": null});
        assert!(publish(&one).unwrap().covers("a"));
    }

    #[test]
    fn time_is_honoured_where_it_is_claimed() {
        let with = |exp: serde_json::Value| publish(&json!({"exp": exp}));
        assert_eq!(with(json!(1_800_000_000)), Err(Denied::Token(TokenError::Expired)));
        assert_eq!(with(json!(-1)), Err(Denied::Token(TokenError::Expired)));
        assert!(with(json!(1_800_000_000.5)).is_ok());
        assert_eq!(with(json!("soon")), Err(Denied::Token(TokenError::Claims)));
        let early = publish(&json!({"nbf": 1_800_000_001}));
        assert_eq!(early, Err(Denied::Token(TokenError::Premature)));
        assert!(publish(&json!({"nbf": 1_800_000_000, "aud": "x", "iss": 3})).is_ok());
    }

    #[test]
    fn bad_tokens_by_cause() {
        let good = sign(KEY, &json!({"mercure": {"publish": ["*"]}}));
        let check = |token: &str| publish_with(&verifier(), token);
        let denied = |cause| Err(Denied::Token(cause));
        assert!(check(&good).is_ok());
        assert_eq!(check(&sign("other", &json!({}))), denied(TokenError::Signature));
        let tampered = format!("{}A", good.strip_suffix(|_: char| true).unwrap());
        assert!(matches!(check(&tampered), Err(Denied::Token(_))));
        let hs512 = sign_as(Algorithm::HS512, KEY, &json!({}));
        assert_eq!(check(&hs512), denied(TokenError::Algorithm));
        // {"alg":"none"} and {"mercure":{"publish":["*"]}}
        let none = "eyJhbGciOiJub25lIn0.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.";
        assert_eq!(check(none), denied(TokenError::Form));
        for text in ["", "x", "a.b", "a.b.c", "....", "\u{e9}.\u{e9}.\u{e9}"] {
            assert_eq!(check(text), denied(TokenError::Form), "{text}");
        }
        assert_eq!(check(&sign(KEY, &json!({"mercure": 1}))), denied(TokenError::Claims));
        let shape = json!({"mercure": {"publish": [1]}});
        assert_eq!(check(&sign(KEY, &shape)), denied(TokenError::Claims));
        assert_eq!(verifier().publisher(&Presented::default(), NOW), Err(Denied::Missing));
    }

    #[test]
    fn a_demanded_extension_is_refused() {
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.crit = Some(vec!["x".into()]);
        let key = jsonwebtoken::EncodingKey::from_secret(KEY.as_bytes());
        let token = jsonwebtoken::encode(&header, &json!({}), &key).unwrap();
        let denied = publish_with(&verifier(), &token);
        assert_eq!(denied, Err(Denied::Token(TokenError::Extension)));
    }

    #[test]
    fn long_lists_are_refused_on_either_side() {
        let list = |n: usize| json!({"mercure": {"subscribe": vec!["x"; n]}});
        assert!(publish(&list(1000)).is_ok());
        assert_eq!(publish(&list(1001)), Err(Denied::Token(TokenError::Selectors)));
    }

    #[test]
    fn sides_without_a_key() {
        let open = Verifier::new(&hub(None, None, true));
        assert!(open.is_open() && publish_with(&open, "anything").unwrap().is_all());
        assert_eq!(read_with(&open, "anything"), Ok(Reader::default()));
        let half = Verifier::new(&hub(None, Some(KEY), false));
        assert!(!half.takes_publishes() && half.takes_subscribers());
        assert_eq!(half.publisher(&Presented::default(), NOW), Err(Denied::Off));
        assert_eq!(half.subscriber(&Presented::default(), NOW), Err(Denied::Missing));
        let half = Verifier::new(&hub(Some(KEY), None, false));
        assert_eq!(half.subscriber(&Presented::default(), NOW), Err(Denied::Off));
    }

    #[test]
    fn keys_do_not_show() {
        let shown = format!("{:?}", Verifier::new(&hub(Some("hunter2"), Some("hunter3"), true)));
        assert!(!shown.contains("hunter") && !shown.contains("104, 117"), "{shown}");
    }
}
