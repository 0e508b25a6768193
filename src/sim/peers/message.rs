//! Heads and bodies as peers read and write them, apart from the server's own HTTP code.
//!
//! Invariants: nothing is guessed: what is not plain HTTP/1.1 is an error.

/// The head of a message: its first line and its fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) first: String,
    fields: Vec<(String, String)>,
}

impl Message {
    /// Takes a head from the front of `bytes`; `None`: it is not complete.
    ///
    /// # Errors
    /// It is not a head.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
        let head: Vec<u8> = bytes.drain(..end + 4).collect();
        let text = String::from_utf8(head).map_err(|_| "the head is not UTF-8".to_owned())?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else {
                return Err(format!("no header field: {line:?}"));
            };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Some(Self { first, fields }))
    }

    /// A field's value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// How the body is delimited, as the fields say.
    ///
    /// # Errors
    /// The fields contradict each other.
    pub(super) fn framing(&self) -> Result<Option<Framing>, String> {
        match (self.field("transfer-encoding"), self.field("content-length")) {
            (None, None) => Ok(None),
            (Some("chunked"), None) => Ok(Some(Framing::Chunked)),
            (None, Some(length)) => match length.parse() {
                Ok(length) => Ok(Some(Framing::Sized(length))),
                Err(_) => Err(format!("a length of {length:?}")),
            },
            both => Err(format!("framed as {both:?}")),
        }
    }
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Sized(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    /// A piece of a body on the wire; never the last chunk.
    pub(super) fn piece(self, bytes: &[u8]) -> Vec<u8> {
        if self != Self::Chunked || bytes.is_empty() {
            return bytes.to_vec();
        }
        let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
        out
    }

    /// What ends a body on the wire.
    pub(super) fn last(self) -> &'static [u8] {
        if self == Self::Chunked { b"0\r\n\r\n" } else { b"" }
    }
}

/// A body that comes in pieces.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    /// What has come.
    pub(super) got: Vec<u8>,
    /// Bytes of this chunk that are still to come, its line end included.
    left: usize,
    is_whole: bool,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let is_whole = framing == Framing::Sized(0);
        Self { framing, got: Vec::new(), left: 0, is_whole }
    }

    /// Takes what belongs to it from the front of `bytes`.
    ///
    /// # Errors
    /// The framing is broken.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        match self.framing {
            Framing::UntilClose => self.got.append(bytes),
            Framing::Sized(length) => {
                let count = (length - self.got.len()).min(bytes.len());
                self.got.extend(bytes.drain(..count));
                self.is_whole = self.got.len() == length;
            }
            Framing::Chunked => while !self.is_whole && self.chunk(bytes)? {},
        }
        Ok(())
    }

    /// A step of the chunked coding; whether there may be another.
    fn chunk(&mut self, bytes: &mut Vec<u8>) -> Result<bool, String> {
        if self.left > 2 {
            let count = (self.left - 2).min(bytes.len());
            self.got.extend(bytes.drain(..count));
            self.left -= count;
            return Ok(count > 0 && !bytes.is_empty());
        }
        let end = bytes.windows(2).position(|w| w == b"\r\n");
        let Some(end) = end else { return Ok(false) };
        let line: Vec<u8> = bytes.drain(..end + 2).collect();
        let line = line.get(..end).unwrap_or_default();
        if self.left == 2 {
            self.left = 0;
            return if line.is_empty() { Ok(true) } else { Err("a chunk without its end".into()) };
        }
        let text = String::from_utf8_lossy(line).into_owned();
        let size = text.split(';').next().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        match size {
            // The empty line behind it is the next thing to come: there are no trailers here.
            Some(0) => {
                self.is_whole = bytes.get(..2) == Some(b"\r\n");
                if self.is_whole {
                    bytes.drain(..2);
                } else {
                    // Not all of it is here.
                    bytes.splice(..0, b"0\r\n".iter().copied());
                }
                Ok(false)
            }
            Some(size) => {
                self.left = size + 2;
                Ok(true)
            }
            None => Err(format!("no chunk: {text:?}")),
        }
    }

    /// Whether it is complete, or would be if the connection ended now in an orderly way.
    pub(super) fn is_whole(&self, ended: bool) -> bool {
        self.is_whole || (ended && self.framing == Framing::UntilClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_whole() {
        let mut bytes = b"GET /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let head = Message::take(&mut bytes).unwrap().unwrap();
        assert_eq!((&*head.first, bytes.as_slice()), ("GET /a HTTP/1.1", &b"abc"[..]));
        assert_eq!(head.framing(), Ok(Some(Framing::Sized(3))));
        assert_eq!(Message::take(&mut b"HTTP/1.1 200 OK\r\n".to_vec()), Ok(None));
        assert!(Message::take(&mut b"first\r\nno field\r\n\r\n".to_vec()).is_err());
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        for framing in [Framing::Sized(10), Framing::Chunked] {
            let mut wire = framing.piece(b"abcd");
            wire.extend(framing.piece(b"efghij"));
            wire.extend_from_slice(framing.last());
            wire.extend_from_slice(b"next");
            for cut in 0..=wire.len() {
                let mut body = Body::new(framing);
                let mut bytes = wire[..cut].to_vec();
                body.take(&mut bytes).unwrap();
                assert_eq!(body.is_whole(true), cut + 4 >= wire.len(), "{framing:?}, {cut}");
                bytes.extend_from_slice(&wire[cut..]);
                body.take(&mut bytes).unwrap();
                assert!(body.is_whole(false), "{framing:?}, {cut}");
                assert_eq!((&*body.got, &*bytes), (&b"abcdefghij"[..], &b"next"[..]));
            }
        }
    }
}
