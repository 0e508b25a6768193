//! The ways by which a server behind the gateway is reached.

use super::PATIENCE;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Socket {
    pub fn prepare(&self) {
        match self {
            Self::Unix(socket) => socket.set_write_timeout(Some(PATIENCE)).unwrap(),
            Self::Tcp(_) | Self::Tls(_) => {
                let socket = self.tcp().unwrap();
                socket.set_write_timeout(Some(PATIENCE)).unwrap();
                socket.set_nodelay(true).unwrap();
            }
        }
    }

    /// A second handle of the same socket, below TLS.
    pub fn double(&self) -> Self {
        match self {
            Self::Unix(socket) => Self::Unix(socket.try_clone().unwrap()),
            Self::Tcp(socket) => Self::Tcp(socket.try_clone().unwrap()),
            Self::Tls(stream) => Self::Tcp(stream.sock.try_clone().unwrap()),
        }
    }

    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(stream) => Some(&stream.sock),
            Self::Unix(_) => None,
        }
    }

    /// No reads and writes any more, here and for other handles.
    pub fn shut(&self) {
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Tls(stream) => stream.sock.shutdown(Shutdown::Both),
        };
    }

    /// No writes any more: the peer sees the end.
    pub fn shut_write(&self) {
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
        };
    }

    /// Says that the session ends, as TLS asks for before the end of the connection.
    pub fn notify_close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
    }

    /// The close that follows is a reset.
    pub fn reset(&self) {
        if let Some(socket) = self.tcp() {
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }

    pub fn set_read_timeout(&self, limit: Option<Duration>) {
        match self {
            Self::Unix(socket) => socket.set_read_timeout(limit).unwrap(),
            Self::Tcp(socket) => socket.set_read_timeout(limit).unwrap(),
            Self::Tls(stream) => stream.sock.set_read_timeout(limit).unwrap(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.read(buf),
            Self::Tcp(socket) => socket.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.write(buf),
            Self::Tcp(socket) => socket.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Unix(socket) => socket.flush(),
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
