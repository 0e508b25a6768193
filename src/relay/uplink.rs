//! From the client to the backend: the request's body, attempts, and the tunnel's bytes.
//!
//! Invariants: before a backend is there, no more of the body is taken than the bound on what is
//! held; a fault of the client never reaches the backend as a whole request.

use super::At;
use super::Out;
use super::Phase;
use super::Relay;
use super::ending::Cause;
use super::ending::End;
use super::ending::Step;
use super::upload::Upload;
use crate::http::h1::Fault;
use crate::http::h1::Item;
use crate::http::h1::response::ResponseDecoder;

impl Relay {
    /// Whether input of the client is of use now. While it is not, the worker keeps what it has
    /// and reads no more; but it watches for the client's end.
    #[must_use]
    pub fn wants_client_input(&self) -> bool {
        if self.end.is_some() {
            return false;
        }
        match (self.phase, self.upload) {
            (Phase::Tunnel, _) => true,
            (_, Upload::Complete) => false,
            (Phase::Connecting, _) => self.opening.as_ref().is_some_and(|o| o.room() > 0),
            _ => true,
        }
    }

    /// Bytes of the client. What is left in `input` is for later: the next request's, or more than
    /// may be held before the backend is there.
    pub fn client_input(&mut self, input: &mut &[u8], at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        if self.phase == Phase::Tunnel {
            if !input.is_empty() {
                self.life = at.now;
                out.backend.extend_from_slice(std::mem::take(input));
            }
            return Step::On;
        }
        // The body streams: what bounds it is backpressure.
        let limits = at.limits.any_body();
        while self.wants_client_input() {
            let mut piece = input.get(..self.room()).unwrap_or(input);
            let offered = piece.len();
            let item = self.request.decode(&mut piece, &limits);
            let used = offered - piece.len();
            *input = input.get(used..).unwrap_or_default();
            if used > 0 {
                self.life = at.now;
            }
            match item {
                Ok(Item::Body(bytes)) => self.send_body(bytes, out),
                Ok(Item::End) => self.request_ended(at, out),
                // Only what there was room for was looked at.
                Ok(Item::Wait) if used > 0 && !input.is_empty() => {}
                Ok(Item::Wait | Item::Head(_)) => break,
                Err(fault) => return self.client_fault(fault, at, out),
            }
        }
        Step::On
    }

    /// A connection to a backend is there, `pooled` if it has carried requests before: the head and
    /// what is held of the body. Choose a fresh one after a retry.
    pub fn connected(&mut self, pooled: bool, at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        debug_assert_eq!(self.phase, Phase::Connecting, "connected twice");
        self.phase = Phase::Asked;
        self.life = at.now;
        self.response = ResponseDecoder::new();
        self.response.expect(self.to.is_head);
        if let Some(opening) = &mut self.opening {
            opening.send(pooled, self.upload == Upload::Complete, at.now, out.backend);
        }
        Step::On
    }

    /// No connection to a backend came about.
    pub fn attempt_failed(&mut self, cause: Cause, at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        let again = self.opening.as_mut().is_some_and(|o| o.retry_connect());
        if again && cause != Cause::NoEndpoint {
            return Step::Retry;
        }
        let (status, text, end) = cause.answer();
        self.refuse(status, text, end, at, out.client)
    }

    /// Bytes that may be taken from the client at once.
    fn room(&self) -> usize {
        match (&self.opening, self.phase) {
            (Some(opening), Phase::Connecting) => opening.room(),
            _ => usize::MAX,
        }
    }

    fn send_body(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        match (&mut self.opening, self.phase) {
            (Some(opening), Phase::Connecting) => return opening.hold(self.upload, bytes),
            (Some(opening), _) => opening.copy(self.upload, bytes),
            (None, _) => {}
        }
        self.upload.frame(bytes, out.backend);
    }

    fn request_ended(&mut self, at: &At<'_>, out: &mut Out<'_>) {
        if self.phase != Phase::Connecting {
            self.upload.end(out.backend);
        }
        if let Some(opening) = &mut self.opening {
            opening.complete(self.upload, at.now);
        }
        self.upload = Upload::Complete;
    }

    /// The client's body is broken. The backend never sees its end.
    fn client_fault(&mut self, fault: Fault, at: &At<'_>, out: &mut Out<'_>) -> Step {
        if self.has_begun() {
            return self.cut(End::ClientFault);
        }
        self.refuse(fault.status(), &fault.to_string(), End::ClientFault, at, out.client)
    }
}
