//! Messages that are passed on, as bytes: heads of both kinds, and the chunked coding.
//!
//! Invariants: what is appended is whole, and no part of it ends where its caller did not end it: a
//! target or reason that holds a line end is disarmed, an empty chunk (which would end the body) is
//! left out. Framing fields are the caller's.

use crate::base::digits::Room;
use crate::base::digits::digits;
use crate::http::fields::Fields;
use crate::http::fields::harmless;

/// Appends a chunk; nothing for no bytes.
pub fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        number(bytes.len() as u64, 16, out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends pieces that lie apart as one chunk; nothing for no bytes.
pub fn chunk_of(parts: &[&[u8]], out: &mut Vec<u8>) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes > 0 {
        number(bytes as u64, 16, out);
        out.extend_from_slice(b"\r\n");
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the end of a chunked body, with trailers if there are any.
pub fn last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a request in HTTP/1.1. The method is a token; what may not stand in a target
/// is escaped.
pub fn request_head(method: &str, target: &str, fields: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    for byte in target.bytes() {
        if byte > b' ' && byte != 0x7f {
            out.push(byte);
        } else {
            out.push(b'%');
            number(u64::from(byte >> 4), 16, out);
            number(u64::from(byte & 15), 16, out);
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a response in HTTP/1.1.
pub fn response_head(status: u16, reason: &str, fields: &Fields, out: &mut Vec<u8>) {
    status_line(status, reason, out);
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a status line.
pub(in crate::http) fn status_line(status: u16, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(u64::from(status), 10, out);
    out.push(b' ');
    out.extend(reason.bytes().map(harmless));
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as text; `radix` is 8 to 16.
pub(in crate::http) fn number(number: u64, radix: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(digits(number, radix, &mut Room::default()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use crate::http::h1::Decoder;
    use crate::http::h1::Item;
    use crate::http::h1::response::ResponseDecoder;
    use crate::http::h1::response::ResponseItem;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"|".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        for n in [0, 7, 9, 10, 15, 16, 99, 100, 255, 4096, u64::MAX] {
            assert_eq!(text(|out| number(n, 10, out)), format!("|{n}"));
            assert_eq!(text(|out| number(n, 16, out)), format!("|{n:x}"));
        }
    }

    #[test]
    fn chunks_on_the_wire() {
        assert_eq!(text(|out| chunk(&[b'x'; 17], out)), format!("|11\r\n{}\r\n", "x".repeat(17)));
        assert_eq!(text(|out| chunk(b"", out)), "|", "an empty chunk would end the body");
        assert_eq!(text(|out| chunk_of(&[b"a", b"", b"bc"], out)), "|3\r\nabc\r\n");
        assert_eq!(text(|out| chunk_of(&[b"", b""], out)), "|");
        assert_eq!(text(|out| last_chunk(None, out)), "|0\r\n\r\n");
        let mut trailers = Fields::new();
        trailers.push("T", "v");
        assert_eq!(text(|out| last_chunk(Some(&trailers), out)), "|0\r\nT: v\r\n\r\n");
    }

    #[test]
    fn heads_on_the_wire() {
        let mut fields = Fields::new();
        fields.push("Host", "h");
        let got = text(|out| request_head("PATCH", "/a?b=\u{e9} \r\nX: y\x7f", &fields, out));
        assert_eq!(got, "|PATCH /a?b=\u{e9}%20%0d%0aX:%20y%7f HTTP/1.1\r\nHost: h\r\n\r\n");
        let got = text(|out| response_head(299, "a\r\nB: c\0", &Fields::new(), out));
        assert_eq!(got, "|HTTP/1.1 299 a  B: c \r\n\r\n");
    }

    /// Names that frame nothing, values of any bytes.
    fn fields() -> impl Strategy<Value = Fields> {
        let field = ("X-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,8}", "[ -~\u{a0}-\u{ff}\t\r\n]{0,12}");
        proptest::collection::vec(field, 0..6).prop_map(|list| {
            let mut fields = Fields::new();
            list.iter().for_each(|(name, value)| fields.push(name, value.trim_ascii()));
            fields
        })
    }

    fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_as_a_response(
            status in 200_u16..=999,
            reason in "[ -~]{0,8}",
            fields in fields(),
            body in bodies(),
            trailers in fields(),
        ) {
            prop_assume!(status != 204 && status != 304);
            let mut framed = fields;
            framed.push("Transfer-Encoding", "chunked");
            let mut out = Vec::new();
            response_head(status, &reason, &framed, &mut out);
            body.iter().for_each(|piece| chunk(piece, &mut out));
            last_chunk(Some(&trailers), &mut out);
            let (mut decoder, mut input) = (ResponseDecoder::new(), out.as_slice());
            decoder.expect(false);
            let (mut read, mut behind) = (Vec::new(), Fields::new());
            loop {
                match decoder.decode(&mut input, &Limits::default()).unwrap() {
                    ResponseItem::Head(head) => {
                        prop_assert_eq!((head.status(), head.reason()), (status, &*reason));
                        prop_assert_eq!(&framed, &head.fields().collect());
                    }
                    ResponseItem::Body(bytes) => read.extend_from_slice(bytes),
                    ResponseItem::Trailers(fields) => behind = fields,
                    ResponseItem::End => break,
                    item => prop_assert!(false, "{:?}", item),
                }
            }
            prop_assert_eq!((read, behind, input.len()), (body.concat(), trailers, 0));
            prop_assert!(decoder.is_reusable());
        }

        #[test]
        fn what_is_written_is_read_again_as_a_request(
            target in "/[ -\"$-.0-\\[\\]-~\r\n]{0,12}",
            fields in fields(),
            body in bodies(),
        ) {
            let mut framed = fields;
            framed.push("Host", "h");
            framed.push("Transfer-Encoding", "chunked");
            let mut out = Vec::new();
            request_head("POST", &target, &framed, &mut out);
            body.iter().for_each(|piece| chunk(piece, &mut out));
            last_chunk(None, &mut out);
            let (mut decoder, mut input) = (Decoder::new(), out.as_slice());
            let mut read = Vec::new();
            loop {
                match decoder.decode(&mut input, &Limits::default()) {
                    Ok(Item::Head(head)) => prop_assert_eq!(&framed, &Fields::of(&head)),
                    Ok(Item::Body(bytes)) => read.extend_from_slice(bytes),
                    Ok(Item::End) => break,
                    // Dot segments.
                    Err(fault) => {
                        prop_assert_eq!(fault, crate::http::h1::Fault::Target);
                        return Ok(());
                    }
                    item => prop_assert!(false, "{:?}", item),
                }
            }
            prop_assert_eq!((read, input.len()), (body.concat(), 0));
        }
    }
}
