//! Signing a token from a key: for commands and tests that hold the hub's key themselves.
//!
//! Invariants: what is signed here is what `verifier` accepts, HS256 with the claim `mercure`; it
//! always expires; neither key nor token appears in an error.

use crate::base::redact::Secret;

/// The token cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed")]
pub struct SignError(#[source] jsonwebtoken::errors::Error);

/// A token that grants publishing and reading on these topic selectors, until `expires` (seconds
/// since the Unix epoch).
///
/// # Errors
/// The library refuses, which it does for no key that a hub has.
pub fn sign(
    key: &Secret,
    publish: &[String],
    subscribe: &[String],
    expires: u64,
) -> Result<Secret, SignError> {
    let mercure = serde_json::json!({ "publish": publish, "subscribe": subscribe });
    let claims = serde_json::json!({ "mercure": mercure, "exp": expires });
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(key.reveal().as_bytes());
    jsonwebtoken::encode(&header, &claims, &key).map(Secret::new).map_err(SignError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::Algorithm;
    use jsonwebtoken::DecodingKey;
    use jsonwebtoken::Validation;

    #[test]
    fn a_signed_token_holds_what_was_asked_for_and_no_more() {
        let key = "k".repeat(32);
        let topics = ["a".to_owned(), "b".to_owned()];
        let token = sign(&Secret::new(key.clone()), &topics, &[], 4_102_444_800).unwrap();
        let key = DecodingKey::from_secret(key.as_bytes());
        let checks = Validation::new(Algorithm::HS256);
        let read = jsonwebtoken::decode::<serde_json::Value>(token.reveal(), &key, &checks);
        let want = serde_json::json!({
            "mercure": { "publish": ["a", "b"], "subscribe": [] },
            "exp": 4_102_444_800_u64,
        });
        assert_eq!(read.unwrap().claims, want);
    }
}
