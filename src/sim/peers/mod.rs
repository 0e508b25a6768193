//! The simulated peers: publishers and subscribers, each checking what it gets.
//!
//! Invariants: a peer acts only in `step`, and says when it wants to act again; the network pokes
//! it earlier when something arrives. A peer is judged by what it saw, never by what the worker
//! says of itself.

pub mod publisher;
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
