//! The WHATWG form format, with a strict door: text that is not UTF-8 is refused, not repaired.
//!
//! Invariants: the crate splits and decodes; it puts U+FFFD where bytes are no UTF-8, so only a
//! form that holds one is looked at again.

use std::borrow::Cow;

/// Decoded names and values, in order.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The form's pairs; `None` if a name or value is not UTF-8.
pub(super) fn strict(form: &[u8]) -> Option<Pairs<'_>> {
    let pairs: Pairs<'_> = form_urlencoded::parse(form).collect();
    let suspect = |text: &str| text.contains('\u{fffd}');
    if pairs.iter().any(|(n, v)| suspect(n) || suspect(v)) && !decodes_to_utf8(form) {
        return None;
    }
    Some(pairs)
}

/// Whether the form is UTF-8 once its `%XX` are decoded. The separators are ASCII, so the whole is
/// UTF-8 exactly if every part is.
fn decodes_to_utf8(form: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(form.len());
    let mut rest = form;
    while let Some((first, tail)) = rest.split_first() {
        let byte = if *first == b'%' { hex(tail) } else { None };
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// The byte that two hex digits at the front stand for.
pub(super) fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_utf8_is_refused() {
        for good in ["a=b&c", "a=%e2%82%ac", "a=%EF%BF%BD", "a=\u{fffd}", "a=100%", "a=%zz%f", ""] {
            assert!(strict(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [&b"a=%ff"[..], b"%C3=b", b"a=\xe2\x82", b"a=\xef\xbf\xbd&b=%80", b"a=%e2&b=%82"]
        {
            assert!(strict(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn decodes_plus_and_percent() {
        let pairs = strict(b"a+b=%2B+%26&&x&=y").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        assert_eq!(pairs, [("a b", "+ &"), ("x", ""), ("", "y")]);
    }
}
