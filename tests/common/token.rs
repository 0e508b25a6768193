//! Tokens of publishers and subscribers.

use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;

pub const PUBLISHER_KEY: &str = "a publisher's key, long enough for HS256";
pub const SUBSCRIBER_KEY: &str = "a subscriber's key, long enough for HS256";

/// Settings of a hub that checks tokens.
pub fn keyed(more: &str) -> String {
    let publisher = format!("publisher_key = \"{PUBLISHER_KEY}\"");
    let subscriber = format!("subscriber_key = \"{SUBSCRIBER_KEY}\"");
    format!("[hub]\n{publisher}\n{subscriber}\n{more}\n")
}

pub fn publisher(topics: &[&str]) -> String {
    sign(PUBLISHER_KEY, &serde_json::json!({ "mercure": { "publish": topics } }))
}

pub fn subscriber(topics: &[&str]) -> String {
    sign(SUBSCRIBER_KEY, &serde_json::json!({ "mercure": { "subscribe": topics } }))
}

/// A subscriber's token that expires at this Unix second.
pub fn expiring(topics: &[&str], second: u64) -> String {
    let claims = serde_json::json!({ "mercure": { "subscribe": topics }, "exp": second });
    sign(SUBSCRIBER_KEY, &claims)
}

pub fn sign(key: &str, claims: &serde_json::Value) -> String {
    let header = Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

/// The field that carries a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
