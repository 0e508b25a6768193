//! TLS without I/O: sealed bytes in, plain bytes out, and the other way round.
//!
//! ```text
//!            receive ──▶ plain                plain ──▶ seal
//!  sealed ──▶  ┌──────────────────────────────────────┐  ──▶ sealed
//!              │ Client: handshake, records, alerts   │
//!              └──────────────────────────────────────┘  transmit: what TLS itself has to say
//! ```
//!
//! One connection is driven like this: [`Client::new`], `transmit`; then for all that arrives
//! `receive` and `transmit`, and once it is established `seal`. When the other side ends the TCP
//! connection, [`Client::end`] tells an end from a cut. After a fault `transmit` gives the alert
//! that tells the server why; send it if there is room, and close.
//!
//! Invariants:
//! 1. No type of the library behind it shows, so that it can be replaced.
//! 2. Nothing is buffered here but a record or a message of the handshake that has not arrived
//!    whole. Plain bytes are handed out in the call that decodes them, never more than were given.
//! 3. A server is trusted for a chain to the given roots and for its name, always; there is no way
//!    to do without (L6). TLS 1.2 and 1.3 only, no early data, no renegotiation (L1, L4).
//! 4. The end of a connection is an end only after close_notify (L5, X3).
//! 5. Keys reach no `Debug`, no error and no log.

mod client;
mod fault;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{Client, TlsState};
pub use fault::{SettingsFault, TlsFault};
pub use settings::{Alpn, ClientSettings, Identity, Roots};
