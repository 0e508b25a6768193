//! The backend's end of a connection: requests in, bytes out, and whether the peer is still there.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::time::Duration;

/// A connection and the bytes that came early.
pub(crate) struct Wire {
    stream: TcpStream,
    early: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, early: Vec::new() }
    }

    /// Head and body of the next request; `None`: the connection ended.
    pub(crate) fn request(&mut self) -> Option<(String, String)> {
        self.stream.set_read_timeout(None).ok()?;
        let mut block = [0; 4096];
        loop {
            if let Some(end) = self.early.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.early[..end].to_vec()).unwrap();
                let lower = head.to_ascii_lowercase();
                assert!(!lower.contains("\ntransfer-encoding:"), "clients name a length: {head}");
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
                let whole = end + 4 + length.map_or(0, |digits| digits.parse().unwrap());
                if self.early.len() >= whole {
                    let rest = self.early.split_off(whole);
                    let body = String::from_utf8(self.early[end + 4..].to_vec()).unwrap();
                    self.early = rest;
                    return Some((head, body));
                }
            }
            match self.stream.read(&mut block) {
                Ok(count @ 1..) => self.early.extend_from_slice(&block[..count]),
                _ => return None,
            }
        }
    }

    /// Whether the bytes could be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Whether the connection lives on for this time; tells as soon as it does not.
    pub(crate) fn lives_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut block = [0; 4096];
        match self.stream.read(&mut block) {
            Ok(0) => false,
            Ok(count) => panic!("{count} bytes while an answer is under way"),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Ends the connection in the middle of an answer.
    pub(crate) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
