//! One request at a server behind the gateway, for its handler to answer.

use super::origin::Asked;
use super::origin::State;
use super::socket::Socket;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It takes another request.
    Keep,
    /// It closes.
    Close,
    /// It ends with a reset.
    Reset,
}

pub struct Call<'c> {
    /// Its number among all requests of this server.
    pub number: usize,
    pub asked: Asked,
    state: &'c Arc<State>,
    socket: &'c mut Socket,
    held: &'c mut Vec<u8>,
}

impl<'c> Call<'c> {
    /// The next request of a connection, or none at its end.
    pub(super) fn read(
        connection: usize,
        socket: &'c mut Socket,
        held: &'c mut Vec<u8>,
        state: &'c Arc<State>,
    ) -> Option<Self> {
        let end = loop {
            if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            fill(socket, held).filter(|n| *n > 0)?;
        };
        let head = String::from_utf8_lossy(&held.drain(..end + 4).collect::<Vec<_>>()).into_owned();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let mut asked = Asked { connection, ..Asked::default() };
        asked.method = words.next().unwrap_or_default();
        asked.target = words.next().unwrap_or_default();
        asked.version = words.next().unwrap_or_default();
        asked.fields = fields(lines);
        let coded = !asked.all("transfer-encoding").is_empty();
        asked.whole = !coded && asked.all("content-length").iter().all(|length| *length == "0");
        let mut all = state.asked.lock().unwrap();
        let number = all.len();
        all.push(asked.clone());
        drop(all);
        Some(Self { number, asked, state, socket, held })
    }

    /// How many of the requests before this one were like that.
    pub fn before(&self, like: impl Fn(&Asked) -> bool) -> usize {
        let all = self.state.asked.lock().unwrap();
        all[..self.number].iter().filter(|asked| like(asked)).count()
    }

    /// Sends, as far as the peer takes it; whether it took all.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).and_then(|()| self.socket.flush()).is_ok()
    }

    /// The same where it does not matter.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.send(bytes);
    }

    /// A whole answer with a length, after which the connection can be kept.
    pub fn respond(&mut self, status: u16, fields: &str, body: impl AsRef<[u8]>) -> Next {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\n\r\n");
        let mut bytes = head.into_bytes();
        if self.asked.method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        if self.send(bytes) { Next::Keep } else { Next::Close }
    }

    /// No more is sent; the peer may still send.
    pub fn shut_write(&mut self) {
        self.socket.notify_close();
        self.socket.shut_write();
    }

    /// Ends the TLS session in an orderly way.
    pub fn notify_close(&mut self) {
        self.socket.notify_close();
    }

    /// Reads the body to its end; whether there was one.
    pub fn read_body(&mut self) -> bool {
        while !self.asked.whole {
            if self.read_some().is_none() {
                return false;
            }
        }
        true
    }

    /// The next piece of the body; none at its end, and if it was cut or malformed.
    pub fn read_some(&mut self) -> Option<Vec<u8>> {
        if self.asked.whole {
            return None;
        }
        let piece = if self.asked.all("transfer-encoding").is_empty() {
            let length = self.asked.field("content-length")?.parse::<usize>().ok()?;
            self.sized(length - self.asked.body.len())?
        } else {
            self.chunk()?
        };
        self.asked.body.extend_from_slice(&piece);
        let mut all = self.state.asked.lock().unwrap();
        let record = &mut all[self.number];
        record.body.extend_from_slice(&piece);
        record.whole = self.asked.whole;
        record.trailers.clone_from(&self.asked.trailers);
        Some(piece)
    }

    fn sized(&mut self, left: usize) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            fill(self.socket, self.held).filter(|n| *n > 0)?;
        }
        let n = left.min(self.held.len());
        self.asked.whole = n == left;
        Some(self.held.drain(..n).collect())
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).ok()?;
        if size > 0 {
            while self.held.len() < size + 2 {
                fill(self.socket, self.held).filter(|n| *n > 0)?;
            }
            let piece = self.held.drain(..size).collect();
            return self.line()?.is_empty().then_some(piece);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            trailers.push(line);
        }
        self.asked.trailers = fields(trailers.iter().map(String::as_str));
        self.asked.whole = true;
        Some(Vec::new())
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.held.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).ok();
            }
            fill(self.socket, self.held).filter(|n| *n > 0)?;
        }
    }

    /// Bytes that come, whatever they mean; none at the end.
    pub fn read_raw(&mut self) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            fill(self.socket, self.held).filter(|n| *n > 0)?;
        }
        Some(std::mem::take(self.held))
    }

    /// Waits until the peer goes; whether that was orderly: behind TLS it says so before.
    pub fn ends_orderly(&mut self) -> bool {
        self.drain().1
    }

    /// Takes all that comes; how many bytes that was, and whether the end was orderly.
    pub fn drain(&mut self) -> (usize, bool) {
        let mut count = 0;
        loop {
            count += std::mem::take(self.held).len();
            match fill(self.socket, self.held) {
                Some(0) => return (count, true),
                Some(_) => {}
                None => return (count, false),
            }
        }
    }

    /// Waits until the peer goes, and notes when that was.
    pub fn hold(&mut self) -> Next {
        while fill(self.socket, self.held).is_some_and(|n| n > 0) {}
        self.state.gone.lock().unwrap().push((self.number, Instant::now()));
        Next::Close
    }

    /// Whether nobody waits for an answer any more.
    pub fn is_over(&mut self) -> bool {
        if self.state.stopped.load(SeqCst) {
            return true;
        }
        self.socket.set_read_timeout(Some(Duration::from_millis(1)));
        let mut byte = [0];
        let peeked = match &*self.socket {
            Socket::Unix(_) => return false,
            other => other.tcp().unwrap().peek(&mut byte),
        };
        self.socket.set_read_timeout(None);
        match peeked {
            Ok(n) => n == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

fn fields<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<(String, String)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_owned(), value.trim().to_owned())
    };
    lines.map(split).collect()
}

/// Reads more; 0 at the end, none if it was no orderly one.
fn fill(socket: &mut Socket, held: &mut Vec<u8>) -> Option<usize> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match socket.read(&mut piece) {
            Ok(n) => {
                held.extend_from_slice(&piece[..n]);
                return Some(n);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
