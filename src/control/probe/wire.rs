//! The bytes of a probe on their way: over a stream as they are, or sealed by TLS.
//!
//! Invariants: where TLS is asked for nothing goes out without it (L6). An end of a sealed stream
//! counts as an end only if the server said so (L5).

use crate::tls::Client;
use crate::tls::ClientSettings;
use crate::tls::TlsFault;
use std::io;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;

/// Bytes of the rest of an answer that are read away.
const REST_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 4096;

/// Whom TLS is spoken with, and how.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) server_name: String,
    /// `None`: they could not be made, so every probe fails.
    pub(super) settings: Option<ClientSettings>,
}

/// One connection.
pub(super) struct Wire<S> {
    stream: S,
    tls: Option<Client>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection on which bytes can be sent: after the handshake, if there is one.
    ///
    /// # Errors
    /// The handshake failed, and why.
    pub(super) async fn open(stream: S, tls: Option<&Tls>) -> Result<Self, String> {
        let Some(tls) = tls else { return Ok(Self { stream, tls: None }) };
        let Some(settings) = &tls.settings else { return Err("no settings for TLS".into()) };
        let client = Client::new(settings, &tls.server_name).map_err(|e| e.to_string())?;
        let mut wire = Self { stream, tls: Some(client) };
        wire.answer().await?;
        while wire.tls.as_ref().is_some_and(|client| !client.is_established()) {
            // Plain bytes cannot come before the request was sent.
            if !wire.receive(&mut Vec::new()).await? {
                return Err(failed_tls(&TlsFault::CutInHandshake));
            }
        }
        Ok(wire)
    }

    pub(super) async fn send(&mut self, plain: &[u8]) -> Result<(), String> {
        let Some(client) = &mut self.tls else {
            return self.stream.write_all(plain).await.map_err(failed);
        };
        let mut sealed = Vec::new();
        client.seal(plain, &mut sealed).map_err(|fault| failed_tls(&fault))?;
        self.stream.write_all(&sealed).await.map_err(failed)
    }

    /// Appends what comes next, which may be nothing yet; false at the end.
    pub(super) async fn receive(&mut self, plain: &mut Vec<u8>) -> Result<bool, String> {
        let mut buffer = [0; READ_BYTES];
        let length = self.stream.read(&mut buffer).await.map_err(failed)?;
        let mut bytes = buffer.get(..length).unwrap_or_default();
        let Some(client) = &mut self.tls else {
            plain.extend_from_slice(bytes);
            return Ok(length > 0);
        };
        if length == 0 {
            return client.end().map(|()| false).map_err(|fault| failed_tls(&fault));
        }
        let result = client.receive(&mut bytes, plain);
        // After a fault this tells the server why.
        let answered = self.answer().await;
        result.map_err(|fault| failed_tls(&fault))?;
        answered.map(|()| true)
    }

    /// Sends what TLS itself has to say.
    async fn answer(&mut self) -> Result<(), String> {
        let mut sealed = Vec::new();
        if let Some(client) = &mut self.tls {
            client.transmit(&mut sealed);
        }
        self.stream.write_all(&sealed).await.map_err(failed)
    }

    /// Reads to the end, within bounds.
    pub(super) async fn read_away(mut self) {
        let mut buffer = [0; READ_BYTES];
        let mut left = REST_BYTES_MAX;
        while let Ok(length @ 1..) = self.stream.read(&mut buffer).await {
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
    }
}

fn failed(error: io::Error) -> String {
    format!("connection failed: {error}")
}

fn failed_tls(fault: &TlsFault) -> String {
    format!("TLS failed: {fault}")
}
