//! Answers to publishes on a keep-alive connection: status and body, in order, however cut.
//!
//! Understands what any HTTP/1.1 server sends to a POST: a length, chunks, or nothing (204). An
//! answer that is delimited by the end of the connection cannot be pipelined and is refused.

use memchr::memmem;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why the answers cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// The first line is no status line.
    #[error("the publish URL does not answer in HTTP/1.1")]
    NoStatus,
    /// Neither a length nor chunks.
    #[error("the answer to a publish has no length, so publishes cannot share a connection")]
    NoLength,
    /// A length that is none.
    #[error("the answer to a publish has a malformed length")]
    BadLength,
    /// A head beyond all measure.
    #[error("the head of an answer to a publish is endless")]
    EndlessHead,
}

const HEAD_MAX: usize = 64 * 1024;
const BODY_MAX: usize = 1 << 30;

/// Bytes received that are not yet answers.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    taken: usize,
}

impl Answers {
    /// Adds what was read.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets everything, for a new connection.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next whole answer.
    ///
    /// # Errors
    /// The bytes are no answer; the connection is of no more use.
    pub fn poll(&mut self) -> Result<Option<Answer>, BadAnswer> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((answer, used)) = parse(rest)? else { return Ok(None) };
        self.taken += used;
        // Informational answers (100 Continue) announce the real one.
        if answer.status < 200 { self.poll() } else { Ok(Some(answer)) }
    }
}

/// An answer at the front of `bytes`, and how long it is.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, BadAnswer> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX { Err(BadAnswer::EndlessHead) } else { Ok(None) };
    };
    let (head, body) = bytes.split_at_checked(end + 4).unwrap_or((bytes, &[]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = status(lines.next().unwrap_or_default()).ok_or(BadAnswer::NoStatus)?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(decimal(value).ok_or(BadAnswer::BadLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        }
    }
    let found = match (chunked, length) {
        _ if status < 200 || status == 204 || status == 304 => Some((Vec::new(), 0)),
        (true, _) => unchunk(body)?,
        (false, Some(length)) => body.get(..length).map(|body| (body.to_vec(), length)),
        (false, None) => return Err(BadAnswer::NoLength),
    };
    Ok(found.map(|(body, used)| (Answer { status, body }, head.len() + used)))
}

fn status(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn decimal(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|length| *length <= BODY_MAX)
}

/// A whole chunked body at the front of `bytes`, and how long it is.
fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, BadAnswer> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = memmem::find(rest, b"\r\n") else { return Ok(None) };
        let size = rest.get(..end).unwrap_or_default();
        let size = size.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(size).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
        let size = size.filter(|size| *size <= BODY_MAX).ok_or(BadAnswer::BadLength)?;
        at += end + 2;
        if size == 0 {
            let rest = bytes.get(at..).unwrap_or_default();
            // No server sends trailers to a publish; the body ends with an empty line.
            return Ok(rest.starts_with(b"\r\n").then_some((body, at + 2)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
        at += size + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
        HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 413 Too Large\r\ncontent-length:0\r\n\r\n";

    #[test]
    fn finds_the_same_answers_however_cut() {
        let answer = |status, body: &[u8]| Answer { status, body: body.to_vec() };
        let all = [answer(200, b"abc"), answer(202, b"abcde"), answer(204, b""), answer(413, b"")];
        for size in [1, 2, 7, 50, STREAM.len()] {
            let (mut answers, mut got) = (Answers::default(), Vec::new());
            for piece in STREAM.chunks(size) {
                answers.append(piece);
                while let Some(answer) = answers.poll().unwrap() {
                    got.push(answer);
                }
            }
            assert_eq!(got, all, "in pieces of {size}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_delimit() {
        let judge = |bytes: &[u8]| {
            let mut answers = Answers::default();
            answers.append(bytes);
            answers.poll().unwrap_err()
        };
        assert_eq!(judge(b"SSH-2.0\r\n\r\n"), BadAnswer::NoStatus);
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n\r\n"), BadAnswer::NoLength);
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), BadAnswer::BadLength);
        assert_eq!(judge(&[b'a'; HEAD_MAX + 1]), BadAnswer::EndlessHead);
    }
}
