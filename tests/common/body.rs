//! Bodies as a strict client reads them: by length, in chunks, or to the end of the connection.

use super::peer::Peer;
use super::peer::Response;
use super::peer::field;

impl Peer {
    /// Reads the body of an answer whose head was read; false if it was cut. A body that ends with
    /// the connection is cut only by a reset.
    pub fn try_body(&mut self, response: &mut Response) -> bool {
        if matches!(response.status, 100..=199 | 204 | 304) {
            return true;
        }
        if let Some(length) = response.field("content-length") {
            let length = length.parse::<usize>().unwrap();
            assert_eq!(response.field("transfer-encoding"), None, "two ways to frame a body");
            while self.held().len() < length {
                if !self.fill() {
                    response.body = std::mem::take(self.held());
                    return false;
                }
            }
            response.body = self.held().drain(..length).collect();
            return true;
        }
        let Some(coding) = response.field("transfer-encoding") else {
            response.body = self.rest();
            return !self.was_reset;
        };
        assert_eq!(coding, "chunked");
        loop {
            match self.chunk() {
                Some(piece) if piece.is_empty() => break,
                Some(piece) => response.body.extend_from_slice(&piece),
                None => return false,
            }
        }
        self.trailers(response)
    }

    /// The next chunk, empty for the last; none if the connection ends before its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c.to_ascii_lowercase());
        assert!(!line.is_empty() && line.chars().all(hex), "a chunk of size {line:?}");
        let size = usize::from_str_radix(&line, 16).unwrap();
        if size == 0 {
            return Some(Vec::new());
        }
        while self.held().len() < size + 2 {
            if !self.fill() {
                return None;
            }
        }
        let piece = self.held().drain(..size).collect();
        assert_eq!(self.held().drain(..2).collect::<Vec<_>>(), b"\r\n", "behind a chunk");
        Some(piece)
    }

    fn trailers(&mut self, response: &mut Response) -> bool {
        loop {
            match self.line() {
                None => return false,
                Some(line) if line.is_empty() => return true,
                Some(line) => response.trailers.push(field(&line)),
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held().windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.held().drain(..at + 2).collect();
                return Some(String::from_utf8(line[..at].to_vec()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }
}
