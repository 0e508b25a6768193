//! One probe: connect, ask, and look at the status.
//!
//! Invariants: one timeout for all of it. The answer is decoded like any backend's, so what could
//! not be passed on to a client is a failure here too. What follows the head is read away, within
//! bounds: to close over unread bytes would reset the connection, which servers report as errors.

use super::wire::Tls;
use super::wire::Wire;
use crate::backend::Address;
use crate::config::gateway::Health;
use crate::http::Limits;
use crate::http::h1::response::ResponseDecoder;
use crate::http::h1::response::ResponseItem;
use crate::io::shortage;
use std::io;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// How long the rest of an answer may take.
const LINGER: Duration = Duration::from_millis(500);

/// Why a probe brought no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The endpoint is not well, and why.
    #[error("{0}")]
    Ill(String),
    /// This host lacks something, so nothing was learned of the endpoint.
    #[error("nothing was asked: {0}")]
    Unasked(String),
}

impl Failure {
    fn connect(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) if shortage::of_either(errno) => Self::Unasked(error.to_string()),
            _ => Self::Ill(format!("cannot connect: {error}")),
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Ill(why)
    }
}

/// What an endpoint is asked, and which statuses are right.
pub(super) struct Probe {
    request: Vec<u8>,
    tls: Option<Tls>,
    statuses: (u16, u16),
}

impl Probe {
    /// The probe of an endpoint whose place is `host`.
    pub(super) fn new(health: &Health, host: &str, tls: Option<Tls>) -> Self {
        let host = health.host.as_deref().unwrap_or(host);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate/{} (health probe)\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            health.path,
            env!("CARGO_PKG_VERSION"),
        );
        Self { request: request.into_bytes(), tls, statuses: health.statuses }
    }

    /// Asks once.
    ///
    /// # Errors
    /// The endpoint is not well, or cannot be asked.
    pub(super) async fn run(&self, address: &Address, timeout: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(timeout, self.connect_and_ask(address)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Ill(format!("no answer within {} ms", timeout.as_millis()))),
        }
    }

    async fn connect_and_ask(&self, address: &Address) -> Result<(), Failure> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(Failure::connect)?;
                Ok(self.ask(Wire::open(stream, self.tls.as_ref()).await?).await?)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(Failure::connect)?;
                Ok(self.ask(Wire::open(stream, self.tls.as_ref()).await?).await?)
            }
        }
    }

    async fn ask<S>(&self, mut wire: Wire<S>) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        wire.send(&self.request).await?;
        let mut decoder = ResponseDecoder::new();
        decoder.expect(false);
        let mut plain = Vec::new();
        loop {
            plain.clear();
            if !wire.receive(&mut plain).await? {
                return Err("the connection ended before the head of the answer".into());
            }
            let mut input = plain.as_slice();
            while !input.is_empty() {
                match decoder.decode(&mut input, &Limits::default()) {
                    Err(fault) => return Err(format!("the answer is malformed: {fault}")),
                    Ok(ResponseItem::Head(head)) => {
                        let result = self.judge(head.status());
                        // Whatever happens to the rest, the answer is known.
                        let _ = tokio::time::timeout(LINGER, wire.read_away()).await;
                        return result;
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    fn judge(&self, status: u16) -> Result<(), String> {
        let (first, last) = self.statuses;
        if (first..=last).contains(&status) {
            return Ok(());
        }
        Err(format!("status {status} is not within {first} and {last}"))
    }
}
