//! A response head as a peer reads it.
//!
//! Invariants: nothing is guessed: what is not plain HTTP/1.1 is an error.

use super::message::Framing;
use super::message::Message;

/// A response's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    message: Message,
}

impl Head {
    /// Takes a head from the front of `bytes`; `None`: it is not complete.
    ///
    /// # Errors
    /// It is not a response head.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some(message) = Message::take(bytes)? else { return Ok(None) };
        let status = message.first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        let Some(status) = status else {
            return Err(format!("no status line: {:?}", message.first));
        };
        Ok(Some(Self { status, message }))
    }

    /// A field's value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.message.field(name)
    }

    /// Bytes of the body, if it says so.
    pub(super) fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }

    /// How the body is delimited.
    ///
    /// # Errors
    /// The fields contradict each other.
    pub(super) fn framing(&self, to_head: bool) -> Result<Framing, String> {
        if to_head || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::Sized(0));
        }
        Ok(self.message.framing()?.unwrap_or(Framing::UntilClose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_whole() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let head = Head::take(&mut bytes).unwrap().unwrap();
        assert_eq!((head.status, head.length(), bytes.as_slice()), (200, Some(3), &b"abc"[..]));
        assert_eq!(head.framing(false), Ok(Framing::Sized(3)));
        assert_eq!(head.framing(true), Ok(Framing::Sized(0)));
        assert_eq!(Head::take(&mut b"HTTP/1.1 200 OK\r\n".to_vec()), Ok(None));
        assert!(Head::take(&mut b"data: x\r\n\r\n".to_vec()).is_err());
    }
}
