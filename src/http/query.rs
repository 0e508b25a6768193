//! A request's query, decoded: names and values as the WHATWG form format has them, as bytes.
//!
//! Invariants: `+` is a blank in a query and itself in a path; an escape that is none stays as it
//! stands; bytes that are no UTF-8 are kept, so that two different values never become equal. What
//! needs no decoding is borrowed.

use std::borrow::Cow;

/// Names and values in order; a parameter without `=` has an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.as_bytes().split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) =
            match memchr::memchr(b'=', pair).and_then(|at| pair.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
                None => (pair, &[][..]),
            };
        (decode(name, true), decode(value, true))
    })
}

/// The value of the first parameter of this name. Case matters.
#[must_use]
pub fn first<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    pairs(query).find(|(n, _)| **n == *name.as_bytes()).map(|(_, value)| value)
}

/// The bytes that a path, or a piece of one, stands for.
#[must_use]
pub fn decode_path(path: &str) -> Cow<'_, [u8]> {
    decode(path.as_bytes(), false)
}

fn decode(text: &[u8], plus_is_blank: bool) -> Cow<'_, [u8]> {
    let is_plain = |b: &u8| *b != b'%' && !(plus_is_blank && *b == b'+');
    if text.iter().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = if *first == b'%' { hex(tail) } else { None };
        decoded.push(match escaped {
            Some(byte) => byte,
            None if plus_is_blank && *first == b'+' => b' ',
            None => *first,
        });
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(decoded)
}

/// The byte that two hex digits at the front stand for.
fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::Chance;

    #[test]
    fn names_and_values_are_decoded_once() {
        let want: [(&[u8], &[u8]); 5] =
            [(b"a b", b"+ %26"), (b"x", b""), (b"", b"y"), (b"z", b"1=2"), (b"\xff%g", b"%")];
        let query = "a+b=%2B+%2526&&x&=y&z=1=2&%ff%g=%";
        assert_eq!(pairs(query).map(|(n, v)| (n.to_vec(), v.to_vec())).collect::<Vec<_>>(), {
            want.map(|(n, v)| (n.to_vec(), v.to_vec()))
        });
        assert_eq!(&*decode_path("/a+b%2Fc%"), b"/a+b/c%");
    }

    #[test]
    fn the_first_of_a_name_counts_and_case_matters() {
        let first = |name| first("a=1&A=2&a=3&%61=4&b", name).map(Cow::into_owned);
        assert_eq!(first("a"), Some(b"1".to_vec()));
        assert_eq!(first("A"), Some(b"2".to_vec()));
        assert_eq!(first("b"), Some(Vec::new()));
        assert_eq!(first("c"), None);
    }

    /// The crate decodes the same format, but repairs what is no UTF-8.
    #[test]
    fn agrees_with_the_form_crate() {
        let mut chance = Chance::new(3);
        let alphabet = ["a", "b", "=", "&", "+", "%", "2", "6", "%3D", "%26", "%ff", "%c3%a9", "é"];
        for _ in 0..20_000 {
            let length = chance.below(12);
            let query: String =
                (0..length).map(|_| alphabet[usize::try_from(chance.below(13)).unwrap()]).collect();
            let ours: Vec<_> = pairs(&query)
                .map(|(n, v)| {
                    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                    (text(&n), text(&v))
                })
                .collect();
            let theirs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            assert_eq!(ours, theirs, "{query}");
        }
    }
}
