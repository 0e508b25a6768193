//! Affinity: the cookie that keeps a browser's requests on one endpoint.
//!
//! Invariants: a cookie names an endpoint by its token only, sixteen lower-case hexadecimal digits.
//! Whatever else a client sends under the cookie's name is as good as no cookie. A response sets
//! the cookie exactly when the request's did not name the endpoint that was chosen.

use crate::config::gateway::Affinity;

const DIGITS: usize = 16;

/// The tokens of a request's `Cookie` field under the cookie's name, in order.
pub(super) fn tokens<'a>(field: &'a [u8], cookie: &'a str) -> impl Iterator<Item = u64> + 'a {
    // RFC 6265 5.4: pairs are joined by `; `, names are compared with case.
    field.split(|b| *b == b';').filter_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(cookie.as_bytes())?.strip_prefix(b"=")?;
        token(value)
    })
}

fn token(value: &[u8]) -> Option<u64> {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if value.len() != DIGITS || !value.iter().all(digit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()
}

/// The value of the `Set-Cookie` field that keeps to an endpoint.
pub(super) fn set_cookie(affinity: &Affinity, token: u64) -> String {
    let mut value = format!("{}={token:016x}; Path=/; HttpOnly; SameSite=Lax", affinity.cookie);
    let seconds = affinity.max_age.as_secs();
    if seconds > 0 {
        value.push_str(&format!("; Max-Age={seconds}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn found(field: &str) -> Vec<u64> {
        tokens(field.as_bytes(), "stick").collect()
    }

    #[test]
    fn only_whole_tokens_under_the_name_count() {
        assert_eq!(found("a=b; stick=00000000000000ff; c"), [255]);
        assert_eq!(found("stick=0000000000000001;stick=0000000000000002"), [1, 2]);
        for field in [
            "",
            ";;=",
            "stick",
            "stick=",
            "stick=ff",
            "stick=+000000000000001",
            "stick=00000000000000FF",
            "stick=00000000000000ff0",
            "Stick=00000000000000ff",
            "stick2=00000000000000ff",
            "xstick=00000000000000ff",
            "stick=é0000000000000",
        ] {
            assert!(found(field).is_empty(), "{field}");
        }
    }

    #[test]
    fn the_cookie_has_its_life() {
        let mut affinity = Affinity { cookie: "stick".into(), max_age: Duration::ZERO };
        let session = "stick=00000000000000ff; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(set_cookie(&affinity, 255), session);
        affinity.max_age = Duration::from_secs(60);
        assert_eq!(set_cookie(&affinity, 255), format!("{session}; Max-Age=60"));
        assert_eq!(found(session), [255], "what was set is understood");
    }
}
