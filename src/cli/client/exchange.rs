//! One request and its response on one connection: the only part of the client with a socket.
//!
//! Invariants: every wait has a limit. The body is handed out as it comes, nothing is held back.
//! The end of the connection is the end of the body only where the framing allows it.

use super::response::Body;
use super::response::HEAD_BYTES_MAX;
use super::response::Head;
use super::response::ResponseError;
use super::url::Url;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::ops::Range;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no response, or no more of it. All of it may be gone at the next attempt, except
/// what `Response` says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The host name means nothing.
    #[error("cannot resolve `{host}`: {cause}: check the host name")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        cause: io::Error,
    },
    /// No connection.
    #[error("cannot connect to {authority}: {cause}: is the server running there?")]
    Connect {
        /// Host and port.
        authority: String,
        /// Why.
        cause: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Nothing came for too long.
    #[error("the server was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection ended inside the response.
    #[error("the server closed the connection before the response was complete")]
    CutOff,
    /// The response is larger than the caller wants.
    #[error("the response is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// What came is no response.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

/// What to send. Header names and values are the caller's to check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    /// How long the server may be silent inside the body; `None`: for ever.
    pub(crate) idle_timeout: Option<Duration>,
}

/// A response whose head is there and whose body is being read.
#[derive(Debug)]
pub(crate) struct Exchange {
    stream: TcpStream,
    head: Head,
    body: Body,
    idle_timeout: Option<Duration>,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet handed out.
    unread: Range<usize>,
}

impl Exchange {
    /// Connects, sends the request, waits for the response's head.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) fn open(request: &Request<'_>) -> Result<Self, ClientError> {
        let mut stream = connect(request.url)?;
        let timeouts = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)))
            .and_then(|()| stream.set_read_timeout(Some(HEAD_TIMEOUT)));
        timeouts.map_err(ClientError::Broken)?;
        // A server may answer and close before it has read a long body: its answer counts.
        let sent = stream.write_all(&wire(request));
        let mut buffer = vec![0; HEAD_BYTES_MAX];
        let mut filled = 0;
        let (head, length) = loop {
            match Head::parse(buffer.get(..filled).unwrap_or_default())? {
                Some((head, length)) if (100..200).contains(&head.status) => {
                    buffer.copy_within(length..filled, 0);
                    filled -= length;
                }
                Some(found) => break found,
                None => {
                    let rest = buffer.get_mut(filled..).unwrap_or_default();
                    match read(&mut stream, rest, HEAD_TIMEOUT) {
                        Ok(0) => return Err(sent.err().map_or(ClientError::CutOff, broken)),
                        Ok(count) => filled += count,
                        Err(error) => return Err(sent.err().map_or(error, broken)),
                    }
                }
            }
        };
        let body = Body::of(&head)?;
        let idle_timeout = request.idle_timeout;
        stream.set_read_timeout(idle_timeout).map_err(ClientError::Broken)?;
        Ok(Self { stream, head, body, idle_timeout, buffer, unread: length..filled })
    }

    /// The response's status.
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// The first header of this lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The next bytes of the body, as soon as there are any; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, was silent for too long, or ended too early.
    pub(crate) fn piece(&mut self) -> Result<Option<&[u8]>, ClientError> {
        loop {
            let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
            if !unread.is_empty() {
                let step = self.body.next(unread)?;
                let start = self.unread.start;
                self.unread.start += step.taken;
                if !step.payload.is_empty() {
                    let payload = start + step.payload.start..start + step.payload.end;
                    return Ok(Some(self.buffer.get(payload).unwrap_or_default()));
                }
                continue;
            }
            if self.body == Body::Done {
                return Ok(None);
            }
            let silence = self.idle_timeout.unwrap_or_default();
            let count = read(&mut self.stream, &mut self.buffer, silence)?;
            self.unread = 0..count;
            if count == 0 {
                return if self.body.may_end() { Ok(None) } else { Err(ClientError::CutOff) };
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Exchange::piece`], or it is longer than `bytes_max`.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            if body.len() + piece.len() > bytes_max {
                return Err(ClientError::TooLong { bytes_max });
            }
            body.extend_from_slice(piece);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// What a server said to a refusal, made fit for one line of a terminal.
pub(crate) fn said(answer: &str) -> String {
    let line = answer.lines().next().unwrap_or("").trim();
    let plain: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.is_empty() { plain } else { format!(", \"{plain}\"") }
}

fn connect(url: &Url) -> Result<TcpStream, ClientError> {
    let resolve = |cause| ClientError::Resolve { host: url.host.clone(), cause };
    let addresses = (url.host.as_str(), url.port).to_socket_addrs().map_err(resolve)?;
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(ClientError::Connect { authority: url.authority(), cause: last })
}

fn wire(request: &Request<'_>) -> Vec<u8> {
    let Request { method, url, headers, body, .. } = request;
    let mut text = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", url.target, url.authority());
    text.push_str("Accept-Encoding: identity\r\nConnection: close\r\n");
    for (name, value) in *headers {
        for part in [*name, ": ", *value, "\r\n"] {
            text.push_str(part);
        }
    }
    if *method != "GET" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn broken(cause: io::Error) -> ClientError {
    ClientError::Broken(cause)
}

fn read(stream: &mut TcpStream, into: &mut [u8], silence: Duration) -> Result<usize, ClientError> {
    loop {
        match stream.read(into) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(ClientError::Silent(silence));
            }
            Err(error) => return Err(broken(error)),
        }
    }
}
