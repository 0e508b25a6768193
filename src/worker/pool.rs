//! Idle connections to backends, by endpoint: the one that was used last is used first, so that a
//! pool that is too large shrinks by itself.
//!
//! Invariants: every handle here is a connection without a user. A connection is closed when it has
//! been here for its time without a break; however often it comes and goes, it has one timer.

use crate::backend::Endpoint;
use crate::base::map::{Hasher, Map};
use crate::base::slots::Handle;
use crate::base::sync::Arc;

/// The idle connections of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    /// By the endpoint's place in memory: its connections keep it alive.
    idle: Map<usize, Vec<Handle>>,
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}

impl Pool {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self { idle: hasher.map() }
    }

    /// Connections of all endpoints.
    pub(super) fn len(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    /// Whether an endpoint has fewer than `most`.
    pub(super) fn has_room(&self, endpoint: &Arc<Endpoint>, most: usize) -> bool {
        self.idle.get(&key(endpoint)).map_or(0, Vec::len) < most
    }

    pub(super) fn put(&mut self, handle: Handle, endpoint: &Arc<Endpoint>) {
        self.idle.entry(key(endpoint)).or_default().push(handle);
    }

    pub(super) fn take(&mut self, endpoint: &Arc<Endpoint>) -> Option<Handle> {
        let handles = self.idle.get_mut(&key(endpoint))?;
        let handle = handles.pop();
        if handles.is_empty() {
            self.idle.remove(&key(endpoint));
        }
        handle
    }

    /// Any of them.
    pub(super) fn any(&self) -> Option<Handle> {
        self.idle.values().flatten().next().copied()
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, handle: Handle, endpoint: &Arc<Endpoint>) {
        if let Some(handles) = self.idle.get_mut(&key(endpoint)) {
            handles.retain(|other| *other != handle);
            if handles.is_empty() {
                self.idle.remove(&key(endpoint));
            }
        }
    }
}
