//! What callers have asked for and what became of it at the backends.
//!
//! Invariants: every request has a mark that no other has, and what its body and its answer must be
//! follows from the mark.

use super::net::LinkId;
use super::net::Net;
use std::collections::BTreeMap;

/// One request.
#[derive(Debug)]
struct Exchange {
    /// The caller's connection.
    caller: LinkId,
    /// It may be sent twice.
    is_safe: bool,
    /// How often backends saw it.
    seen: u32,
    /// The backend's connection that saw it last.
    at: Option<LinkId>,
    /// It was answered whole there.
    is_answered: bool,
}

/// All requests, by their marks.
#[derive(Debug, Default)]
pub struct Exchanges {
    all: BTreeMap<String, Exchange>,
}

impl Exchanges {
    /// A caller asks.
    pub fn ask(&mut self, mark: &str, caller: LinkId, is_safe: bool) {
        let exchange = Exchange { caller, is_safe, seen: 0, at: None, is_answered: false };
        self.all.insert(mark.to_owned(), exchange);
    }

    /// A backend gets a request.
    ///
    /// # Errors
    /// Nobody asked, or it was there before and may not come twice.
    pub fn see(&mut self, mark: &str, at: LinkId) -> Result<(), String> {
        let Some(exchange) = self.all.get_mut(mark) else {
            return Err(format!("{mark} was never asked for"));
        };
        exchange.seen += 1;
        (exchange.at, exchange.is_answered) = (Some(at), false);
        if exchange.seen > 1 && !exchange.is_safe {
            return Err(format!("{mark} came twice, and may not"));
        }
        Ok(())
    }

    /// The backend that saw it last has sent the whole answer.
    pub fn answer(&mut self, mark: &str) {
        if let Some(exchange) = self.all.get_mut(mark) {
            exchange.is_answered = true;
        }
    }

    /// Whether the server has read the whole answer.
    #[must_use]
    pub fn is_answered(&self, mark: &str, net: &Net) -> bool {
        let exchange = self.all.get(mark).filter(|exchange| exchange.is_answered);
        exchange.and_then(|exchange| exchange.at).is_some_and(|at| net.has_read(at))
    }

    /// The connection of the backend that saw it last.
    #[must_use]
    pub fn at(&self, mark: &str) -> Option<LinkId> {
        self.all.get(mark)?.at
    }

    /// The caller's connection.
    #[must_use]
    pub fn caller(&self, mark: &str) -> Option<LinkId> {
        self.all.get(mark).map(|exchange| exchange.caller)
    }

    /// Requests so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.all.len()).unwrap_or(u64::MAX)
    }
}

/// The bytes that follow from a mark: lower case letters.
#[must_use]
pub fn pattern(mark: &str, bytes: usize) -> Vec<u8> {
    let start = mark.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let letter = |n: usize| b'a' + ((usize::from(start) + n * 7 + n / 26) % 26).to_le_bytes()[0];
    (0..bytes).map(letter).collect()
}
