//! Why an upstream stream was lost: the world's or the upstream's fault.
//!
//! Invariants: no cause holds text of a peer. Each has a short name, for logs and metrics.

use crate::http::h1::response::ResponseFault;
use crate::metrics::UpstreamFailure;
use crate::sse::DecodeError;

/// Why a connection was not made, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The backend's name has no address.
    #[error("the backend's name has no address: check the upstream's url and DNS")]
    Resolve,
    /// No endpoint may be used.
    #[error("no endpoint of the backend is ready: check its health")]
    NoEndpoint,
    /// Refused, unreachable, reset.
    #[error("no connection: check that the backend listens and may be reached")]
    Connect,
    /// Handshake or certificate.
    #[error("no TLS: check the backend's certificate, its name and the authorities to trust")]
    Tls,
    /// The connection was not made in time.
    #[error("not connected in time: check the backend, or raise its connect_timeout")]
    ConnectTimeout,
    /// The response's head did not come in time.
    #[error("no response in time: check the upstream, or raise its head_timeout")]
    HeadTimeout,
    /// Silence.
    #[error("silent for too long: have the upstream send comments, or raise its idle_timeout")]
    IdleTimeout,
    /// The connection ended before the response.
    #[error("the connection ended before the response")]
    Early,
    /// The body ended in an orderly way.
    #[error("the stream ended")]
    Ended,
    /// The body ended short of its end.
    #[error("the stream was cut")]
    Cut,
    /// A status that may pass.
    #[error("answered with status {0}")]
    Status(u16),
    /// Not `text/event-stream`.
    #[error("the response is no event stream: its Content-Type must be text/event-stream")]
    ContentType,
    /// The body is encoded.
    #[error("the response is encoded, which was not asked for: have the upstream send it plain")]
    ContentEncoding,
    /// A redirect to another origin.
    #[error("redirected to another origin, which is not followed: change the upstream's url")]
    RedirectAway,
    /// Too many redirects.
    #[error("redirected too often: change the upstream's url, or raise its redirects_max")]
    RedirectOften,
    /// A redirect without a usable `Location`.
    #[error("redirected without a valid Location")]
    RedirectMalformed,
    /// The response breaks HTTP.
    #[error("the response is malformed: {0}")]
    Malformed(ResponseFault),
    /// An event or a line over its limit.
    #[error("{0}, as the upstream's event_bytes_max")]
    TooLarge(DecodeError),
    /// An id over its limit.
    #[error("an event's id is longer than {max} bytes", max = super::ID_BYTES_MAX)]
    IdTooLong,
}

/// The names, in the order of [`Cause::number`].
const NAMES: [&str; 19] = [
    "resolve",
    "no_endpoint",
    "connect",
    "tls",
    "connect_timeout",
    "head_timeout",
    "idle_timeout",
    "early",
    "ended",
    "cut",
    "status",
    "content_type",
    "content_encoding",
    "redirect_away",
    "redirect_often",
    "redirect_malformed",
    "malformed",
    "too_large",
    "id_too_long",
];

impl Cause {
    /// A short name, from a closed set.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(self.number())
    }

    /// The cause in metrics.
    #[must_use]
    pub fn label(self) -> UpstreamFailure {
        match self {
            Self::Resolve => UpstreamFailure::Dns,
            Self::NoEndpoint | Self::Connect | Self::Early => UpstreamFailure::Connect,
            Self::Tls => UpstreamFailure::Tls,
            Self::ConnectTimeout | Self::HeadTimeout | Self::IdleTimeout => {
                UpstreamFailure::Timeout
            }
            Self::Ended | Self::Cut => UpstreamFailure::Ended,
            Self::Status(_) => UpstreamFailure::Status,
            Self::ContentType => UpstreamFailure::Type,
            Self::ContentEncoding | Self::Malformed(_) | Self::IdTooLong => {
                UpstreamFailure::Protocol
            }
            Self::RedirectAway | Self::RedirectOften | Self::RedirectMalformed => {
                UpstreamFailure::Redirect
            }
            Self::TooLarge(_) => UpstreamFailure::EventTooLarge,
        }
    }

    /// The status, if one was answered.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        if let Self::Status(status) = self { Some(status) } else { None }
    }

    /// Whether the upstream broke a rule while the stream ran: no reason to come back at once,
    /// however many events came before.
    pub(super) fn is_fault(self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLarge(_) | Self::IdTooLong)
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Resolve => 0,
            Self::NoEndpoint => 1,
            Self::Connect => 2,
            Self::Tls => 3,
            Self::ConnectTimeout => 4,
            Self::HeadTimeout => 5,
            Self::IdleTimeout => 6,
            Self::Early => 7,
            Self::Ended => 8,
            Self::Cut => 9,
            Self::Status(_) => 10,
            Self::ContentType => 11,
            Self::ContentEncoding => 12,
            Self::RedirectAway => 13,
            Self::RedirectOften => 14,
            Self::RedirectMalformed => 15,
            Self::Malformed(_) => 16,
            Self::TooLarge(_) => 17,
            Self::IdTooLong => 18,
        }
    }
}

/// The name of a cause's number.
pub(super) fn name(number: u8) -> &'static str {
    NAMES.get(usize::from(number)).copied().unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_name() {
        assert_eq!(Cause::Resolve.name(), "resolve");
        assert_eq!(Cause::Ended.name(), "ended");
        assert_eq!(Cause::Status(503).name(), "status");
        assert_eq!(Cause::RedirectMalformed.name(), "redirect_malformed");
        assert_eq!(Cause::IdTooLong.name(), "id_too_long");
        assert_eq!(usize::from(Cause::IdTooLong.number()) + 1, NAMES.len());
        let error = DecodeError::EventTooLarge { bytes_max: 9 };
        assert_eq!(Cause::TooLarge(error).name(), "too_large");
        assert!(Cause::TooLarge(error).to_string().contains("9 bytes"));
    }
}
