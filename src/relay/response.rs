//! From the backend to the client: heads, the body as it comes, the end, and the cut.
//!
//! Invariants: what one read brought is appended before the call returns (X1), as one chunk; a
//! fault passes on what came before it and nothing after.

use super::At;
use super::Out;
use super::Phase;
use super::Relay;
use super::ending::ClientNext;
use super::ending::End;
use super::ending::Lost;
use super::ending::Step;
use super::head::BadAnswer;
use super::upload::Upload;
use crate::http::fields::Fields;
use crate::http::h1::response::Ending;
use crate::http::h1::response::ResponseItem;
use arrayvec::ArrayVec;

/// Pieces of one read that are gathered into one chunk.
const PARTS_MAX: usize = 32;

type Parts<'i> = ArrayVec<&'i [u8], PARTS_MAX>;

impl Relay {
    /// Bytes of the backend, all of which are used. Behind the end they spoil its connection.
    pub fn backend_input(&mut self, input: &[u8], at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            self.is_spoiled |= !input.is_empty();
            return Step::Over(end);
        }
        if input.is_empty() {
            return Step::On;
        }
        self.life = at.now;
        if self.phase == Phase::Tunnel {
            out.client.extend_from_slice(input);
            return Step::On;
        }
        if let Some(opening) = &mut self.opening {
            opening.forget();
        }
        match self.decode(input, at, out) {
            Ok(step) => step,
            Err(fault) => {
                self.fault = Some(fault);
                let text = "the backend's answer cannot be passed on";
                self.refuse(502, text, End::BackendFault, at, out.client)
            }
        }
    }

    /// The backend's connection has ended, or failed.
    pub fn backend_ended(&mut self, how: Lost, at: &At<'_>, out: &mut Out<'_>) -> Step {
        if let Some(end) = self.end {
            return Step::Over(end);
        }
        match (self.phase, self.response.end(), how) {
            (Phase::Tunnel, _, Lost::Clean) => self.over(End::Upgraded, ClientNext::Close),
            (Phase::Tunnel, _, Lost::Broken) => self.over(End::Upgraded, ClientNext::Reset),
            (Phase::Body, Ending::Clean, Lost::Clean) => self.finish(None, out),
            (Phase::Body, _, _) => self.cut(End::BackendTruncated),
            (_, Ending::Early, _) if self.repeat(false) => Step::Retry,
            _ => {
                let text = "the backend closed the connection without an answer";
                self.refuse(502, text, End::BackendLost, at, out.client)
            }
        }
    }

    fn decode(
        &mut self,
        mut input: &[u8],
        at: &At<'_>,
        out: &mut Out<'_>,
    ) -> Result<Step, BadAnswer> {
        let mut parts = Parts::new();
        let mut trailers = None;
        loop {
            let item = self.response.decode(&mut input, at.limits);
            if let Ok(ResponseItem::Body(bytes)) = item {
                if parts.is_full() {
                    self.pass(&mut parts, at, out);
                }
                parts.push(bytes);
                continue;
            }
            self.pass(&mut parts, at, out);
            match item? {
                ResponseItem::Wait | ResponseItem::Body(_) => return Ok(Step::On),
                ResponseItem::Interim(head) => self.pass_interim(&head, out.client),
                ResponseItem::Head(head) => self.pass_head(&head, at, out.client)?,
                ResponseItem::Trailers(fields) => trailers = Some(fields),
                ResponseItem::End => {
                    self.is_spoiled |= !input.is_empty();
                    return Ok(self.finish(trailers, out));
                }
                ResponseItem::Tunnel => {
                    out.client.extend_from_slice(input);
                    return Ok(Step::On);
                }
            }
        }
    }

    /// Appends what was gathered of the body.
    fn pass(&mut self, parts: &mut Parts<'_>, at: &At<'_>, out: &mut Out<'_>) {
        if parts.is_empty() {
            return;
        }
        if self.events.is_on() {
            for part in parts.iter_mut() {
                let (before, rest) = self.events.pass(part, at.now);
                *part = rest;
                if !before.is_empty() {
                    // Only the parts that were kept back, now empty, stand before this one; the
                    // first of them has room for what was kept.
                    self.download.write(&[before], out.client);
                }
            }
        }
        self.download.write(parts, out.client);
        parts.clear();
    }

    /// The response is whole.
    fn finish(&mut self, trailers: Option<Fields>, out: &mut Out<'_>) -> Step {
        self.download.write(&[self.events.rest()], out.client);
        self.download.end(trailers.filter(|_| self.takes_trailers), out.client);
        if self.upload != Upload::Complete {
            return self.over(End::Early, ClientNext::Close);
        }
        let next = if self.to.keep_alive { ClientNext::Keep } else { ClientNext::Close };
        self.over(End::Completed, next)
    }
}
