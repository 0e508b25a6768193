//! Where a token is: header, query parameter, cookie, in that order.
//!
//! Invariants: the first place that holds something decides, good or bad. A cookie is the only
//! place that a browser fills by itself, so a publish by cookie must name an allowed origin.

use super::Origins;
use super::TokenError;
use super::origins::origin_of;

const COOKIE: &[u8] = b"mercureAuthorization";

/// What a request carries that bears on tokens. Values are raw bytes as they came.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Every `Authorization` field.
    pub authorization: &'a [&'a [u8]],
    /// Every query parameter `authorization`, decoded.
    pub query: &'a [&'a [u8]],
    /// Every `Cookie` field.
    pub cookie: &'a [&'a [u8]],
    /// For a request that changes something, where it came from; `None` for one that reads.
    pub writes_from: Option<WrittenFrom<'a>>,
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

/// Where a publish came from.
#[derive(Clone, Copy, Debug)]
pub struct WrittenFrom<'a> {
    /// The `Origin` field.
    pub origin: Option<&'a [u8]>,
    /// The `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// Origins that may publish by cookie.
    pub allowed: &'a Origins,
}

/// Finds the token; `None` if the request carries none.
///
/// # Errors
/// The place that holds a token holds it in the wrong form, twice, or from a wrong origin.
pub(super) fn find<'a>(presented: &Presented<'a>) -> Result<Option<&'a [u8]>, TokenError> {
    match presented.authorization {
        [] => {}
        [value] => return bearer(value).map(Some),
        _ => return Err(TokenError::HeaderRepeated),
    }
    match presented.query {
        [] => {}
        [token] => return Ok(Some(token)),
        _ => return Err(TokenError::QueryRepeated),
    }
    let Some(token) = presented.cookie.iter().find_map(|field| cookie(field)) else {
        return Ok(None);
    };
    if let Some(from) = presented.writes_from {
        check_origin(from)?;
    }
    Ok(Some(token))
}

/// RFC 6750 section 2.1; the scheme ignores case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Result<&[u8], TokenError> {
    let (scheme, rest) = value.split_at_checked(7).ok_or(TokenError::HeaderForm)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(TokenError::HeaderForm);
    }
    let token = rest.trim_ascii();
    if token.is_empty() { Err(TokenError::HeaderForm) } else { Ok(token) }
}

/// RFC 6265 section 5.4: pairs split by `;`, the most specific path first.
fn cookie(field: &[u8]) -> Option<&[u8]> {
    field.split(|b| *b == b';').find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        if name.trim_ascii() != COOKIE {
            return None;
        }
        let value = value.get(1..)?.trim_ascii();
        let inner = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
        Some(inner.unwrap_or(value))
    })
}

fn check_origin(from: WrittenFrom<'_>) -> Result<(), TokenError> {
    let listed = match (from.origin, from.referer) {
        (Some(origin), _) => from.allowed.lists(origin),
        (None, Some(referer)) => {
            origin_of(referer).is_some_and(|origin| from.allowed.lists(origin.as_bytes()))
        }
        (None, None) => return Err(TokenError::OriginMissing),
    };
    if listed { Ok(()) } else { Err(TokenError::OriginRefused) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Presented<'_> =
        Presented { authorization: &[], query: &[], cookie: &[], writes_from: None };

    #[test]
    fn the_first_place_decides() {
        let all = Presented {
            authorization: &[b"bEARER  h"],
            query: &[b"q"],
            cookie: &[b"a=b; mercureAuthorization=c"],
            ..NONE
        };
        assert_eq!(find(&all), Ok(Some(&b"h"[..])));
        assert_eq!(find(&Presented { authorization: &[], ..all }), Ok(Some(&b"q"[..])));
        let cookie = Presented { authorization: &[], query: &[], ..all };
        assert_eq!(find(&cookie), Ok(Some(&b"c"[..])));
        assert_eq!(find(&NONE), Ok(None));
    }

    #[test]
    fn a_bad_place_is_an_error_and_no_fallback() {
        let cookie: &[&[u8]] = &[b"mercureAuthorization=c"];
        for value in ["Basic eDp5", "Bearer", "Bearer ", "Bearerx y", "", "t"] {
            let bad = Presented { authorization: &[value.as_bytes()], cookie, ..NONE };
            assert_eq!(find(&bad), Err(TokenError::HeaderForm), "{value}");
        }
        let twice = Presented { authorization: &[b"Bearer a", b"Bearer a"], cookie, ..NONE };
        assert_eq!(find(&twice), Err(TokenError::HeaderRepeated));
        let twice = Presented { query: &[b"a", b"b"], cookie, ..NONE };
        assert_eq!(find(&twice), Err(TokenError::QueryRepeated));
        let empty = Presented { query: &[b""], cookie, ..NONE };
        assert_eq!(find(&empty), Ok(Some(&b""[..])), "an empty one is present, and bad later");
    }

    #[test]
    fn cookies_in_their_forms() {
        let of = |field: &'static [u8]| cookie(field);
        assert_eq!(of(b"mercureAuthorization=\"t\""), Some(&b"t"[..]));
        assert_eq!(of(b"x; mercureAuthorization = t ;y=z"), Some(&b"t"[..]));
        assert_eq!(of(b"mercureAuthorization=1; mercureAuthorization=2"), Some(&b"1"[..]));
        assert_eq!(of(b"mercureauthorization=1"), None);
        assert_eq!(of(b"mercureAuthorization"), None);
    }

    #[test]
    fn a_publish_by_cookie_needs_a_listed_origin() {
        let list = Origins::new(&["https://a.example".to_owned(), "*".to_owned()]);
        let with = |origin: Option<&'static [u8]>, referer: Option<&'static [u8]>| {
            let from = WrittenFrom { origin, referer, allowed: &list };
            let cookie: &[&[u8]] = &[b"mercureAuthorization=c"];
            find(&Presented { cookie, writes_from: Some(from), ..NONE })
        };
        let (good, bad) = (b"https://a.example".as_slice(), b"https://b.example".as_slice());
        assert_eq!(with(Some(good), None), Ok(Some(&b"c"[..])));
        assert_eq!(with(None, Some(b"https://a.example/page")), Ok(Some(&b"c"[..])));
        assert_eq!(with(Some(bad), Some(good)), Err(TokenError::OriginRefused));
        assert_eq!(with(Some(b"null"), None), Err(TokenError::OriginRefused));
        assert_eq!(with(None, Some(bad)), Err(TokenError::OriginRefused));
        assert_eq!(with(None, None), Err(TokenError::OriginMissing));
    }
}
