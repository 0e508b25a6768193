//! Our side of one connection to a server.
//!
//! Invariants:
//! 1. What is given to `receive` is taken whole. The library takes some kilobytes at a time, and
//!    after each of them plain bytes are handed out, so that it never holds more than a record.
//! 2. What is sealed leaves the library in the same call.
//! 3. The first fault is the last: every later call repeats it.

use super::fault::{SettingsFault, TlsFault};
use super::settings::ClientSettings;
use crate::base::sync::Arc;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{BufRead, Write};

/// Bytes that the library holds for us at most. Nothing comes near it, see (2).
const BUFFER_MAX: usize = 64 * 1024;
/// Bytes sealed at a time: a record's.
const RECORD_BYTES: usize = 16 * 1024;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsState {
    /// Nothing can be sealed yet.
    Handshaking,
    /// Bytes flow both ways.
    Established,
    /// The server has said that it sends no more (close_notify). We may go on.
    Ended,
}

/// A connection to a server.
pub struct Client {
    /// More than a kilobyte: apart, since most connections do without TLS.
    tls: Box<ClientConnection>,
    /// The server has said close_notify.
    ended: bool,
    /// We have.
    closed: bool,
    fault: Option<TlsFault>,
}

impl Client {
    /// A connection whose server must prove to be `server_name`, a host name or an IP address. Its
    /// first message waits in [`transmit`](Self::transmit).
    ///
    /// # Errors
    /// The name is neither.
    pub fn new(settings: &ClientSettings, server_name: &str) -> Result<Self, SettingsFault> {
        let bad = || SettingsFault::ServerName { name: server_name.to_owned() };
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| bad())?;
        let tls = ClientConnection::new(Arc::clone(&settings.config), name);
        let mut tls = Box::new(tls.map_err(|_| bad())?);
        tls.set_buffer_limit(Some(BUFFER_MAX));
        Ok(Self { tls, ended: false, closed: false, fault: None })
    }

    /// Takes what has arrived, all of it, and appends what it says. Bytes after the server's end
    /// are ignored. Call `transmit` afterwards, also after a fault.
    ///
    /// # Errors
    /// The connection is of no use any more. What came in order before is in `plain`.
    pub fn receive(
        &mut self,
        sealed: &mut &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<TlsState, TlsFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        while !sealed.is_empty() && !self.ended {
            if let Err(fault) = self.step(sealed, plain) {
                self.fault = Some(fault.clone());
                return Err(fault);
            }
        }
        *sealed = &[];
        Ok(match self.tls.is_handshaking() {
            _ if self.ended => TlsState::Ended,
            true => TlsState::Handshaking,
            false => TlsState::Established,
        })
    }

    /// A few kilobytes of it.
    fn step(&mut self, sealed: &mut &[u8], plain: &mut Vec<u8>) -> Result<(), TlsFault> {
        let too_large = |_| TlsFault::Protocol { cause: "a message is too large".to_owned() };
        self.tls.read_tls(sealed).map_err(too_large)?;
        let done = self.tls.process_new_packets();
        let mut reader = self.tls.reader();
        while let Ok(piece @ [_, ..]) = reader.fill_buf() {
            plain.extend_from_slice(piece);
            let count = piece.len();
            reader.consume(count);
        }
        let greeted = self.tls.protocol_version().is_some();
        let state = done.map_err(|error| TlsFault::of(&error, greeted))?;
        self.ended = state.peer_has_closed();
        Ok(())
    }

    /// Appends what TLS itself has to send: the handshake, answers, alerts.
    pub fn transmit(&mut self, sealed: &mut Vec<u8>) {
        while self.tls.wants_write() && self.tls.write_tls(sealed).is_ok_and(|count| count > 0) {}
    }

    /// Appends `plain`, sealed: some 22 bytes more for each 16 KiB of it.
    ///
    /// # Errors
    /// It is not established (any more), or its keys are used up; then what was appended is cut.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), TlsFault> {
        if !self.is_established() {
            return Err(self.fault.clone().unwrap_or(TlsFault::NotEstablished));
        }
        // What was waiting goes first, and leaves room for a record.
        self.transmit(sealed);
        for piece in plain.chunks(RECORD_BYTES) {
            let before = sealed.len();
            let taken = self.tls.writer().write(piece);
            self.transmit(sealed);
            // Out of keys, the library drops what it was given and says close_notify instead.
            let whole = sealed.len() - before > piece.len();
            if !whole || !taken.is_ok_and(|count| count == piece.len()) {
                self.fault = Some(TlsFault::KeysExhausted);
                return Err(TlsFault::KeysExhausted);
            }
        }
        Ok(())
    }

    /// Appends close_notify: we send no more. The server may go on.
    pub fn close(&mut self, sealed: &mut Vec<u8>) {
        if !self.closed {
            self.closed = true;
            self.tls.send_close_notify();
        }
        self.transmit(sealed);
    }

    /// Whether bytes can be sealed.
    #[must_use]
    pub fn is_established(&self) -> bool {
        !self.tls.is_handshaking() && !self.closed && self.fault.is_none()
    }

    /// What the end of the TCP connection means.
    ///
    /// # Errors
    /// It is a cut, in the handshake or later, or the fault that was told before.
    pub fn end(&self) -> Result<(), TlsFault> {
        match &self.fault {
            _ if self.ended => Ok(()),
            Some(fault) => Err(fault.clone()),
            None if self.tls.is_handshaking() => Err(TlsFault::CutInHandshake),
            None => Err(TlsFault::Cut),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("established", &self.is_established())
            .field("ended", &self.ended)
            .field("closed", &self.closed)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
