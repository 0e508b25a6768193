//! Responses of HTTP/1.1, sans-io: the head, and the body in each of its three framings.
//!
//! Invariants: the outcome does not depend on how the bytes are cut. A head is bounded by
//! `HEAD_BYTES_MAX`; the body decoder holds a counter and no bytes. Spec: RFC 9112, 4 to 7.

use memchr::memmem;
use std::ops::Range;

/// Bytes of a response's head, all interim responses apart.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a peer does that is no HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    /// The head is not HTTP/1.
    #[error("the server does not answer in HTTP/1.1: check host and port")]
    Head,
    /// The head does not end.
    #[error("the response's head is longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// `Content-Length` is no number.
    #[error("the response's Content-Length is no number")]
    Length,
    /// Bad chunked coding.
    #[error("the response's chunked coding is malformed")]
    Chunk,
    /// A coding that was not asked for.
    #[error("the response is compressed although the request forbade it")]
    Coding,
}

/// Status and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head from the front of `bytes`; answers it with its length, or `None` if it is not
    /// complete.
    ///
    /// # Errors
    /// Not HTTP/1, or too long.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ResponseError> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            let begun = bytes.get(..5).unwrap_or(bytes);
            if !b"HTTP/".starts_with(begun) {
                return Err(ResponseError::Head);
            }
            let fits = bytes.len() < HEAD_BYTES_MAX;
            return if fits { Ok(None) } else { Err(ResponseError::HeadTooLong) };
        };
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(status).ok_or(ResponseError::Head)?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(ResponseError::Head)?;
            headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Some((Self { status, headers }, end + 4)))
    }

    /// The first header of this lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// `HTTP/1.x NNN …`
fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let code = rest.get(1..)?.strip_prefix(' ')?.get(..3)?;
    let digits = code.bytes().all(|b| b.is_ascii_digit());
    if digits { code.parse().ok() } else { None }
}

/// What one step of [`Body::next`] made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of the input that are done with.
    pub(crate) taken: usize,
    /// Where in the input the payload is; may be empty.
    pub(crate) payload: Range<usize>,
}

/// A body that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Ends with the connection.
    Open,
    /// So many bytes are missing.
    Sized(u64),
    /// Chunked.
    Chunked(Chunk),
    /// Complete.
    Done,
}

/// Where in the chunked coding the input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the size line; `None` before its first digit.
    Size(Option<u64>),
    /// Behind the size, up to the line end.
    Extension(u64),
    /// In the payload.
    Payload(u64),
    /// Between payload and its line end.
    PayloadEnd,
    /// In the trailer; whether the current line is still empty.
    Trailer(bool),
}

impl Body {
    /// The framing that a head announces.
    ///
    /// # Errors
    /// A malformed length or a content coding.
    pub(crate) fn of(head: &Head) -> Result<Self, ResponseError> {
        let coding = head.header("content-encoding").unwrap_or("identity");
        if !coding.eq_ignore_ascii_case("identity") {
            return Err(ResponseError::Coding);
        }
        if head.status == 204 || head.status == 304 {
            return Ok(Self::Done);
        }
        if let Some(coding) = head.header("transfer-encoding") {
            let chunked = coding.eq_ignore_ascii_case("chunked");
            let size = Self::Chunked(Chunk::Size(None));
            return if chunked { Ok(size) } else { Err(ResponseError::Coding) };
        }
        match head.header("content-length") {
            None => Ok(Self::Open),
            Some("0") => Ok(Self::Done),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map(Self::Sized).map_err(|_| ResponseError::Length)
            }
            Some(_) => Err(ResponseError::Length),
        }
    }

    /// Whether the connection may end here.
    pub(crate) fn may_end(self) -> bool {
        matches!(self, Self::Open | Self::Done)
    }

    /// Takes bytes from the front of `input`, up to the end of one run of payload.
    ///
    /// # Errors
    /// Malformed chunked coding.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Step, ResponseError> {
        match *self {
            Self::Done => Ok(Step { taken: input.len(), payload: 0..0 }),
            Self::Open => Ok(Step { taken: input.len(), payload: 0..input.len() }),
            Self::Sized(left) => {
                let (run, left) = run(left, input);
                *self = if left == 0 { Self::Done } else { Self::Sized(left) };
                Ok(Step { taken: run, payload: 0..run })
            }
            Self::Chunked(_) => self.next_chunked(input),
        }
    }

    fn next_chunked(&mut self, input: &[u8]) -> Result<Step, ResponseError> {
        for (at, byte) in input.iter().enumerate() {
            let Self::Chunked(chunk) = *self else { break };
            if let Chunk::Payload(left) = chunk {
                let (run, left) = run(left, input.get(at..).unwrap_or_default());
                let next = if left == 0 { Chunk::PayloadEnd } else { Chunk::Payload(left) };
                *self = Self::Chunked(next);
                return Ok(Step { taken: at + run, payload: at..at + run });
            }
            *self = match step(chunk, *byte)? {
                Some(next) => Self::Chunked(next),
                None => Self::Done,
            };
            if *self == Self::Done {
                return Ok(Step { taken: at + 1, payload: 0..0 });
            }
        }
        Ok(Step { taken: input.len(), payload: 0..0 })
    }
}

