//! A response head as a peer reads it, apart from the server's own HTTP code.
//!
//! Invariants: nothing is guessed: what is not plain HTTP/1.1 is an error.

/// A response's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Takes a head from the front of `bytes`; `None`: it is not complete.
    ///
    /// # Errors
    /// It is not a response head.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
        let head: Vec<u8> = bytes.drain(..end + 4).collect();
        let text = String::from_utf8(head).map_err(|_| "the head is not UTF-8".to_owned())?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        let Some(status) = status else { return Err(format!("no status line: {first:?}")) };
        let mut fields = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else {
                return Err(format!("no header field: {line:?}"));
            };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Some(Self { status, fields }))
    }

    /// A field's value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Bytes of the body, if it says so.
    pub(super) fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
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
        assert_eq!(Head::take(&mut b"HTTP/1.1 200 OK\r\n".to_vec()), Ok(None));
        assert!(Head::take(&mut b"data: x\r\n\r\n".to_vec()).is_err());
    }
}
