//! Tokens to grants: who may publish what, and who may read which private events.
//!
//! Invariants:
//! 1. A token that is present but bad is an error, never a fallback to another place or to nobody.
//! 2. Time is an argument: the library checks form and signature, this module checks `exp` and
//!    `nbf` against the caller's clock.
//! 3. No error and no `Debug` holds a byte of a token or of a key.
//! 4. A side without a key checks no tokens: whoever calls is anonymous there. With no key at all
//!    the hub is open: it takes unsigned publishes, and private events reach nobody, because no
//!    grant can be proved. The configuration allows that on loopback addresses only.
//!
//! Dialect: Mercure 0.x (`reference`: draft-dunglas-mercure-07, JWT with the claim `mercure`). A
//! later dialect adds a reader of other claims beside `claims`; [`Grant`] and [`Verifier`] stay.

mod claims;
mod origins;
mod place;
mod sign;
mod verifier;

pub use claims::Grant;
pub use origins::Origins;
pub use place::Presented;
pub use place::WrittenFrom;
pub use sign::SignError;
pub use sign::sign;
pub use verifier::Reader;
pub use verifier::Verifier;

/// Why a request with or without a token may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The side takes no requests: it has no key, or anonymous reading is off and has no key.
    #[error("this side of the hub is switched off: no key is configured for it")]
    Off,
    /// A token is needed and none was sent.
    #[error("no token; send one as `Authorization: Bearer`, or as cookie")]
    Missing,
    /// The token is good and does not cover a topic of the publish.
    #[error("the token does not cover every topic")]
    NotGranted,
    /// A token was sent and is bad.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What is wrong with a token or with how it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// More than one `Authorization` field.
    #[error("more than one Authorization field; send one")]
    HeaderRepeated,
    /// The `Authorization` field is not `Bearer`, a space and a token.
    #[error("the Authorization field is not `Bearer TOKEN`")]
    HeaderForm,
    /// More than one query parameter `authorization`.
    #[error("more than one query parameter `authorization`; send one")]
    QueryRepeated,
    /// A cookie on a publish without `Origin` and `Referer`.
    #[error("a publish by cookie needs an Origin or Referer field")]
    OriginMissing,
    /// A publish by cookie, or unsigned by a foreign page, from an origin that is not listed.
    #[error("this origin may not publish by cookie or unsigned; list it in hub.cors_origins")]
    OriginRefused,
    /// Not three base64url parts with JSON inside, or an algorithm nobody knows.
    #[error("the token is not a JSON Web Token of a known algorithm")]
    Form,
    /// Signed with another algorithm than HS256.
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    /// The signature does not fit the key.
    #[error("the token's signature does not fit the key")]
    Signature,
    /// The header demands extensions (`crit`) that are not understood.
    #[error("the token's header demands an extension")]
    Extension,
    /// A claim has the wrong shape.
    #[error("a claim of the token has the wrong shape")]
    Claims,
    /// `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come yet.
    #[error("the token is not valid yet")]
    Premature,
    /// A list of selectors is longer than the limit.
    #[error("the token lists more than {SELECTORS_MAX} topic selectors")]
    Selectors,
}

/// Selectors that one list of a token may hold (the reference hub's limit).
pub const SELECTORS_MAX: usize = 1000;

#[cfg(test)]
pub(crate) mod testing {
    //! Signs tokens for tests.

    /// A token with these claims.
    pub(crate) fn sign(key: &str, claims: &serde_json::Value) -> String {
        sign_as(jsonwebtoken::Algorithm::HS256, key, claims)
    }

    /// A token with these claims, written as JSON, for floors that do not know JSON.
    pub(crate) fn sign_text(key: &str, claims: &str) -> String {
        sign(key, &serde_json::from_str(claims).unwrap())
    }

    /// A token signed with another algorithm of the HMAC family.
    pub(crate) fn sign_as(
        algorithm: jsonwebtoken::Algorithm,
        key: &str,
        claims: &serde_json::Value,
    ) -> String {
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        let header = jsonwebtoken::Header::new(algorithm);
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}