/// How many bytes of `input` belong to a run of `left` bytes, and how many it then lacks.
fn run(left: u64, input: &[u8]) -> (usize, u64) {
    let run = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    (run, left - u64::try_from(run).unwrap_or(left))
}

/// One byte of framing; `None` is the end of the body.
fn step(chunk: Chunk, byte: u8) -> Result<Option<Chunk>, ResponseError> {
    let size_end = |size| if size == 0 { Chunk::Trailer(true) } else { Chunk::Payload(size) };
    Ok(Some(match (chunk, byte) {
        (Chunk::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            let size = size.unwrap_or(0).checked_mul(16).ok_or(ResponseError::Chunk)?;
            Chunk::Size(Some(size + digit))
        }
        (Chunk::Size(Some(size)), b'\n') => size_end(size),
        (Chunk::Size(Some(size)), b'\r' | b';' | b' ' | b'\t') => Chunk::Extension(size),
        (Chunk::Size(_), _) => return Err(ResponseError::Chunk),
        (Chunk::Extension(size), b'\n') => size_end(size),
        (Chunk::Extension(_), _) | (Chunk::PayloadEnd, b'\r') => chunk,
        (Chunk::PayloadEnd, b'\n') => Chunk::Size(None),
        (Chunk::PayloadEnd | Chunk::Payload(_), _) => return Err(ResponseError::Chunk),
        (Chunk::Trailer(true), b'\n') => return Ok(None),
        (Chunk::Trailer(empty), b'\r') => Chunk::Trailer(empty),
        (Chunk::Trailer(_), b'\n') => Chunk::Trailer(true),
        (Chunk::Trailer(_), _) => Chunk::Trailer(false),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut body: Body, pieces: &[&[u8]]) -> Result<(Vec<u8>, Body), ResponseError> {
        let mut payload = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let step = body.next(rest)?;
                assert!(step.taken > 0, "a step makes progress");
                payload.extend_from_slice(&rest[step.payload]);
                rest = &rest[step.taken..];
            }
        }
        Ok((payload, body))
    }

    #[test]
    fn heads_are_read_when_complete() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type:  text/event-stream \r\nX: a:b\r\n\r\nbody";
        for end in 0..bytes.len() - 4 {
            assert_eq!(Head::parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let (head, length) = Head::parse(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"body");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!((head.header("x"), head.header("y")), (Some("a:b"), None));
        assert_eq!(Body::of(&head), Ok(Body::Open));
    }

    #[test]
    fn what_is_not_http_is_refused_at_its_first_bytes() {
        assert_eq!(Head::parse(b"SSH-2"), Err(ResponseError::Head));
        assert_eq!(Head::parse(b"HTTP/2 200\r\n\r\n"), Err(ResponseError::Head));
        assert_eq!(Head::parse(b"HTTP/1.1 2x0 OK\r\n\r\n"), Err(ResponseError::Head));
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n"), Err(ResponseError::Head));
        let long = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(Head::parse(&long), Err(ResponseError::HeadTooLong));
    }

    #[test]
    fn framing_follows_the_headers() {
        let of = |head: &str| {
            let text = format!("HTTP/1.1 {head}\r\n\r\n");
            Body::of(&Head::parse(text.as_bytes()).unwrap().unwrap().0)
        };
        assert_eq!(of("204 No Content"), Ok(Body::Done));
        assert_eq!(of("200 OK\r\nContent-Length: 12"), Ok(Body::Sized(12)));
        assert_eq!(of("200 OK\r\nContent-Length: 0"), Ok(Body::Done));
        assert_eq!(of("200 OK\r\nContent-Length: +1"), Err(ResponseError::Length));
        let chunked = Ok(Body::Chunked(Chunk::Size(None)));
        assert_eq!(of("200 OK\r\nTransfer-Encoding: Chunked"), chunked);
        assert_eq!(of("200 OK\r\nTransfer-Encoding: gzip, chunked"), Err(ResponseError::Coding));
        assert_eq!(of("200 OK\r\nContent-Encoding: br"), Err(ResponseError::Coding));
    }

    #[test]
    fn chunked_bodies_are_read_however_they_are_cut() {
        let bytes = b"3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
        let start = Body::Chunked(Chunk::Size(None));
        let want = Ok((b"abc0123456789".to_vec(), Body::Done));
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(read(start, &[head, tail]), want, "cut at {cut}");
            let (_, body) = read(start, &[head]).unwrap();
            assert!(!body.may_end(), "cut off at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(start, &single), want);
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let start = Body::Chunked(Chunk::Size(None));
        let long = [b'f'; 17];
        for bytes in [b"\r\n".as_slice(), b"x\r\n", b"-1\r\n", b"1\r\nabc", &long] {
            assert_eq!(read(start, &[bytes]), Err(ResponseError::Chunk), "{bytes:?}");
        }
    }

    #[test]
    fn sized_bodies_end_where_they_said() {
        let (payload, body) = read(Body::Sized(3), &[b"ab", b"cd"]).unwrap();
        assert_eq!((payload.as_slice(), body), (b"abc".as_slice(), Body::Done));
        assert!(!read(Body::Sized(3), &[b"ab"]).unwrap().1.may_end());
    }
}
