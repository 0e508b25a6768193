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
