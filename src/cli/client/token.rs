//! Credentials of a command: a token that was given, or one signed here from the hub's key.
//!
//! Invariants: neither token nor key appears in an error. A signed token grants exactly what the
//! one request needs and lives for five minutes.

use crate::auth::SignError;
use crate::auth::sign;
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
    #[error(transparent)]
    Sign(#[from] SignError),
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

    /// The token to send, if any; one that is signed here grants these topics.
    ///
    /// # Errors
    /// A file that cannot be read, a token that a header cannot carry.
    pub(crate) fn token(
        &self,
        publish: &[String],
        subscribe: &[String],
        clock: &impl Clock,
    ) -> Result<Option<Secret>, TokenError> {
        let expires = clock.unix_millis() / 1000 + LIFETIME_SECONDS;
        let key = match &self.key_file {
            Some(path) => Some(read(path)?),
            None => self.key.clone(),
        };
        let token = match (key, &self.token_file) {
            (Some(key), _) => Some(sign(&key, publish, subscribe, expires)?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SystemClock;

    #[test]
    fn a_token_that_would_break_its_header_is_refused_and_not_shown() {
        let token = Some(Secret::new("hunter2\r\nX: y".to_owned()));
        let credentials = Credentials { token, ..Credentials::default() };
        let error = credentials.token(&[], &[], &SystemClock::start()).unwrap_err();
        assert!(matches!(error, TokenError::Token));
        assert!(!format!("{error} {error:?} {credentials:?}").contains("hunter2"));
    }
}
