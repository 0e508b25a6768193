//! Where a request's body ends: the one decision that smuggling attacks.
//!
//! Invariants: exactly one framing, or a fault. Nothing is repaired: a repeated length is refused
//! even when the copies agree (H4), both framings at once are refused (H3).

use super::Fault;
use crate::http::Version;

/// How a body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunked coding.
    Chunked,
}

/// What the fields of one head say about framing, gathered field by field.
#[derive(Debug, Default)]
pub(super) struct Fields {
    length: Option<u64>,
    /// Codings in order, over all `Transfer-Encoding` fields: how many, and where `chunked` was.
    codings: usize,
    chunked_at: Option<usize>,
}

impl Fields {
    /// Takes one field into account; fields that do not frame pass.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case("content-length") {
            let length = parse_length(value).ok_or(Fault::ContentLength)?;
            return match self.length.replace(length) {
                None => Ok(()),
                Some(_) => Err(Fault::ContentLength),
            };
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return self.add_codings(value);
        }
        if is_lookalike(name) { Err(Fault::Lookalike) } else { Ok(()) }
    }

    fn add_codings(&mut self, value: &[u8]) -> Result<(), Fault> {
        for coding in value.split(|b| *b == b',') {
            let coding = coding.trim_ascii();
            // RFC 9112 section 7.1: `chunked` has no parameters, and is applied once, last.
            let name = coding.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            if name.is_empty() || !name.iter().all(|b| super::scan::is_token(*b)) {
                return Err(Fault::TransferEncoding);
            }
            if self.chunked_at.is_some() {
                return Err(Fault::TransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked_at = Some(self.codings);
            }
            self.codings += 1;
        }
        Ok(())
    }

    /// The framing, and whether codings other than `chunked` were applied below it.
    pub(super) fn decide(&self, version: Version) -> Result<(Framing, bool), Fault> {
        if self.codings == 0 {
            return Ok((self.length.map_or(Framing::None, Framing::Sized), false));
        }
        if self.length.is_some() {
            return Err(Fault::BothFramings);
        }
        if self.chunked_at.is_none() || version == Version::Http10 {
            return Err(Fault::TransferEncoding);
        }
        Ok((Framing::Chunked, self.codings > 1))
    }
}

/// Digits that fit 63 bits (H4).
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    i64::try_from(length).is_ok().then_some(length)
}

/// `Transfer_Encoding`, `Content--Length`: legal tokens that lenient parsers, and gateways that
/// turn fields into variables, take for the real ones.
fn is_lookalike(name: &str) -> bool {
    let letters = || name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    letters().eq(*b"transferencoding") || letters().eq(*b"contentlength")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(fields: &[(&str, &str)]) -> Result<(Framing, bool), Fault> {
        let mut all = Fields::default();
        for (name, value) in fields {
            all.add(name, value.as_bytes())?;
        }
        all.decide(Version::Http11)
    }

    #[test]
    fn one_framing_passes() {
        assert_eq!(decide(&[]), Ok((Framing::None, false)));
        assert_eq!(decide(&[("Content-Length", " 7\t")]), Ok((Framing::Sized(7), false)));
        let te = |value| decide(&[("TRANSFER-encoding", value)]);
        assert_eq!(te("Chunked"), Ok((Framing::Chunked, false)));
        assert_eq!(te("gzip ,\tchunked"), Ok((Framing::Chunked, true)));
        let split = decide(&[("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]);
        assert_eq!(split, Ok((Framing::Chunked, true)));
    }

    #[test]
    fn lengths_at_the_edge() {
        let length = |value| decide(&[("content-length", value)]);
        let most = i64::MAX.to_string();
        assert_eq!(length(&most), Ok((Framing::Sized(i64::MAX as u64), false)));
        let over = ["9223372036854775808", "18446744073709551616", "99999999999999999999999"];
        let odd = ["", "+1", "-1", "0x1", "1,1", "1 1", "1.0", "1;", "１"];
        for value in over.iter().chain(&odd) {
            assert_eq!(length(value), Err(Fault::ContentLength), "{value:?}");
        }
        let twice = decide(&[("content-length", "1"), ("Content-Length", "1")]);
        assert_eq!(twice, Err(Fault::ContentLength), "even equal ones");
    }

    #[test]
    fn faulty_codings() {
        let values = [
            "",
            ",",
            "chunked,",
            "xchunked",
            "gzip",
            "chunked, gzip",
            "chunked, chunked",
            "chunked;q=1",
            "\u{b}chunked",
            "chunked\u{a0}",
            "identity",
            "gzip chunked",
            ";",
        ];
        for value in values {
            let got = decide(&[("transfer-encoding", value)]);
            assert_eq!(got, Err(Fault::TransferEncoding), "{value:?}");
        }
        let both = decide(&[("content-length", "1"), ("transfer-encoding", "chunked")]);
        assert_eq!(both, Err(Fault::BothFramings));
        let mut old = Fields::default();
        old.add("transfer-encoding", b"chunked").unwrap();
        assert_eq!(old.decide(Version::Http10), Err(Fault::TransferEncoding));
    }

    #[test]
    fn lookalikes() {
        for name in ["Transfer_Encoding", "content.length", "Content--Length", "ContentLength"] {
            assert_eq!(decide(&[(name, "1")]), Err(Fault::Lookalike), "{name}");
        }
        assert!(decide(&[("X-Content-Length", "1")]).is_ok());
    }
}
