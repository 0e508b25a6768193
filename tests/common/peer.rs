//! A peer with the bytes in hand: sends what it likes, reads answers strictly.

use super::PATIENCE;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The value of a field that occurs at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = all.next();
        assert!(all.next().is_none(), "{name} occurs twice: {:?}", self.fields);
        first.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let mut parts = status_line.splitn(3, ' ');
        let version = parts.next().unwrap().to_owned();
        let status = parts.next().expect("a status").parse().expect("a number");
        let fields = lines.map(field).collect();
        Self { version, status, fields, body: Vec::new(), trailers: Vec::new() }
    }
}

/// A field's name and value.
pub(super) fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').expect("a colon in each field");
    assert_eq!(name.trim(), name);
    (name.to_owned(), value.trim().to_owned())
}

pub struct Peer {
    socket: TcpStream,
    held: Vec<u8>,
    /// Whether the connection ended with a reset.
    pub was_reset: bool,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("connects"))
    }

    /// From a source address of its own and with a small receive buffer, where wanted.
    pub fn connect_from(
        address: SocketAddr,
        source: Option<IpAddr>,
        receive_bytes: Option<usize>,
    ) -> std::io::Result<Self> {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        Ok(Self::over(socket.into()))
    }

    pub fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, held: Vec::new(), was_reset: false }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn source(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the server takes the bytes");
    }

    /// Sends what may meet a closed connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    pub fn request(&mut self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        let length = match (method, body.len()) {
            ("GET" | "HEAD" | "OPTIONS", 0) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}{length}\r\n{body}"));
        if method == "HEAD" { self.head() } else { self.response() }
    }

    /// Reads more; false at the end of the connection, orderly or not.
    pub fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.held.extend_from_slice(&piece[..n]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                self.was_reset = true;
                false
            }
            // Another test's signal: whoever calls asks again.
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; held: {:?}", self.shown())
            }
            Err(e) => panic!("read: {e}"),
        }
    }

    /// What has come within `limit`, without insisting on anything.
    pub fn fill_within(&mut self, limit: Duration) -> usize {
        let before = self.held.len();
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut piece = [0; 64 * 1024];
        if let Ok(n) = self.socket.read(&mut piece) {
            self.held.extend_from_slice(&piece[..n]);
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        self.held.len() - before
    }

    /// The head of an answer.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.try_head().unwrap_or_else(|| panic!("closed before an answer: {:?}", self.shown()))
    }

    /// The head of an answer, or none if the connection ends without a byte of one.
    pub fn try_head(&mut self) -> Option<Response> {
        loop {
            if let Some(at) = self.held.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.held.drain(..at + 4).collect();
                return Some(Response::parse(std::str::from_utf8(&head[..at]).unwrap()));
            }
            if !self.fill() {
                assert!(self.held.is_empty(), "closed inside a head: {:?}", self.shown());
                return None;
            }
        }
    }

    /// A whole answer.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        self.body(&mut response);
        response
    }

    /// The body of an answer whose head was read.
    pub fn body(&mut self, response: &mut Response) {
        let whole = self.try_body(response);
        assert!(whole, "closed inside a body: {:?}", self.shown());
    }

    /// All until the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.held)
    }

    /// Waits for the end of the connection, with nothing more coming.
    #[track_caller]
    pub fn assert_closes(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Bytes that came and were not read yet.
    pub fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.held[..self.held.len().min(2000)]).into_owned()
    }
}
