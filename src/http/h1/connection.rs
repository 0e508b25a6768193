//! What the options of `Connection` say about the connection (RFC 9112 section 9.3).
//!
//! Invariants: `close` wins over everything; an option that nobody knows changes nothing.

use crate::http::Version;

/// The options of all `Connection` fields of one head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    /// `upgrade` is among them.
    pub(super) upgrade: bool,
}

impl Connection {
    /// Takes one field into account; other fields pass.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) {
        if !name.eq_ignore_ascii_case("connection") {
            return;
        }
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// Whether the sender wants to go on after this message.
    pub(super) fn keeps(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}
