//! What an exchange needs until the response's head has come, and no longer: the request, kept
//! while it may have to be sent (again), the attempt's timers, and the changes of the response.
//!
//! Invariants:
//! 1. A request is kept only while another attempt is possible. It is dropped with the first byte
//!    of a response, once its body has outgrown [`HELD_BYTES_MAX`], and when it was sent without
//!    leave to be sent twice (I8).
//! 2. So whether it is kept is the whole question of whether it may be repeated; what is left to
//!    ask is the number of attempts.

use super::ending::Timer;
use super::plan::Plan;
use super::upload::Upload;
use crate::base::time::Moment;
use crate::http::fields::Fields;
use crate::http::h1::encode;
use std::time::Duration;

/// Bytes of a body that are kept before there is a backend for them, or for another attempt.
pub const HELD_BYTES_MAX: usize = 64 * 1024;

/// See above.
#[derive(Debug)]
pub(super) struct Opening {
    plan: Plan,
    /// The body so far, framed for the backend.
    held: Vec<u8>,
    is_kept: bool,
    /// Attempts left.
    retries: u32,
    /// Whether this attempt's connection had carried requests before, and whether one that had
    /// has failed: a pooled connection may end as a request goes out, which is nobody's fault and
    /// costs no attempt, once.
    pooled: bool,
    pooled_failed: bool,
    /// When the request's first byte went out, and when its last did.
    attempt_at: Option<Moment>,
    asked_at: Option<Moment>,
}

impl Opening {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            held: Vec::new(),
            is_kept: true,
            retries: plan.retries,
            pooled: false,
            pooled_failed: false,
            attempt_at: None,
            asked_at: None,
            plan,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The cookie that keeps the client to the endpoint of this attempt.
    pub(super) fn set_cookie(&mut self, cookie: Option<&str>) {
        self.plan.cookie = cookie.map(Into::into);
    }

    /// Bytes of the body that may still be kept.
    pub(super) fn room(&self) -> usize {
        if self.is_kept { HELD_BYTES_MAX.saturating_sub(self.held.len()) } else { 0 }
    }

    /// Bytes on the heap that a slow or hostile peer can make grow.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// A connection to a backend is there: the head, and what is kept of the body.
    pub(super) fn send(&mut self, pooled: bool, is_complete: bool, now: Moment, out: &mut Vec<u8>) {
        debug_assert!(self.is_kept, "an attempt without a request");
        let plan = &self.plan;
        encode::request_head(&plan.method, &plan.target, &plan.fields, out);
        out.extend_from_slice(&self.held);
        self.pooled = pooled;
        self.attempt_at = Some(now);
        self.asked_at = is_complete.then_some(now);
        let again = self.retries > 0 || (pooled && !self.pooled_failed);
        if !again || !self.plan.is_idempotent() {
            self.forget();
        }
    }

    /// A piece of the body while no backend is there.
    pub(super) fn hold(&mut self, upload: Upload, bytes: &[u8]) {
        upload.frame(bytes, &mut self.held);
    }

    /// A piece of the body that is sent at once is kept as well, if another attempt may need it.
    pub(super) fn copy(&mut self, upload: Upload, bytes: &[u8]) {
        if !self.is_kept {
            return;
        }
        if bytes.len() > self.room() {
            self.forget();
        } else {
            self.hold(upload, bytes);
        }
    }

    /// The body has ended.
    pub(super) fn complete(&mut self, upload: Upload, now: Moment) {
        if self.is_kept {
            upload.end(&mut self.held);
        }
        self.asked_at = self.attempt_at.map(|_| now);
    }

    /// No connection came about: whether to try again.
    pub(super) fn retry_connect(&mut self) -> bool {
        self.again(false)
    }

    /// The connection ended, or the attempt's time did, before a byte of a response: whether to
    /// try again.
    pub(super) fn retry_lost(&mut self, timed_out: bool) -> bool {
        let free = self.pooled && !self.pooled_failed && !timed_out;
        self.pooled_failed |= free;
        self.again(free)
    }

    fn again(&mut self, free: bool) -> bool {
        if !self.is_kept || (!free && self.retries == 0) {
            return false;
        }
        if !free {
            self.retries -= 1;
        }
        self.attempt_at = None;
        self.asked_at = None;
        true
    }

    /// There will be no other attempt: the request's memory goes.
    pub(super) fn forget(&mut self) {
        if std::mem::take(&mut self.is_kept) {
            self.held = Vec::new();
            self.plan.fields = Fields::new();
            self.plan.target = Box::default();
        }
    }

    /// The attempt's next deadline.
    pub(super) fn due(&self) -> Option<(Moment, Timer)> {
        let timers = &self.plan.timers;
        let attempt = after(self.attempt_at, timers.backend_request);
        let head = after(self.asked_at, timers.response_head);
        let attempt = attempt.map(|at| (at, Timer::BackendRequest));
        let head = head.map(|at| (at, Timer::ResponseHead));
        attempt.into_iter().chain(head).min_by_key(|(at, _)| *at)
    }
}

/// When a timer that began then runs out; a zero timer never does.
pub(super) fn after(from: Option<Moment>, by: Duration) -> Option<Moment> {
    from.filter(|_| !by.is_zero()).map(|from| from.after(by))
}
