//! The values that labels may take: closed sets, each variant with its text and its meaning.
//!
//! Invariants: `ALL` lists a set's variants in order of declaration, and `index` is a variant's
//! place in it.

/// Declares a label: its name in the exposition, and its values.
macro_rules! label {
    (
        $(#[$doc:meta])* $set:ident $name:literal {
            $($(#[$help:meta])* $variant:ident $text:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $set { $($(#[$help])* $variant,)* }

        impl $set {
            /// The label's name.
            pub const NAME: &'static str = $name;
            /// All values, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The text of all values, in order.
            pub const TEXTS: &'static [&'static str] = &[$($text,)*];

            /// The value's text in metrics and logs.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value's place in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// Why a connection ended. Every ending of a connection has exactly one.
    CloseReason "reason" {
        /// The peer shut its side in an orderly way.
        PeerGone "peer_gone",
        /// The connection failed: a reset, or the network gave up.
        PeerReset "peer_reset",
        /// The last response said that the connection would close.
        Answered "answered",
        /// The request could not be parsed, or its framing was ambiguous.
        BadRequest "bad_request",
        /// A limit was exceeded: head, body, pipelined requests.
        OverLimit "over_limit",
        /// The head of a request was not complete in time.
        HeadTimeout "head_timeout",
        /// A request's body was not complete in time.
        BodyTimeout "body_timeout",
        /// No further request arrived in time.
        KeepAliveTimeout "keep_alive_timeout",
        /// The peer took no bytes for the write timeout.
        WriteTimeout "write_timeout",
        /// The client lagged more than its limit, and the policy was to close.
        LagClosed "lag_closed",
        /// The worker's budget for unsent bytes was spent, and this client lagged most.
        UnsentBudget "unsent_budget",
        /// The maximum age of a connection was reached.
        AgeLimit "age_limit",
        /// The client's token expired.
        TokenExpired "token_expired",
        /// The process drained, and this client's turn had come.
        Drained "drained",
        /// The process drained, and its time was over.
        DrainDeadline "drain_deadline",
        /// Between two requests when the kernel ran out of descriptors or memory.
        Shed "shed",
        /// A backend's response, or a tunnel, was passed on to its end, which ends the connection.
        RelayDone "relay_done",
        /// A response could not be passed on to its end: its backend failed or was late.
        RelayCut "relay_cut",
        /// The upstream stream said that there will be nothing more.
        UpstreamEnded "upstream_ended",
    }
}

label! {
    /// What a request asked for.
    RequestKind "kind" {
        /// An event stream.
        Subscribe "subscribe",
        /// A publish.
        Publish "publish",
        /// A preflight of a cross-origin request.
        Preflight "preflight",
        /// The page at `/` and what belongs to it.
        Page "page",
        /// A shared event stream, by a route.
        Fanout "fanout",
        /// Whatever a backend answers, by a route.
        Proxy "proxy",
        /// A fixed answer, by a route.
        Respond "respond",
        /// A redirect, by a route.
        Redirect "redirect",
        /// No route matched, or the one that did leads nowhere.
        Unrouted "unrouted",
        /// A path or method that does not exist.
        Other "other",
        /// Not to be understood.
        Malformed "malformed",
    }
}

label! {
    /// The first digit of a status.
    StatusClass "status" {
        /// Success.
        Success "2xx",
        /// Redirection, not modified.
        Redirect "3xx",
        /// The client's fault.
        Client "4xx",
        /// Our fault.
        Server "5xx",
    }
}

impl StatusClass {
    /// The class of a status; what is below 300 counts as success.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            0..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::Client,
            _ => Self::Server,
        }
    }
}

label! {
    /// Why a connection was refused at accept.
    RefuseReason "reason" {
        /// The limit of connections in total.
        Total "total",
        /// The limit of connections of one address.
        Address "address",
    }
}

label! {
    /// Why the kernel could not accept.
    AcceptFailure "cause" {
        /// `EMFILE` or `ENFILE`: no descriptor left.
        Descriptors "descriptors",
        /// `ENOBUFS` or `ENOMEM`: no memory for a socket.
        Memory "memory",
        /// Anything else.
        Other "other",
    }
}

label! {
    /// Why a client cannot have everything that it asked for.
    GapReason "reason" {
        /// The id that it resumed from is unknown.
        UnknownId "unknown_id",
        /// What follows its id is no longer in the history.
        HistoryEnd "history_end",
        /// It lagged too far, and its cursor jumped to the tail.
        LagSkip "lag_skip",
        /// It lagged too far, and got the newest event of each topic.
        LagLatest "lag_latest",
    }
}

label! {
    /// What was done about a client past its lag limit.
    LagAction "policy" {
        /// Its connection was closed.
        Close "close",
        /// Its cursor jumped to the tail.
        Skip "skip",
        /// It got the newest event of each topic.
        Latest "latest",
    }
}

label! {
    /// How a connect ended.
    ConnectResult "result" {
        /// Connected, TLS included.
        Success "success",
        /// Refused, reset or unreachable.
        Failed "failed",
        /// Not done in time.
        Timeout "timeout",
        /// Connected, but TLS failed.
        Tls "tls",
    }
}

label! {
    /// Whether something small worked.
    Outcome "result" {
        /// It did.
        Success "success",
        /// It did not.
        Failure "failure",
    }
}

label! {
    /// Why an upstream stream failed or ended.
    UpstreamFailure "cause" {
        /// The name of its host has no address.
        Dns "dns",
        /// No connection: refused, reset or unreachable, or no healthy endpoint.
        Connect "connect",
        /// TLS failed: the certificate, or the handshake.
        Tls "tls",
        /// No connection, no head or no byte in time.
        Timeout "timeout",
        /// The status was none that a stream begins with.
        Status "status",
        /// The media type was not `text/event-stream`.
        Type "type",
        /// The response could not be parsed.
        Protocol "protocol",
        /// An event exceeded its limit.
        EventTooLarge "event_too_large",
        /// A redirect led nowhere, elsewhere, or too often.
        Redirect "redirect",
        /// The stream ended, in an orderly way or not.
        Ended "ended",
    }
}

label! {
    /// Why an exchange with a backend ended.
    RelayEnd "reason" {
        /// The response was passed on whole.
        Done "done",
        /// A tunnel was closed by one of its ends.
        TunnelDone "tunnel_done",
        /// The client went away first.
        ClientGone "client_gone",
        /// The client's request could not be passed on whole: its framing was broken.
        BadRequest "bad_request",
        /// The client's request was not complete, or the client took no bytes, in time.
        ClientTimeout "client_timeout",
        /// No endpoint could be used, or none could be connected to.
        Unavailable "unavailable",
        /// The backend ended the connection before the response was complete.
        BackendGone "backend_gone",
        /// The backend's response could not be parsed.
        Malformed "malformed",
        /// The backend's response, or its head, was late.
        Timeout "timeout",
        /// Nothing moved for the idle timeout.
        Idle "idle",
        /// The process drained.
        Drained "drained",
    }
}

label! {
    /// Which way bytes go.
    Direction "direction" {
        /// From the client to the backend.
        Request "request",
        /// From the backend to the client.
        Response "response",
    }
}

label! {
    /// The stages of a worker's turn.
    Stage "stage" {
        /// Taking answers from the kernel, without the sleep.
        Reap "reap",
        /// Accepting, receiving, answering requests, appending what was published.
        Intake "intake",
        /// Appending new events to feeds.
        Route "route",
        /// Sending from cursors to tails.
        Sweep "sweep",
        /// Deadlines and the scan for heartbeats.
        Timers "timers",
        /// Waiting for work.
        Sleep "sleep",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_class() {
        let classes = [100, 200, 204, 304, 404, 503].map(|s| StatusClass::of(s).text());
        assert_eq!(classes, ["2xx", "2xx", "2xx", "3xx", "4xx", "5xx"]);
    }

    #[test]
    fn texts_and_places_agree() {
        for (n, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), n);
            assert_eq!(CloseReason::TEXTS[n], reason.text());
        }
    }
}
