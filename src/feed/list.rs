//! Intrusive doubly linked lists of clients: the links are in the client slots.
//!
//! Invariants: a client is in at most one list. Whoever unlinks it names the list that it is in;
//! `Client::place` derives that, because an append moves a whole idle list in one step.

use super::client::Client;
use crate::base::slots::Slots;

/// No client.
pub(super) const NONE: u32 = u32::MAX;

/// First and last client of a list, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: u32,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn push_back(&mut self, clients: &mut Slots<Client>, index: u32) {
        let last = self.last;
        if let Some(client) = clients.at_mut(index) {
            (client.prev, client.next) = (last, NONE);
        }
        match clients.at_mut(last) {
            Some(before) if last != NONE => before.next = index,
            _ => self.first = index,
        }
        self.last = index;
        self.len += 1;
    }

    pub(super) fn unlink(&mut self, clients: &mut Slots<Client>, index: u32) {
        let Some(client) = clients.at_mut(index) else { return };
        let (prev, next) = (client.prev, client.next);
        (client.prev, client.next) = (NONE, NONE);
        match clients.at_mut(prev) {
            Some(before) if prev != NONE => before.next = next,
            _ => {
                debug_assert_eq!(self.first, index, "unlinked from the list it is in");
                self.first = next;
            }
        }
        match clients.at_mut(next) {
            Some(behind) if next != NONE => behind.prev = prev,
            _ => {
                debug_assert_eq!(self.last, index, "unlinked from the list it is in");
                self.last = prev;
            }
        }
        self.len -= 1;
    }

    pub(super) fn pop_front(&mut self, clients: &mut Slots<Client>) -> Option<u32> {
        let index = self.first()?;
        self.unlink(clients, index);
        Some(index)
    }

    /// Appends all of `other`, in O(1).
    pub(super) fn take_all(&mut self, other: &mut Self, clients: &mut Slots<Client>) {
        if other.len == 0 {
            return;
        }
        if self.len == 0 {
            *self = *other;
        } else {
            if let Some(last) = clients.at_mut(self.last) {
                last.next = other.first;
            }
            if let Some(first) = clients.at_mut(other.first) {
                first.prev = self.last;
            }
            self.last = other.last;
            self.len += other.len;
        }
        *other = Self::new();
    }
}

#[cfg(test)]
impl List {
    /// The clients in order; panics if links and counts disagree.
    pub(super) fn walk(&self, clients: &Slots<Client>) -> Vec<u32> {
        let (mut found, mut prev, mut next) = (Vec::new(), NONE, self.first);
        while next != NONE {
            let (_, client) = clients.at(next).unwrap();
            assert_eq!(client.prev, prev, "links agree in both directions");
            found.push(next);
            assert!(found.len() <= self.len as usize, "a list has an end");
            (prev, next) = (next, client.next);
        }
        assert_eq!((self.last, self.len as usize), (prev, found.len()));
        found
    }
}
