//! The simulated peers, each checking what it gets.
//!
//! | peer | is |
//! |---|---|
//! | publisher, subscriber | a client of the hub |
//! | broadcaster, follower | an upstream, and a client of its shared streams |
//! | responder, caller | a backend, and a client whose requests are passed on to it |
//!
//! Invariants: a peer acts only in `step`, and says when it wants to act again; the network pokes
//! it earlier when something arrives. A peer is judged by what it saw, never by what the worker
//! says of itself.

pub mod broadcaster;
pub mod caller;
pub mod follower;
mod message;
pub mod publisher;
mod reading;
pub mod responder;
mod response;
pub mod subscriber;

use super::book::Book;
use super::net::LinkId;
use super::net::Net;
use crate::base::time::Moment;
use std::fmt::Debug;

/// Somebody at the other end of links.
pub trait Peer: Debug + Send {
    /// Acts; returns when it wants to act again by itself. `me` is its number.
    fn step(&mut self, me: usize, net: &mut Net, book: &mut Book) -> Option<Moment>;

    /// What the server owes it on which link, if it owes something now.
    fn owed(&self, net: &Net, book: &Book) -> Option<(LinkId, String)>;

    /// What the server has left undone about which link, whatever else is under way.
    fn neglected(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        None
    }

    /// Why it is not yet where it shall be when everything has settled.
    fn unsettled(&self, book: &Book) -> Option<String>;

    /// Whether it has no connection and wants none.
    fn is_gone(&self) -> bool;
}

/// Percent-encodes everything but ASCII letters and digits.
#[must_use]
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
    }
    out
}

/// One of these, evenly.
pub(super) fn pick<T: Copy>(net: &mut Net, first: T, others: &[T]) -> T {
    let drawn = net.below(others.len() + 1).checked_sub(1);
    drawn.and_then(|n| others.get(n).copied()).unwrap_or(first)
}
