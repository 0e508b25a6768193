//! Credentials of a command: a token that was given, or one signed here from the hub's key.
//!
//! Invariants: neither token nor key appears in an error. A signed token grants exactly what the
//! one request needs and lives for five minutes.

use crate::base::redact::Secret;
use crate::base::time::Clock;
use clap::Args;
use std::path::PathBuf;

const LIFETIME_SECONDS: u64 = 300;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {cause}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It cannot be sent as a header.
    #[error("the token holds a line break or a character that is not visible ASCII: check it")]
    Token,
    /// Signing failed.
    #[error("the token cannot be signed: {0}")]
    Sign(jsonwebtoken::errors::Error),
}

/// Token or key, on the command line or in a file.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct Credentials {
    /// Token (JWT) to send as `Authorization: Bearer`; other users of this host can see it in the
    /// process list, so prefer --token-file.
    #[arg(long, value_parser = secret)]
    token: Option<Secret>,
    /// File that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The hub's HS256 key: a token for just this request is signed with it.
    #[arg(long, value_parser = secret)]
    key: Option<Secret>,
    /// File that holds the key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Credentials {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.token.is_none()
            && self.token_file.is_none()
            && self.key.is_none()
            && self.key_file.is_none()
    }

    /// The token to send, if any: `action` is `publish` or `subscribe`.
    ///
    /// # Errors
    /// A file that cannot be read, a token that a header cannot carry.
    pub(crate) fn token(
        &self,
        action: &str,
        topics: &[String],
        clock: &impl Clock,
    ) -> Result<Option<Secret>, TokenError> {
        let key = match &self.key_file {
            Some(path) => Some(read(path)?),
            None => self.key.clone(),
        };
        let token = match (key, &self.token_file) {
            (Some(key), _) => Some(sign(&key, action, topics, clock)?),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => self.token.clone(),
        };
        match token {
            Some(token) if !token.reveal().bytes().all(|b| b.is_ascii_graphic()) => {
                Err(TokenError::Token)
            }
            token => Ok(token),
        }
    }
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

fn read(path: &PathBuf) -> Result<Secret, TokenError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| TokenError::File { path: path.clone(), cause })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn sign(
    key: &Secret,
    action: &str,
    topics: &[String],
    clock: &impl Clock,
) -> Result<Secret, TokenError> {
    let claims = serde_json::json!({
        "mercure": { action: topics },
        "exp": clock.unix_millis() / 1000 + LIFETIME_SECONDS,
    });
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(key.reveal().as_bytes());
    jsonwebtoken::encode(&header, &claims, &key).map(Secret::new).map_err(TokenError::Sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SystemClock;

    #[test]
    fn a_key_signs_what_the_request_needs_and_no_more() {
        let key = Some(Secret::new("k".repeat(32)));
        let credentials = Credentials { key, ..Credentials::default() };
        let clock = SystemClock::start();
        let topics = ["a".to_owned(), "b".to_owned()];
        let token = credentials.token("publish", &topics, &clock).unwrap().unwrap();
        let key = jsonwebtoken::DecodingKey::from_secret("k".repeat(32).as_bytes());
        let checks = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        let read = jsonwebtoken::decode::<serde_json::Value>(token.reveal(), &key, &checks);
        let claims = read.unwrap().claims;
        assert_eq!(claims["mercure"], serde_json::json!({ "publish": ["a", "b"] }));
        let left = claims["exp"].as_u64().unwrap() - clock.unix_millis() / 1000;
        assert!((290..=300).contains(&left), "expires in {left} s");
    }

    #[test]
    fn a_token_that_would_break_its_header_is_refused_and_not_shown() {
        let token = Some(Secret::new("hunter2\r\nX: y".to_owned()));
        let credentials = Credentials { token, ..Credentials::default() };
        let error = credentials.token("publish", &[], &SystemClock::start()).unwrap_err();
        assert!(matches!(error, TokenError::Token));
        assert!(!format!("{error} {error:?} {credentials:?}").contains("hunter2"));
    }
}
