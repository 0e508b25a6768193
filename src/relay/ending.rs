//! How an exchange goes on, and how it ends: one typed reason each, and what becomes of the two
//! connections.
//!
//! Invariants: every exchange ends exactly once, with one [`End`]. What the client must be able to
//! tell apart (whole or cut) is decided here and nowhere else: [`ClientNext`].

/// What a call led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The exchange goes on.
    On,
    /// The attempt failed and may be repeated: close the backend's connection, drop what was not
    /// sent to it, and connect again; then `connected`, or `attempt_failed`.
    Retry,
    /// The exchange is over. Send what is left for the client, then do as
    /// [`super::Relay::client_next`] and [`super::Relay::backend_reusable`] say.
    Over(End),
}

/// Why an exchange is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The response was passed on whole.
    Completed,
    /// The response was passed on whole, the request was not: both connections close.
    Early,
    /// A tunnel came to its end.
    Upgraded,
    /// The client left before the end.
    ClientGone,
    /// The client's body broke its framing.
    ClientFault,
    /// No endpoint could take the request.
    NoEndpoint,
    /// No connection to the backend came about.
    ConnectFailed,
    /// None came about in time.
    ConnectTimeout,
    /// The backend's connection ended before the head of its response.
    BackendLost,
    /// It ended inside the response: the client's copy is cut as well.
    BackendTruncated,
    /// The backend's bytes were no response.
    BackendFault,
    /// A timer ran out.
    TimedOut(Timer),
    /// Ended from here: shutdown, or the end of a drain.
    Cancelled,
}

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The whole exchange.
    Request,
    /// Silence of the client before its body was complete.
    RequestBody,
    /// One attempt, up to the response's head.
    BackendRequest,
    /// From the request's end to the response's head.
    ResponseHead,
    /// Silence of a response's body, or of a tunnel.
    Idle,
}

impl End {
    /// Whether the endpoint is to blame: what counts against its health.
    #[must_use]
    pub const fn blames_backend(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::BackendLost
                | Self::BackendTruncated
                | Self::BackendFault
                | Self::TimedOut(Timer::BackendRequest | Timer::ResponseHead)
        )
    }

    /// Whether the end shows that the endpoint is well: it brought its answer to an end. A silence,
    /// a drain or a client's fault shows nothing, and must not end an ejection.
    #[must_use]
    pub const fn credits_backend(self) -> bool {
        matches!(self, Self::Completed | Self::Early | Self::Upgraded)
    }
}

/// Why an attempt came to nothing before the backend had a byte of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No endpoint is ready, or none may take more: 503, never repeated.
    NoEndpoint,
    /// Refused, unreachable, or not who it should be (TLS): 502.
    Failed,
    /// It took longer than the connect timeout: 504.
    Timeout,
}

impl Cause {
    /// The answer: status and text, and the reason.
    pub(super) const fn answer(self) -> (u16, &'static str, End) {
        match self {
            Self::NoEndpoint => (503, "no backend is ready", End::NoEndpoint),
            Self::Failed => (502, "no connection to the backend", End::ConnectFailed),
            Self::Timeout => (504, "no connection to the backend in time", End::ConnectTimeout),
        }
    }
}

/// How the backend's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// In an orderly way: FIN, after `close_notify` where there is TLS.
    Clean,
    /// By a reset, an error, or a FIN without `close_notify`: what came may be cut (X3).
    Broken,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientNext {
    /// It takes another request: [`super::Relay::into_decoder`] has the state for it.
    Keep,
    /// Send what is left, then close. If the response was cut, its framing shows it.
    Close,
    /// Send what is left, then reset: only a reset shows that a body which ends with the connection
    /// was cut (X3).
    Reset,
}
